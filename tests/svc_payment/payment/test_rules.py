"""Payments decided without a server."""

from __future__ import annotations

import uuid

import pytest

from mesh.refusals import Refusal
from svc_payment.payment import rules
from svc_payment.payment.rules import Status
from tests.svc_payment.payment.drafts import NOW, USER, by_wallet, card, intent


def reason_of(call, *args) -> str:
    with pytest.raises(Refusal) as refusal:
        call(*args)
    return refusal.value.reason


S = Status


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
