"""How the cost grows: with the orders that are stored, with the products of the catalogue, with the order processes.

The rows are written by SQL, as copies of what the mesh itself has just stored: an order with its journal, its saga, its
payment and its reservation, a product with its variant. What is compared is what the mesh does with them.
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Awaitable, Callable
from uuid import UUID

from bench import orders, pages
from bench.rig import cpu, scratch
from bench.rig.copies import Changes, count, grow
from bench.rig.loads import Act, closed
from bench.rig.picture import Lines, Series
from bench.rig.result import Goal, Outcome, Terms
from bench.rig.shop import WALLET
from bench.rig.world import World, sound

SMALL_ORDERS, LARGE_ORDERS, QUICK_ORDERS = 10_000, 1_000_000, 30_000
SMALL_PRODUCTS, LARGE_PRODUCTS, QUICK_PRODUCTS = 1_000, 1_000_000, 20_000
ORDER_SECONDS, PAGE_SECONDS, PROCESS_SECONDS = 5.0, 3.0, 4.0
CONNECTIONS = 32
PROCESSES = (1, 2, 4)
PACKAGE = "svc_order"
USERS = 200_000
KNOWN_PRODUCTS = 1_000
"""So many of the products are asked for at every size of the catalogue: what the services keep of them in memory is the
same share, and only the catalogue differs."""

ORDERS = Terms(
    "growth-orders",
    "Does an order become dearer when many are stored?",
    f"""On a mesh of its own. Orders of three named lines out of wallets, {orders.SHOPPERS} shoppers, windows of
    {ORDER_SECONDS:g} s, with {SMALL_ORDERS:,} orders stored and with {LARGE_ORDERS:,} (or what SCALE says), loaded by
    SQL: the order with its journal and its saga, its payment, its reservation with the lines. The ledger's transfers
    and the journal of stock are numbered or sealed one after the other, and are not copied. What the windows place is
    stored too; the figures say how many there were. Both are taken relative to the echo beside them, since they are
    minutes apart: the limit is the first figure times the change of the echo.""",
    "orders/s",
    "with few stored, orders/s",
    Goal(0.9, 1.0),
)
PRODUCTS = Terms(
    "growth-products",
    "Does a product's page become dearer in a large catalogue?",
    f"""GET /v1/products/{{productId}} of products drawn from {KNOWN_PRODUCTS:,} at every size, chosen evenly over the
    catalogue, with a token, {CONNECTIONS} connections, windows of {PAGE_SECONDS:g} s, with {SMALL_PRODUCTS:,} products
    and with {LARGE_PRODUCTS:,} (or what SCALE says), loaded by SQL; relative to the echo beside them.""",
    "pages/s",
    "with few products, pages/s",
    Goal(0.9, 1.0),
)
WORKERS = Terms(
    "growth-processes",
    "Does an order become dearer with more order processes?",
    f"""Orders of named lines out of wallets, {orders.SHOPPERS} shoppers, windows of {PROCESS_SECONDS:g} s with 1, 2
    and 4 processes of {PACKAGE}, in turns. The figure is the CPU of one order over the whole mesh, the dearer of 2 and
    4.""",
    "CPU ms an order",
    "with one process, CPU ms an order",
    Goal(1.1, 1.0, less_is_better=True),
)

_ORDER = "SELECT order_id FROM checkouts WHERE finished_at IS NOT NULL ORDER BY order_id DESC LIMIT 1"
_PAYMENT = "SELECT order_id FROM payments WHERE status = 'CAPTURED' ORDER BY order_id DESC LIMIT 1"
_RESERVATION = "SELECT order_id FROM reservations WHERE state = 1 ORDER BY order_id DESC LIMIT 1"
_PRODUCT = "SELECT product_id FROM products ORDER BY seq LIMIT 1"
_EVENLY = "SELECT product_id FROM products ORDER BY md5(product_id::text) LIMIT $1"

_OWNER = f"md5((n % {USERS})::text)::uuid"
STORED: tuple[tuple[str, str, dict[str, Changes]], ...] = (
    (
        PACKAGE,
        _ORDER,
        {
            "orders": {"order_id": "id", "user_id": _OWNER, "cart_id": "NULL"},
            "order_events": {"order_id": "id"},
            "checkouts": {"order_id": "id", "user_id": _OWNER, "request_id": "id::text"},
        },
    ),
    ("svc_payment", _PAYMENT, {"payments": {"order_id": "id", "payment_id": "uuidv7()", "user_id": _OWNER}}),
    ("svc_inventory", _RESERVATION, {"reservations": {"order_id": "id"}, "reservation_lines": {"order_id": "id"}}),
)
"""What an order leaves behind, by package: which one is copied, and what differs in its copies; owners are 200,000."""


async def stored_orders(world: World) -> Outcome:
    """Answer for stored orders, with the picture of orders a second against them."""
    act = await orders.buying(world, orders.SHOPPERS, WALLET)
    large = QUICK_ORDERS if world.quick else round(LARGE_ORDERS * world.scale)
    await world.warm(orders.SHOPPERS, ORDER_SECONDS, act)
    await world.settle()
    sizes = (SMALL_ORDERS, max(SMALL_ORDERS, round((SMALL_ORDERS * large) ** 0.5)), large)
    return await _grown(
        world,
        act,
        orders.SHOPPERS,
        ORDER_SECONDS,
        sizes,
        fill_orders,
        count_orders,
        settles=True,
        picture=("Orders against orders stored", "orders stored", "orders for 1,000 calls of the echo"),
    )


async def products(world: World) -> Outcome:
    """Answer for the catalogue, with the picture of pages a second against products."""
    await world.shop()
    known: list[bytes] = []
    draw = random.Random(1)  # noqa: S311

    async def stored(world: World) -> int:
        async with scratch.inside(world, "svc_catalog") as connection:
            return await count(connection, "products")

    async def fill(world: World, total: int) -> None:
        chosen = await fill_products(world, total)
        known[:] = await pages.reading(world, chosen)

    async def act(caller: int) -> None:
        await world.wire.send(draw.choice(known))

    large = QUICK_PRODUCTS if world.quick else round(LARGE_PRODUCTS * world.scale)
    sizes = (SMALL_PRODUCTS, max(SMALL_PRODUCTS, round((SMALL_PRODUCTS * large) ** 0.5)), large)
    return await _grown(
        world,
        act,
        CONNECTIONS,
        PAGE_SECONDS,
        sizes,
        fill,
        stored,
        settles=False,
        picture=("Product pages against the size of the catalogue", "products", "pages for 1,000 calls of the echo"),
    )


async def _grown(
    world: World,
    act: Act,
    callers: int,
    seconds: float,
    sizes: tuple[int, ...],
    fill: Callable[[World, int], Awaitable[None]],
    stored: Callable[[World], Awaitable[int]],
    *,
    settles: bool,
    picture: tuple[str, str, str],
) -> Outcome:
    """Measure at each size. The figure is the one at the last, the limit that at the first as the echo has changed.

    Sizes are told as they were counted: before the windows, and after them, which may have added to it.

    Raises:
        Unmeasured: More was stored before than at the first size.
    """
    found, counts = [], []
    for size in sizes:
        await fill(world, size)
        before = await stored(world)
        ends = size in (sizes[0], sizes[-1])
        found.append(await world.repeat(callers, seconds, act, settles=settles, repeats=None if ends else 1))
        counts.append((before, await stored(world)))
    first, last = found[0], found[-1]
    few, many = (told(counts[place]) for place in (0, -1))
    limits = tuple(
        before * now / then for before, then, now in zip(first.per_second, first.limits, last.limits, strict=True)
    )
    points = tuple(
        (float(size), 1000 * statistics.median(a / b for a, b in zip(each.per_second, each.limits, strict=True)))
        for (size, _), each in zip(counts, found, strict=True)
    )
    more: dict[str, float | str] = {
        f"p99 in ms with {few}": first.percentile(0.99),
        f"p99 in ms with {many}": last.percentile(0.99),
        f"CPU of the mesh in ms with {few}": cpu.of_the_mesh(first.cpu_seconds) * 1000,
        f"CPU of the mesh in ms with {many}": cpu.of_the_mesh(last.cpu_seconds) * 1000,
    }
    title, x, y = picture
    drawn = Lines(title, x, y, (Series("measured", points),))
    return Outcome(last.per_second, limits, last.cpu_seconds, more, drawn, limit_is=f"with {few} stored")


def told(counts: tuple[int, int]) -> str:
    """Return how many there were before and after the windows, as people read it."""
    before, after = counts
    return f"{before:,}" if before == after else f"{before:,} to {after:,}"


async def processes(world: World) -> Outcome:
    """Answer for order processes, with the picture of the CPU of an order against them."""
    act = await orders.buying(world, orders.SHOPPERS, WALLET)
    costs: dict[int, list[float]] = {n: [] for n in PROCESSES}
    rates: dict[int, list[float]] = {n: [] for n in PROCESSES}
    spent: dict[str, float] = {}
    try:
        for _ in range(world.repeats):
            for number in PROCESSES:
                await world.ask(do="scale", package=PACKAGE, replicas=number)
                await world.warm(orders.SHOPPERS, PROCESS_SECONDS, act)
                await world.settle()
                meter = await world.meter()
                with meter.running():
                    window = sound(await closed(orders.SHOPPERS, world.seconds(PROCESS_SECONDS), act))
                    await world.settle()
                spent = meter.per_operation(window.done)
                costs[number].append(cpu.of_the_mesh(spent) * 1000)
                rates[number].append(window.per_second)
    finally:
        await world.ask(do="scale", package=PACKAGE, replicas=1)
    figures = tuple(max(costs[n][repeat] for n in PROCESSES[1:]) for repeat in range(world.repeats))
    points = tuple((float(n), statistics.median(each), min(each), max(each)) for n, each in costs.items())
    more: dict[str, float | str] = {f"orders/s with {n}": statistics.median(each) for n, each in rates.items()}
    picture = Lines(
        "CPU of an order against order processes",
        f"processes of {PACKAGE}",
        "ms of CPU of an order, whole mesh",
        (Series("measured", points),),
    )
    return Outcome(figures, tuple(costs[1]), spent, more, picture)


async def fill_orders(world: World, total: int) -> None:
    """Store orders until there are so many, with what the other packages keep of each.

    Raises:
        Unmeasured: There are more already.
    """
    for package, template, tables in STORED:
        async with scratch.inside(world, package) as connection:
            copied = await connection.fetchval(template)
            await grow(connection, total, key="order_id", template=copied, tables=tables)


async def count_orders(world: World) -> int:
    """Return how many orders are stored."""
    async with scratch.inside(world, PACKAGE) as connection:
        return await count(connection, "orders")


async def fill_products(world: World, total: int) -> list[UUID]:
    """Store products until there are so many, with titles and SKUs of their own; returns some of them."""
    tables = {
        "products": {"product_id": "id", "title": "'Grown ' || n"},
        "variants": {"product_id": "id", "sku": "'GROWN-' || n"},
    }
    async with scratch.inside(world, "svc_catalog") as connection:
        template = await connection.fetchval(_PRODUCT)
        await grow(connection, total, key="product_id", template=template, tables=tables)
        rows = await connection.fetch(_EVENLY, KNOWN_PRODUCTS)
        return [row["product_id"] for row in rows]
