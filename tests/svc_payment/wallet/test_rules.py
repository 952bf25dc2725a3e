"""Top-ups and credits decided without a server."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

import pytest

from mesh.refusals import Refusal
from svc_payment.providers.interface import Action, Authorization, Outcome
from svc_payment.settlement.rules import Call
from svc_payment.wallet import rules
from svc_payment.wallet.rules import Credit, TopUp, TopUpStatus

NOW = datetime(2026, 11, 21, tzinfo=UTC)


def top_up(status: TopUpStatus = TopUpStatus.AUTHORIZING) -> TopUp:
    return TopUp(uuid.UUID(int=1), uuid.UUID(int=2), "key", b"print", "psp_sim", 100, "GBP", status, NOW)


@pytest.mark.parametrize(
    ("outcome", "wanted"),
    [
        (Outcome.AUTHORIZED, TopUpStatus.CAPTURING),
        (Outcome.REFUSED, TopUpStatus.DECLINED),
        (Outcome.ACTION_REQUIRED, TopUpStatus.VOIDING),
        (Outcome.IN_PROGRESS, TopUpStatus.AUTHORIZING),
    ],
)
def test_an_authorization_decides_what_is_next(outcome, wanted):
    """An answer that comes twice or late changes nothing any more."""
    answer = Authorization(outcome, "ref", None, Action("u", NOW))
    assert wanted is rules.authorized(top_up(), answer).status
    for status in TopUpStatus:
        if status is not TopUpStatus.AUTHORIZING:
            assert status is rules.authorized(top_up(status), answer).status


def test_the_life_of_a_top_up():
    """Captured once, voided once."""
    assert TopUpStatus.CREDITED is rules.captured(top_up(TopUpStatus.CAPTURING), b"answer").status
    assert TopUpStatus.DECLINED is rules.captured(top_up(TopUpStatus.DECLINED), b"answer").status
    assert TopUpStatus.DECLINED is rules.voided(top_up(TopUpStatus.VOIDING)).status
    calls = {status: rules.next_call(top_up(status), has_token=True) for status in TopUpStatus}
    assert [Call.AUTHORIZE, Call.CAPTURE, Call.VOID] == [
        calls[each] for each in (TopUpStatus.AUTHORIZING, TopUpStatus.CAPTURING, TopUpStatus.VOIDING)
    ]
    assert Call.QUERY is rules.next_call(top_up(), has_token=False)


def test_the_same_key_asks_for_the_same():
    """Another body under the same key is refused."""
    rules.refuse_other_body(top_up(), b"print")
    with pytest.raises(Refusal) as refusal:
        rules.refuse_other_body(top_up(), b"other")
    assert "IDEMPOTENCY_KEY_REUSED" == refusal.value.reason


def test_credits_are_checked_one_by_one():
    """A wrong one does not spoil its neighbours."""
    first, second = uuid.UUID(int=1), uuid.UUID(int=2)
    credits = [Credit(first, 1, "GBP"), Credit(second, 1, "EUR"), Credit(first, 2, "GBP")]
    reasons = [refusal and refusal.reason for refusal in rules.check_credits(credits, {"GBP"})]
    assert [None, "CURRENCY_NOT_SUPPORTED", "INVALID_INPUT"] == reasons


def test_a_card_that_wants_a_confirmation_is_told_why_it_cannot_top_up():
    """The card is good and the way is not; any other decline says no more than the provider's code."""
    assert "3-D Secure" in rules.declined_top_up(rules.ACTION_REQUIRED).message
    assert {"decline_code": "action_required"} == rules.declined_top_up(rules.ACTION_REQUIRED).metadata
    assert "the card was declined" == rules.declined_top_up("card_declined").message
