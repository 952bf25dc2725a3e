"""What a provider's answers make of a payment, decided without a server."""

from __future__ import annotations

from dataclasses import replace

import pytest

from svc_payment.payment import answers
from svc_payment.payment.rules import Status
from svc_payment.providers.interface import NoticeKind, Outcome
from svc_payment.settlement.rules import Call
from tests.svc_payment.payment.drafts import answer, card, notice, seen

S, O = Status, Outcome  # noqa: E741


@pytest.mark.parametrize(
    ("status", "outcome", "wanted"),
    [
        (S.IN_PROGRESS, O.AUTHORIZED, S.AUTHORIZED),
        (S.IN_PROGRESS, O.REFUSED, S.REFUSED),
        (S.IN_PROGRESS, O.ACTION_REQUIRED, S.ACTION_REQUIRED),
        (S.IN_PROGRESS, O.IN_PROGRESS, S.IN_PROGRESS),
        (S.ACTION_REQUIRED, O.AUTHORIZED, S.AUTHORIZED),
        (S.ACTION_REQUIRED, O.REFUSED, S.REFUSED),
        (S.ACTION_REQUIRED, O.IN_PROGRESS, S.IN_PROGRESS),
        (S.AUTHORIZED, O.AUTHORIZED, S.AUTHORIZED),
        (S.AUTHORIZED, O.REFUSED, S.AUTHORIZED),
        (S.CAPTURING, O.AUTHORIZED, S.CAPTURING),
        (S.CAPTURED, O.AUTHORIZED, S.CAPTURED),
        (S.VOIDING, O.AUTHORIZED, S.VOIDING),
        (S.VOIDING, O.REFUSED, S.VOIDING),
        (S.VOIDED, O.REFUSED, S.VOIDED),
        (S.VOIDED, O.AUTHORIZED, S.VOIDING),
        (S.VOIDED, O.ACTION_REQUIRED, S.VOIDING),
        (S.REFUSED, O.AUTHORIZED, S.VOIDING),
        (S.REFUSED, O.REFUSED, S.REFUSED),
    ],
)
def test_an_answer_whenever_it_comes(status, outcome, wanted):
    """What was decided in the meantime stands; a success that comes too late is let go again."""
    after = answers.authorized(card(status), answer(outcome))
    assert wanted is after.status
    assert (after.action_url is not None) == (wanted is S.ACTION_REQUIRED and outcome is O.ACTION_REQUIRED)


def test_what_a_provider_holds_of_another_amount_is_not_ours():
    """Amount and currency are compared with every answer."""
    waiting = card(S.ACTION_REQUIRED, action_url="u")
    assert waiting == answers.seen_at_provider(waiting, seen(amount_minor=101))
    assert waiting == answers.seen_at_provider(waiting, seen(currency="EUR"))
    assert S.AUTHORIZED is answers.seen_at_provider(waiting, seen()).status
    taking = card(S.CAPTURING)
    assert S.CAPTURED is answers.seen_at_provider(taking, seen(captured_minor=100)).status
    assert S.CAPTURING is answers.seen_at_provider(taking, seen(captured_minor=99)).status


@pytest.mark.parametrize(
    ("status", "has_token", "wanted"),
    [
        (S.IN_PROGRESS, True, Call.AUTHORIZE),
        (S.IN_PROGRESS, False, Call.QUERY),
        (S.ACTION_REQUIRED, False, Call.QUERY),
        (S.CAPTURING, False, Call.CAPTURE),
        (S.VOIDING, True, Call.VOID),
        (S.VOIDED, False, Call.QUERY),
    ],
)
def test_the_next_call_follows_from_where_the_payment_stands(status, has_token, wanted):
    """A worker that starts after a crash needs nothing else."""
    assert wanted is answers.next_call(card(status), has_token=has_token)


@pytest.mark.parametrize(
    ("status", "kind", "amount_minor", "wanted"),
    [
        (S.IN_PROGRESS, NoticeKind.AUTHORIZED, 100, True),
        (S.ACTION_REQUIRED, NoticeKind.FAILED, 100, True),
        (S.AUTHORIZED, NoticeKind.AUTHORIZED, 100, False),
        (S.AUTHORIZED, NoticeKind.AUTHORIZED, 101, True),
        (S.CAPTURED, NoticeKind.AUTHORIZED, 100, False),
        (S.CAPTURED, NoticeKind.CAPTURED, 100, False),
        (S.CAPTURING, NoticeKind.CAPTURED, 100, True),
        (S.VOIDED, NoticeKind.VOIDED, 100, False),
        (S.VOIDED, NoticeKind.AUTHORIZED, 100, True),
        (S.VOIDED, NoticeKind.CAPTURED, 100, True),
        (S.REFUSED, NoticeKind.FAILED, 100, False),
        (S.CAPTURED, NoticeKind.REFUNDED, 50, False),
        (S.CAPTURED, NoticeKind.OTHER, 0, False),
    ],
)
def test_a_notice_asks_where_it_tells_something_new(status, kind, amount_minor, wanted):
    """The rest repeats what is known."""
    assert wanted == answers.needs_query(card(status), notice(kind, amount_minor))


def test_a_void_ends_only_what_was_being_voided():
    """An answer that comes late finds another state, and leaves it alone."""
    for status in Status:
        wanted = S.VOIDED if status is S.VOIDING else status
        assert answers.voided(card(status)).status is wanted


def test_a_payment_keeps_the_reference_of_its_provider():
    """Also when a later answer brings none."""
    named = answers.authorized(card(S.IN_PROGRESS), answer(O.AUTHORIZED))
    assert named.provider_reference == "ref"
    silent = replace(answer(O.AUTHORIZED), provider_reference=None)
    assert answers.authorized(named, silent).provider_reference == "ref"


def test_an_action_without_a_page_changes_nothing():
    """Nobody could be sent anywhere."""
    pageless = replace(answer(O.ACTION_REQUIRED), action=None)
    assert answers.authorized(card(S.IN_PROGRESS), pageless).status is S.IN_PROGRESS


def test_what_a_provider_took_of_a_payment_that_was_let_go_has_to_come_back():
    """As much as has not come back yet; of any other payment nothing."""
    taken = seen(captured_minor=100, refunded_minor=30)
    assert answers.late_capture_minor(card(S.VOIDING), taken) == 70
    for status in (S.VOIDED, S.CAPTURED, S.AUTHORIZED):
        assert answers.late_capture_minor(card(status), taken) == 0


def test_a_tombstone_at_the_provider_is_ours_without_an_amount():
    """It was voided before it was asked for; anything else without our amount is somebody else's."""
    assert not answers.is_foreign(card(S.VOIDING), seen(is_voided=True, amount_minor=0, currency=None))
    assert answers.is_foreign(card(S.VOIDING), seen(is_voided=True, amount_minor=99, currency="GBP"))
    assert answers.is_foreign(card(S.VOIDING), seen(is_voided=False, amount_minor=0, currency=None))


def test_nothing_is_left_to_ask_about_a_payment_that_is_settled():
    """What is under way is asked for until it ends."""
    settled = {status for status in Status if answers.is_settled(card(status))}
    assert settled == {S.AUTHORIZED, S.CAPTURED, S.REFUSED, S.VOIDED}
