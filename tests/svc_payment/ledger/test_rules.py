"""What transfers do to balances, without a server."""

from __future__ import annotations

import uuid

import pytest

from svc_payment.ledger import rules
from svc_payment.ledger.rules import Delta, Outcome, Resolution, Transfer, TransferKind

ALICE, BOB = rules.wallet(uuid.UUID(int=1), "GBP"), rules.wallet(uuid.UUID(int=2), "GBP")


def transfer(amount_minor: int = 10, debit=ALICE, credit=BOB, pending: bool = False) -> Transfer:
    return Transfer(uuid.uuid4(), uuid.uuid4(), TransferKind.CREDIT, debit, credit, amount_minor, pending)


def test_an_account_is_known_by_what_it_is():
    """The id follows from owner, code and currency, and from nothing else."""
    assert ALICE.account_id == rules.wallet(uuid.UUID(int=1), "GBP").account_id
    others = [BOB, rules.wallet(uuid.UUID(int=1), "EUR"), rules.sales("GBP"), rules.clearing("psp_sim", "GBP")]
    assert 5 == len({each.account_id for each in (ALICE, *others)})


def test_deltas_are_summed_by_account():
    """Posted and pending apart."""
    changed = rules.deltas([transfer(10), transfer(5), transfer(3, pending=True)], [])
    assert Delta(posted_debits=15, pending_debits=3) == changed[ALICE]
    assert Delta(posted_credits=15, pending_credits=3) == changed[BOB]


@pytest.mark.parametrize(("outcome", "posted"), [(Outcome.POSTED, 10), (Outcome.VOIDED, 0)])
def test_a_resolution_ends_a_pending_transfer(outcome, posted):
    """Posted moves it over, voided takes it back."""
    changed = rules.deltas([], [Resolution(transfer(pending=True), outcome)])
    assert Delta(posted_debits=posted, pending_debits=-10) == changed[ALICE]
    assert Delta(posted_credits=posted, pending_credits=-10) == changed[BOB]


@pytest.mark.parametrize(
    "wrong", [{"amount_minor": 0}, {"amount_minor": -1}, {"credit": ALICE}, {"credit": rules.sales("EUR")}]
)
def test_a_transfer_that_is_none_cannot_be_made(wrong):
    """It moves more than nothing, between two accounts, in one currency."""
    with pytest.raises(ValueError, match="transfer"):
        transfer(**wrong)


def test_only_what_belongs_to_nobody_else_is_the_house():
    """It alone may stand below zero, so an account of a user must never pass for its own."""
    assert {ALICE.owner_kind, BOB.owner_kind} == {rules.OwnerKind.USER}
    house = (rules.sales("GBP"), rules.clearing("psp_sim", "GBP"), rules.imported("GBP"))
    assert {each.owner_kind for each in house} == {rules.OwnerKind.HOUSE}
    assert len({each.account_id for each in house}) == 3


def test_a_transfer_is_in_the_currency_of_its_accounts():
    """And it is posted at once unless somebody says that it is pending."""
    moved = Transfer(uuid.uuid4(), uuid.uuid4(), TransferKind.CREDIT, ALICE, BOB, 1)
    assert ("GBP", False) == (moved.currency, moved.pending)
    assert Delta(posted_debits=1) == rules.deltas([moved], [])[ALICE]
