"""Days settled over the real chain: a provider's log, the real ledger, and what is kept of both."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace
from uuid import uuid4

import grpc
import pytest

from mesh import pages, telemetry
from mesh.seams import ManualClock
from svc_payment.providers.interface import Logged, LoggedKind
from svc_payment.reconciliation import store
from svc_payment.reconciliation.daily import GRACE, Daily
from svc_payment.reconciliation.rpc import SettlementService
from tests.harness import as_service, as_user, reason_of, serve
from tests.svc_payment.asking import authorized, captured
from tests.svc_payment.conftest import by_card, refund_of
from titan.payment.v1 import settlement_pb2
from titan.payment.v1 import settlement_service_pb2 as pb
from titan.payment.v1.settlement_service_pb2_grpc import SettlementServiceStub

pytestmark = pytest.mark.usefixtures("honest")

FINANCE = as_user(roles=("finance",))
SERVICE = "titan.payment.v1.SettlementService"


def today() -> date:
    return datetime.now(UTC).date()


@pytest.fixture
async def tomorrow(db, provider, parts) -> AsyncIterator[SimpleNamespace]:
    """The settlement as it is once today is over, and nothing was settled yet."""
    clock = ManualClock(datetime.now(UTC) + timedelta(days=1))
    daily = Daily(db, clock, {provider.name: provider}, {"GBP"})
    async with db.hot() as tx:
        await tx.execute("DELETE FROM settlements")
    callers = {SERVICE: frozenset({"edge_http", "svc_bulk"})}
    async with serve({SERVICE: SettlementService(db, daily)}, callers=callers) as channel:
        yield SimpleNamespace(settlements=SettlementServiceStub(channel), daily=daily, clock=clock)


async def settle(tomorrow, day: date | str | None = None, provider: str = "psp_sim") -> settlement_pb2.Settlement:
    request = pb.SettleDayRequest(provider=provider, date=str(day or today()))
    return (await tomorrow.settlements.SettleDay(request, metadata=FINANCE)).settlement


async def differences(tomorrow, **asked) -> pb.ListSettlementDifferencesResponse:
    request = pb.ListSettlementDifferencesRequest(provider="psp_sim", date=str(today()), **asked)
    return await tomorrow.settlements.ListSettlementDifferences(request, metadata=FINANCE)


async def found(tomorrow) -> list[tuple[str, str, int, int]]:
    """Return kind, movement kind, theirs and ours of each difference of today."""
    strip = settlement_pb2.SettlementDifferenceKind.Name, settlement_pb2.SettlementMovementKind.Name
    return [
        (
            strip[0](each.kind).removeprefix("SETTLEMENT_DIFFERENCE_KIND_"),
            strip[1](each.movement_kind).removeprefix("SETTLEMENT_MOVEMENT_KIND_"),
            each.theirs.minor_units,
            each.ours.minor_units,
        )
        for each in (await differences(tomorrow, page_size=100)).differences
    ]


async def refused(call) -> str:
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await call
    return reason_of(refusal.value)


async def paid(till, amount_minor: int) -> str:
    """Return an order that a card paid."""
    intent = by_card(amount_minor)
    await authorized(till, intent)
    await captured(till, intent.order_id)
    return intent.order_id


def strange(minor: int, payment_id: str = "", kind: LoggedKind = LoggedKind.CAPTURE) -> Logged:
    """A movement that nobody here asked for."""
    payment_id = payment_id or str(uuid4())
    return Logged(kind, payment_id, f"{kind}-{payment_id}", minor, "GBP", datetime.now(UTC))


async def test_a_day_of_cards_top_ups_and_refunds_is_told_alike(till, tomorrow, db):
    """Wallets are between us and the shopper: no provider has a line for them."""
    before = await settle(tomorrow)
    order_id = await paid(till, 5000)
    await till.top_up(uuid4(), 2000)
    await till.refund(refund_of(order_id, 1200))
    async with asyncio.timeout(5):
        while (await till.verify()).balanced and not await refunds(db, order_id):
            await asyncio.sleep(0.02)
    after = await settle(tomorrow)
    assert after.reconciled and not after.counts
    (totals,) = after.totals
    assert totals.theirs == totals.ours and 0 == totals.difference.minor_units
    was = before.totals[0].ours if before.totals else settlement_pb2.SettlementSide()
    assert (2, 7000) == (
        totals.ours.captures - was.captures,
        totals.ours.captured.minor_units - was.captured.minor_units,
    )
    assert (1, 1200) == (totals.ours.refunds - was.refunds, totals.ours.refunded.minor_units - was.refunded.minor_units)
    request = pb.GetSettlementRequest(provider="psp_sim", date=str(today()))
    assert after == (await tomorrow.settlements.GetSettlement(request, metadata=FINANCE)).settlement


async def refunds(db, order_id: str) -> int:
    async with db.hot_read() as connection:
        return await connection.fetchval(
            "SELECT count(*) FROM refunds WHERE status = 'DONE' AND order_id = $1", order_id
        )


@pytest.mark.parametrize("differs", [False, True])
async def test_a_day_is_logged_whoever_settles_it(tomorrow, provider, monkeypatch, differs):
    """As an error where it does not reconcile: a job that settles days again hides nothing."""
    lines: list[str] = []
    monkeypatch.setattr(telemetry.SINK, "stream", SimpleNamespace(write=lines.append, flush=lambda: None))
    monkeypatch.setattr(telemetry.SINK, "level", logging.INFO)  # another test's process may have set its own
    if differs:
        monkeypatch.setattr(provider, "log", [*provider.log, strange(77)])
    request = pb.ResettleDayRequest(provider="psp_sim", date=str(today()))
    await tomorrow.settlements.ResettleDay(request, metadata=as_service("svc_bulk"))
    [said] = [json.loads(line) for line in "".join(lines).splitlines() if "a day was settled" in line]
    assert ("ERROR" if differs else "INFO") == said["level"].upper()


async def test_every_difference_is_listed_with_its_kind(till, tomorrow, provider):
    """Money of nobody, a booking without money, another amount, and what came and went there; then they are mended."""
    await settle(tomorrow)
    assert [] == await found(tomorrow)
    for minor in (100, 200):
        await paid(till, minor)
    honest = list(provider.log)
    late, foreign = str(uuid4()), strange(77, "not made here")
    returned = [strange(50, late), strange(50, late, LoggedKind.REFUND)]
    lost, changed = honest[-2], honest[-1]
    wrong = Logged(changed.kind, changed.payment_id, changed.movement_id, 201, "GBP", changed.at)
    provider.log = [*honest[:-2], wrong, foreign, *returned]
    settled = await settle(tomorrow)
    assert sorted(await found(tomorrow)) == [
        ("AMOUNT_DIFFERS", "CAPTURE", 201, 200),
        ("MISSING_HERE", "CAPTURE", 77, 0),
        ("MISSING_THERE", "CAPTURE", 0, 100),
        ("RETURNED_THERE", "CAPTURE", 50, 0),
        ("RETURNED_THERE", "REFUND", 50, 0),
    ]
    assert (False, 77 - 100 + 1) == (settled.reconciled, settled.totals[0].difference.minor_units)
    here = [each for each in (await differences(tomorrow)).differences if each.HasField("ours")]
    assert {lost.payment_id, changed.payment_id} == {each.payment_id for each in here}
    assert all(each.order_id and each.HasField("our_time") for each in here)
    provider.log = [*honest, *returned]
    assert (await settle(tomorrow)).reconciled
    assert ["RETURNED_THERE"] * 2 == [kind for kind, *_ in await found(tomorrow)]
    provider.log = honest


async def test_what_was_booked_the_day_after_is_of_both_days_and_of_neither_side(till, tomorrow, provider):
    """An answer that was lost before midnight."""
    await settle(tomorrow)
    await paid(till, 321)
    *rest, last = honest = list(provider.log)
    provider.log = [
        *rest,
        Logged(last.kind, last.payment_id, last.movement_id, 321, "GBP", last.at - timedelta(days=1)),
    ]
    yesterday = await settle(tomorrow, today() - timedelta(days=1))
    settled = await settle(tomorrow)
    assert [("OTHER_DAY", "CAPTURE", 321, 321)] == await found(tomorrow)
    assert settled.reconciled and yesterday.reconciled
    assert (-321, 321) == tuple(each.totals[0].difference.minor_units for each in (settled, yesterday))
    provider.log = honest


async def test_differences_come_in_pages_of_one_settlement(till, tomorrow, provider):
    """A day that is settled again between two pages has another list."""
    honest = list(provider.log)
    provider.log = [*honest, *(strange(minor) for minor in range(1, 6))]
    await settle(tomorrow)
    amounts, token = [], ""
    while True:
        page = await differences(tomorrow, page_size=2, page_token=token)
        amounts += [each.theirs.minor_units for each in page.differences]
        if not page.next_page_token:
            break
        token = page.next_page_token
    assert [1, 2, 3, 4, 5] == sorted(amounts)
    tomorrow.clock.advance(1)
    await settle(tomorrow)
    assert "PAGE_TOKEN_INVALID" == await refused(differences(tomorrow, page_size=2, page_token=token))
    provider.log = honest


async def test_settlements_are_listed_newest_first(tomorrow):
    days = [today() - timedelta(days=back) for back in range(3)]
    for day in days[::-1]:
        await settle(tomorrow, day)
    seen, token = [], ""
    while True:
        request = pb.ListSettlementsRequest(provider="psp_sim", page_size=2, page_token=token)
        page = await tomorrow.settlements.ListSettlements(request, metadata=FINANCE)
        seen += [each.date for each in page.settlements]
        if not (token := page.next_page_token):
            break
    assert [str(day) for day in days] == seen
    forged = pages.encode("SettlementService.ListSettlements", [2**40], "psp_sim")
    for wrong in (forged, "x"):
        request = pb.ListSettlementsRequest(provider="psp_sim", page_token=wrong)
        assert "PAGE_TOKEN_INVALID" == await refused(tomorrow.settlements.ListSettlements(request, metadata=FINANCE))


async def test_what_can_not_be_settled_is_refused(tomorrow, provider):
    """A day that is not over, one of no calendar, a provider that nobody knows, and one whose log can't be read."""
    assert "SETTLEMENT_DAY_OPEN" == await refused(settle(tomorrow, today() + timedelta(days=1)))
    for wrong in ("2026-02-30", "yesterday"):
        assert "INVALID_INPUT" == await refused(settle(tomorrow, wrong))
    assert "PROVIDER_UNKNOWN" == await refused(settle(tomorrow, provider="nobody"))
    provider.unreachable = True
    assert "PROVIDER_UNAVAILABLE" == await refused(settle(tomorrow))
    asked = pb.ResettleDayRequest(provider="psp_sim", date=str(today()))
    assert "PROVIDER_UNAVAILABLE" == await refused(
        tomorrow.settlements.ResettleDay(asked, metadata=as_service("svc_bulk"))
    )
    provider.unreachable = False
    day = str(today())
    nothing = pb.GetSettlementRequest(provider="psp_sim", date=day)
    assert "SETTLEMENT_NOT_FOUND" == await refused(tomorrow.settlements.GetSettlement(nothing, metadata=FINANCE))
    assert "SETTLEMENT_NOT_FOUND" == await refused(differences(tomorrow))


async def test_a_job_settles_a_day_as_a_person_does(tomorrow):
    """With the same answer and the same refusals."""
    day, job = {"provider": "psp_sim", "date": str(today())}, as_service("svc_bulk")
    resettle = tomorrow.settlements.ResettleDay
    made = (await resettle(pb.ResettleDayRequest(**day), metadata=job)).settlement
    again = (await tomorrow.settlements.GetSettlement(pb.GetSettlementRequest(**day), metadata=FINANCE)).settlement
    assert made == again
    for wrong, reason in (
        ({"provider": "nobody"}, "PROVIDER_UNKNOWN"),
        ({"date": str(today() + timedelta(days=9))}, "SETTLEMENT_DAY_OPEN"),
        ({"date": "2026-02-30"}, "INVALID_INPUT"),
    ):
        assert reason == await refused(resettle(pb.ResettleDayRequest(**{**day, **wrong}), metadata=job))


async def test_settlements_are_for_finance_and_admins(tomorrow):
    day = {"provider": "psp_sim", "date": str(today())}
    calls = tomorrow.settlements
    asked = (
        (calls.SettleDay, pb.SettleDayRequest(**day)),
        (calls.GetSettlement, pb.GetSettlementRequest(**day)),
        (calls.ListSettlements, pb.ListSettlementsRequest(provider="psp_sim")),
        (calls.ListSettlementDifferences, pb.ListSettlementDifferencesRequest(**day)),
    )
    for call, request in asked:
        assert "ACCESS_DENIED" == await refused(call(request, metadata=as_user(roles=("support",))))
        await call(request, metadata=as_user(roles=("admin",)))


async def test_each_day_is_settled_by_itself_once_it_is_over(till, tomorrow, provider, db):
    """An hour after midnight, from the first movement on; a provider that is away holds up its own days alone."""
    await till.top_up(uuid4(), 11)
    tomorrow.clock.advance(
        -(tomorrow.clock.now() - datetime.combine(today(), datetime.min.time(), UTC)).total_seconds()
    )
    tomorrow.clock.advance((timedelta(days=1) + GRACE).total_seconds() - 1)
    assert 0 == await tomorrow.daily.catch_up("psp_sim")
    tomorrow.clock.advance(1)
    provider.unreachable = True
    assert 0 == await tomorrow.daily.catch_up("psp_sim")
    provider.unreachable = False
    assert 1 == await tomorrow.daily.catch_up("psp_sim")
    assert 0 == await tomorrow.daily.catch_up("psp_sim")
    tomorrow.clock.advance(timedelta(days=3).total_seconds())
    assert 3 == await tomorrow.daily.catch_up("psp_sim")
    async with db.hot_read() as connection:
        assert today() + timedelta(days=3) == await store.last_day(connection, "psp_sim")
