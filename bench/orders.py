"""How many durable orders a second, from 64 shoppers at once: out of wallets, and by card.

Each shopper places an order of three lines from among sixty products, waits for its confirmation, and places the next.
"""

from __future__ import annotations

from itertools import count
from typing import Any

from bench.rig.loads import Act
from bench.rig.picture import Lines, Series
from bench.rig.result import Goal, Outcome, Terms
from bench.rig.shop import CARD, WALLET
from bench.rig.world import World

SHOPPERS = 64
SECONDS = 8.0
SWEEP = (1, 4, 16, 64, 128)
SWEEP_SECONDS = 3.0
ALONE = 1

METHOD = f"""POST /v1/orders through HTTPS and mTLS, closed loop of {SHOPPERS} shoppers, {{}}, three lines out of sixty
products, every order CONFIRMED and durable before its answer; windows of {SECONDS:g} s after a warm-up, each
right after a slice of the echo. CPU counts what follows an order too: capture, events, the letter."""

BY_WALLET = Terms(
    "orders",
    "How many durable orders a second out of wallets?",
    METHOD.format("paid from a wallet"),
    "orders/s",
    "bare echo, calls/s",
    Goal(0.25, 0.35),
)
BY_CARD = Terms(
    "orders-card",
    "How many durable orders a second by card?",
    METHOD.format("paid by a card that its provider authorizes and captures over HTTP"),
    "orders/s",
    "bare echo, calls/s",
    Goal(0.25, 0.35),
)


async def buying(world: World, shoppers: int, payment: dict[str, Any], *, lines: int = 3) -> Act:
    """Return the operation: the next order of a shopper."""
    shop = await world.shop()
    guests = await shop.guests(shoppers)
    numbers = count()

    async def act(caller: int) -> None:
        await shop.order(guests[caller], shop.order_body(shop.skus(caller, next(numbers), lines=lines), payment))

    return act


async def by_wallet(world: World) -> Outcome:
    """Answer for wallets, with the picture of throughput and latency against shoppers."""
    act = await buying(world, max(SWEEP), WALLET)
    found = await world.repeat(SHOPPERS, SECONDS, act, settles=True)
    windows = await world.sweep(SWEEP, SWEEP_SECONDS, act)
    await world.settle()
    alone = next(window for shoppers, window in windows if shoppers == ALONE)
    more = {
        "p50 in ms at 64 shoppers": found.percentile(0.5),
        "p99 in ms at 64 shoppers": found.percentile(0.99),
        "p50 in ms of a shopper alone": alone.milliseconds(0.5),
    }
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
    act = await buying(world, max(SWEEP), CARD)
    found = await world.repeat(SHOPPERS, SECONDS, act, settles=True)
    windows = await world.sweep(SWEEP, SWEEP_SECONDS, act)
    await world.settle()
    more = {"p50 in ms at 64 shoppers": found.percentile(0.5), "p99 in ms at 64 shoppers": found.percentile(0.99)}
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
    return Outcome(found.per_second, tuple(found.limits), found.cpu_seconds, more, picture)
