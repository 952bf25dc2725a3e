"""SalesService on the wire: pages of orders that count, with the country opened and nothing else of the address."""

from __future__ import annotations

from typing import Any

import asyncpg

from mesh import pages
from mesh.database import Database
from svc_order.order.values import datetime_of, timestamp
from svc_order.sales import store
from svc_order.vault import Unreadable, Vault
from titan.order.v1 import order_pb2, sales_service_pb2_grpc
from titan.order.v1 import sales_service_pb2 as pb

LIST = "titan.order.v1.SalesService/ListSales"


class SalesServicer(sales_service_pb2_grpc.SalesServiceServicer):
    """Serves SalesService from the orders' database."""

    def __init__(self, db: Database, vault: Vault) -> None:
        self._db = db
        self._vault = vault

    async def ListSales(self, request: pb.ListSalesRequest, context: Any) -> pb.ListSalesResponse:
        """Refuses with PAGE_TOKEN_INVALID."""
        since = datetime_of(request.from_time) if request.HasField("from_time") else None
        until = datetime_of(request.to_time) if request.HasField("to_time") else None
        after = pages.decode_id(request.page_token, LIST, since, until)
        async with self._db.hot_read() as connection:
            page = await store.list_sales(
                connection, after=after, since=since, until=until, limit=pages.page_size(request.page_size)
            )
        await self._vault.prepare(row["user_id"] for row in page.sales)
        return pb.ListSalesResponse(
            sales=[self._sale(row) for row in page.sales],
            skus=[_skus(row) for row in page.skus],
            next_page_token=pages.encode(LIST, [str(page.last_seen)], since, until) if page.last_seen else "",
        )

    def _sale(self, row: asyncpg.Record) -> pb.Sale:
        return pb.Sale(
            order_id=str(row["order_id"]),
            user_id=str(row["user_id"]),
            effective_time=timestamp(row["effective_at"]),
            country_code=self._country_of(row),
            currency_code=row["currency"],
            total_minor=row["total_minor"],
            shipping_minor=row["shipping_minor"],
            tax_minor=row["tax_minor"],
            refunded_minor=row["refunded_minor"],
            units=row["units"],
        )

    def _country_of(self, row: asyncpg.Record) -> str:
        try:
            opened = self._vault.open(row["user_id"], row["order_id"], row["sealed"])
        except Unreadable:
            return ""  # its user was erased; what they bought stays in the sums
        country_code: str = order_pb2.Order.FromString(opened).shipping_address.country_code
        return country_code


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
