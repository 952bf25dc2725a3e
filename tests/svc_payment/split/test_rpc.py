"""The split of orders over the real chain, on real Postgres; the ledger is audited after every test."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from uuid import uuid4

import grpc
import pytest

from mesh.seams import failpoints
from svc_payment.ledger import audit
from tests.harness import as_user, reason_of
from tests.svc_payment.asking import authorized, captured
from tests.svc_payment.conftest import by_card, by_wallet, reason_in, refund_of, shares_of
from titan.payment.v1 import ledger_service_pb2, split_pb2
from titan.payment.v1 import split_service_pb2 as pb

FINANCE = as_user(roles=("finance",))
POOL_SIZE = 10
"""How many connections the package has here."""


@pytest.fixture
def seller() -> str:
    """A seller of its own for each test."""
    return f"seller_{uuid4().hex[:8]}"


async def given_captured(till, amount_minor: int) -> str:
    """Return an order whose money was taken out of a wallet."""
    intent = by_wallet(await till.given_wallet(amount_minor), amount_minor)
    await till.authorize(intent)
    (taken,) = await till.capture(intent.order_id)
    assert taken.done
    return intent.order_id


async def book(till) -> dict[str, int]:
    """Return what the house's accounts stand at, by code."""
    request = ledger_service_pb2.GetTrialBalanceRequest()
    found = await till.stubs.ledger.GetTrialBalance(request, metadata=FINANCE)
    assert found.balanced
    return {line.code: line.sums.balance.minor_units for line in found.lines}


async def deadlocks(db) -> int:
    """Return how many circles Postgres has broken in this database; each of its sessions tells what it knows first."""
    async with AsyncExitStack() as stack:
        sessions = [await stack.enter_async_context(db.hot_read()) for _ in range(POOL_SIZE)]
        for each in sessions:
            await each.execute("SELECT pg_stat_force_next_flush()")
        count: int = await sessions[0].fetchval(
            "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        )
    return count


async def shares(till, seller_id: str, who=FINANCE, **page) -> pb.ListSellerSharesResponse:
    request = pb.ListSellerSharesRequest(seller_id=seller_id, **page)
    return await till.stubs.splits.ListSellerShares(request, metadata=who)


async def test_escrow_until_the_parcel_arrives_then_the_fee_and_the_rest(till, seller):
    """Asked again at any point, nothing moves."""
    order_id, before = await given_captured(till, 1500), await book(till)
    for _ in range(2):
        assert "" == await till.hold(order_id, **{seller: 999})
    assert (999, 0) == await till.balance(seller)
    for _ in range(2):
        assert "" == await till.release(order_id, **{seller: 999})
    assert "" == await till.hold(order_id, **{seller: 999})
    assert (0, 900) == await till.balance(seller)
    after = await book(till)
    assert (99, -999) == (after["fees"] - before.get("fees", 0), after["sales"] - before["sales"])
    (share,) = (await shares(till, seller)).shares
    assert (order_id, split_pb2.SELLER_SHARE_STATUS_RELEASED) == (share.order_id, share.status)
    assert (999, 0, 1000, 99, 900) == (
        share.sold.minor_units,
        share.refunded.minor_units,
        share.fee_basis_points,
        share.fee.minor_units,
        share.payable.minor_units,
    )


async def test_a_release_that_comes_first_holds_on_its_way(till, seller):
    order_id = await given_captured(till, 1000)
    assert "" == await till.release(order_id, **{seller: 1000})
    assert (0, 900) == await till.balance(seller)


async def test_a_refund_comes_out_of_escrow_and_later_out_of_what_the_seller_is_owed(till, seller):
    """With its part of the fee; the same refund again takes nothing again."""
    order_id, sold = await given_captured(till, 2000), {seller: 1000}
    await till.hold(order_id, **sold)
    first = refund_of(order_id, 300, sold=sold, borne={seller: 250})
    for _ in range(2):
        (result,) = await till.refund(first)
        assert "" == reason_in(result)
    assert (750, 0) == await till.balance(seller)
    await till.release(order_id, **sold)
    assert (0, 675) == await till.balance(seller)
    await till.refund(refund_of(order_id, 500, sold=sold, borne={seller: 500}))
    assert (0, 225) == await till.balance(seller)
    await till.refund(refund_of(order_id))
    assert (0, 0) == await till.balance(seller)
    (share,) = (await shares(till, seller)).shares
    assert (1000, 0) == (share.refunded.minor_units, share.fee.minor_units)


async def test_two_refunds_of_one_order_in_one_call_are_both_borne(till, seller):
    order_id, sold = await given_captured(till, 1000), {seller: 1000}
    await till.hold(order_id, **sold)
    intents = [refund_of(order_id, minor, sold=sold, borne={seller: minor}) for minor in (100, 200)]
    assert ["", ""] == [reason_in(each) for each in await till.refund(*intents)]
    assert (700, 0) == await till.balance(seller)


async def test_what_was_refunded_before_anything_was_held_never_comes_into_escrow(till, seller):
    """As where a customer cancels before the saga got that far."""
    order_id = await given_captured(till, 1000)
    await till.refund(refund_of(order_id))
    assert "" == await till.hold(order_id, **{seller: 600})
    assert (0, 0) == await till.balance(seller)


async def test_a_refund_holds_nothing(till, seller):
    """The parcel may have arrived before anything was split, and then nobody would release it: the house bears it."""
    order_id, before = await given_captured(till, 1000), await book(till)
    for _ in range(2):
        (result,) = await till.refund(refund_of(order_id, 300, sold={seller: 600}, borne={seller: 300}))
        assert "" == reason_in(result)
    assert -600 == (await book(till))["sales"] - before["sales"]
    balance = pb.GetSellerBalanceRequest(seller_id=seller)
    assert "ACCOUNT_NOT_FOUND" == await refused(till.stubs.splits.GetSellerBalance(balance, metadata=FINANCE))


async def test_what_was_borne_before_comes_off_what_is_held(till, seller):
    """By who was said to bear it, also where a parcel arrives that was paid before anything was split."""
    for step in (till.hold, till.release):
        order_id, name = await given_captured(till, 1000), f"{seller}_{step.__name__}"
        await till.refund(refund_of(order_id, 200, sold={name: 600}, borne={name: 200}))
        await till.refund(refund_of(order_id, 200, sold={name: 600}, borne={name: 0}))
        assert "" == await step(order_id, **{name: 600})
        assert ((400, 0) if step == till.hold else (0, 360)) == await till.balance(name)


async def test_what_is_not_captured_yet_can_go_back_before_it_is_held(till, seller, provider, honest):
    """A refund is decided while the provider still captures, whoever sold the goods; the hold comes after that."""
    intent, sold = by_card(1000), {seller: 1000}
    await authorized(till, intent)
    provider.hold["capture"] = asyncio.Event()
    await till.capture(intent.order_id)
    (result,) = await till.refund(refund_of(intent.order_id, 400, sold=sold, borne={seller: 400}))
    assert "" == reason_in(result)
    assert "PAYMENT_NOT_CAPTURED" == await till.hold(intent.order_id, **sold)
    provider.hold["capture"].set()
    await captured(till, intent.order_id)
    assert "" == await till.hold(intent.order_id, **sold)
    assert (600, 0) == await till.balance(seller)


async def test_a_card_refund_is_borne_when_it_is_decided(till, seller, provider, honest):
    """The provider may take its time; meanwhile the money is nobody's to be released."""
    intent = by_card(1000)
    await authorized(till, intent)
    await captured(till, intent.order_id)
    await till.hold(intent.order_id, **{seller: 1000})
    provider.hold["refund"] = asyncio.Event()
    await till.refund(refund_of(intent.order_id, 400, sold={seller: 1000}, borne={seller: 400}))
    assert (600, 0) == await till.balance(seller)
    provider.hold["refund"].set()
    await till.release(intent.order_id, **{seller: 1000})
    assert (0, 540) == await till.balance(seller)


async def test_a_batch_answers_each_order_alone(till, seller):
    """One that was never paid, one that is only authorized, one that is split otherwise, and one that is well."""
    fine, other = await given_captured(till, 100), await given_captured(till, 100)
    await till.hold(other, **{seller: 60})
    waiting = by_wallet(await till.given_wallet(100), 100)
    await till.authorize(waiting)
    orders = [shares_of(each, **{seller: 50}) for each in (str(uuid4()), waiting.order_id, other, fine, fine)]
    request = pb.BatchHoldSharesRequest(orders=[*orders, shares_of(fine, **{seller: 101})])
    found = await till.stubs.splits.BatchHoldShares(request, metadata=till.order)
    assert [
        "PAYMENT_NOT_FOUND",
        "PAYMENT_NOT_CAPTURED",
        "SHARES_CONFLICT",
        "",
        "",
        "SHARES_CONFLICT",
    ] == [reason_in(each) for each in found.results]
    assert (110, 0) == await till.balance(seller)
    (result,) = await till.refund(refund_of(other, 10, sold={seller: 50}, borne={seller: 10}))
    assert "SHARES_CONFLICT" == reason_in(result)
    assert (110, 0) == await till.balance(seller)


async def test_a_seller_that_stands_twice_is_refused(till, seller):
    order = shares_of(str(uuid4()), **{seller: 1})
    order.sold.append(order.sold[0])
    for call, request in (
        (till.stubs.splits.BatchHoldShares, pb.BatchHoldSharesRequest(orders=[order])),
        (till.stubs.splits.BatchReleaseShares, pb.BatchReleaseSharesRequest(orders=[order])),
    ):
        assert "INVALID_INPUT" == await refused(call(request, metadata=till.order))


async def test_a_refund_names_each_seller_once(till, seller):
    """What is wrong with one does not fail its neighbours."""
    order_id = await given_captured(till, 100)
    twice = refund_of(order_id, 10, sold={seller: 100})
    twice.borne.extend([*twice.sold, *twice.sold])
    results = await till.refund(twice, refund_of(order_id, 10))
    assert ["INVALID_INPUT", ""] == [reason_in(each) for each in results]


async def test_the_house_is_no_seller_of_others(till):
    """Its money is in no escrow."""
    request = pb.BatchHoldSharesRequest(orders=[shares_of(str(uuid4()), house=1)])
    assert "INVALID_INPUT" == await refused(till.stubs.splits.BatchHoldShares(request, metadata=till.order))


async def test_many_at_once_hold_release_and_refund_one_seller_without_a_penny_astray(till, seller, db):
    """They lock in one order, so none waits for another in a circle; a circle would be broken, and tried again."""
    orders = [await given_captured(till, 100) for _ in range(12)]
    circles = await deadlocks(db)
    steps = [till.hold(each, **{seller: 100}) for each in orders]
    steps += [till.release(each, **{seller: 100}) for each in orders]
    await asyncio.gather(*steps, *(till.refund(refund_of(each, 50, sold={seller: 100})) for each in orders))
    assert (0, 12 * 45) == await till.balance(seller)
    assert circles == await deadlocks(db)


@pytest.mark.parametrize("place", ["after_lock", "before_commit", "after_commit"])
async def test_a_step_that_dies_is_done_once_when_it_is_asked_again(till, seller, place):
    order_id = await given_captured(till, 1000)
    failpoints.arm(f"payment.split.{place}", "raise*1")
    with pytest.raises(grpc.aio.AioRpcError):
        await till.hold(order_id, **{seller: 1000})
    assert "" == await till.hold(order_id, **{seller: 1000})
    assert (1000, 0) == await till.balance(seller)


async def test_the_audit_finds_a_share_that_the_ledger_does_not_know(till, seller, db):
    """Escrow, what sellers are owed and fees are what the shares say, or somebody hears of it."""
    order_id = await given_captured(till, 1000)
    await till.hold(order_id, **{seller: 1000})
    change = "UPDATE seller_shares SET refunded_minor = $2 WHERE seller_id = $1"
    async with db.hot() as tx:
        await tx.execute(change, seller, 1)
    assert [f"escrow of {seller}: the shares of orders and the ledger differ"] == (await audit.verify(db)).problems
    async with db.hot() as tx:
        await tx.execute(change, seller, 0)


async def test_a_seller_reads_its_own_and_nobody_elses(till):
    """The seller of a product is the user with the role; finance and admin read any, customers none."""
    user = uuid4()
    mine, other = str(user), str(uuid4())
    for seller_id in (mine, mine, mine, other):
        await till.hold(await given_captured(till, 100), **{seller_id: 100})
    me = as_user(user, roles=("seller",))
    balance = till.stubs.splits.GetSellerBalance
    request = pb.GetSellerBalanceRequest(seller_id=mine)
    assert (await balance(request, metadata=me)) == (await balance(request, metadata=as_user(roles=("admin",))))
    page = await shares(till, mine, me, page_size=2)
    rest = await shares(till, mine, me, page_size=2, page_token=page.next_page_token)
    ids = [each.order_id for each in (*page.shares, *rest.shares)]
    assert 3 == len(ids) and sorted(ids, reverse=True) == ids and not rest.next_page_token
    for seller_id in (other, "nobody"):
        request = pb.GetSellerBalanceRequest(seller_id=seller_id)
        assert "ACCOUNT_NOT_FOUND" == await refused(balance(request, metadata=me))
        assert "ACCOUNT_NOT_FOUND" == await refused(shares(till, seller_id, me))
    assert "ACCOUNT_NOT_FOUND" == await refused(
        balance(pb.GetSellerBalanceRequest(seller_id="nobody"), metadata=FINANCE)
    )
    for who in (as_user(user), as_user(roles=("support",))):
        assert "ACCESS_DENIED" == await refused(balance(request, metadata=who))
        assert "ACCESS_DENIED" == await refused(shares(till, mine, who))
    assert "PAGE_TOKEN_INVALID" == await refused(shares(till, other, page_token=page.next_page_token))


async def refused(call) -> str:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call
    return reason_of(error.value)
