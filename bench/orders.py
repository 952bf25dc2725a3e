"""How many durable orders a second, from 64 shoppers at once: out of wallets, and by card.

Carts are filled before a window opens, as many as it has orders, each by a guest of its own. In the window 64 shoppers
order one cart after the other, and each waits for its confirmation before the next.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import count
from typing import Any

from bench.rig.loads import Act, Window, counted
from bench.rig.picture import Lines, Series
from bench.rig.result import Goal, Outcome, Terms
from bench.rig.shop import CARD, LINES_PER_ORDER, WALLET
from bench.rig.world import WARM_UP_SHARE, Repeats, World, sound, unlimited

SHOPPERS = 64
SWEEP = (1, 4, 16, 64, 128)
ALONE = 1


@dataclass(frozen=True)
class Plan:
    """How many orders are placed: in a window, and for the picture by each shopper and by all of them at most."""

    window: int
    each: int
    most: int

    def at(self, shoppers: int) -> int:
        """Return how many so many shoppers place for the picture."""
        return min(self.most, self.each * shoppers)


WALLETS, CARDS = Plan(1_600, 60, 960), Plan(480, 30, 240)

METHOD = f"""POST /v1/orders of carts through HTTPS and mTLS, {SHOPPERS} shoppers at once, {{0}}, every order CONFIRMED
and durable before its answer; windows of {{1.window:,}} orders after a warm-up, each right after a slice of the echo. A
cart has three lines out of sixty products, and is filled by a guest of its own before the window opens. CPU counts what
follows an order too: capture, events, the letter."""

BY_WALLET = Terms(
    "orders",
    "How many durable orders a second out of wallets?",
    METHOD.format("paid from a wallet", WALLETS),
    "orders/s",
    "bare echo, calls/s",
    Goal(0.25, 0.35),
)
BY_CARD = Terms(
    "orders-card",
    "How many durable orders a second by card?",
    METHOD.format("paid by a card that its provider authorizes and captures over HTTP", CARDS),
    "orders/s",
    "bare echo, calls/s",
    Goal(0.25, 0.35),
)


async def buying(world: World, shoppers: int, payment: dict[str, Any], *, lines: int = LINES_PER_ORDER) -> Act:
    """Return the operation: the next order of a shopper, which names its lines and leaves the cart alone."""
    shop = await world.shop()
    guests = await shop.guests(shoppers)
    numbers = count()

    async def act(caller: int) -> None:
        await shop.order(guests[caller], shop.order_body(shop.skus(caller, next(numbers), lines=lines), payment))

    return act


async def from_carts(world: World, carts: int, payment: dict[str, Any]) -> Act:
    """Fill so many carts, and return the operation: the order of the next one. There are as many as were filled."""
    shop = await world.shop()
    guests = await shop.guests(carts)
    bodies: dict[int, bytes] = {}
    left = iter(range(carts))

    async def fill(caller: int) -> None:
        number = next(left)
        units = await shop.fill(guests[number], shop.skus(number, 0))
        bodies[number] = json.dumps(shop.checkout_of(units, payment)).encode()

    sound(await counted(SHOPPERS, carts, fill))
    filled = iter(bodies.items())

    async def act(caller: int) -> None:
        number, body = next(filled)
        await shop.order(guests[number], body)

    return act


async def by_wallet(world: World) -> Outcome:
    """Answer for wallets, with the picture of throughput and latency against shoppers."""
    found = await _repeat(world, WALLETS, WALLET)
    windows = await _sweep(world, WALLETS, WALLET)
    alone = next(window for shoppers, window in windows if shoppers == ALONE)
    more: dict[str, float | str] = {**_percentiles(found), "p50 in ms of a shopper alone": alone.milliseconds(0.5)}
    throughput = tuple((float(shoppers), window.per_second) for shoppers, window in windows)
    picture = Lines(
        "Orders against shoppers at once",
        "shoppers, each with one order under way",
        "orders a second",
        (Series("out of a wallet", throughput),),
    )
    return Outcome(found.per_second, tuple(found.limits), found.cpu_seconds, more, picture)


async def by_card(world: World) -> Outcome:
    """Answer for cards, with the picture of latency against shoppers."""
    found = await _repeat(world, CARDS, CARD)
    windows = await _sweep(world, CARDS, CARD)
    series = tuple(
        Series(name, tuple((float(shoppers), window.milliseconds(share)) for shoppers, window in windows))
        for name, share in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99))
    )
    picture = Lines(
        "Latency of an order by card against shoppers at once",
        "shoppers, each with one order under way",
        "milliseconds",
        series,
        logarithmic=True,
    )
    return Outcome(found.per_second, tuple(found.limits), found.cpu_seconds, _percentiles(found), picture)


async def _repeat(world: World, plan: Plan, payment: dict[str, Any]) -> Repeats:
    """Measure windows of filled carts, each right after a slice of the echo, and count their CPU."""
    found = Repeats()
    meter = await world.meter()
    orders = world.operations(plan.window)
    warm_up = round(orders * WARM_UP_SHARE)
    for _ in range(world.repeats):
        await counted(SHOPPERS, warm_up, await from_carts(world, warm_up, payment))
        await world.settle()  # the carts of the warm-up are closed by then
        act = await from_carts(world, orders, payment)
        await world.settle()
        found.limits.append(await world.echo())
        with meter.running():
            found.windows.append(sound(await counted(SHOPPERS, orders, act)))
            await world.settle()
    found.cpu_seconds = meter.per_operation(sum(window.done for window in found.windows))
    return unlimited(found)


async def _sweep(world: World, plan: Plan, payment: dict[str, Any]) -> list[tuple[int, Window]]:
    """Measure one window of filled carts with each number of shoppers, for a picture."""
    found = []
    for shoppers in SWEEP:
        orders = world.operations(plan.at(shoppers))
        act = await from_carts(world, orders, payment)
        await world.settle()
        found.append((shoppers, sound(await counted(shoppers, orders, act))))
        await world.settle()
    return found


def _percentiles(found: Repeats) -> dict[str, float | str]:
    return {f"p{share * 100:.0f} in ms at {SHOPPERS} shoppers": found.percentile(share) for share in (0.5, 0.99)}
