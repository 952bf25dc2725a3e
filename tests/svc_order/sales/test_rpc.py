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
from mesh.vault.vault import Vault
from svc_order.order.lines import Line, lines_to_json
from svc_order.order.rules import OrderStatus
from svc_order.order.values import timestamp
from svc_order.order.wire import seal_text
from svc_order.sales import store
from svc_order.sales.rpc import SalesServicer
from tests.harness import as_service, reason_of, serve
from tests.kms import Kms
from titan.order.v1 import order_pb2, sales_service_pb2_grpc
from titan.order.v1 import sales_service_pb2 as pb
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
                lines_to_json(lines),
                more.get("returned"),
                self.vault.seal(user_id, order_id, seal_text(address, "ada@example.com")),
                at,
            )
        return str(order_id)

    async def sum(self, page_size: int = 0, page_token: str = "", **bounds: datetime) -> pb.SumSalesResponse:
        """Return a page."""
        request = pb.SumSalesRequest(page_size=page_size, page_token=page_token)
        for name, bound in bounds.items():
            getattr(request, name).CopyFrom(timestamp(bound))
        return await self.stub.SumSales(request, metadata=as_service("svc_bulk"))


def sums(groups: Any) -> list[tuple[Any, ...]]:
    """Return what groups come to, by name."""
    return sorted(
        (each.name, each.currency_code, each.orders, each.units, each.total_minor, each.refunded_minor)
        for each in groups
    )


@pytest.fixture
async def sales(fresh_database: Any) -> AsyncIterator[Sales]:
    db = await Database.connect(await fresh_database("svc_order"), pool_size=2, name="sales")
    vault = Vault(db, Kms())
    async with serve({SALES: SalesServicer(db, vault)}, callers={SALES: frozenset({"svc_bulk"})}) as channel:
        yield Sales(db, vault, sales_service_pb2_grpc.SalesServiceStub(channel))
    await db.close()


def line(number: int, sku: str, quantity: int = 1, price: int = 100) -> Line:
    return Line(number, sku, str(uuid4()), f"Title of {sku}", "house", quantity, price, price * quantity, 0, 2000, 0)


async def test_orders_are_summed_by_day_country_customer_and_sku(sales: Sales):
    """The country of the address, and nothing else of it; no order comes back."""
    ada, bob = uuid4(), uuid4()
    cups, pot = line(1, "cup", 2), line(2, "pot", 1, 500)
    await sales.place(cups, pot, line(3, "cup", 1), user_id=ada, refunded=100, returned={"1": 1})
    await sales.place(line(1, "cup"), user_id=ada, country="FR", at=NOW - timedelta(days=1))
    last = await sales.place(line(1, "cup"), user_id=bob)
    page = await sales.sum()

    today, yesterday = str(NOW.date()), str((NOW - timedelta(days=1)).date())
    assert 3 == page.orders and not page.next_page_token
    assert [(yesterday, "GBP", 1, 1, 100, 0), (today, "GBP", 2, 5, 900, 100)] == sums(page.days)
    assert [("FR", "GBP", 1, 1, 100, 0), ("GB", "GBP", 2, 5, 900, 100)] == sums(page.countries)
    assert sorted([(str(ada), "GBP", 2, 5, 900, 100), (str(bob), "GBP", 1, 1, 100, 0)]) == sums(page.customers)
    assert [("cup", "Title of cup", 5, 1, 500, 3), ("pot", "Title of pot", 1, 0, 500, 1)] == sorted(
        (each.sku, each.title, each.units, each.returned_units, each.total_minor, each.orders) for each in page.skus
    )
    sent = page.SerializeToString()
    assert b"Ada" not in sent and last.encode() not in sent


@pytest.mark.parametrize("status", list(OrderStatus))
async def test_orders_that_count_are_summed(sales: Sales, status: str):
    """One that is not decided, or was cancelled, is no sale; one that was refunded was one."""
    await sales.place(line(1, "cup"), status=str(status))

    counts = status not in ("PENDING", "CANCELLED")
    page = await sales.sum()
    assert (counts, counts, counts) == (page.orders == 1, len(page.customers) == 1, len(page.skus) == 1)


async def test_a_time_has_its_first_moment_and_not_its_last(sales: Sales):
    """By the times at which orders count as placed, which may lie long before they were imported."""
    users = [uuid4() for _ in range(4)]
    for user_id, days in zip(users, (41, 40, 31, 30), strict=True):
        await sales.place(line(1, "cup"), at=NOW - timedelta(days=days), user_id=user_id)
    since, until = NOW - timedelta(days=40), NOW - timedelta(days=30)

    found = {each.name for each in (await sales.sum(from_time=since, to_time=until)).customers}
    assert {str(users[1]), str(users[2])} == found


async def test_pages_look_at_so_many_orders_each_once(sales: Sales):
    """A page may show fewer than it looked at, or none, and the next one goes on."""
    users = [uuid4() for _ in range(7)]
    for number, user_id in enumerate(users):
        status = "CANCELLED" if number in (2, 3) else "SHIPPED"
        await sales.place(line(1, "cup"), status=status, user_id=user_id)
    found, sizes, token = [], [], ""
    while True:
        page = await sales.sum(page_size=2, page_token=token)
        found += [each.name for each in page.customers]
        sizes.append(page.orders)
        token = page.next_page_token
        if not token:
            break

    assert sorted(str(users[n]) for n in (0, 1, 4, 5, 6)) == sorted(found)
    assert [2, 0, 2, 1] == sizes
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await sales.sum(page_token="!")
    assert "PAGE_TOKEN_INVALID" == reason_of(refusal.value)


async def test_a_page_of_orders_with_very_many_skus_ends_early(sales: Sales):
    """Its answer fits a message, whatever the titles are; the same SKUs again are no more of them."""
    for order in range(6):
        await sales.place(*(line(n, f"{order}-{n}") for n in range(1, 1001)))
    for _ in range(3):
        await sales.place(*(line(n, f"again-{n}") for n in range(1, 1001)))
    pages, token = [], ""
    while not pages or token:
        pages.append(await sales.sum(page_token=token))
        token = pages[-1].next_page_token

    assert [(4, 4000), (5, 3000)] == [(page.orders, len(page.skus)) for page in pages]


async def test_a_sale_of_an_erased_user_stays_in_the_sums(sales: Sales):
    """Without its country, which is gone with the key."""
    await sales.place(line(1, "cup"), user_id=(user_id := uuid4()))
    async with sales.db.hot() as tx:
        await tx.execute("DELETE FROM user_keys WHERE user_id = $1", user_id)
    sales.vault._keys.clear()

    assert [("", "GBP", 1, 1, 100, 0)] == sums((await sales.sum()).countries)


async def imported(sales: Sales, page_size: int = 0, **bounds: datetime) -> list[pb.ImportedOrder]:
    """Return the imported orders of all pages."""
    found, request = [], pb.ListImportedOrdersRequest(page_size=page_size)
    for name, bound in bounds.items():
        getattr(request, name).CopyFrom(timestamp(bound))
    while True:
        page = await sales.stub.ListImportedOrders(request, metadata=as_service("svc_bulk"))
        found += page.orders
        request.page_token = page.next_page_token
        if not request.page_token:
            return found


async def check_out(sales: Sales, order_id: str, request_id: str) -> None:
    """Store under which key an order was placed."""
    async with sales.db.hot() as tx:
        await tx.execute(
            "INSERT INTO checkouts (order_id, user_id, request_id, fingerprint, next_run_at, finished_at, decided_at,"
            " response) SELECT order_id, user_id, $2, '', now(), now(), now(), '' FROM orders WHERE order_id = $1",
            UUID(order_id),
            request_id,
        )


async def test_imported_orders_are_listed_with_their_keys_and_what_went_back(sales: Sales):
    """Refused ones too, but none that a shopper placed just now; nothing personal is in them."""
    then = NOW - timedelta(days=30)
    bought = await sales.place(line(1, "cup", 2), at=then, refunded=150)
    refused = await sales.place(line(1, "cup"), at=then, status="CANCELLED")
    shopper = await sales.place(line(1, "cup"), at=NOW + timedelta(days=1))
    for order_id, key in ((bought, "invoice-1"), (refused, f"forgotten:{refused}"), (shopper, "invoice-2")):
        await check_out(sales, order_id, key)
    async with sales.db.hot() as tx:
        await tx.execute("UPDATE orders SET cancel_reason = 'OUT_OF_STOCK' WHERE order_id = $1", UUID(refused))
        for version, amount, of in ((2, 50, "OrderRefunded"), (3, 100, "OrderRefunded"), (4, 7, "OrderShipped")):
            await tx.execute(
                "INSERT INTO order_events (order_id, version, type, payload, recorded_at, effective_at)"
                " VALUES ($1, $2, $3, $4, now(), $5)",
                UUID(bought),
                version,
                of,
                {"refund_id": f"refund {version}", "amount_minor": amount},
                then + timedelta(days=version),
            )

    first, second = await imported(sales)
    assert (bought, "invoice-1", "CONFIRMED", 200) == (
        first.order_id,
        first.request_id,
        order_pb2.OrderStatus.Name(first.status).removeprefix("ORDER_STATUS_"),
        first.total.minor_units,
    )
    assert then == first.effective_time.ToDatetime(tzinfo=UTC)
    assert [("refund 2", 50, then + timedelta(days=2)), ("refund 3", 100, then + timedelta(days=3))] == [
        (each.refund_id, each.amount.minor_units, each.effective_time.ToDatetime(tzinfo=UTC)) for each in first.refunds
    ]
    assert (refused, "", "OUT_OF_STOCK", 0) == (
        second.order_id,
        second.request_id,
        second.cancel_reason,
        len(second.refunds),
    )
    assert b"Ada" not in first.SerializeToString() + second.SerializeToString()


async def test_pages_of_imported_orders_hold_each_of_their_time_once(sales: Sales):
    """A page may have none; a token of another time is refused."""
    days = (40, 39, 0, 0, 38, 31, 30)
    made = [await sales.place(line(1, "cup"), at=NOW - timedelta(days=back, minutes=-1)) for back in days]
    for number, order_id in enumerate(made):
        await check_out(sales, order_id, f"invoice-{number}")
    bounds = {"from_time": NOW - timedelta(days=39), "to_time": NOW - timedelta(days=30)}

    found = await imported(sales, page_size=2, **bounds)
    assert ["invoice-1", "invoice-4", "invoice-5"] == [each.request_id for each in found]
    page = await sales.stub.ListImportedOrders(
        pb.ListImportedOrdersRequest(page_size=2), metadata=as_service("svc_bulk")
    )
    request = pb.ListImportedOrdersRequest(page_token=page.next_page_token, from_time=timestamp(NOW))
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await sales.stub.ListImportedOrders(request, metadata=as_service("svc_bulk"))
    assert "PAGE_TOKEN_INVALID" == reason_of(refusal.value)


def test_the_first_id_lies_before_all_that_belong_to_a_time():
    """A page need not look at what was made long before."""
    now = datetime.now(UTC)
    made = SystemIds().new()

    assert store.first_id(now + timedelta(minutes=5)) < made
    assert store.first_id(now + timedelta(days=2)) > made
    assert UUID(int=0) == store.first_id(None)
