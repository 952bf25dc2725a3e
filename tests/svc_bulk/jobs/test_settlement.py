"""Days that are settled again, with a made-up SettlementService."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from mesh.refusals import Refusal, Unavailable
from mesh.seams import failpoints
from svc_bulk.jobs.settlement import COLUMNS, ProviderSettlement
from svc_payment.errors import SettlementDayOpen
from tests.harness import reason_of
from tests.svc_bulk.conftest import Bulk, State
from titan.payment.v1 import settlement_pb2
from titan.payment.v1 import settlement_service_pb2 as pb
from titan.type.v1 import money_pb2


def gbp(minor: int) -> money_pb2.Money:
    return money_pb2.Money(currency_code="GBP", minor_units=minor)


class Settlements:
    """Answers each day, refuses those that a test says, and finds a difference on others."""

    def __init__(self, *differing: str, **refusals: Refusal) -> None:
        self.differing = differing
        self.refusals = refusals
        self.asked: list[str] = []

    async def ResettleDay(self, request: pb.ResettleDayRequest, **call: Any) -> pb.ResettleDayResponse:
        self.asked.append(request.date)
        if refusal := self.refusals.pop(f"day{request.date[-1]}", None):
            raise refusal
        side = settlement_pb2.SettlementSide(captured=gbp(500), refunded=gbp(20))
        if request.date not in self.differing:
            same = settlement_pb2.SettlementTotals(theirs=side, ours=side, difference=gbp(0))
            return pb.ResettleDayResponse(
                settlement=settlement_pb2.Settlement(date=request.date, totals=[same], reconciled=True)
            )
        ours = settlement_pb2.SettlementSide(captured=gbp(400), refunded=gbp(20))
        totals = settlement_pb2.SettlementTotals(theirs=side, ours=ours, difference=gbp(100))
        count = settlement_pb2.SettlementCount(kind=1, differences=1)
        settlement = settlement_pb2.Settlement(date=request.date, totals=[totals], counts=[count])
        return pb.ResettleDayResponse(settlement=settlement)


async def settled(bulk: Bulk, settlements: Settlements, tries: int = 1) -> Any:
    days = {"provider": "psp_sim", "first_date": "2026-05-01", "last_date": "2026-05-04"}
    started = await bulk.start(provider_settlement=days)
    worker = bulk.worker(jobs={"provider_settlement": ProviderSettlement(settlements)})
    for _ in range(tries):
        await worker.take_due()
        await worker.settle()
        await bulk.overdue()
    return await bulk.get(started.operation_id)


async def test_each_day_is_a_row_and_one_that_is_not_over_is_told(bulk: Bulk):
    """With the number of the day; the next one goes on. So is one that was settled and does not reconcile."""
    done = await settled(bulk, Settlements("2026-05-02", day3=SettlementDayOpen("2026-05-03 is not over")))

    assert (State.OPERATION_STATE_SUCCEEDED, 4, 2, 2) == (
        done.state,
        done.progress.rows_done,
        done.progress.updated,
        done.progress.refused,
    )
    assert [(2, "ROW_UNRECONCILED"), (3, "SETTLEMENT_DAY_OPEN")] == await bulk.problems(done.operation_id)
    header, *rows = (await bulk.read(done.files[0])).splitlines()
    assert ",".join(COLUMNS) == header
    same = "GBP,500,20,500,20,0,0,yes"
    assert [f"2026-05-01,{same}", "2026-05-02,GBP,500,20,400,20,100,1,no", f"2026-05-04,{same}"] == rows


async def test_a_provider_that_is_away_is_asked_again_and_a_worker_that_died_goes_on(bulk: Bulk):
    """Each day has one row, whoever settled it."""
    settlements = Settlements(day2=Unavailable("away"))
    failpoints.arm("bulk.step.after_save", "raise*1")
    done = await settled(bulk, settlements, tries=3)

    assert State.OPERATION_STATE_SUCCEEDED == done.state
    assert [f"2026-05-0{day}" for day in (1, 2, 2, 3, 4)] == settlements.asked
    assert 5 == len((await bulk.read(done.files[0])).splitlines())


@pytest.mark.parametrize(
    ("first", "last"),
    [("2026-02-30", "2026-03-01"), ("2026-03-02", "2026-03-01"), ("2025-01-01", "2026-01-02"), ("2026-03-01", "")],
)
async def test_days_that_are_none_are_refused_when_they_are_asked_for(bulk: Bulk, first: str, last: str):
    """In no order, more than a year of them, or of no calendar."""
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await bulk.start(provider_settlement={"provider": "psp_sim", "first_date": first, "last_date": last})
    assert "INVALID_INPUT" == reason_of(refusal.value)
