"""What may be paid out, and how a payout ends."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from svc_payment.errors import NothingPayable, PayoutNotSent, PayoutSettled
from svc_payment.ledger.rules import Outcome, OwnerKind
from svc_payment.payout import rules
from svc_payment.payout.rules import Payout, PayoutStatus, Wanted

AT = datetime(2026, 11, 1, tzinfo=UTC)
WANTED = Wanted("seller", "GBP", "2026-11")


def drawn(available: int = 900) -> Payout:
    return rules.draw(uuid4(), WANTED, available, at=AT)


def sent() -> Payout:
    return replace(drawn(), status=PayoutStatus.SENT, batch_id=uuid4())


def test_a_payout_sets_aside_all_that_is_available():
    """Pending, out of what the seller is owed, to an account of the house."""
    made = drawn()
    assert (900, PayoutStatus.PENDING, None) == (made.amount_minor, made.status, made.batch_id)
    moves = made.transfer
    assert (made.payout_id, True, 900, None) == (moves.transfer_id, moves.pending, moves.amount_minor, moves.order_id)
    assert ("payable", "seller") == (moves.debit.code, moves.debit.seller_id)
    assert ("payouts", OwnerKind.HOUSE) == (moves.credit.code, moves.credit.owner_kind)


@pytest.mark.parametrize("available", [0, -1])
def test_nothing_and_a_debt_are_never_paid_out(available: int):
    """A debt is settled by the next release."""
    with pytest.raises(NothingPayable):
        drawn(available)


@pytest.mark.parametrize(
    ("status", "outcome"), [(PayoutStatus.PAID, Outcome.POSTED), (PayoutStatus.FAILED, Outcome.VOIDED)]
)
def test_a_payout_ends_once(status: PayoutStatus, outcome: Outcome):
    """The same end again is no end; the other one is refused."""
    later = AT + timedelta(days=2)
    ended = rules.settle(sent(), status, "ref 7", at=later)
    assert (status, "ref 7", later) == (ended.status, ended.bank_reference, ended.settled_at)
    assert outcome is rules.resolution(ended).outcome and ended.transfer == rules.resolution(ended).transfer
    assert ended is rules.settle(ended, status, "another", at=later)
    [other] = set(rules.OUTCOMES) - {status}
    with pytest.raises(PayoutSettled):
        rules.settle(ended, other, "", at=later)


def test_what_no_bank_was_told_of_can_fail_and_can_not_be_paid():
    """It is in no file then, and never will be."""
    made = drawn()
    with pytest.raises(PayoutNotSent):
        rules.settle(made, PayoutStatus.PAID, "", at=AT)
    assert PayoutStatus.FAILED is rules.settle(made, PayoutStatus.FAILED, "", at=AT).status
