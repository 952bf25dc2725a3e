"""What a hot product costs: 256 buyers of one, beside 256 buyers of many."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from itertools import count

from bench.rig.loads import Act, closed
from bench.rig.picture import Lines, Series
from bench.rig.result import Goal, Outcome, Terms
from bench.rig.shop import WALLET
from bench.rig.world import World, sound

BUYERS = 256
SECONDS = 5.0
SWEEP = (16, 64, 256)
SWEEP_SECONDS = 3.0

TERMS = Terms(
    "hot",
    f"Does one hot SKU slow {BUYERS} buyers down?",
    f"""POST /v1/orders of one named line from a wallet, closed loop of {BUYERS} buyers, windows of {SECONDS:g} s; the
    limit is the same with each order for another of sixty SKUs, in the window just before.""",
    "orders/s",
    "the same on many SKUs, orders/s",
    Goal(0.9, 1.0),
)


async def measure(world: World) -> Outcome:
    """Answer, with the picture of throughput against buyers."""
    shop = await world.shop()
    guests = await shop.guests(BUYERS)
    numbers = count()
    hot = shop.products[0].sku

    def of(choose: Callable[[int], str]) -> Act:
        async def act(caller: int) -> None:
            await shop.order(guests[caller], shop.order_body([choose(next(numbers))], WALLET))

        return act

    one, many = of(lambda number: hot), of(lambda number: shop.products[number % len(shop.products)].sku)

    def limit(act: Act) -> Callable[[], Awaitable[float]]:
        async def window() -> float:
            await world.warm(BUYERS, SECONDS, act)
            await world.settle()
            found = sound(await closed(BUYERS, world.seconds(SECONDS), act)).per_second
            await world.settle()
            return found

        return window

    found = await world.repeat(BUYERS, SECONDS, one, limit=limit(many), settles=True)
    series = []
    for name, act in (("many SKUs", many), ("one SKU", one)):
        windows = await world.sweep(SWEEP, SWEEP_SECONDS, act)
        series.append(Series(name, tuple((float(buyers), window.per_second) for buyers, window in windows)))
        await world.settle()
    more: dict[str, float | str] = {"p50 in ms": found.percentile(0.5), "p99 in ms": found.percentile(0.99)}
    picture = Lines("Orders of one hot SKU", "buyers at once", "orders a second", tuple(series))
    return Outcome(found.per_second, tuple(found.limits), found.cpu_seconds, more, picture)
