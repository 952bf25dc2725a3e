"""How long an order takes at a fixed rate, whatever the mesh makes of it: open loop, latency from the due time."""

from __future__ import annotations

from bench import orders
from bench.rig.loads import Window, closed, open_loop
from bench.rig.picture import Lines, Series
from bench.rig.result import Goal, Outcome, Terms
from bench.rig.shop import WALLET
from bench.rig.wire import CALL_SECONDS
from bench.rig.world import World

PER_SECOND = 300.0
SECONDS = 60.0
OVERLOADED_SECONDS = 12.0
"""At a rate that is beyond the machine, the rest would only wait for its own queue."""

CAPACITY_SECONDS = 5.0
CARRIED_SHARE = 0.6
"""Of the capacity: what a machine may be asked for without a queue that only grows."""

SHARES = (0.25, 0.5, 0.75)
SHARE_SECONDS = 5.0
LIMIT_MS = 200.0
CALLERS = 128

TERMS = Terms(
    "orders-open",
    f"How long does an order take at {PER_SECOND:g} a second?",
    f"""POST /v1/orders, three lines from a wallet, begun at {PER_SECOND:g}/s whatever became of those before, latency
    from the moment that each was due (coordinated omission corrected), for {SECONDS:g} s where the machine carries
    the rate and for {OVERLOADED_SECONDS:g} s where it does not; an order that was not answered with CONFIRMED
    counts as {CALL_SECONDS:g} s. The rate that it carries is {CARRIED_SHARE:.0%} of its capacity in a closed loop
    just before, and has figures of its own, over {SECONDS:g} s in three parts.""",
    "ms p99",
    "200 ms",
    Goal(0.5, 0.25, less_is_better=True),
)


async def measure(world: World) -> Outcome:
    """Answer, with the picture of latency percentiles against the rate."""
    act = await orders.buying(world, CALLERS, WALLET)
    await world.warm(orders.SHOPPERS, CAPACITY_SECONDS, act)
    capacity = (await closed(orders.SHOPPERS, world.seconds(CAPACITY_SECONDS), act)).per_second
    await world.settle()
    carried = min(PER_SECOND, max(1.0, round(capacity * CARRIED_SHARE)))

    async def at(rate: float, seconds: float) -> Window:
        window = await open_loop(rate, world.seconds(seconds), act, callers=CALLERS)
        await world.settle()
        return window

    rates = [(rate := max(1.0, capacity * share), await at(rate, SHARE_SECONDS)) for share in SHARES]
    await world.renew()
    meter = await world.meter()
    with meter.running():
        steady = [await at(carried, SECONDS / world.repeats) for _ in range(world.repeats)]
    spent = meter.per_operation(sum(window.done for window in steady))
    asked = steady
    if carried < PER_SECOND:
        asked = [await at(PER_SECOND, OVERLOADED_SECONDS)]
    figures = tuple(percentile_with_failures(window, 0.99) for window in asked)
    together = Window(1.0, [each for window in steady for each in window.latencies])
    more: dict[str, float | str] = {
        "rate that it carries, orders/s": carried,
        "p50 in ms at that rate": together.milliseconds(0.5),
        "p99 in ms at that rate": together.milliseconds(0.99),
        "refused or late at that rate": float(sum(window.failed for window in steady)),
        f"answered of {PER_SECOND:g}/s": sum(w.done for w in asked) / sum(w.done + w.failed for w in asked),
    }
    rates.append((carried, together))
    rates.sort(key=lambda each: each[0])
    series = tuple(
        Series(name, tuple((rate, window.milliseconds(share)) for rate, window in rates))
        for name, share in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99))
    )
    picture = Lines(
        "Latency of an order against the rate",
        "orders begun a second, open loop",
        "milliseconds from when it was due",
        series,
        (("200 ms", LIMIT_MS),),
        logarithmic=True,
    )
    return Outcome(figures, (LIMIT_MS,) * len(figures), spent, more, picture)


def percentile_with_failures(window: Window, share: float) -> float:
    """Return a percentile in milliseconds where what was not answered rightly took as long as a call may."""
    return Window(1.0, [*window.latencies, *[CALL_SECONDS] * window.failed]).milliseconds(share)
