"""Payouts over the real chain, on real Postgres; the ledger is audited after every test."""

from __future__ import annotations

import asyncio
from csv import DictReader
from typing import Any
from uuid import uuid4

import asyncpg
import grpc
import pytest

from mesh import projections
from mesh.seams import failpoints
from svc_payment.ledger import audit
from svc_payment.ledger.projection import BALANCES
from tests.harness import as_user, reason_of
from tests.svc_payment.conftest import by_wallet, refund_of
from titan.payment.v1 import payout_pb2, split_service_pb2
from titan.payment.v1 import payout_service_pb2 as pb

FINANCE = as_user(roles=("finance",))
PENDING, PAID, FAILED = payout_pb2.PAYOUT_STATUS_PENDING, payout_pb2.PAYOUT_STATUS_PAID, payout_pb2.PAYOUT_STATUS_FAILED
MONTH = "2026-11"


@pytest.fixture
def seller() -> str:
    """A seller of its own for each test."""
    return f"seller_{uuid4().hex[:8]}"


async def sold(till: Any, seller_id: str, amount_minor: int = 1000) -> str:
    """Return an order of a seller that was paid and has arrived: nine tenths of it are the seller's."""
    intent = by_wallet(await till.given_wallet(amount_minor), amount_minor)
    await till.authorize(intent)
    await till.capture(intent.order_id)
    assert "" == await till.release(intent.order_id, **{seller_id: amount_minor})
    return intent.order_id


async def pay_out(till: Any, seller_id: str, period: str = MONTH, currency: str = "GBP") -> payout_pb2.Payout:
    request = pb.CreatePayoutRequest(seller_id=seller_id, currency_code=currency, period=period)
    return (await till.stubs.payouts.CreatePayout(request, metadata=FINANCE)).payout


async def settle(till: Any, payout_id: str, status: Any, reference: str = "") -> payout_pb2.Payout:
    request = pb.SettlePayoutRequest(payout_id=payout_id, status=status, bank_reference=reference)
    return (await till.stubs.payouts.SettlePayout(request, metadata=FINANCE)).payout


async def statement(till: Any, payout_id: str, who: Any = FINANCE, size: int = 2) -> list[tuple[str, str, int]]:
    """The lines of a payout, page by page: kind, order, amount."""
    found, request = [], pb.ListPayoutLinesRequest(payout_id=payout_id, page_size=size)
    while True:
        page = await till.stubs.payouts.ListPayoutLines(request, metadata=who)
        found += [(each.kind, each.order_id, each.amount.minor_units) for each in page.lines]
        request.page_token = page.next_page_token
        if not request.page_token:
            return found


async def owed(till: Any, seller_id: str) -> tuple[int, int]:
    """What a seller is owed, and what of it is set aside."""
    request = split_service_pb2.GetSellerBalanceRequest(seller_id=seller_id)
    [found] = (await till.stubs.splits.GetSellerBalance(request, metadata=FINANCE)).balances
    return found.payable.minor_units, found.paying_out.minor_units


async def refused(call: Any) -> str:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call
    return reason_of(error.value)


async def test_what_was_released_is_set_aside_sent_and_gone(till, seller):
    """Its statement sums up to it; a release that comes later is for the next payout."""
    first, second = await sold(till, seller), await sold(till, seller, 500)
    await till.refund(refund_of(first, 100, sold={seller: 1000}, borne={seller: 100}))
    made = await pay_out(till, seller)
    assert (PENDING, 1260, 3, MONTH) == (made.status, made.amount.minor_units, made.lines, made.period)
    assert (1260, 1260) == await owed(till, seller)
    lines = await statement(till, made.payout_id)
    assert [("release", first, 900), ("release", second, 450), ("take_back", first, -90)] == lines
    third = await sold(till, seller, 200)

    paid = await settle(till, made.payout_id, PAID, "BACS 42")
    assert (PAID, "BACS 42") == (paid.status, paid.bank_reference) and paid.HasField("settle_time")
    assert (180, 0) == await owed(till, seller)
    following = await pay_out(till, seller, "2026-12")
    assert [("release", third, 180)] == await statement(till, following.payout_id)


async def test_a_period_is_paid_out_once_whoever_asks_how_often(till, seller):
    """Also at once; what comes meanwhile waits for the next period."""
    await sold(till, seller)
    made = await asyncio.gather(*(pay_out(till, seller) for _ in range(6)))
    assert 1 == len({each.payout_id for each in made})
    await sold(till, seller)
    assert made[0] == await pay_out(till, seller)
    assert (1800, 900) == await owed(till, seller)
    await settle(till, made[0].payout_id, PAID)
    assert made[0].payout_id == (await pay_out(till, seller)).payout_id
    assert (900, 0) == await owed(till, seller)


async def test_a_payout_that_failed_is_owed_again_and_made_again(till, seller):
    """Its lines are in the new one; the statement of the old one stays as it was."""
    order = await sold(till, seller)
    made = await pay_out(till, seller)
    for _ in range(2):
        assert FAILED == (await settle(till, made.payout_id, FAILED)).status
    assert (900, 0) == await owed(till, seller)
    again = await pay_out(till, seller)
    assert made.payout_id != again.payout_id
    for each in (made, again):
        assert [("release", order, 900)] == await statement(till, each.payout_id)
    assert "PAYOUT_SETTLED" == await refused(settle(till, made.payout_id, PAID))
    await settle(till, again.payout_id, PAID)
    assert "PAYOUT_SETTLED" == await refused(settle(till, again.payout_id, FAILED))
    assert (0, 0) == await owed(till, seller)


async def test_nothing_more_than_is_owed_is_ever_paid_out(till, seller):
    """Nothing of what is in escrow, and nothing twice."""
    assert "ACCOUNT_NOT_FOUND" == await refused(pay_out(till, seller))
    intent = by_wallet(await till.given_wallet(500), 500)
    await till.authorize(intent)
    await till.capture(intent.order_id)
    await till.hold(intent.order_id, **{seller: 500})
    assert "NOTHING_PAYABLE" == await refused(pay_out(till, seller))
    await till.release(intent.order_id, **{seller: 500})
    await pay_out(till, seller)
    assert "NOTHING_PAYABLE" == await refused(pay_out(till, seller, "2026-12"))
    assert "ACCOUNT_NOT_FOUND" == await refused(pay_out(till, seller, currency="EUR"))
    assert "PAYOUT_NOT_FOUND" == await refused(settle(till, str(uuid4()), PAID))


@pytest.mark.parametrize("sent", [True, False])
async def test_what_goes_back_after_a_payout_is_owed_by_the_seller_until_the_next_release(till, seller, sent, db):
    """A customer has their money whatever the seller has; nothing is paid out until the debt is settled."""
    order = await sold(till, seller)
    made = await pay_out(till, seller)
    if sent:
        await settle(till, made.payout_id, PAID)
    (result,) = await till.refund(refund_of(order, 400, sold={seller: 1000}, borne={seller: 400}))
    assert not result.HasField("error")
    assert [] == (await audit.verify(db)).problems
    if not sent:
        await settle(till, made.payout_id, PAID)
    assert (-360, 0) == await owed(till, seller)
    assert "NOTHING_PAYABLE" == await refused(pay_out(till, seller, "2026-12"))
    later = await sold(till, seller)
    following = await pay_out(till, seller, "2026-12")
    assert [("take_back", order, -360), ("release", later, 900)] == await statement(till, following.payout_id)
    assert 540 == following.amount.minor_units


async def test_many_at_once_release_refund_and_pay_out_one_seller_without_a_penny_astray(till, seller):
    """Whatever comes first, all that was the seller's is paid out once."""
    orders = [await sold(till, seller, 100) for _ in range(4)]

    async def paid_out(period: str) -> int:
        try:
            made = await pay_out(till, seller, period)
        except grpc.aio.AioRpcError as error:
            assert "NOTHING_PAYABLE" == reason_of(error)
            return 0
        return (await settle(till, made.payout_id, PAID)).amount.minor_units

    refunds = [till.refund(refund_of(each, 50, sold={seller: 100}, borne={seller: 50})) for each in orders[:2]]
    more = [sold(till, seller, 100) for _ in range(3)]
    sums, *_ = await asyncio.gather(
        asyncio.gather(*(paid_out(f"2026-1{month}") for month in range(3))), *refunds, *more
    )
    last = await paid_out("2027-01")
    assert 7 * 90 - 2 * 45 == sum(sums) + last + (await owed(till, seller))[0]


@pytest.mark.parametrize("place", ["before_commit", "after_commit"])
async def test_a_payout_that_dies_is_made_and_ended_once(till, seller, place):
    """Asked again it is the same, or is made then."""
    await sold(till, seller)
    failpoints.arm(f"payment.payout.{place}", "raise*1")
    assert "INTERNAL" == await refused(pay_out(till, seller))
    made = await pay_out(till, seller)
    assert (900, 900) == await owed(till, seller)
    failpoints.arm(f"payment.payout.{place}", "raise*1")
    assert "INTERNAL" == await refused(settle(till, made.payout_id, PAID))
    await settle(till, made.payout_id, PAID)
    assert (0, 0) == await owed(till, seller)


async def test_the_bank_file_has_what_no_bank_has_sent(till):
    """Of one period, each once, in the order in which they were made."""
    period, sellers = "2031-05", [f"seller_{uuid4().hex[:8]}" for _ in range(3)]
    made = []
    for each in sellers:
        await sold(till, each)
        made.append(await pay_out(till, each, period))
    await settle(till, made[1].payout_id, PAID)

    async def rows(after: str = "") -> list[dict[str, str]]:
        request = pb.ReadBankFileRequest(period=period, after_payout_id=after)
        body = (await till.stubs.payouts.ReadBankFile(request, metadata=FINANCE)).body
        assert "text/csv; charset=utf-8" == body.content_type
        return list(DictReader(body.data.decode().splitlines()))

    found = await rows()
    assert [made[0].payout_id, made[2].payout_id] == [row["payout_id"] for row in found]
    assert {
        "payout_id": made[0].payout_id,
        "seller_id": sellers[0],
        "currency_code": "GBP",
        "amount_minor": "900",
        "period": period,
    } == found[0]
    assert [made[2].payout_id] == [row["payout_id"] for row in await rows(made[0].payout_id)]


async def test_who_can_be_paid_out_is_listed(till):
    """Not who is owed nothing, or has all of it set aside."""
    waiting, aside = f"seller_{uuid4().hex[:8]}", f"seller_{uuid4().hex[:8]}"
    await sold(till, waiting)
    await sold(till, aside)
    await pay_out(till, aside)
    found, request = {}, pb.ListPayableSellersRequest(page_size=1)
    while True:
        page = await till.stubs.payouts.ListPayableSellers(request, metadata=FINANCE)
        found |= {each.seller_id: each.payable.minor_units for each in page.sellers}
        request.page_token = page.next_page_token
        if not request.page_token:
            break
    assert 900 == found[waiting] and aside not in found and list(found) == sorted(found)
    for token in ("!", (await one_page(till)).next_page_token + "x"):
        request = pb.ListPayableSellersRequest(page_token=token)
        assert "PAGE_TOKEN_INVALID" == await refused(till.stubs.payouts.ListPayableSellers(request, metadata=FINANCE))


async def one_page(till: Any) -> pb.ListPayableSellersResponse:
    return await till.stubs.payouts.ListPayableSellers(pb.ListPayableSellersRequest(page_size=1), metadata=FINANCE)


async def test_a_seller_reads_its_own_payouts_and_nobody_elses(till):
    """The seller of a product is the user with the role; nobody with it makes or ends a payout."""
    user = uuid4()
    mine, other = str(user), str(uuid4())
    made = {}
    for seller_id in (mine, other):
        await sold(till, seller_id)
        made[seller_id] = await pay_out(till, seller_id)
    await sold(till, mine)
    newest = await pay_out(till, mine, "2026-12")
    me, stub = as_user(user, roles=("seller",)), till.stubs.payouts

    async def listed(seller_id: str, who: Any = me, **page: Any) -> pb.ListPayoutsResponse:
        return await stub.ListPayouts(pb.ListPayoutsRequest(seller_id=seller_id, **page), metadata=who)

    page = await listed(mine, page_size=1)
    rest = await listed(mine, page_size=1, page_token=page.next_page_token)
    assert [newest, made[mine]] == [*page.payouts, *rest.payouts] and not rest.next_page_token
    assert [made[other]] == list((await listed(other, FINANCE)).payouts)
    assert 1 == len(await statement(till, made[mine].payout_id, me))
    assert "ACCOUNT_NOT_FOUND" == await refused(listed(other))
    assert "PAYOUT_NOT_FOUND" == await refused(statement(till, made[other].payout_id, me))
    assert "PAYOUT_NOT_FOUND" == await refused(statement(till, str(uuid4())))
    assert "PAGE_TOKEN_INVALID" == await refused(listed(other, FINANCE, page_token=page.next_page_token))
    wrong = pb.ListPayoutLinesRequest(payout_id=made[mine].payout_id, page_token=page.next_page_token)
    assert "PAGE_TOKEN_INVALID" == await refused(stub.ListPayoutLines(wrong, metadata=me))
    for call, request in (
        (stub.CreatePayout, pb.CreatePayoutRequest(seller_id=mine, currency_code="GBP", period="2027-01")),
        (stub.SettlePayout, pb.SettlePayoutRequest(payout_id=newest.payout_id, status=FAILED)),
        (stub.ListPayableSellers, pb.ListPayableSellersRequest()),
        (stub.ReadBankFile, pb.ReadBankFileRequest(period=MONTH)),
    ):
        assert "ACCESS_DENIED" == await refused(call(request, metadata=me))


async def test_the_database_pays_no_entry_twice(till, seller, db):
    """Not even where the code would: an entry is in one payout that did not fail."""
    await sold(till, seller)
    made = await pay_out(till, seller)
    twice = (
        "INSERT INTO payouts SELECT $2, seller_id, currency, '2027-02', amount_minor, line_count, status,"
        " bank_reference, created_at, settled_at FROM payouts WHERE payout_id = $1",
        "INSERT INTO payout_lines SELECT $2, transfer_id, amount_minor FROM payout_lines WHERE payout_id = $1",
    )
    with pytest.raises(asyncpg.UniqueViolationError):
        async with db.hot() as tx:
            other = uuid4()
            for statement_text in twice:
                await tx.execute(statement_text, made.payout_id, other)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ("UPDATE payouts SET amount_minor = amount_minor + 1 WHERE payout_id = $1", "it and the ledger differ"),
        ("UPDATE payouts SET status = 'PAID', settled_at = now() WHERE payout_id = $1", "it and the ledger differ"),
        ("UPDATE payout_lines SET amount_minor = 1 WHERE payout_id = $1", "its lines are not its amount"),
    ],
)
async def test_the_audit_finds_a_payout_that_the_ledger_does_not_know(till, seller, db, change, problem):
    """What is said to be paid is what the ledger moved."""
    await sold(till, seller)
    made = await pay_out(till, seller)
    async with db.hot() as tx:
        await tx.execute(change, made.payout_id)
    assert f"payout {made.payout_id}: {problem}" in (await audit.verify(db)).problems
    async with db.hot() as tx:
        await tx.execute(
            "UPDATE payouts SET amount_minor = 900, status = 'PENDING', settled_at = NULL WHERE payout_id = $1",
            made.payout_id,
        )
        await tx.execute("UPDATE payout_lines SET amount_minor = 900 WHERE payout_id = $1", made.payout_id)


async def test_balances_that_are_made_again_know_who_may_owe(till, seller, db):
    """From the ledger alone: whoever was paid out."""
    order = await sold(till, seller)
    await pay_out(till, seller)
    keeper = await db.connect_alone("rebuild")
    outcome = await projections.rebuild(keeper, BALANCES)
    assert outcome.same, outcome.differences
    await keeper.close()
    (result,) = await till.refund(refund_of(order, 1000, sold={seller: 1000}, borne={seller: 1000}))
    assert not result.HasField("error")
    assert (0, 900) == await owed(till, seller)
