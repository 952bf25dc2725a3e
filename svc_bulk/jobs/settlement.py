"""Settlement: days of a payment provider's log held against the ledger again, one call a day.

Settling a day again is safe, so it needs no request id: a worker that takes over settles the day after the last one
that was stored.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Any

from mesh.refusals import Refusal
from svc_bulk.errors import RowUnreconciled
from svc_bulk.file.store import Format
from svc_bulk.operation.rules import RowProblem
from svc_bulk.operation.store import Step
from svc_bulk.operation.work import Work
from svc_bulk.report.days import settled_days
from titan.payment.v1 import settlement_pb2
from titan.payment.v1 import settlement_service_pb2 as pb

CALL_SECONDS = 25.0
"""A day is asked of the provider, who takes its time."""
RESULT = "settlements.csv"
COLUMNS = (
    "date",
    "currency_code",
    "their_captured_minor",
    "their_refunded_minor",
    "our_captured_minor",
    "our_refunded_minor",
    "difference_minor",
    "differences",
    "reconciled",
)
OF_THE_DAY = frozenset({"PROVIDER_UNKNOWN", "SETTLEMENT_DAY_OPEN"})
"""What is told of a day, and the next one goes on; a provider that is away is asked again."""


class ProviderSettlement:
    """Settles days again."""

    def __init__(self, settlements: Any) -> None:
        self._settlements = settlements

    async def run(self, work: Work) -> None:
        """Settle the days that are not settled yet, and tell of those that do not reconcile."""
        wanted, position = work.job.provider_settlement, work.operation.position
        days = settled_days(wanted.first_date, wanted.last_date)
        for number, day in enumerate(days[position:], start=position + 1):
            with work.timed() as rest:
                request = pb.ResettleDayRequest(provider=wanted.provider, date=day.isoformat())
                lines, problems = [], []
                try:
                    answer = await self._settlements.ResettleDay(request, timeout=CALL_SECONDS)
                    lines = list(_rows(answer.settlement))
                    if not answer.settlement.reconciled:
                        problems = [RowProblem.of(number, RowUnreconciled(f"{day}: the log and the ledger differ"))]
                except Refusal as refusal:
                    if refusal.reason not in OF_THE_DAY:
                        raise
                    problems = [RowProblem.of(number, refusal)]
                step = Step(
                    number,
                    rows_done=number,
                    rows_total=len(days),
                    updated=1 - len(problems),
                    problems=problems,
                    refused=len(problems),
                )
                await work.save(step, outputs=[(RESULT, Format.CSV, _written(lines, header=number == 1))])
            await rest()


def _rows(settlement: settlement_pb2.Settlement) -> Iterator[tuple[object, ...]]:
    """Yield a row for each currency; one without any for a day on which nothing was moved."""
    differences = sum(each.differences for each in settlement.counts)
    for totals in settlement.totals or [settlement_pb2.SettlementTotals()]:
        theirs, ours = totals.theirs, totals.ours
        yield (
            settlement.date,
            totals.difference.currency_code,
            theirs.captured.minor_units,
            theirs.refunded.minor_units,
            ours.captured.minor_units,
            ours.refunded.minor_units,
            totals.difference.minor_units,
            differences,
            "yes" if settlement.reconciled else "no",
        )


def _written(lines: list[tuple[object, ...]], *, header: bool) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text)
    if header:
        writer.writerow(COLUMNS)
    writer.writerows(lines)
    return text.getvalue().encode()
