"""What may be paid out, and how a payout ends."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from svc_payment.errors import NothingPayable, PayoutSettled
from svc_payment.ledger.rules import Outcome, OwnerKind
from svc_payment.payout import rules
from svc_payment.payout.rules import Entries, Payout, PayoutStatus, Wanted

AT = datetime(2026, 11, 1, tzinfo=UTC)
WANTED = Wanted("seller", "GBP", "2026-11")


def drawn(count: int = 2, amount: int = 900, available: int = 900) -> Payout:
    return rules.draw(uuid4(), WANTED, Entries(count, amount), available, at=AT)


def test_a_payout_sets_aside_what_its_entries_come_to():
    """Pending, out of what the seller is owed, to an account of the house."""
    made = drawn()
    assert (900, 2, PayoutStatus.PENDING) == (made.amount_minor, made.line_count, made.status)
    moves = made.transfer
    assert (made.payout_id, True, 900, None) == (moves.transfer_id, moves.pending, moves.amount_minor, moves.order_id)
    assert ("payable", "seller") == (moves.debit.code, moves.debit.seller_id)
    assert ("payouts", OwnerKind.HOUSE) == (moves.credit.code, moves.credit.owner_kind)


@pytest.mark.parametrize(("amount", "available"), [(0, 0), (0, 100), (-1, -1), (-50, 100), (101, 100)])
def test_nothing_and_more_than_there_is_are_never_paid_out(amount: int, available: int):
    """Whatever the entries say."""
    with pytest.raises(NothingPayable):
        drawn(amount=amount, available=available)


@pytest.mark.parametrize(
    ("status", "outcome"), [(PayoutStatus.PAID, Outcome.POSTED), (PayoutStatus.FAILED, Outcome.VOIDED)]
)
def test_a_payout_ends_once(status: PayoutStatus, outcome: Outcome):
    """The same end again is no end; the other one is refused."""
    later = AT + timedelta(days=2)
    ended = rules.settle(drawn(), status, "ref 7", at=later)
    assert (status, "ref 7", later) == (ended.status, ended.bank_reference, ended.settled_at)
    assert outcome is rules.resolution(ended).outcome and ended.transfer == rules.resolution(ended).transfer
    assert ended is rules.settle(ended, status, "another", at=later)
    [other] = set(rules.OUTCOMES) - {status}
    with pytest.raises(PayoutSettled):
        rules.settle(ended, other, "", at=later)
