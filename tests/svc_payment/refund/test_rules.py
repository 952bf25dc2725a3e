"""Refunds decided without a server."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from mesh.refusals import Refusal
from svc_payment.errors import RefundConflict
from svc_payment.payment import rules as payments
from svc_payment.payment.rules import Intent, Payment, Status
from svc_payment.refund import rules
from svc_payment.refund.rules import Asked, RefundStatus

NOW = datetime(2026, 11, 21, tzinfo=UTC)
ORDER = uuid.UUID(int=1)


def payment(status: Status = Status.CAPTURED, provider: str = payments.WALLET, **changes) -> Payment:
    asked = Intent(ORDER, uuid.UUID(int=7), 100, "GBP", provider)
    begun = payments.begin(asked, payment_id=uuid.UUID(int=2), at=NOW)
    return replace(begun, status=status, captured_minor=100 if status is Status.CAPTURED else 0, **changes)


def asked(amount_minor: int | None = None, currency: str | None = None, **parts) -> Asked:
    return Asked(uuid.UUID(int=3), ORDER, amount_minor, currency, **parts)


def test_a_wallet_refund_is_done_at_once():
    """All that is left, where no amount is said."""
    after, refund = rules.decide(payment(refunded_minor=30), asked(), at=NOW)
    assert (100, 0, 70, RefundStatus.DONE) == (
        after.refunded_minor,
        after.refunding_minor,
        refund.amount_minor,
        refund.status,
    )


@pytest.mark.parametrize("status", [Status.CAPTURED, Status.CAPTURING])
def test_a_card_refund_is_under_way_first(status):
    """What is decided counts; finishing it twice changes nothing more."""
    after, refund = rules.decide(payment(status, provider="psp_sim"), asked(40, "GBP"), at=NOW)
    assert (0, 40, RefundStatus.IN_PROGRESS) == (after.refunded_minor, after.refunding_minor, refund.status)
    done_payment, done = rules.finish(after, refund, at=NOW)
    assert (40, 0, RefundStatus.DONE) == (done_payment.refunded_minor, done_payment.refunding_minor, done.status)
    assert (done_payment, done) == rules.finish(done_payment, done, at=NOW)


@pytest.mark.parametrize(
    ("of", "wanted", "reason"),
    [
        (payment(), asked(101, "GBP"), "REFUND_TOO_LARGE"),
        (payment(refunding_minor=60), asked(41, "GBP"), "REFUND_TOO_LARGE"),
        (payment(), asked(1, "EUR"), "REFUND_CONFLICT"),
        (payment(Status.AUTHORIZED), asked(), "PAYMENT_NOT_CAPTURED"),
        (payment(Status.VOIDED), asked(), "PAYMENT_NOT_CAPTURED"),
        (payment(Status.REFUSED, refusal_reason="X"), asked(), "PAYMENT_NOT_CAPTURED"),
    ],
)
def test_what_cannot_go_back(of, wanted, reason):
    """Each has its reason."""
    with pytest.raises(Refusal) as refusal:
        rules.decide(of, wanted, at=NOW)
    assert reason == refusal.value.reason


def test_the_same_refund_is_the_same_and_nothing_else():
    """Of what sellers sold and bear as well; one of before they were asked about is not held against anybody."""
    wanted = asked(40, "GBP", sold={"tea": 60}, borne={"tea": 30})
    _, stored = rules.decide(payment(), wanted, at=NOW)
    rules.refuse_other(stored, wanted)
    rules.refuse_other(stored, replace(wanted, currency=None))
    rules.refuse_other(replace(stored, sold=None, borne=None), wanted)
    for change in (
        {"order_id": uuid.UUID(int=9)},
        {"amount_minor": 41},
        {"amount_minor": None},
        {"currency": "EUR"},
        {"sold": {"tea": 61}},
        {"sold": {}},
        {"borne": {"tea": 31}},
        {"borne": {}},
    ):
        with pytest.raises(RefundConflict):
            rules.refuse_other(stored, replace(wanted, **change))


def test_a_refund_goes_the_way_of_the_capture_backwards():
    """To the wallet, or to what the provider owes."""
    for provider, code in ((payments.WALLET, "wallet"), ("psp_sim", "clearing.psp_sim")):
        of, refund = rules.decide(payment(provider=provider), asked(), at=NOW)
        moved = rules.transfer(of, refund)
        assert ("sales", code, 100) == (moved.debit.code, moved.credit.code, moved.amount_minor)
