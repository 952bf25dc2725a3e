"""How many calls a second the cheap routes answer: a product's page, the page as not modified, one more in the cart."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

from bench.rig.loads import Act
from bench.rig.picture import Lines, Series
from bench.rig.result import Goal, Outcome, Terms
from bench.rig.world import MOST_LOAD_CORES, World

CONNECTIONS = 32
SECONDS = 4.0
SWEEP = (1, 4, 16, 32, 64)
SWEEP_SECONDS = 1.5
CART_LINES = 5
"""Every answer shows the whole cart: with a line of every product it would be the page of a warehouse."""

METHOD = f"""{{}}, over {CONNECTIONS} kept HTTPS connections, closed loop, windows of {SECONDS:g} s after a warm-up,
each right after a slice of the echo. The load is one process of Python that shares the cores; what it takes of one is
shown, and where it takes more than {MOST_LOAD_CORES:.0%} there is no figure."""

PRODUCT = Terms(
    "product",
    "How many product pages a second, each asked of the mesh?",
    METHOD.format("GET /v1/products/{productId} of sixty, with a token: whoever shows one is never told a kept page"),
    "pages/s",
    "bare echo, calls/s",
    Goal(0.4, 0.6),
)
UNCHANGED = Terms(
    "product-304",
    "How many product pages a second that the client has already?",
    METHOD.format("GET /v1/products/{productId} of sixty, without a token, with the If-None-Match that makes it a 304"),
    "pages/s",
    "bare echo, calls/s",
    Goal(2.0, 5.0),
)
CART = Terms(
    "cart",
    "How many items a second are put into carts?",
    METHOD.format(f"POST /v1/cart/items by guests of their own, one more unit of one of {CART_LINES} SKUs"),
    "items/s",
    "bare echo, calls/s",
    Goal(0.3, 0.45),
)


async def asking(world: World) -> Act:
    """Return the operation: the page of the next product."""
    shop = await world.shop()
    requests = await reading(world, [each.product_id for each in shop.products])
    numbers = count()

    async def act(caller: int) -> None:
        await world.wire.send(requests[next(numbers) % len(requests)])

    return act


async def reading(world: World, product_ids: Sequence[object]) -> list[bytes]:
    """Return what asks for these pages, by somebody whom the HTTP edge has to ask the catalogue for."""
    (reader,) = await (await world.shop()).guests(1)
    return [world.wire.request("GET", f"/v1/products/{each}", token=reader.token) for each in product_ids]


async def filling(world: World, guests: int) -> Act:
    """Return the operation: one more unit of one of the products in the caller's cart."""
    shop = await world.shop()
    owners = await shop.guests(guests)
    numbers = count()

    async def act(caller: int) -> None:
        place = CART_LINES * caller + next(numbers) % CART_LINES
        await shop.add(owners[caller], shop.products[place % len(shop.products)].sku)

    return act


async def product(world: World) -> Outcome:
    """Answer for pages that the mesh makes."""
    return await _answer(world, await asking(world), "Product pages against connections", "pages a second")


async def unchanged(world: World) -> Outcome:
    """Answer for pages that did not change."""
    shop = await world.shop()
    requests = []
    for each in shop.products:
        path = f"/v1/products/{each.product_id}"
        etag = (await world.wire.send(world.wire.request("GET", path))).etag
        requests.append(world.wire.request("GET", path, if_none_match=etag))
    numbers = count()

    async def act(caller: int) -> None:
        await world.wire.send(requests[next(numbers) % len(requests)], wanted=304)

    return await _answer(world, act, "Pages answered as not modified, against connections", "pages a second")


async def cart(world: World) -> Outcome:
    """Answer for carts."""
    act = await filling(world, max(SWEEP))
    return await _answer(world, act, "Items put into carts, against guests at once", "items a second")


async def _answer(world: World, act: Act, title: str, unit: str) -> Outcome:
    found = await world.repeat(CONNECTIONS, SECONDS, act)
    windows = await world.sweep(SWEEP, SWEEP_SECONDS, act)
    more: dict[str, float | str] = {
        "p50 in ms": found.percentile(0.5),
        "p99 in ms": found.percentile(0.99),
        "p50 in ms of one alone": windows[0][1].milliseconds(0.5),
        "of a core, taken by the load": found.load_cores,
    }
    throughput = Series("through the mesh", tuple((float(n), window.per_second) for n, window in windows))
    echo = ("bare echo", sorted(found.limits)[len(found.limits) // 2])
    picture = Lines(title, "connections, each with one call under way", unit, (throughput,), (echo,))
    return Outcome(found.per_second, tuple(found.limits), found.cpu_seconds, more, picture)
