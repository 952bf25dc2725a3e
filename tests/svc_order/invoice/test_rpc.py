"""Invoices over the real chain, on real Postgres: one a seller when a parcel leaves, numbered without a gap."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest

from mesh.seams import failpoints
from tests import harness
from tests.svc_order.conftest import Shop
from tests.svc_order.order.test_rpc import READ_ROLES, THEN, TICKET, captured, dated, imported, refused, ship
from tests.svc_order.world import World
from titan.order.v1 import invoice_pb2
from titan.order.v1 import invoice_service_pb2 as pb

FINANCE = harness.as_user(roles=("finance",))


async def of_order(shop: Shop, order_id: str, who: Any = FINANCE) -> list[invoice_pb2.Invoice]:
    request = pb.ListOrderInvoicesRequest(order_id=order_id, ticket_id=TICKET)
    return list((await shop.invoices.ListOrderInvoices(request, metadata=who)).invoices)


async def numbers(shop: Shop, seller: str) -> list[int]:
    """Return the numbers of a seller, the oldest first, read in small pages."""
    found: list[int] = []
    request = pb.ListInvoicesRequest(seller_id=seller, page_size=3)
    while True:
        page = await shop.invoices.ListInvoices(request, metadata=FINANCE)
        found += [each.number for each in page.invoices]
        request.page_token = page.next_page_token
        if not page.next_page_token:
            return found[::-1]


async def test_each_seller_of_a_parcel_that_left_issues_one_invoice(shop: Shop, world: World) -> None:
    """Together they are the order; none before, and none when it is shipped again."""
    world.sellers["tea"] = seller = f"tea_{uuid4().hex[:8]}"
    order = await captured(shop, uuid4())
    assert [] == await of_order(shop, order.order_id)
    await ship(shop, order.order_id)
    await ship(shop, order.order_id, "LATE")
    house, tea = await of_order(shop, order.order_id)
    assert [("house", 1000), (seller, 250)] == [(each.seller_id, each.total.minor_units) for each in (house, tea)]
    assert order.tax.minor_units == house.tax.minor_units + tea.tax.minor_units
    assert (1, order.order_id) == (tea.number, tea.order_id) and tea.issue_time == tea.effective_time
    assert [1] == await numbers(shop, seller)


async def test_a_series_has_no_gap_whoever_ships_at_once_and_whatever_fails(shop: Shop, world: World) -> None:
    """A shipment that is not stored gives its number back."""
    seller = f"mugs_{uuid4().hex[:8]}"
    world.sellers.update(dict.fromkeys(("mug", "tea"), seller))
    orders = [await captured(shop, uuid4()) for _ in range(8)]
    await ship(shop, orders[0].order_id)
    failpoints.arm("order.change.before_commit", "raise*1")
    with pytest.raises(Exception, match="internal"):
        await ship(shop, orders[1].order_id)
    assert [] == await of_order(shop, orders[1].order_id)
    await asyncio.gather(*(ship(shop, order.order_id) for order in orders[1:]), *(ship(shop, orders[3].order_id),))
    assert list(range(1, 9)) == await numbers(shop, seller)


async def test_an_imported_parcel_is_invoiced_as_of_when_it_left(shop: Shop) -> None:
    """Its number is of today."""
    order_id = await imported(shop, uuid4())
    request = dated(order_id, THEN)["ShipOrder"]
    await shop.orders.ShipOrder(request, metadata=harness.as_user(roles=("importer",)))
    (invoice,) = await of_order(shop, order_id)
    assert THEN == invoice.effective_time.ToJsonString() and invoice.issue_time.ToJsonString() > "2026"


async def test_an_owner_reads_their_invoices_and_the_shop_reads_all(shop: Shop) -> None:
    user = uuid4()
    order = await captured(shop, user)
    await ship(shop, order.order_id)
    mine = await of_order(shop, order.order_id, harness.as_user(user))
    assert 1 == len(mine)
    for role in READ_ROLES:
        assert mine == await of_order(shop, order.order_id, harness.as_user(roles=(role,)))
    assert "ORDER_NOT_FOUND" == await refused(of_order(shop, order.order_id, harness.as_user()))
    assert "ORDER_NOT_FOUND" == await refused(of_order(shop, str(uuid4())))
    request = pb.ListInvoicesRequest(seller_id="house", page_size=1)
    for roles in (("customer",), ("support",), ("importer",), ("warehouse",)):
        assert "ACCESS_DENIED" == await refused(
            shop.invoices.ListInvoices(request, metadata=harness.as_user(roles=roles))
        )
    token = (await shop.invoices.ListInvoices(request, metadata=FINANCE)).next_page_token or "x"
    other = pb.ListInvoicesRequest(seller_id="somebody else", page_token=token)
    assert "PAGE_TOKEN_INVALID" == await refused(shop.invoices.ListInvoices(other, metadata=FINANCE))


async def test_a_seller_reads_its_own_invoices_and_nobody_elses(shop: Shop, world: World) -> None:
    """The seller of a product is the user with the role; another's series looks as if nothing had been sold."""
    user = uuid4()
    world.sellers["tea"] = seller = str(user)
    order = await captured(shop, uuid4())
    await ship(shop, order.order_id)
    me = harness.as_user(user, roles=("seller",))

    async def listed(seller_id: str, who: Any) -> list[str]:
        page = await shop.invoices.ListInvoices(pb.ListInvoicesRequest(seller_id=seller_id), metadata=who)
        return [each.order_id for each in page.invoices]

    assert [order.order_id] == await listed(seller, me) == await listed(seller, FINANCE)
    assert order.order_id in await listed("house", FINANCE)
    assert [] == await listed("house", me) == await listed(seller, harness.as_user(roles=("seller",)))
    assert [] != await listed("house", harness.as_user(user, roles=("seller", "finance")))


async def test_an_invoice_is_never_changed(shop: Shop) -> None:
    order = await captured(shop, uuid4())
    await ship(shop, order.order_id)
    for statement in ("UPDATE invoices SET number = 7", "DELETE FROM invoices", "TRUNCATE invoices CASCADE"):
        with pytest.raises(Exception, match="append-only"):
            async with shop.db.hot() as tx:
                await tx.execute(statement)
    async with shop.db.hot_read() as connection:
        query = "SELECT count(*) FROM invoices WHERE order_id = $1"
        assert 1 == await connection.fetchval(query, UUID(order.order_id))
