"""SalesService on the wire: sums of orders that count, with the country opened and nothing else of the address, and
what books say of imported ones, with nothing opened."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any

import asyncpg

from mesh import pages
from mesh.database import Database
from mesh.vault.vault import Unreadable, Vault
from svc_order.order.values import datetime_of, money, timestamp
from svc_order.sales import store
from svc_order.sales.rules import Grouped, Sold, Sums
from titan.order.v1 import order_pb2, sales_service_pb2_grpc
from titan.order.v1 import sales_service_pb2 as pb

SUM = "titan.order.v1.SalesService/SumSales"
LIST = "titan.order.v1.SalesService/ListImportedOrders"
DEFAULT_ORDERS = 250
"""More at a time are hardly faster, and hold the connection and the shoppers' memory for longer."""
AT_ONCE = 50
"""Orders that are opened, or groups that are encoded, before whoever else has something to do gets their turn: about a
millisecond."""


class SalesServicer(sales_service_pb2_grpc.SalesServiceServicer):
    """Serves SalesService from the orders' database."""

    def __init__(self, db: Database, vault: Vault) -> None:
        self._db = db
        self._vault = vault

    async def SumSales(self, request: pb.SumSalesRequest, context: Any) -> pb.SumSalesResponse:
        """Refuses with PAGE_TOKEN_INVALID."""
        since = datetime_of(request.from_time) if request.HasField("from_time") else None
        until = datetime_of(request.to_time) if request.HasField("to_time") else None
        after = pages.decode_id(request.page_token, SUM, since, until)
        async with self._db.hot_read() as connection:
            page = await store.page_of_sales(
                connection, after=after, since=since, until=until, limit=request.page_size or DEFAULT_ORDERS
            )
        grouped = Grouped()
        async for rows in _in_turns(page.sales):
            await self._vault.prepare(row["user_id"] for row in rows)
            for row in rows:
                grouped.add(self._sold(row))
        response = pb.SumSalesResponse(
            orders=grouped.orders,
            days=_sums(grouped.days.items()),
            countries=_sums(grouped.countries.items()),
            next_page_token=pages.encode(SUM, [str(page.last_seen)], since, until) if page.last_seen else "",
        )
        async for customers in _in_turns(list(grouped.customers.items())):
            response.customers.extend(_sums(customers))
        async for rows in _in_turns(page.skus):
            response.skus.extend(_skus(row) for row in rows)
        return response

    async def ListImportedOrders(
        self, request: pb.ListImportedOrdersRequest, context: Any
    ) -> pb.ListImportedOrdersResponse:
        """Refuses with PAGE_TOKEN_INVALID."""
        since = datetime_of(request.from_time) if request.HasField("from_time") else None
        until = datetime_of(request.to_time) if request.HasField("to_time") else None
        after = pages.decode_id(request.page_token, LIST, since, until)
        async with self._db.hot_read() as connection:
            page = await store.page_of_imported(
                connection, after=after, since=since, until=until, limit=request.page_size or DEFAULT_ORDERS
            )
        found: list[pb.ImportedOrder] = []
        async for rows in _in_turns(page.orders):
            found += [_imported(row, page.refunds.get(row["order_id"], ())) for row in rows]
        shown, last = pages.fitting(found), page.last_seen and str(page.last_seen)
        if len(shown) < len(found):
            last = shown[-1].order_id
        token = pages.encode(LIST, [last], since, until) if last else ""
        return pb.ListImportedOrdersResponse(orders=shown, next_page_token=token)

    def _sold(self, row: asyncpg.Record) -> Sold:
        return Sold(
            user_id=str(row["user_id"]),
            effective_at=row["effective_at"],
            country_code=self._country_of(row),
            currency=row["currency"],
            units=row["units"],
            total_minor=row["total_minor"],
            refunded_minor=row["refunded_minor"],
        )

    def _country_of(self, row: asyncpg.Record) -> str:
        try:
            opened = self._vault.open(row["user_id"], row["order_id"], row["sealed"])
        except Unreadable:
            return ""  # its user was erased; what they bought stays in the sums
        country_code: str = order_pb2.Order.FromString(opened).shipping_address.country_code
        return country_code


async def _in_turns(items: Sequence[Any]) -> AsyncIterator[Sequence[Any]]:
    """Yield a few items at a time, and let shoppers have their turn between."""
    for begin in range(0, len(items), AT_ONCE):
        yield items[begin : begin + AT_ONCE]
        await asyncio.sleep(0)


def _imported(row: asyncpg.Record, refunds: Sequence[asyncpg.Record]) -> pb.ImportedOrder:
    return pb.ImportedOrder(
        order_id=str(row["order_id"]),
        request_id=row["request_id"],
        status=order_pb2.OrderStatus.Value(f"ORDER_STATUS_{row['status']}"),  # type: ignore[arg-type]
        cancel_reason=row["cancel_reason"],
        total=money(row["total_minor"], row["currency"]),
        effective_time=timestamp(row["effective_at"]),
        refunds=[
            pb.ImportedRefund(
                refund_id=each["refund_id"],
                amount=money(each["amount_minor"], row["currency"]),
                effective_time=timestamp(each["effective_at"]),
            )
            for each in refunds
        ],
    )


def _sums(groups: Iterable[tuple[tuple[str, str], Sums]]) -> list[pb.SalesSums]:
    return [
        pb.SalesSums(
            name=name,
            currency_code=currency,
            orders=sums.orders,
            units=sums.units,
            total_minor=sums.total_minor,
            refunded_minor=sums.refunded_minor,
        )
        for (name, currency), sums in groups
    ]


def _skus(row: asyncpg.Record) -> pb.SkuSales:
    return pb.SkuSales(
        sku=row["sku"],
        title=row["title"],
        currency_code=row["currency"],
        units=row["units"],
        returned_units=row["returned_units"],
        total_minor=row["total_minor"],
        orders=row["orders"],
    )
