"""How much of a shop's ordinary traffic: looking around, filling a cart, now and then an order."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Awaitable, Callable

from bench.rig.loads import open_loop
from bench.rig.picture import Lines, Series
from bench.rig.result import Condition, Goal, Outcome, Terms
from bench.rig.shop import WALLET, Guest, Product, Shop, confirmed
from bench.rig.wire import Wire
from bench.rig.world import World, sound

SHOPPERS = 64
CROWD = 256
"""At a fixed rate there are more of them, so that one has seldom two calls under way."""

SECONDS = 6.0
RATES = (0.25, 0.5, 0.7, 0.85)
RATE_SECONDS = 5.0
LIMIT_PER_SECOND = 1000.0
GOAL = Goal(1.5, 3.4)
MOST_MS = 100.0
PROMPT = Goal(1.0, 1.0, less_is_better=True)
DECK = ("index",) + ("browse",) * 10 + ("add",) * 2 + ("view",) * 3 + ("search",) * 2 + ("checkout",)

TERMS = Terms(
    "storefront",
    "How many requests a second of a storefront's mix?",
    f"""Of 19 requests 10 product pages, 3 carts, 2 adds, 2 searches, 1 index and 1 order of the cart from a wallet, in
    a random order that ends with the order; HTTPS, closed loop of {SHOPPERS} shoppers, windows of {SECONDS:g} s.
    Percentiles against the rate come from an open loop of {CROWD} shoppers, latency from the due time, what failed
    taken as never answered. The p99 that is judged is that at the rate of the goal, where the machine has it, else at
    the highest of the rates that it has ({RATES[-1]:.0%} of the closed loop's).""",
    "requests/s",
    "1,000 requests/s as the requirement has it",
    GOAL,
)


class Visitor:
    """A guest who goes through one deck of requests after the other, one at a time."""

    def __init__(self, wire: Wire, shop: Shop, guest: Guest, seed: int) -> None:
        """Begin with an empty cart, somewhere in the deck: not all order at the same time."""
        self._wire, self._shop, self._guest = wire, shop, guest
        self._draw = random.Random(seed)  # noqa: S311
        self._units = 0
        self._left = deck(self._draw)[self._draw.randrange(len(DECK)) : -1]
        self._turn = asyncio.Lock()
        self._acts: dict[str, Callable[[], Awaitable[object]]] = {
            "index": lambda: self._get("/v1/products?pageSize=20"),
            "browse": lambda: self._get(f"/v1/products/{self._any().product_id}"),
            "search": lambda: self._get(f"/v1/products:search?query=bench+{self._draw.randrange(60)}"),
            "view": lambda: self._get("/v1/cart", token=guest.token),
            "add": self._add,
            "checkout": self._checkout,
        }

    async def step(self) -> None:
        """Send the next request."""
        async with self._turn:
            if not self._left:
                self._left = deck(self._draw)
            await self._acts[self._left.pop(0)]()

    def _any(self) -> Product:
        return self._draw.choice(self._shop.products)

    async def _get(self, path: str, token: str = "") -> None:
        await self._wire.send(self._wire.request("GET", path, token=token))

    async def _add(self) -> None:
        # Not counted here: a window may end between a request and its answer.
        self._units = await self._shop.fill(self._guest, [self._any().sku])

    async def _checkout(self) -> None:
        body = json.dumps(self._shop.checkout_of(self._units, WALLET)).encode()
        confirmed(await self._wire.send(self._shop.order_request(self._guest, body)))
        self._units = 0


def deck(draw: random.Random) -> list[str]:
    """Return the 19 requests in a random order; the order is the last, when something is in the cart."""
    *before, checkout = DECK
    draw.shuffle(before)
    return [*before, checkout]


def judged_rate(capacity: float) -> float:
    """Return the rate at which the 99th percentile is judged: of the goals the highest that the machine carries."""
    wanted = (LIMIT_PER_SECOND * GOAL.reach, LIMIT_PER_SECOND * GOAL.dream)
    return max((rate for rate in wanted if rate <= capacity), default=capacity * RATES[-1])


async def measure(world: World) -> Outcome:
    """Answer, with the picture of latency percentiles against the rate."""
    shop = await world.shop()
    visitors = [Visitor(world.wire, shop, guest, seed) for seed, guest in enumerate(await shop.guests(CROWD))]

    async def act(caller: int) -> None:
        await visitors[caller].step()

    async def limit() -> float:
        return LIMIT_PER_SECOND

    found = await world.repeat(SHOPPERS, SECONDS, act, limit=limit, settles=True)
    capacity = sorted(found.per_second)[len(found.per_second) // 2]
    rates = []
    judged = judged_rate(capacity)
    for rate in sorted({*(capacity * share for share in RATES), judged}):
        await world.renew()
        rates.append((rate, sound(await open_loop(rate, world.seconds(RATE_SECONDS), act, callers=CROWD))))
        await world.settle()
    at_judged = next(window for rate, window in rates if rate == judged)
    prompt = Condition(f"p99 in ms at {judged:,.0f}/s, open loop", at_judged.milliseconds(0.99), MOST_MS, PROMPT)
    more: dict[str, float | str] = {
        "p50 in ms, closed loop": found.percentile(0.5),
        "p99 in ms, closed loop": found.percentile(0.99),
    }
    series = tuple(
        Series(name, tuple((rate, window.milliseconds(share)) for rate, window in rates))
        for name, share in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99))
    )
    picture = Lines(
        "Latency of the storefront's mix against the rate",
        "requests begun a second, open loop",
        "milliseconds from when it was due",
        series,
        ((f"{MOST_MS:g} ms", MOST_MS),),
        logarithmic=True,
    )
    return Outcome(found.per_second, tuple(found.limits), found.cpu_seconds, more, picture, (prompt,))
