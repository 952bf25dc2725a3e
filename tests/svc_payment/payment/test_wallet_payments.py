"""Payments of orders from wallets, on a real Postgres behind the real chain."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import grpc
import pytest

from mesh.seams import failpoints
from tests.harness import as_service, as_user, reason_of
from tests.svc_payment.conftest import by_wallet, reason_in
from titan.payment.v1 import payment_pb2, payment_service_pb2

AUTHORIZED = payment_pb2.PAYMENT_STATUS_AUTHORIZED
CAPTURED = payment_pb2.PAYMENT_STATUS_CAPTURED
REFUSED = payment_pb2.PAYMENT_STATUS_REFUSED
VOIDED = payment_pb2.PAYMENT_STATUS_VOIDED


async def test_a_wallet_order_is_authorized_and_captured(till):
    """The money is held first and taken later; the wallet shows both."""
    user = await till.given_wallet(1000)
    intent = by_wallet(user, 300)

    (held,) = await till.authorize(intent)
    assert (AUTHORIZED, intent.order_id) == (held.status, held.order_id)
    assert (700, 300) == await till.wallet(user)

    (taken,) = await till.capture(intent.order_id)
    assert (CAPTURED, True) == (taken.status, taken.done)
    assert (700, 0) == await till.wallet(user)


async def test_authorizing_again_answers_where_the_payment_stands(till):
    """The same order asked twice holds the money once."""
    user = await till.given_wallet(1000)
    intent = by_wallet(user, 300)

    (first,) = await till.authorize(intent)
    (again,) = await till.authorize(intent)
    twice = await till.authorize(intent, intent)

    assert first == again == twice[0] == twice[1]
    assert (700, 300) == await till.wallet(user)
    await till.capture(intent.order_id)
    assert [CAPTURED] == [each.status for each in await till.authorize(intent)]


async def test_a_wallet_that_holds_too_little_is_refused_for_good(till):
    """INSUFFICIENT_FUNDS is stored: money that comes later does not change the answer."""
    user = await till.given_wallet(100)
    intent = by_wallet(user, 300)

    (refused,) = await till.authorize(intent)
    await till.credit([(user, 1000)])
    (again,) = await till.authorize(intent)

    assert (REFUSED, "INSUFFICIENT_FUNDS") == (refused.status, reason_in(refused))
    assert refused == again
    assert (1100, 0) == await till.wallet(user)


async def test_a_user_without_a_wallet_is_refused(till):
    """Somebody who never paid in has nothing."""
    (refused,) = await till.authorize(by_wallet(uuid4(), 1))
    assert "INSUFFICIENT_FUNDS" == reason_in(refused)


async def test_an_order_of_nothing_needs_no_money(till):
    """A total of zero is authorized, captured and moves nothing."""
    intent = by_wallet(uuid4(), 0)
    assert [AUTHORIZED] == [each.status for each in await till.authorize(intent)]
    assert [(CAPTURED, True)] == [(each.status, each.done) for each in await till.capture(intent.order_id)]


async def test_a_batch_is_decided_in_arrival_order(till):
    """What came first gets the money; a refused item does not stand in the way of a smaller one behind it."""
    user = await till.given_wallet(1000)
    results = await till.authorize(by_wallet(user, 800), by_wallet(user, 800), by_wallet(user, 200))
    assert [AUTHORIZED, REFUSED, AUTHORIZED] == [each.status for each in results]
    assert (0, 1000) == await till.wallet(user)


async def test_fifty_orders_at_once_never_overdraw_a_wallet(till):
    """However the calls meet, exactly what the wallet holds is given away."""
    user = await till.given_wallet(1000)
    answers = await asyncio.gather(*(till.authorize(by_wallet(user, 100)) for _ in range(50)))
    assert 10 == sum(each[0].status == AUTHORIZED for each in answers)
    assert (0, 1000) == await till.wallet(user)


async def test_the_same_order_authorized_at_once_holds_the_money_once(till):
    """Twins wait for each other on the order's row."""
    user = await till.given_wallet(1000)
    intent = by_wallet(user, 100)
    answers = await asyncio.gather(*(till.authorize(intent) for _ in range(10)))
    assert 1 == len({each[0].SerializeToString() for each in answers})
    assert (900, 100) == await till.wallet(user)


async def test_other_content_for_the_same_order_is_a_conflict(till):
    """A participant keeps a fingerprint of what it was asked; the answer to anything else claims no money."""
    user = await till.given_wallet(1000)
    intent = by_wallet(user, 100)
    await till.authorize(intent)

    (dearer,) = await till.authorize(by_wallet(user, 101, order_id=intent.order_id))
    (stranger,) = await till.authorize(by_wallet(uuid4(), 100, order_id=intent.order_id))

    assert ["PAYMENT_CONFLICT"] * 2 == [reason_in(dearer), reason_in(stranger)]
    assert REFUSED == dearer.status
    assert (900, 100) == await till.wallet(user)


async def test_another_currency_is_refused_and_its_neighbours_are_not(till):
    """One item of a batch never fails the others."""
    user = await till.given_wallet(1000)
    bad, good = await till.authorize(by_wallet(user, 100, currency="EUR"), by_wallet(user, 100))
    assert ["CURRENCY_NOT_SUPPORTED", ""] == [reason_in(bad), reason_in(good)]


async def test_a_negative_amount_is_refused(till):
    """No order pays its customer."""
    (bad,) = await till.authorize(by_wallet(uuid4(), -1))
    assert "INVALID_INPUT" == reason_in(bad)


async def test_void_gives_the_money_back_and_stays(till):
    """A voided order is never authorized or captured again."""
    user = await till.given_wallet(1000)
    intent = by_wallet(user, 400)
    await till.authorize(intent)

    (voided,) = await till.void(intent.order_id)
    (again,) = await till.void(intent.order_id)

    assert (VOIDED, True) == (voided.status, voided.done)
    assert voided == again
    assert (1000, 0) == await till.wallet(user)
    assert ["PAYMENT_VOIDED"] == [reason_in(each) for each in await till.authorize(intent)]
    assert ["PAYMENT_VOIDED"] == [reason_in(each) for each in await till.capture(intent.order_id)]


async def test_a_void_that_comes_before_the_authorize_wins(till):
    """The tombstone refuses what arrives late."""
    user = await till.given_wallet(1000)
    intent = by_wallet(user, 400)

    (voided,) = await till.void(intent.order_id)
    (late,) = await till.authorize(intent)

    assert (VOIDED, True, "") == (voided.status, voided.done, reason_in(voided))
    assert (VOIDED, "PAYMENT_VOIDED") == (late.status, reason_in(late))
    assert (1000, 0) == await till.wallet(user)


async def test_void_against_authorize_ends_the_same_whoever_is_first(till):
    """After both, nothing is held, and authorizing again is refused."""
    user = await till.given_wallet(10_000)
    intents = [by_wallet(user, 100) for _ in range(20)]
    races = [call for intent in intents for call in (till.authorize(intent), till.void(intent.order_id))]
    await asyncio.gather(*races)
    assert (10_000, 0) == await till.wallet(user)
    assert {"PAYMENT_VOIDED"} == {reason_in(each) for each in await till.authorize(*intents)}


async def test_capturing_at_once_takes_the_money_once(till):
    """Captures of one order wait for each other; all give the same answer."""
    user = await till.given_wallet(1000)
    intent = by_wallet(user, 100)
    await till.authorize(intent)
    answers = await asyncio.gather(*(till.capture(intent.order_id) for _ in range(10)))
    assert {(CAPTURED, True)} == {(each[0].status, each[0].done) for each in answers}
    assert (900, 0) == await till.wallet(user)


async def test_void_after_capture_says_to_refund(till):
    """PAYMENT_CAPTURED: the money was taken."""
    user = await till.given_wallet(1000)
    intent = by_wallet(user, 100)
    await till.authorize(intent)
    await till.capture(intent.order_id)
    (result,) = await till.void(intent.order_id)
    assert ("PAYMENT_CAPTURED", CAPTURED, False) == (reason_in(result), result.status, result.done)


async def test_capture_of_what_is_not_held_is_refused(till):
    """PAYMENT_NOT_FOUND for an order that never came, PAYMENT_NOT_AUTHORIZED for one that was refused."""
    refused = by_wallet(uuid4(), 100)
    await till.authorize(refused)
    unknown, known = await till.capture(str(uuid4()), refused.order_id)
    assert ["PAYMENT_NOT_FOUND", "PAYMENT_NOT_AUTHORIZED"] == [reason_in(unknown), reason_in(known)]


async def test_void_of_a_refused_payment_is_done(till):
    """Nothing is held, so nothing is left to do."""
    intent = by_wallet(uuid4(), 100)
    await till.authorize(intent)
    (result,) = await till.void(intent.order_id)
    assert (REFUSED, True, "") == (result.status, result.done, reason_in(result))


@pytest.mark.parametrize("place", ["after_claim", "after_lock", "before_commit"])
async def test_an_authorize_that_dies_before_its_commit_leaves_nothing(till, place):
    """The same call again starts afresh."""
    user = await till.given_wallet(1000)
    intent = by_wallet(user, 100)
    failpoints.arm(f"payment.authorize.{place}", "raise*1")
    with pytest.raises(grpc.aio.AioRpcError) as problem:
        await till.authorize(intent)
    assert grpc.StatusCode.INTERNAL is problem.value.code()
    assert (1000, 0) == await till.wallet(user)
    assert [AUTHORIZED] == [each.status for each in await till.authorize(intent)]


@pytest.mark.parametrize(
    "place",
    [
        "authorize.after_commit",
        "capture.after_lock",
        "capture.before_commit",
        "capture.after_commit",
        "void.after_claim",
        "void.before_commit",
        "void.after_commit",
    ],
)
async def test_a_step_that_dies_is_repeated_with_one_effect(till, place):
    """Before its commit or after it: the repeated call ends where the first one would have."""
    user = await till.given_wallet(1000)
    intent = by_wallet(user, 100)
    step = place.partition(".")[0]
    calls = {
        "authorize": lambda: till.authorize(intent),
        "capture": lambda: till.capture(intent.order_id),
        "void": lambda: till.void(intent.order_id),
    }
    if step != "authorize":
        await till.authorize(intent)
    failpoints.arm(f"payment.{place}", "raise*1")
    with pytest.raises(grpc.aio.AioRpcError):
        await calls[step]()
    (result,) = await calls[step]()
    assert {"authorize": AUTHORIZED, "capture": CAPTURED, "void": VOIDED}[step] == result.status
    assert {"authorize": (900, 100), "capture": (900, 0), "void": (1000, 0)}[step] == await till.wallet(user)


async def test_only_the_packages_of_the_topology_may_ask(till, stubs):
    """A user, the edge and a strange package are turned away."""
    request = payment_service_pb2.BatchVoidRequest(order_ids=[str(uuid4())])
    for who in (as_user(), as_service("edge_http"), as_service("svc_cart")):
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await stubs.payments.BatchVoid(request, metadata=who)
        assert "ACCESS_DENIED" == reason_of(refusal.value)


async def test_get_payment_shows_the_owner_their_payment(till, stubs):
    """Somebody else's payment does not exist for them."""
    user = await till.given_wallet(1000)
    intent = by_wallet(user, 250)
    (held,) = await till.authorize(intent)
    request = payment_service_pb2.GetPaymentRequest(payment_id=held.payment_id)

    shown = (await stubs.payments.GetPayment(request, metadata=as_user(user))).payment
    assert (intent.order_id, 250, AUTHORIZED, "wallet") == (
        shown.order_id,
        shown.amount.minor_units,
        shown.status,
        shown.provider,
    )
    for who, which in ((uuid4(), held.payment_id), (user, str(uuid4()))):
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await stubs.payments.GetPayment(
                payment_service_pb2.GetPaymentRequest(payment_id=which), metadata=as_user(who)
            )
        assert "PAYMENT_NOT_FOUND" == reason_of(refusal.value)


async def test_events_tell_the_whole_life_without_a_gap(till, db):
    """One event per version: authorized, captured; and refused, voided for others."""
    user = await till.given_wallet(1000)
    kept, dropped, refused = by_wallet(user, 100), by_wallet(user, 100), by_wallet(user, 5000)
    held = await till.authorize(kept, dropped, refused)
    await till.capture(kept.order_id)
    await till.void(dropped.order_id)

    async with db.hot_read() as connection:
        rows = await connection.fetch(
            "SELECT aggregate_id, version, type FROM outbox WHERE aggregate_id = ANY($1::text[]) ORDER BY seq",
            [each.payment_id for each in held],
        )
    told = {each.payment_id: [] for each in held}
    for row in rows:
        told[row["aggregate_id"]].append((row["version"], row["type"].rpartition(".")[2]))
    assert [(1, "PaymentAuthorized"), (2, "PaymentCaptured")] == told[held[0].payment_id]
    assert [(1, "PaymentAuthorized"), (2, "PaymentVoided")] == told[held[1].payment_id]
    assert [(1, "PaymentRefused")] == told[held[2].payment_id]
