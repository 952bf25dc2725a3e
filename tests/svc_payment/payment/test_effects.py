"""What follows from a change of a payment, decided without a server."""

from __future__ import annotations

import uuid

from svc_payment.ledger.rules import Outcome as LedgerOutcome
from svc_payment.payment import effects
from svc_payment.payment.effects import EventType
from svc_payment.payment.rules import Status as S
from tests.svc_payment.payment.drafts import by_wallet, card


def test_effects_of_a_wallet_payment():
    """Held, taken, or given back; each with its event, and none twice."""
    before, held = by_wallet(S.IN_PROGRESS), by_wallet(S.AUTHORIZED)
    taken, gone = by_wallet(S.CAPTURED), by_wallet(S.VOIDED)
    first = effects.of_change(None, held, transfer_id=uuid.uuid4())
    assert [True] == [each.pending for each in first.transfers]
    assert EventType.AUTHORIZED is first.event
    for after, outcome, event in (
        (taken, LedgerOutcome.POSTED, EventType.CAPTURED),
        (gone, LedgerOutcome.VOIDED, EventType.VOIDED),
    ):
        follows = effects.of_change(held, after, transfer_id=uuid.uuid4())
        assert ([outcome], event) == ([each.outcome for each in follows.resolutions], follows.event)
    refused = effects.of_change(before, by_wallet(S.REFUSED), transfer_id=uuid.uuid4())
    assert ((), (), EventType.REFUSED) == (refused.transfers, refused.resolutions, refused.event)
    assert effects.Effects() == effects.of_change(held, held, transfer_id=uuid.uuid4())


def test_effects_of_a_card_payment():
    """The ledger moves when the money is taken, not before."""
    transfer_id = uuid.uuid4()
    assert () == effects.of_change(card(S.IN_PROGRESS), card(S.AUTHORIZED), transfer_id=transfer_id).transfers
    assert effects.Effects() == effects.of_change(card(S.AUTHORIZED), card(S.CAPTURING), transfer_id=transfer_id)
    (moved,) = effects.of_change(card(S.CAPTURING), card(S.CAPTURED), transfer_id=transfer_id).transfers
    assert ("clearing.psp_sim", "sales", 100) == (moved.debit.code, moved.credit.code, moved.amount_minor)
    assert () == effects.of_change(card(S.VOIDING), card(S.VOIDED), transfer_id=transfer_id).transfers


def test_a_payment_of_nothing_moves_nothing():
    """It has its events all the same; a transfer of nothing could not even be made."""
    for make in (by_wallet, card):
        held, taken = make(S.AUTHORIZED, amount_minor=0), make(S.CAPTURED, amount_minor=0)
        for before, after, event in ((None, held, EventType.AUTHORIZED), (held, taken, EventType.CAPTURED)):
            follows = effects.of_change(before, after, transfer_id=uuid.uuid4())
            assert ((), (), event) == (follows.transfers, follows.resolutions, follows.event)


def test_a_wallet_that_was_never_held_is_given_nothing_back():
    """A void of a payment that was refused, or came too late, resolves no transfer."""
    assert () == effects.of_change(by_wallet(S.REFUSED), by_wallet(S.VOIDED), transfer_id=uuid.uuid4()).resolutions
