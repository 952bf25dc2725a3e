"""What a seller sold, over the real chain, on real Postgres; and the rule of its pages."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest

from mesh import projections
from svc_order.order import sold
from svc_order.order.projection import ORDERS
from svc_order.order.rules import OrderStatus
from tests import harness
from tests.svc_order.conftest import Shop
from tests.svc_order.order.test_rpc import cancel, captured, give_back, imported, rebuilt, refused, ship
from tests.svc_order.world import World
from titan.order.v1 import order_pb2
from titan.order.v1 import order_service_pb2 as pb

ADMIN = harness.as_user(roles=("admin",))
OPEN, GONE = OrderStatus.CONFIRMED, OrderStatus.SHIPPED
SHIPPED = order_pb2.ORDER_STATUS_SHIPPED


@pytest.fixture
def seller(world: World) -> UUID:
    """A user with the role, who sells the tea and nothing else."""
    user = uuid4()
    world.sellers["tea"] = str(user)
    return user


async def listed(shop: Shop, seller: Any, who: Any = None, **more: Any) -> list[order_pb2.SellerOrder]:
    """Return a seller's orders as the seller reads them, or somebody else, all pages of them."""
    request, found = pb.ListSellerOrdersRequest(seller_id=str(seller), **more), []
    while True:
        page = await shop.orders.ListSellerOrders(
            request, metadata=who or harness.as_user(UUID(str(seller)), roles=("seller",))
        )
        found += page.orders
        request.page_token = page.next_page_token
        if not page.next_page_token:
            return found


def ids(orders: list[order_pb2.SellerOrder]) -> list[str]:
    return [order.order_id for order in orders]


@pytest.mark.parametrize(
    ("statuses", "wanted", "size", "looked_at", "shown", "last"),
    [
        ([], None, 2, 3, [], None),
        ([OPEN, GONE], None, 2, 3, [0, 1], None),
        ([OPEN, GONE, OPEN], None, 2, 3, [0, 1], 1),
        ([OPEN, GONE, OPEN], GONE, 2, 4, [1], None),
        ([OPEN, GONE, OPEN, OPEN], GONE, 2, 4, [1], 3),
        ([OPEN, OPEN, OPEN, OPEN], GONE, 2, 4, [], 3),
        ([GONE, GONE, OPEN, GONE], GONE, 2, 4, [0, 1], 1),
        ([GONE, OPEN, OPEN, GONE], GONE, 2, 4, [0, 3], 3),
    ],
)
def test_a_page_ends_where_it_is_full_or_enough_was_looked_at(
    statuses: list[OrderStatus],
    wanted: OrderStatus | None,
    size: int,
    looked_at: int,
    shown: list[int],
    last: int | None,
) -> None:
    """The next begins after the last that was shown, or looked at; nothing is left out, nothing comes twice."""
    found = [(UUID(int=number), status) for number, status in enumerate(statuses)]

    assert ([UUID(int=n) for n in shown], None if last is None else UUID(int=last)) == sold.page(
        found, wanted, size=size, looked_at=looked_at
    )


async def test_a_seller_reads_their_own_lines_and_nothing_of_the_customer(shop: Shop, seller: UUID) -> None:
    """Of an order of two sellers each reads one line; nobody's name, address or e-mail is on the wire."""
    customer = uuid4()
    order = await captured(shop, customer)
    await ship(shop, order.order_id)
    await give_back(shop, order.order_id, [(2, 1)])

    (mine,) = await listed(shop, seller)

    (tea,) = (line for line in order.lines if line.sku == "tea")
    (line,) = mine.lines
    assert (order.order_id, str(seller), SHIPPED) == (mine.order_id, mine.seller_id, mine.status)
    assert ("tea", tea.quantity, tea.line_total, 1) == (
        line.sku,
        line.quantity,
        line.line_total,
        line.returned_quantity,
    )
    assert tea.line_total == mine.total != order.total
    assert [each.warehouse_id for each in line.allocations] == [each.warehouse_id for each in tea.allocations]
    assert order.create_time == mine.create_time == mine.effective_time
    assert mine.create_time.ToDatetime() < mine.update_time.ToDatetime()
    wire = mine.SerializeToString()
    for personal in (str(customer), order.contact_email, order.shipping_address.full_name):
        assert personal and personal.encode() not in wire


async def test_nobody_reads_what_another_seller_sold(shop: Shop, seller: UUID) -> None:
    """It looks as if nothing had been sold; an administrator reads any, and of the house there is nothing to read."""
    order = await captured(shop, uuid4())
    another = harness.as_user(roles=("seller",))

    assert [order.order_id] == ids(await listed(shop, seller)) == ids(await listed(shop, seller, ADMIN))
    assert [] == await listed(shop, seller, another) == await listed(shop, "house", another)
    assert [] == await listed(shop, "house", ADMIN)
    for roles in (("customer",), ("support",), ("finance",), ("importer",), ("warehouse",)):
        assert "ACCESS_DENIED" == await refused(listed(shop, seller, harness.as_user(seller, roles=roles)))


async def test_what_was_never_sold_is_not_listed_and_what_was_cancelled_stays(shop: Shop, seller: UUID) -> None:
    """An order that was refused holds nothing of the seller's; one that was sold is theirs, whatever becomes of it."""
    customer = uuid4()
    cancelled = await captured(shop, customer)
    await cancel(shop, cancelled.order_id, customer)
    assert "OUT_OF_STOCK" == await refused(shop.place(customer, lines=[("tea", 10_000)]))
    of_the_house = await captured(shop, customer, lines=[("mug", 1)])

    found = await listed(shop, seller)

    assert [(cancelled.order_id, order_pb2.ORDER_STATUS_CANCELLED)] == [(each.order_id, each.status) for each in found]
    assert of_the_house.order_id not in ids(await listed(shop, seller, ADMIN))


async def test_pages_are_newest_first_and_a_status_leaves_out_the_rest(
    shop: Shop, seller: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a page looks at fewer orders than there are."""
    placed = [(await captured(shop, uuid4())).order_id for _ in range(5)]
    for order_id in (placed[0], placed[3]):
        await ship(shop, order_id)
    monkeypatch.setattr(sold, "SEARCHED_ORDERS", 2)

    assert placed[::-1] == ids(await listed(shop, seller, page_size=2))
    assert [placed[3], placed[0]] == ids(await listed(shop, seller, page_size=1, status=SHIPPED))
    assert [] == await listed(shop, seller, status=order_pb2.ORDER_STATUS_DELIVERED)
    assert "INVALID_INPUT" == await refused(listed(shop, seller, status=order_pb2.ORDER_STATUS_PENDING))


async def test_a_page_token_is_for_one_seller_and_one_status(shop: Shop, seller: UUID) -> None:
    for _ in range(2):
        await captured(shop, uuid4())
    request = pb.ListSellerOrdersRequest(seller_id=str(seller), page_size=1)
    token = (await shop.orders.ListSellerOrders(request, metadata=ADMIN)).next_page_token
    assert token
    for other in ({"seller_id": "house"}, {"seller_id": str(seller), "status": SHIPPED}):
        asked = pb.ListSellerOrdersRequest(page_token=token, **other)
        assert "PAGE_TOKEN_INVALID" == await refused(shop.orders.ListSellerOrders(asked, metadata=ADMIN))


async def test_whose_an_order_is_is_made_again_from_its_journal(shop: Shop, seller: UUID) -> None:
    """An imported one's too; a row that is missing or of nobody is found."""
    orders = [(await captured(shop, uuid4())).order_id, await imported(shop, uuid4())]
    assert sorted(orders, reverse=True) == ids(await listed(shop, seller))
    await rebuilt(shop)
    assert sorted(orders, reverse=True) == ids(await listed(shop, seller))
    async with shop.db.hot() as tx:
        await tx.execute("UPDATE seller_orders SET seller_id = 'mallory' WHERE order_id = $1", UUID(orders[0]))
    connection = await shop.db.connect_alone("rebuild")
    try:
        told = (await projections.rebuild(connection, ORDERS)).differences
    finally:
        await connection.close()
    assert {
        f"seller_orders {seller}/{orders[0]}: is missing",
        f"seller_orders mallory/{orders[0]}: is in no journal",
    } == set(told)
    assert sorted(orders, reverse=True) == ids(await listed(shop, seller))
