"""Payouts over the real chain, on real Postgres; the ledger is audited after every test."""

from __future__ import annotations

import asyncio
from csv import DictReader
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import asyncpg
import grpc
import pytest

from mesh import projections
from mesh.seams import failpoints
from svc_payment.ledger import audit
from svc_payment.ledger import rules as ledger_rules
from svc_payment.ledger import store as ledger
from svc_payment.ledger.projection import BALANCES
from tests.harness import as_user, reason_of
from tests.svc_payment.conftest import by_wallet, refund_of
from titan.payment.v1 import payout_pb2, split_service_pb2
from titan.payment.v1 import payout_service_pb2 as pb

FINANCE = as_user(roles=("finance",))
PENDING, SENT = payout_pb2.PAYOUT_STATUS_PENDING, payout_pb2.PAYOUT_STATUS_SENT
PAID, FAILED = payout_pb2.PAYOUT_STATUS_PAID, payout_pb2.PAYOUT_STATUS_FAILED
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


async def hand_over(till: Any, period: str = MONTH, key: str = "") -> payout_pb2.PayoutBatch:
    """Hand what is pending of a period to the bank, of whichever test it is."""
    request = pb.CreatePayoutBatchRequest(period=period, request_id=key or uuid4().hex)
    return (await till.stubs.payouts.CreatePayoutBatch(request, metadata=FINANCE)).batch


async def send(till: Any, made: payout_pb2.Payout) -> payout_pb2.Payout:
    """Hand a payout to the bank, if another batch has not taken it."""
    try:
        await hand_over(till, made.period)
    except grpc.aio.AioRpcError as error:
        assert "NO_PAYOUT_PENDING" == reason_of(error)
    return made


async def bank_file(till: Any, batch_id: str) -> bytes:
    body = (await till.stubs.payouts.ReadBankFile(pb.ReadBankFileRequest(batch_id=batch_id), metadata=FINANCE)).body
    assert "text/csv; charset=utf-8" == body.content_type
    return body.data


def payouts_in(file: bytes) -> list[str]:
    return [row["payout_id"] for row in DictReader(file.decode().splitlines())]


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
    assert (PENDING, 1260, MONTH, "") == (made.status, made.amount.minor_units, made.period, made.batch_id)
    assert (1260, 1260) == await owed(till, seller)
    lines = await statement(till, made.payout_id)
    assert [("release", first, 900), ("release", second, 450), ("take_back", first, -90)] == lines
    third = await sold(till, seller, 200)
    assert lines == await statement(till, made.payout_id)

    await send(till, made)
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
    await send(till, made[0])
    await settle(till, made[0].payout_id, PAID)
    assert made[0].payout_id == (await pay_out(till, seller)).payout_id
    assert (900, 0) == await owed(till, seller)


async def test_a_payout_that_failed_is_owed_again_and_made_again(till, seller):
    """Its lines are in the new one; the statement of the old one stays as it was. However often it fails."""
    order = await sold(till, seller)
    first = await pay_out(till, seller)
    assert FAILED == (await settle(till, first.payout_id, FAILED)).status
    made = await send(till, await pay_out(till, seller))
    for _ in range(2):
        assert FAILED == (await settle(till, made.payout_id, FAILED)).status
    assert (900, 0) == await owed(till, seller)
    again = await pay_out(till, seller)
    later = await sold(till, seller)
    assert 3 == len({each.payout_id for each in (first, made, again)})
    for each in (first, made, again):
        assert [("release", order, 900)] == await statement(till, each.payout_id)
    assert "PAYOUT_SETTLED" == await refused(settle(till, made.payout_id, PAID))
    await settle(till, (await send(till, again)).payout_id, PAID)
    assert "PAYOUT_SETTLED" == await refused(settle(till, again.payout_id, FAILED))
    assert (900, 0) == await owed(till, seller)
    following = await pay_out(till, seller, "2026-12")
    assert [("release", later, 900)] == await statement(till, following.payout_id)


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
    made = await send(till, await pay_out(till, seller))
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
        await send(till, made)
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
    assert "INTERNAL" == await refused(hand_over(till, key=f"{seller}'s"))
    assert made.payout_id in payouts_in(await bank_file(till, (await hand_over(till, key=f"{seller}'s")).batch_id))
    failpoints.arm(f"payment.payout.{place}", "raise*1")
    assert "INTERNAL" == await refused(settle(till, made.payout_id, PAID))
    await settle(till, made.payout_id, PAID)
    assert (0, 0) == await owed(till, seller)


async def test_a_bank_is_told_of_a_payout_once(till):
    """A file, a payout that is made after it, and a file again: each payout is in one of them, in the order in which
    they were made, and a file is the same whatever became of its payouts."""
    period, sellers = "2031-05", [f"seller_{uuid4().hex[:8]}" for _ in range(3)]
    assert "NO_PAYOUT_PENDING" == await refused(hand_over(till, period, "may"))
    for each in sellers:
        await sold(till, each)
    made = [await pay_out(till, each, period) for each in sellers[:2]]
    batch = await hand_over(till, period, "may")
    file = await bank_file(till, batch.batch_id)
    assert (2, period) == (batch.payouts, batch.period) and batch.HasField("create_time")
    assert file.startswith(
        b"payout_id,seller_id,currency_code,amount_minor,period\r\n%b,%b,GBP,900,2031-05\r\n"
        % (made[0].payout_id.encode(), sellers[0].encode())
    )
    made.append(await pay_out(till, sellers[2], period))
    assert batch == await hand_over(till, period, "may")
    assert "IDEMPOTENCY_KEY_REUSED" == await refused(hand_over(till, "2031-06", "may"))
    assert [each.payout_id for each in made[:2]] == payouts_in(await bank_file(till, batch.batch_id))

    paid = await settle(till, made[0].payout_id, PAID)
    assert (PAID, batch.batch_id) == (paid.status, paid.batch_id)
    await settle(till, made[1].payout_id, FAILED)
    assert [made[2].payout_id] == payouts_in(await bank_file(till, (await hand_over(till, period)).batch_id))
    assert "NO_PAYOUT_PENDING" == await refused(hand_over(till, period))
    assert file == await bank_file(till, batch.batch_id)
    assert "PAYOUT_BATCH_NOT_FOUND" == await refused(bank_file(till, str(uuid4())))


async def test_batches_that_are_made_at_once_share_nothing(till):
    """Neither under one key nor under several."""
    period, sellers = "2031-07", [f"seller_{uuid4().hex[:8]}" for _ in range(2)]
    for each in sellers:
        await sold(till, each)
        await pay_out(till, each, period)
    asked = await asyncio.gather(
        *(hand_over(till, period, key) for key in ("july", "july", "other")), return_exceptions=True
    )
    made = {each.batch_id: each.payouts for each in asked if isinstance(each, payout_pb2.PayoutBatch)}
    assert [2] == list(made.values())
    assert all("NO_PAYOUT_PENDING" == reason_of(each) for each in asked if isinstance(each, grpc.aio.AioRpcError))


async def test_a_payout_that_is_stored_late_is_in_the_next_file(till, seller, db):
    """Its id was made before those that are in a file already."""
    period, other = "2031-08", f"seller_{uuid4().hex[:8]}"
    await sold(till, seller)
    await sold(till, other)
    async with db.hot() as tx:
        await ledger.lock_balances(tx, [ledger_rules.payable(seller, "GBP")])
        begun = asyncio.create_task(pay_out(till, seller, period))
        await somebody_waits(tx)
        early = await pay_out(till, other, period)
        file = await bank_file(till, (await hand_over(till, period)).batch_id)
    late = await begun
    assert late.payout_id < early.payout_id
    assert [early.payout_id] == payouts_in(file)
    assert [late.payout_id] == payouts_in(await bank_file(till, (await hand_over(till, period)).batch_id))


async def test_an_entry_gets_its_number_once_its_account_is_locked(till, seller, db):
    """A payout's statement ends at a number: no entry that is stored later may come below it.

    The parts of one statement run in the order that the server likes, so its plan has to say that the entry waits.
    """
    await sold(till, seller)
    account, numbers = ledger_rules.payable(seller, "GBP"), "SELECT last_value FROM transfers_seq_seq"
    async with db.hot() as tx:
        await ledger.lock_balances(tx, [account])
        intent = by_wallet(await till.given_wallet(1000), 1000)
        await till.authorize(intent)
        await till.capture(intent.order_id)
        before = await tx.fetchval(numbers)
        begun = asyncio.create_task(till.release(intent.order_id, **{seller: 1000}))
        await somebody_waits(tx)
        assert before == await tx.fetchval(numbers)
        booking = await plan_of(tx, account)
    assert "" == await begun
    [storing] = [each for each in nodes(booking) if "transfers" == each.get("Relation Name")]
    assert "Insert" == storing["Operation"]
    assert "moved" in [each.get("CTE Name") for each in nodes(storing)]


async def plan_of(tx: asyncpg.Connection, account: ledger_rules.Account) -> dict[str, Any]:
    """Return the plan of the statement that books something on an account; nothing is booked."""
    transfer = ledger_rules.Transfer(
        uuid4(), uuid4(), ledger_rules.TransferKind.CREDIT, ledger_rules.sales("GBP"), account, 1
    )
    asked: list[Any] = []
    undone = tx.transaction()
    await undone.start()
    with tx.query_logger(asked.append):
        await ledger.post(tx, [transfer], at=datetime.now(UTC))
    await undone.rollback()
    [booking] = [each for each in asked if "INTO transfers" in each.query]
    [explained] = await tx.fetchval(f"EXPLAIN (FORMAT JSON) {booking.query}", *booking.args)
    return explained["Plan"]


def nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a plan and all that is below it."""
    return [plan, *(node for each in plan.get("Plans", ()) for node in nodes(each))]


async def somebody_waits(tx: asyncpg.Connection) -> None:
    """Return once a transaction waits for what this one has locked."""
    waiting = "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid)))"
    async with asyncio.timeout(10):
        while not await tx.fetchval(waiting):
            await asyncio.sleep(0.005)


async def test_a_payout_takes_no_longer_for_a_seller_of_many_sales(till, seller, db):
    """Under the lock of its account nothing is read or written for each entry."""
    for _ in range(3):
        await sold(till, seller, 100)
    made = await pay_out(till, seller)
    assert 3 == len(await statement(till, made.payout_id))
    async with db.hot() as tx:
        assert 1 == await tx.fetchval("SELECT count(*) FROM payout_spans WHERE payout_id = $1", made.payout_id)


async def test_what_no_bank_was_told_of_can_not_be_paid(till, seller):
    """It can fail: then no file has it, and the seller is owed it again."""
    await sold(till, seller)
    made = await pay_out(till, seller, "2031-09")
    assert "PAYOUT_NOT_SENT" == await refused(settle(till, made.payout_id, PAID))
    await settle(till, made.payout_id, FAILED)
    assert "NO_PAYOUT_PENDING" == await refused(hand_over(till, "2031-09"))
    assert (900, 0) == await owed(till, seller)


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
        (stub.CreatePayoutBatch, pb.CreatePayoutBatchRequest(period=MONTH, request_id="mine")),
        (stub.ReadBankFile, pb.ReadBankFileRequest(batch_id=str(uuid4()))),
    ):
        assert "ACCESS_DENIED" == await refused(call(request, metadata=me))


async def test_the_database_pays_no_entry_twice(till, seller, db):
    """Not even where the code would: an entry is in one payout that did not fail."""
    await sold(till, seller)
    made = await pay_out(till, seller)
    twice = (
        "INSERT INTO payouts (payout_id, seller_id, currency, period, amount_minor, status, bank_reference, created_at)"
        " SELECT $2, seller_id, currency, '2027-02', amount_minor, status, bank_reference, created_at FROM payouts"
        " WHERE payout_id = $1",
        "INSERT INTO payout_spans SELECT $2, account_id, after_seq, last_seq FROM payout_spans WHERE payout_id = $1",
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
        ("UPDATE payouts SET status = 'FAILED', settled_at = now() WHERE payout_id = $1", "it and the ledger differ"),
        ("UPDATE payout_spans SET live = false WHERE payout_id = $1", "its lines are not its amount"),
        ("UPDATE payout_spans SET after_seq = last_seq - 1 WHERE payout_id = $1", "its lines are not its amount"),
    ],
)
async def test_the_audit_finds_a_payout_that_the_ledger_does_not_know(till, seller, db, change, problem):
    """What is said to be paid is what the ledger moved."""
    await sold(till, seller)
    await sold(till, seller, 500)
    made = await pay_out(till, seller)
    async with db.hot() as tx:
        await tx.execute(change, made.payout_id)
    assert f"payout {made.payout_id}: {problem}" in (await audit.verify(db)).problems
    async with db.hot() as tx:
        await tx.execute(
            "UPDATE payouts SET amount_minor = 1350, status = 'PENDING', settled_at = NULL WHERE payout_id = $1",
            made.payout_id,
        )
        await tx.execute("UPDATE payout_spans SET after_seq = 0, live = true WHERE payout_id = $1", made.payout_id)


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
