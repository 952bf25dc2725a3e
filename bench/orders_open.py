"""How long an order takes at a fixed rate, whatever the mesh makes of it: open loop, latency from the due time."""

from __future__ import annotations

from bench import orders
from bench.rig.loads import GROWING_LOOKS, Window, closed, open_loop, together
from bench.rig.picture import Lines, Series
from bench.rig.result import Goal, Outcome, Terms
from bench.rig.shop import WALLET
from bench.rig.world import MOST_FAILED_SHARE, World, sound

PER_SECOND = 300.0
WINDOW_SECONDS = 20.0
"""Three of them are the minute of the question."""

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
    f"""POST /v1/orders of three named lines from a wallet (a cart for each would be a guest for each), begun at
    {PER_SECOND:g}/s whatever became of those before, latency from the moment that each was due (coordinated omission
    corrected), in windows of {WINDOW_SECONDS:g} s. A window ends early where its queue grew at {GROWING_LOOKS} looks
    in a row and is longer than a second's orders; what was not begun has failed, as what was not answered with
    CONFIRMED. A percentile that falls on a failure has no time: the share that failed is said in its place. A machine
    that is overloaded is asked again for the rate that it carries, {CARRIED_SHARE:.0%} of its capacity in a closed
    loop.""",
    "ms p99",
    "200 ms",
    Goal(0.5, 0.25, less_is_better=True),
)


async def measure(world: World) -> Outcome:
    """Answer, with the picture of latency percentiles against the rate."""
    act = await orders.buying(world, CALLERS, WALLET)
    await world.warm(orders.SHOPPERS, CAPACITY_SECONDS, act)
    capacity = sound(await closed(orders.SHOPPERS, world.seconds(CAPACITY_SECONDS), act)).per_second
    meter = await world.meter()

    async def at(rate: float, seconds: float, *, gives_up: bool = False) -> Window:
        window = await open_loop(rate, world.seconds(seconds), act, callers=CALLERS, gives_up=gives_up)
        await world.settle()
        return window

    async def windows(rate: float) -> tuple[list[Window], dict[str, float]]:
        await world.renew()
        with meter.running():
            found = [await at(rate, WINDOW_SECONDS, gives_up=True) for _ in range(world.repeats)]
        return found, meter.per_operation(max(1, sum(window.done for window in found)))

    asked, spent = await windows(PER_SECOND)
    carried, steady = PER_SECOND, asked
    if is_overloaded(asked):
        carried = min(PER_SECOND, max(1.0, round(capacity * CARRIED_SHARE)))
        steady, spent = await windows(carried)
    await world.renew()
    rates = [(rate := max(1.0, capacity * share), sound(await at(rate, SHARE_SECONDS))) for share in SHARES]
    whole, calm = together(asked), together(steady)
    more: dict[str, float | str] = {
        "rate that it carries, orders/s": carried,
        "p50 in ms at that rate": calm.milliseconds(0.5),
        "p99 in ms at that rate": calm.milliseconds(0.99),
        "share that failed at that rate": calm.failed_share,
        f"share that failed at {PER_SECOND:g}/s": whole.failed_share,
    }
    if whole.failure:
        more[f"the first that failed at {PER_SECOND:g}/s"] = whole.failure
    if not is_overloaded(steady):
        rates.append((carried, calm))
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
    figures = tuple(window.milliseconds(0.99) for window in asked)
    limits = (LIMIT_MS,) * len(figures)
    return Outcome(figures, limits, spent, more, picture, failed=whole.failed_share)


def is_overloaded(windows: list[Window]) -> bool:
    """Return whether a rate is more than the machine carries: some of it failed, or was not begun."""
    return any(window.failed_share > MOST_FAILED_SHARE for window in windows)
