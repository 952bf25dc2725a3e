"""Balances made again from the ledger."""

from __future__ import annotations

import pytest

from mesh import projections
from svc_payment.ledger import rules
from svc_payment.ledger.projection import BALANCES
from tests.svc_payment.conftest import by_wallet, refund_of


@pytest.fixture
async def keeper(db):
    connection = await db.connect_alone("rebuild")
    yield connection
    await connection.close()


async def test_wallets_that_are_made_again_hold_what_they_held(till, keeper, honest):
    """Credits, top-ups, what is pending, captured, voided and refunded, and the count of a wallet's events."""
    user = await till.given_wallet(1000)
    await till.top_up(user, 500)
    intents = [by_wallet(user, 100) for _ in range(3)]
    await till.authorize(*intents)
    await till.capture(intents[0].order_id)
    await till.void(intents[1].order_id)
    await till.refund(refund_of(intents[0].order_id, 30))
    before = await till.wallet(user)
    outcome = await projections.rebuild(keeper, BALANCES)
    assert outcome.same, outcome.differences
    assert (1330, 100) == before == await till.wallet(user)
    await till.credit([(user, 1)])
    assert (await projections.compare(keeper, BALANCES)).same


async def test_a_balance_that_was_tampered_with_is_found_and_made_again(till, keeper, db):
    """Money from nowhere, and a burnt event number."""
    user = await till.given_wallet(1000)
    account = rules.wallet(user, "GBP").account_id
    async with db.hot() as tx:
        await tx.execute(
            "UPDATE balances SET posted_credits = posted_credits + 1, events = events + 1 WHERE account_id = $1",
            account,
        )
    wrong = (f"balances {account}: events, posted_credits differ from the journal",)
    assert wrong == (await projections.compare(keeper, BALANCES)).differences
    assert wrong == (await projections.rebuild(keeper, BALANCES)).differences
    assert (1000, 0) == await till.wallet(user)
