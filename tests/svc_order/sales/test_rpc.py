"""SalesService behind the real chain, on orders as svc_order stores them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import grpc
import pytest

from mesh.database import Database
from mesh.seams import SystemIds
from svc_order.order import rules
from svc_order.order.rules import Line
from svc_order.order.values import timestamp
from svc_order.order.wire import seal_text
from svc_order.sales import store
from svc_order.sales.rpc import SalesServicer
from svc_order.vault import Vault
from tests.harness import as_service, reason_of, serve
from titan.order.v1 import sales_service_pb2 as pb
from titan.order.v1 import sales_service_pb2_grpc
from titan.type.v1 import address_pb2

SALES = "titan.order.v1.SalesService"
NOW = datetime.now(UTC).replace(microsecond=0)


@dataclass
class Sales:
    """Orders that a test places, and the service that lists them."""

    db: Database
    vault: Vault
    stub: Any

    async def place(self, *lines: Line, status: str = "CONFIRMED", at: datetime = NOW, **more: Any) -> str:
        """Store an order as it is after that status."""
        order_id, user_id = SystemIds().new(), more.get("user_id") or uuid4()
        await self.vault.prepare([user_id])
        address = address_pb2.Address(full_name="Ada Byron", country_code=more.get("country", "GB"))
        total = sum(line.line_total_minor for line in lines)
        async with self.db.hot() as tx:
            await tx.execute(
                "INSERT INTO orders (order_id, user_id, status, currency, total_minor, tax_minor, shipping_minor,"
                " refunded_minor, lines, returned, sealed, version, created_at, effective_at, updated_at)"
                " VALUES ($1, $2, $3, 'GBP', $4, 0, 0, $5, $6, $7, $8, 1, now(), $9, now())",
                order_id,
                user_id,
                status,
                total,
                more.get("refunded", 0),
                rules.lines_to_json(lines),
                more.get("returned"),
                self.vault.seal(user_id, order_id, seal_text(address, "ada@example.com")),
                at,
            )
        return str(order_id)

    async def list(self, page_size: int = 100, page_token: str = "", **bounds: datetime) -> pb.ListSalesResponse:
        """Return a page."""
        request = pb.ListSalesRequest(page_size=page_size, page_token=page_token)
        for name, bound in bounds.items():
            getattr(request, name).CopyFrom(timestamp(bound))
        return await self.stub.ListSales(request, metadata=as_service("svc_bulk"))


@pytest.fixture
async def sales(fresh_database: Any) -> AsyncIterator[Sales]:
    db = await Database.connect(await fresh_database("svc_order"), pool_size=2, name="sales")
    vault = Vault(db, bytes(32))
    async with serve({SALES: SalesServicer(db, vault)}, callers={SALES: frozenset({"svc_bulk"})}) as channel:
        yield Sales(db, vault, sales_service_pb2_grpc.SalesServiceStub(channel))
    await db.close()


def line(number: int, sku: str, quantity: int = 1, price: int = 100) -> Line:
    return Line(number, sku, str(uuid4()), f"Title of {sku}", "house", quantity, price, price * quantity, 0, 2000, 0)


async def test_a_sale_is_what_a_report_needs_and_no_more(sales: Sales):
    """The country of the address, and nothing else of it."""
    user_id = uuid4()
    placed = await sales.place(
        line(1, "cup", 2), line(2, "pot", 1, 500), line(3, "cup", 1), user_id=user_id, refunded=100, returned={"1": 1}
    )
    page = await sales.list()

    [sale] = page.sales
    assert (placed, str(user_id), "GB", "GBP") == (
        sale.order_id,
        sale.user_id,
        sale.country_code,
        sale.currency_code,
    )
    assert (800, 100, 4, NOW) == (
        sale.total_minor,
        sale.refunded_minor,
        sale.units,
        sale.effective_time.ToDatetime(tzinfo=UTC),
    )
    assert [("cup", "Title of cup", 3, 1, 300, 1), ("pot", "Title of pot", 1, 0, 500, 1)] == [
        (each.sku, each.title, each.units, each.returned_units, each.total_minor, each.orders) for each in page.skus
    ]
    assert b"Ada" not in page.SerializeToString()


@pytest.mark.parametrize("status", list(rules.OrderStatus))
async def test_orders_that_count_are_listed(sales: Sales, status: str):
    """One that is not decided, or was cancelled, is no sale; one that was refunded was one."""
    await sales.place(line(1, "cup"), status=str(status))

    counts = status not in ("PENDING", "CANCELLED")
    page = await sales.list()
    assert (counts, counts) == (len(page.sales) == 1, len(page.skus) == 1)


async def test_a_time_has_its_first_moment_and_not_its_last(sales: Sales):
    """By the times at which orders count as placed, which may lie long before they were imported."""
    before, first, last, after = [
        await sales.place(line(1, "cup"), at=NOW - timedelta(days=days)) for days in (41, 40, 31, 30)
    ]
    since, until = NOW - timedelta(days=40), NOW - timedelta(days=30)

    found = {each.order_id for each in (await sales.list(from_time=since, to_time=until)).sales}
    assert {first, last} == found and not {before, after} & found


async def test_pages_look_at_so_many_orders_each_once(sales: Sales):
    """A page may show fewer than it looked at, or none, and the next one goes on."""
    placed = [await sales.place(line(1, "cup"), status="CANCELLED" if n in (2, 3) else "SHIPPED") for n in range(7)]
    found, sizes, token = [], [], ""
    while True:
        page = await sales.list(page_size=2, page_token=token)
        found += [each.order_id for each in page.sales]
        sizes.append(len(page.sales))
        token = page.next_page_token
        if not token:
            break

    assert [placed[n] for n in (0, 1, 4, 5, 6)] == found
    assert [2, 0, 2, 1] == sizes
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await sales.list(page_token="!")
    assert "PAGE_TOKEN_INVALID" == reason_of(refusal.value)


async def test_a_page_of_orders_with_very_many_lines_ends_early(sales: Sales):
    """Its answer fits a message, whatever the titles are; an order alone is never too much."""
    placed = [await sales.place(*(line(n, f"{order}-{n}") for n in range(1, 1001))) for order in range(6)]
    first = await sales.list()
    second = await sales.list(page_token=first.next_page_token)

    assert placed == [each.order_id for each in (*first.sales, *second.sales)]
    assert [4, 2] == [len(first.sales), len(second.sales)] and not second.next_page_token
    assert [4000, 2000] == [len(first.skus), len(second.skus)]


async def test_a_sale_of_an_erased_user_stays_in_the_sums(sales: Sales):
    """Without its country, which is gone with the key."""
    await sales.place(line(1, "cup"), user_id=(user_id := uuid4()))
    async with sales.db.hot() as tx:
        await tx.execute("DELETE FROM user_keys WHERE user_id = $1", user_id)
    sales.vault._keys.clear()

    [sale] = (await sales.list()).sales
    assert ("", 100) == (sale.country_code, sale.total_minor)


def test_the_first_id_lies_before_all_that_belong_to_a_time():
    """A page need not look at what was made long before."""
    now = datetime.now(UTC)
    made = SystemIds().new()

    assert store.first_id(now + timedelta(minutes=5)) < made
    assert store.first_id(now + timedelta(days=2)) > made
    assert UUID(int=0) == store.first_id(None)
