"""`python -m bench.guard`: did an operation become dearer? A minute on a mesh of its own, for continuous integration.

The cost of each operation is the CPU time that the mesh spends on it, in units of what the bare echo's server spends on
a call in the slice just before. A slow or busy machine stretches both alike: nothing here is a time, except that the
latency of an order alone is compared with that of a product's page alone, whose way is half of it. Every slice has a
number of operations, not a length; the median of the rounds counts; and the bounds are about twice what stands today.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass

import grpc
import uvloop

from bench import echo, hops, orders, pages, runtime
from bench.rig import cpu
from bench.rig.loads import Act, counted
from bench.rig.meter import Meter
from bench.rig.own_mesh import NotStarted, OwnMesh, own_folder
from bench.rig.shop import WALLET
from bench.rig.world import Unmeasured, World, opened, sound
from titan.cart.v1 import cart_pb2

ROUNDS = 3
CALLS, CALLERS = 1500, 32
"""So many calls cost the echo's server about a third of a second, thirty of the ticks in which it is told."""

OPERATIONS, ORDERS = 300, 96
ALONE = 12


@dataclass(frozen=True)
class Bound:
    """A ratio that must not be exceeded."""

    name: str
    what: str
    most: float


RUNTIME = Bound("runtime", "a call behind the whole chain, in the echo's", 3.5)
MESH = Bound("mesh", "a call through both Envoys, in the echo's", 8.0)
PAGE = Bound("page", "a product's page, in the echo's", 20.0)
CART = Bound("cart", "an item put into the cart, in the echo's", 32.0)
ORDER = Bound("order", "an order with all that follows it, in the echo's", 110.0)
LATENCY = Bound("latency", "an order alone, in the time of a page alone", 40.0)
BOUNDS = (RUNTIME, MESH, PAGE, CART, ORDER, LATENCY)

Slice = Callable[[], Awaitable[float]]


def judge(rounds: dict[Bound, list[float]]) -> list[tuple[Bound, float, bool]]:
    """Return the median of each ratio, and whether it is within its bound."""
    medians = [(bound, statistics.median(rounds[bound])) for bound in BOUNDS]
    return [(bound, median, median <= bound.most) for bound, median in medians]


def main() -> int:
    """Measure and judge; returns 1 when a bound is exceeded or nothing could be measured."""
    began = time.monotonic()
    try:
        with OwnMesh(own_folder("guard")) as mesh:
            judged = judge(uvloop.run(_measure(mesh)))
    except (NotStarted, Unmeasured, cpu.Ended) as problem:
        print(f"Not measured: {problem}", file=sys.stderr)
        return 1
    for bound, median, kept in judged:
        print(f"{'ok  ' if kept else 'DEAR'} {bound.what}: {median:.1f}, at most {bound.most:g}")
    print(f"{ROUNDS} rounds in {time.monotonic() - began:.0f} s")
    return 0 if all(kept for _, _, kept in judged) else 1


async def _measure(mesh: OwnMesh) -> dict[Bound, list[float]]:
    async with AsyncExitStack() as stack:
        world = await stack.enter_async_context(opened(mesh))
        bare = await _served(stack, list(echo.SERVER), "")
        command, token = stack.enter_context(runtime.server())
        chained = await _served(stack, command, token)
        page, cart = await pages.asking(world), await pages.filling(world, CALLERS)
        order = await orders.buying(world, CALLERS, WALLET)
        through = await stack.enter_async_context(hops.through(mesh.home))
        for act in (page, cart, order, through):
            await counted(CALLERS, CALLERS * 2, act)
        await world.settle()
        meter = await world.meter()
        rounds: dict[Bound, list[float]] = {bound: [] for bound in BOUNDS}
        for _ in range(ROUNDS):
            unit = await bare()
            rounds[RUNTIME].append(await chained() / unit)
            rounds[MESH].append(await _cost(world, meter, through, CALLS) / unit)
            unit = await bare()
            rounds[PAGE].append(await _cost(world, meter, page, OPERATIONS) / unit)
            rounds[CART].append(await _cost(world, meter, cart, OPERATIONS) / unit)
            unit = await bare()
            rounds[ORDER].append(await _cost(world, meter, order, ORDERS, settles=True) / unit)
            alone = [sound(await counted(1, ALONE, act)).milliseconds(0.5) for act in (page, order)]
            rounds[LATENCY].append(alone[1] / alone[0])
            await world.settle()
        return rounds


async def _cost(world: World, meter: Meter, act: Act, operations: int, *, settles: bool = False) -> float:
    """Return what the mesh spends on one of so many operations, with what follows them when there is something."""
    with meter.running():
        window = sound(await counted(CALLERS, operations, act))
        if settles:
            await world.settle()
    return cpu.of_the_mesh(meter.per_operation(window.done))


async def _served(stack: AsyncExitStack, command: list[str], token: str) -> Slice:
    """Start a server of the echo's method, and return a slice: CPU seconds of the server for a call."""
    socket, pid = stack.enter_context(echo.served(command))
    channel = await stack.enter_async_context(grpc.aio.insecure_channel(f"unix:{socket}"))
    await asyncio.wait_for(channel.channel_ready(), echo.START_SECONDS)
    call = channel.unary_unary(
        echo.METHOD,
        request_serializer=cart_pb2.Cart.SerializeToString,
        response_deserializer=cart_pb2.Cart.FromString,
    )
    sent, metadata = echo.message(), echo.metadata_of(token)

    async def act(caller: int) -> None:
        await call(sent, metadata=metadata, timeout=hops.CALL_SECONDS)

    async def one() -> float:
        before = cpu.seconds(pid)
        window = sound(await counted(CALLERS, CALLS, act))
        return (cpu.seconds(pid) - before) / window.done

    await counted(CALLERS, CALLERS * 8, act)
    return one


if __name__ == "__main__":
    sys.exit(main())
