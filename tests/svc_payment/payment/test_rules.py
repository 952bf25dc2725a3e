"""Payments decided without a server."""

from __future__ import annotations

import uuid
from dataclasses import replace

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


def test_an_intent_is_refused_for_what_the_shop_cannot_do():
    """A currency that it does not take, a provider that it does not have; a wallet has no provider to look for."""
    shop = {"providers": {"psp_sim"}, "currencies": {"GBP"}}

    def refused(**changes) -> str:
        return reason_of(lambda: rules.check_intent(intent(**changes), **shop))

    assert refused(currency="EUR") == "CURRENCY_NOT_SUPPORTED"
    assert refused(provider="other") == "PROVIDER_UNKNOWN"
    rules.check_intent(intent(), **shop)
    rules.check_intent(intent(provider=rules.WALLET, card_token=None), **shop)


def test_a_payment_begins_under_way_and_with_nothing_moved():
    """One of nothing needs nobody's yes."""
    begun = rules.begin(intent(), payment_id=uuid.UUID(int=2), at=NOW)
    assert begun.status is S.IN_PROGRESS
    assert (begun.captured_minor, begun.refunding_minor, begun.refunded_minor, begun.version) == (0, 0, 0, 0)
    assert (begun.amount_minor, begun.currency, begun.provider, begun.user_id) == (100, "GBP", "psp_sim", USER)
    assert rules.begin(intent(amount_minor=0), payment_id=uuid.UUID(int=2), at=NOW).status is S.AUTHORIZED


def test_the_hold_of_a_wallet_is_pending_under_the_id_of_its_payment():
    """Whoever resolves it later needs no other id, and the shop has no money before that."""
    payment = by_wallet(S.AUTHORIZED)
    hold = payment.hold
    assert (hold.transfer_id, hold.group_id, hold.order_id) == (
        payment.payment_id,
        payment.payment_id,
        payment.order_id,
    )
    assert (hold.debit.user_id, hold.credit.code, hold.amount_minor, hold.pending) == (USER, "sales", 100, True)


@pytest.mark.parametrize("make", [card, by_wallet])
def test_an_authorize_again_is_answered_as_the_first(make):
    """Voided wins over everything that is not a conflict; a refusal is said again; what is under way is no refusal."""
    asked = intent() if make is card else intent(provider=rules.WALLET, card_token=None)
    for status in (S.VOIDING, S.VOIDED):
        assert reason_of(rules.refuse_repeated, make(status), asked) == "PAYMENT_VOIDED"
    for status in (S.IN_PROGRESS, S.ACTION_REQUIRED, S.AUTHORIZED, S.CAPTURING, S.CAPTURED):
        rules.refuse_repeated(make(status), asked)
        rules.refuse_refused(make(status))
    assert reason_of(rules.refuse_repeated, make(S.REFUSED), asked) == "PAYMENT_DECLINED"
    assert reason_of(rules.refuse_repeated, make(S.CAPTURED), intent(amount_minor=99)) == "PAYMENT_CONFLICT"


def test_a_refusal_keeps_its_reason_and_the_code_of_the_provider():
    """Programs read the code; a wallet without money is no declined card."""
    poor = replace(by_wallet(S.REFUSED), refusal_reason=rules.INSUFFICIENT_FUNDS)
    assert reason_of(rules.refuse_refused, poor) == "INSUFFICIENT_FUNDS"
    assert rules.declined("stolen_card").metadata == {"decline_code": "stolen_card"}
    assert rules.declined(None).metadata == {}


def test_a_capture_or_a_void_is_done_when_the_provider_did_it():
    """Only then may a saga end."""
    under_way = {status for status in Status if not rules.is_done(card(status))}
    assert under_way == {S.CAPTURING, S.VOIDING}


def test_undecided_is_what_may_still_go_either_way():
    """A customer who comes back, and a worker, ask the provider about these only."""
    assert rules.UNDECIDED == {S.IN_PROGRESS, S.ACTION_REQUIRED}
