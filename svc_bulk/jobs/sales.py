"""Sales reports: sums of some hundred orders at a time, summed up, and written as tables and a page at the end.

A report changes nothing and holds its sums in memory, so a worker that takes over begins again.
"""

from __future__ import annotations

from datetime import UTC
from typing import Any

from svc_bulk.file.store import Format
from svc_bulk.jobs.table import CALL_SECONDS
from svc_bulk.operation.store import Step
from svc_bulk.operation.work import Output, Work
from svc_bulk.report import page, rules
from svc_bulk.report.rules import Group, Report, SkuSales
from titan.bulk.v1 import operation_pb2
from titan.order.v1 import sales_service_pb2 as pb

SAVED_EVERY_PAGES = 4
REST_SHARE = 0.5
"""How long a report rests after a page, in terms of what the page took: it writes and locks nothing, and somebody waits
for it."""
_WRITTEN = "written"


class SalesReport:
    """Sums what was sold."""

    def __init__(self, sales: Any) -> None:
        self._sales = sales

    async def run(self, work: Work) -> None:
        """Read all pages, sum them, write the files.

        Raises:
            ReportTooLarge: There is too much to sum.
        """
        if work.operation.place == _WRITTEN:
            return
        wanted, report = work.job.sales_report, Report()
        request = pb.SumSalesRequest()
        for bound in ("from_time", "to_time"):
            if wanted.HasField(bound):
                getattr(request, bound).CopyFrom(getattr(wanted, bound))
        orders = number = 0
        while True:
            with work.timed(REST_SHARE) as rest:
                found = await self._sales.SumSales(request, timeout=CALL_SECONDS)
                report.add(
                    days=map(_group, found.days),
                    countries=map(_group, found.countries),
                    customers=map(_group, found.customers),
                    skus=map(_sku, found.skus),
                )
            orders, number = orders + found.orders, number + 1
            request.page_token = found.next_page_token
            if not request.page_token:
                break
            if number % SAVED_EVERY_PAGES == 0:
                await work.save(Step(0, rows_done=orders))
            await rest()
        outputs: list[Output] = [(name, Format.CSV, content) for name, content in rules.tables(report)]
        outputs.append(("sales_report.html", Format.PAGE, page.render(report, period=_period(wanted))))
        await work.save(Step(1, _WRITTEN, rows_done=orders, rows_total=orders), outputs=outputs)


def _group(sums: pb.SalesSums) -> Group:
    return Group(
        name=sums.name,
        currency_code=sums.currency_code,
        orders=sums.orders,
        units=sums.units,
        total_minor=sums.total_minor,
        refunded_minor=sums.refunded_minor,
    )


def _sku(sold: pb.SkuSales) -> SkuSales:
    return SkuSales(
        sku=sold.sku,
        title=sold.title,
        currency_code=sold.currency_code,
        orders=sold.orders,
        units=sold.units,
        returned_units=sold.returned_units,
        total_minor=sold.total_minor,
    )


def _period(wanted: operation_pb2.SalesReport) -> str:
    def moment(bound: str) -> str:
        return f"{getattr(wanted, bound).ToDatetime(tzinfo=UTC):%Y-%m-%d %H:%M} UTC"

    since = f"From {moment('from_time')}" if wanted.HasField("from_time") else "From the first order"
    until = f"to {moment('to_time')}" if wanted.HasField("to_time") else "until now"
    return f"{since} {until}, by the days (UTC) at which orders count as placed"
