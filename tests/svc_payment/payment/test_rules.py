"""Payments decided without a server."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from mesh.refusals import Refusal
from svc_payment.ledger.rules import Outcome as LedgerOutcome
from svc_payment.payment import rules
from svc_payment.payment.rules import Call, EventType, Intent, Payment, Status
from svc_payment.providers.interface import (
    Action,
    Authorization,
    Notice,
    NoticeKind,
    Outcome,
    ProviderPayment,
)

NOW = datetime(2026, 11, 21, tzinfo=UTC)
USER = uuid.UUID(int=7)


def intent(**changes) -> Intent:
    wanted = {"order_id": uuid.UUID(int=1), "user_id": USER, "amount_minor": 100, "currency": "GBP"}
    return Intent(**{**wanted, "provider": "psp_sim", "card_token": "tok_visa", **changes})


def card(status: Status, **changes) -> Payment:
    begun = rules.begin(intent(), payment_id=uuid.UUID(int=2), at=NOW)
    return replace(begun, status=status, captured_minor=100 if status is Status.CAPTURED else 0, **changes)


def by_wallet(status: Status, number: int = 1, amount_minor: int = 100) -> Payment:
    asked = intent(order_id=uuid.UUID(int=number), provider=rules.WALLET, card_token=None, amount_minor=amount_minor)
    begun = rules.begin(asked, payment_id=uuid.UUID(int=100 + number), at=NOW)
    return replace(begun, status=status, captured_minor=amount_minor if status is Status.CAPTURED else 0)


def reason_of(call, *args) -> str:
    with pytest.raises(Refusal) as refusal:
        call(*args)
    return refusal.value.reason


def answer(outcome: Outcome) -> Authorization:
    action = Action("https://psp.test", NOW) if outcome is Outcome.ACTION_REQUIRED else None
    return Authorization(outcome, "ref", "code" if outcome is Outcome.REFUSED else None, action)


def seen(outcome: Outcome = Outcome.AUTHORIZED, **changes) -> ProviderPayment:
    shown = ProviderPayment("p", answer(outcome), False, 100, "GBP", 0, 0)
    return replace(shown, **changes)


def notice(kind: NoticeKind, amount_minor: int = 100) -> Notice:
    return Notice("n", kind, "p", "ref", None, amount_minor, "GBP", 1, NOW, None)


S, O = Status, Outcome  # noqa: E741


@pytest.mark.parametrize(
    ("status", "of_card", "of_wallet"),
    [
        (S.AUTHORIZED, S.CAPTURING, S.CAPTURED),
        (S.CAPTURING, S.CAPTURING, None),
        (S.CAPTURED, S.CAPTURED, S.CAPTURED),
        (S.VOIDED, "PAYMENT_VOIDED", "PAYMENT_VOIDED"),
        (S.VOIDING, "PAYMENT_VOIDED", None),
        (S.IN_PROGRESS, "PAYMENT_NOT_AUTHORIZED", None),
        (S.ACTION_REQUIRED, "PAYMENT_NOT_AUTHORIZED", None),
        (S.REFUSED, "PAYMENT_NOT_AUTHORIZED", "PAYMENT_NOT_AUTHORIZED"),
    ],
)
def test_capture(status, of_card, of_wallet):
    """A wallet is captured at once, a provider has to be asked; only what is held can be taken."""
    for payment, wanted in ((card(status), of_card), (by_wallet(status), of_wallet)):
        if isinstance(wanted, Status):
            assert wanted is rules.capture(payment).status
        elif wanted is not None:
            assert wanted == reason_of(rules.capture, payment)


@pytest.mark.parametrize(
    ("status", "of_card", "of_wallet"),
    [
        (S.IN_PROGRESS, S.VOIDING, None),
        (S.ACTION_REQUIRED, S.VOIDING, None),
        (S.AUTHORIZED, S.VOIDING, S.VOIDED),
        (S.VOIDING, S.VOIDING, None),
        (S.VOIDED, S.VOIDED, S.VOIDED),
        (S.REFUSED, S.REFUSED, S.REFUSED),
        (S.CAPTURING, "PAYMENT_CAPTURED", None),
        (S.CAPTURED, "PAYMENT_CAPTURED", "PAYMENT_CAPTURED"),
    ],
)
def test_void(status, of_card, of_wallet):
    """Whatever was not taken can be let go."""
    for payment, wanted in ((card(status), of_card), (by_wallet(status), of_wallet)):
        if isinstance(wanted, Status):
            assert wanted is rules.void(payment).status
        elif wanted is not None:
            assert wanted == reason_of(rules.void, payment)


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
    after = rules.authorized(card(status), answer(outcome))
    assert wanted is after.status
    assert (after.action_url is not None) == (wanted is S.ACTION_REQUIRED and outcome is O.ACTION_REQUIRED)


def test_wallets_are_decided_in_arrival_order():
    """Each sees what those before it left."""
    asked = [by_wallet(S.IN_PROGRESS, n, amount) for n, amount in enumerate((60, 60, 40, 1), start=1)]
    decided = rules.hold_in_wallets(asked, {USER: 100})
    assert [S.AUTHORIZED, S.REFUSED, S.AUTHORIZED, S.REFUSED] == [each.status for each in decided]
    assert [S.REFUSED] * 4 == [each.status for each in rules.hold_in_wallets(asked, {})]


@pytest.mark.parametrize(
    "changes",
    [
        {"amount_minor": 101},
        {"currency": "EUR"},
        {"provider": "other"},
        {"card_token": "tok_other"},
        {"user_id": uuid.UUID(int=8)},
        {"provider": rules.WALLET, "card_token": None},
    ],
)
def test_the_fingerprint_covers_all_that_was_asked(changes):
    """Anything else under the same order is a conflict."""
    assert "PAYMENT_CONFLICT" == reason_of(rules.refuse_repeated, card(S.AUTHORIZED), intent(**changes))


def test_a_tombstone_refuses_whatever_comes():
    """Nobody knows what would have been asked, so nothing conflicts: it is voided."""
    tombstone = rules.tombstone(uuid.UUID(int=1), payment_id=uuid.UUID(int=2), at=NOW)
    assert "PAYMENT_VOIDED" == reason_of(rules.refuse_repeated, tombstone, intent())
    assert tombstone is rules.void(tombstone)
    assert "PAYMENT_VOIDED" == reason_of(rules.capture, tombstone)


def test_an_intent_does_not_show_its_token():
    """Not even in a traceback."""
    assert "tok_visa" not in repr(intent())


def test_what_a_provider_holds_of_another_amount_is_not_ours():
    """Amount and currency are compared with every answer."""
    waiting = card(S.ACTION_REQUIRED, action_url="u")
    assert waiting == rules.seen_at_provider(waiting, seen(amount_minor=101))
    assert waiting == rules.seen_at_provider(waiting, seen(currency="EUR"))
    assert S.AUTHORIZED is rules.seen_at_provider(waiting, seen()).status
    taking = card(S.CAPTURING)
    assert S.CAPTURED is rules.seen_at_provider(taking, seen(captured_minor=100)).status
    assert S.CAPTURING is rules.seen_at_provider(taking, seen(captured_minor=99)).status


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
    assert wanted is rules.next_call(card(status), has_token=has_token)


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
    assert wanted == rules.needs_query(card(status), notice(kind, amount_minor))


def test_effects_of_a_wallet_payment():
    """Held, taken, or given back; each with its event, and none twice."""
    before, held = by_wallet(S.IN_PROGRESS), by_wallet(S.AUTHORIZED)
    taken, gone = by_wallet(S.CAPTURED), by_wallet(S.VOIDED)
    first = rules.effects(None, held, transfer_id=uuid.uuid4())
    assert [True] == [each.pending for each in first.transfers]
    assert EventType.AUTHORIZED is first.event
    for after, outcome, event in (
        (taken, LedgerOutcome.POSTED, EventType.CAPTURED),
        (gone, LedgerOutcome.VOIDED, EventType.VOIDED),
    ):
        follows = rules.effects(held, after, transfer_id=uuid.uuid4())
        assert ([outcome], event) == ([each.outcome for each in follows.resolutions], follows.event)
    refused = rules.effects(before, by_wallet(S.REFUSED), transfer_id=uuid.uuid4())
    assert ((), (), EventType.REFUSED) == (refused.transfers, refused.resolutions, refused.event)
    assert rules.Effects() == rules.effects(held, held, transfer_id=uuid.uuid4())


def test_effects_of_a_card_payment():
    """The ledger moves when the money is taken, not before."""
    transfer_id = uuid.uuid4()
    assert () == rules.effects(card(S.IN_PROGRESS), card(S.AUTHORIZED), transfer_id=transfer_id).transfers
    assert rules.Effects() == rules.effects(card(S.AUTHORIZED), card(S.CAPTURING), transfer_id=transfer_id)
    (moved,) = rules.effects(card(S.CAPTURING), card(S.CAPTURED), transfer_id=transfer_id).transfers
    assert ("clearing.psp_sim", "sales", 100) == (moved.debit.code, moved.credit.code, moved.amount_minor)
    assert () == rules.effects(card(S.VOIDING), card(S.VOIDED), transfer_id=transfer_id).transfers
