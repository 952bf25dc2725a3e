"""Refunds: never above what was captured, once per refund id, through the wallet at once or the provider after it."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest

from mesh.seams import failpoints
from tests.svc_payment.asking import authorized, captured, end_leases, until
from tests.svc_payment.conftest import by_card, by_wallet, reason_in, refund_of
from titan.payment.v1 import payment_pb2, refund_pb2

pytestmark = pytest.mark.usefixtures("honest")

DONE = refund_pb2.REFUND_STATUS_DONE
IN_PROGRESS = refund_pb2.REFUND_STATUS_IN_PROGRESS
REFUNDED = payment_pb2.PAYMENT_STATUS_REFUNDED
PARTIALLY_REFUNDED = payment_pb2.PAYMENT_STATUS_PARTIALLY_REFUNDED


async def given_wallet_order(till, amount_minor: int):
    user = await till.given_wallet(amount_minor)
    intent = by_wallet(user, amount_minor)
    await till.authorize(intent)
    await till.capture(intent.order_id)
    return user, intent.order_id


async def given_card_order(till, amount_minor: int):
    intent = by_card(amount_minor)
    held = await authorized(till, intent)
    await captured(till, intent.order_id)
    return held.payment_id, intent.order_id


async def refunded(till, intent):
    async def ask():
        return (await till.refund(intent))[0]

    return await until(ask, lambda result: result.status == DONE)


async def test_a_wallet_gets_its_money_back_at_once(till):
    """Without an amount, all of it."""
    user, order_id = await given_wallet_order(till, 900)
    (result,) = await till.refund(refund_of(order_id))
    assert (DONE, 900, REFUNDED) == (result.status, result.amount.minor_units, result.payment_status)
    assert (900, 0) == await till.wallet(user)


async def test_the_same_refund_moves_nothing_twice(till):
    """Known by refund id, one after the other or at once."""
    user, order_id = await given_wallet_order(till, 900)
    intent = refund_of(order_id, 300)
    answers = await asyncio.gather(*(till.refund(intent) for _ in range(10)))
    assert 1 == len({each[0].SerializeToString() for each in answers})
    assert PARTIALLY_REFUNDED == answers[0][0].payment_status
    assert (300, 0) == await till.wallet(user)


async def test_parts_add_up_to_the_capture_and_no_further(till):
    """REFUND_TOO_LARGE; what is left without an amount is the rest."""
    user, order_id = await given_wallet_order(till, 900)
    first, large, rest = await till.refund(refund_of(order_id, 500), refund_of(order_id, 401), refund_of(order_id))
    assert ["", "REFUND_TOO_LARGE", ""] == [reason_in(each) for each in (first, large, rest)]
    assert (400, REFUNDED) == (rest.amount.minor_units, rest.payment_status)
    assert (900, 0) == await till.wallet(user)


async def test_refunds_at_once_never_exceed_the_capture(till):
    """However they meet."""
    user, order_id = await given_wallet_order(till, 900)
    answers = await asyncio.gather(*(till.refund(refund_of(order_id, 200)) for _ in range(10)))
    assert 4 == sum(reason_in(each[0]) == "" for each in answers)
    assert (800, 0) == await till.wallet(user)


async def test_the_same_refund_id_for_something_else_is_a_conflict(till):
    """REFUND_CONFLICT for another amount, currency or order, or other sellers."""
    _, order_id = await given_wallet_order(till, 900)
    _, other = await given_wallet_order(till, 900)
    intent = refund_of(order_id, 100)
    await till.refund(intent)
    results = await till.refund(
        refund_of(order_id, 101, refund_id=intent.refund_id),
        refund_of(order_id, refund_id=intent.refund_id),
        refund_of(other, 100, refund_id=intent.refund_id),
        refund_of(order_id, 100, refund_id=intent.refund_id, currency="EUR"),
        refund_of(order_id, 100, currency="EUR"),
        refund_of(order_id, 100, refund_id=intent.refund_id, sold={"tea": 100}),
        refund_of(order_id, 100, refund_id=intent.refund_id, borne={"tea": 100}),
    )
    assert ["REFUND_CONFLICT"] * 7 == [reason_in(each) for each in results]


async def test_only_captured_money_goes_back(till):
    """PAYMENT_NOT_FOUND, PAYMENT_NOT_CAPTURED, and INVALID_INPUT for nothing."""
    user = await till.given_wallet(100)
    held = by_wallet(user, 100)
    await till.authorize(held)
    unknown, open_one, nothing = await till.refund(
        refund_of(str(uuid4())), refund_of(held.order_id), refund_of(held.order_id, 0)
    )
    reasons = [reason_in(each) for each in (unknown, open_one, nothing)]
    assert ["PAYMENT_NOT_FOUND", "PAYMENT_NOT_CAPTURED", "INVALID_INPUT"] == reasons


async def test_an_order_of_nothing_is_refunded_with_nothing(till):
    """A saga that unwinds a free order gets its answer."""
    _, order_id = str(uuid4()), str(uuid4())
    intent = by_wallet(uuid4(), 0, order_id=order_id)
    await till.authorize(intent)
    await till.capture(order_id)
    assert [(DONE, 0)] == [(each.status, each.amount.minor_units) for each in await till.refund(refund_of(order_id))]


async def test_a_card_is_refunded_by_its_provider(till, provider):
    """IN_PROGRESS at once, DONE when the provider gave it back."""
    payment_id, order_id = await given_card_order(till, 900)
    intent = refund_of(order_id, 200)
    (result,) = await till.refund(intent)
    assert (IN_PROGRESS, 200) == (result.status, result.amount.minor_units)
    assert PARTIALLY_REFUNDED == (await refunded(till, intent)).payment_status
    assert 200 == provider.payments[payment_id].refunded_minor


async def test_card_refunds_on_their_way_count(till, provider):
    """What is decided cannot be decided again, although the provider has not done it."""
    _, order_id = await given_card_order(till, 900)
    provider.hold["refund"] = asyncio.Event()
    first, second = await till.refund(refund_of(order_id, 500), refund_of(order_id, 500))
    assert ["", "REFUND_TOO_LARGE"] == [reason_in(first), reason_in(second)]


async def test_a_lost_reply_refunds_once(till, provider):
    """The refund id is the provider's too."""
    payment_id, order_id = await given_card_order(till, 900)
    provider.lose["refund"] = 1
    await refunded(till, refund_of(order_id))
    assert 900 == provider.payments[payment_id].refunded_minor


async def test_a_crash_after_the_provider_refunded_refunds_once(till, provider, db):
    """The sweeper asks again under the same id."""
    payment_id, order_id = await given_card_order(till, 900)
    failpoints.arm("payment.refund.after_call", "raise*1")
    intent = refund_of(order_id)
    await till.refund(intent)
    await asyncio.sleep(0.2)
    await end_leases(db)
    assert REFUNDED == (await refunded(till, intent)).payment_status
    assert 900 == provider.payments[payment_id].refunded_minor


async def test_a_refund_waits_for_a_capture_that_is_under_way(till, provider):
    """Decided while the provider still captures; done after it."""
    intent = by_card(900)
    held = await authorized(till, intent)
    provider.hold["capture"] = asyncio.Event()
    await till.capture(intent.order_id)
    back = refund_of(intent.order_id)
    assert [IN_PROGRESS] == [each.status for each in await till.refund(back)]
    provider.hold["capture"].set()
    await refunded(till, back)
    stored = provider.payments[held.payment_id]
    assert (900, 900) == (stored.captured_minor, stored.refunded_minor)


async def test_events_of_refunds_have_no_gap(till, db):
    """Several refunds in one call each have their own version."""
    _, order_id = await given_wallet_order(till, 900)
    await till.refund(refund_of(order_id, 100), refund_of(order_id, 200), refund_of(order_id, 300))
    async with db.hot_read() as connection:
        rows = await connection.fetch(
            "SELECT version, type FROM outbox WHERE aggregate_id ="
            " (SELECT payment_id::text FROM payments WHERE order_id = $1) ORDER BY seq",
            order_id,
        )
    types = [row["type"].rpartition(".")[2] for row in rows]
    assert [1, 2, 3, 4, 5] == [row["version"] for row in rows]
    assert ["PaymentAuthorized", "PaymentCaptured", *["PaymentRefunded"] * 3] == types
