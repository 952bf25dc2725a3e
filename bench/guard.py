"""`python -m bench.guard`: did an operation become dearer? A minute on a mesh of its own, for continuous integration.

What an operation costs is the CPU time that the mesh spends on it, in units of what the bare echo's server spends on a
call in the slice just before. What a page and an order take alone is compared with what is outside the mesh: one call
of the echo alone and one fsync, in turns, the best of each, for whoever else wants the cores comes between some and not
all. A slow or busy machine stretches both alike, so nothing here is a time. Each slice has a number of operations, not
a length, and the median of the rounds counts.

The bounds are about twice what stood when they were written: `bench/results/guard.json` has that, `--keep` writes it,
and a test holds each bound to at most two and a half times of it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvloop

from bench import echo, hops, orders, page, pages, runtime
from bench.rig import cpu, result
from bench.rig.loads import Act, counted
from bench.rig.meter import Meter
from bench.rig.result import Unmeasured
from bench.rig.shop import WALLET
from bench.rig.wire import Broken, Unwanted
from bench.rig.world import World, opened, sound
from control.own_mesh import NotStarted, OwnMesh, end_on_sigterm, own_folder

ROUNDS = 3
ENOUGH_SECONDS = 30.0
"""When so many are over, start included, no further round begins: a slow machine ends within its minute too."""

CALLS, CALLERS = 800, 32
"""So many calls cost the echo's server about a quarter of a second, 25 of the ticks in which it is told."""

OPERATIONS, ORDERS, ALONE = 200, 64, 8
PAGE_BYTES = 8192
"""What is written before an fsync: a page of Postgres."""

KEPT = page.RESULTS / "guard.json"
PROBLEMS = (NotStarted, Unmeasured, Broken, Unwanted, cpu.Ended)


Server = tuple[str, int, str]
"""The socket of a server of the echo's method, its process id, and the token that it wants."""


@dataclass(frozen=True)
class Bound:
    """A ratio that must not be exceeded."""

    name: str
    what: str
    most: float


RUNTIME = Bound("runtime", "a call behind the whole chain, in the echo's", 3.2)
MESH = Bound("mesh", "a call through both Envoys, in the echo's", 5.4)
PAGE = Bound("page", "a product's page, in the echo's", 14.0)
CART = Bound("cart", "an item put into the cart, in the echo's", 26.0)
ORDER = Bound("order", "an order with all that follows it, in the echo's", 75.0)
REST = Bound("rest", "a second in which nobody comes, in the echo's", 680.0)
PAGE_ALONE = Bound("page-alone", "a page alone, in an echo alone", 9.0)
ORDER_ALONE = Bound("order-alone", "an order alone, in an echo alone with an fsync", 33.0)
BOUNDS = (RUNTIME, MESH, PAGE, CART, ORDER, REST, PAGE_ALONE, ORDER_ALONE)


@dataclass(frozen=True)
class Served:
    """The operation of calling a server of the echo's method, and its process."""

    act: Act
    pid: int

    async def cost(self) -> float:
        """Return the CPU seconds that it spends on a call now."""
        before = cpu.seconds(self.pid)
        window = sound(await counted(CALLERS, CALLS, self.act))
        return (cpu.seconds(self.pid) - before) / window.done


def judge(rounds: dict[Bound, list[float]]) -> list[tuple[Bound, float, bool]]:
    """Return the median of each ratio, and whether it is within its bound."""
    medians = [(bound, statistics.median(rounds[bound])) for bound in BOUNDS]
    return [(bound, median, median <= bound.most) for bound, median in medians]


def main() -> int:
    """Measure and judge; returns 1 when a bound is exceeded or nothing could be measured."""
    parser = argparse.ArgumentParser(prog="python -m bench.guard", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--keep", action="store_true", help=f"write what stands to {KEPT.relative_to(result.ROOT)}")
    options = parser.parse_args()
    began = time.monotonic()
    end_on_sigterm()  # the servers of the echo are there before the mesh is
    try:
        with ExitStack() as stack:
            servers = [_served(stack, echo.SERVER, ""), _served(stack, *stack.enter_context(runtime.server()))]
            mesh = stack.enter_context(OwnMesh(own_folder("guard")))  # its start gives the servers the time for theirs
            rounds, unit_ms = uvloop.run(_measure(mesh, servers, began + ENOUGH_SECONDS))
            judged = judge(rounds)
    except PROBLEMS as problem:
        print(f"Not measured: {problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted; the mesh of the guard is down.", file=sys.stderr)
        return 130
    for bound, median, kept in judged:
        print(f"{'within' if kept else 'BEYOND'} {bound.what}: {median:.2f}, at most {bound.most:g}")
    print(f"{len(rounds[ORDER])} rounds in {time.monotonic() - began:.0f} s")
    if options.keep:
        KEPT.write_text(json.dumps(standing(judged, unit_ms), indent=1) + "\n")
    return 0 if all(kept for _, _, kept in judged) else 1


def standing(judged: Sequence[tuple[Bound, float, bool]], unit_ms: float) -> dict[str, Any]:
    """Return what is kept: the ratios, the time of an echo alone with an fsync, and of what and when they are."""
    ratios = {bound.name: round(median, 3) for bound, median, _ in judged}
    taken = result.stamp(load_before=result.load_average(), echo={})
    return {"ratios": ratios, "alone_unit_ms": round(unit_ms, 3), **taken}


async def _measure(
    mesh: OwnMesh, servers: Sequence[Server], enough_at: float
) -> tuple[dict[Bound, list[float]], float]:
    """Return the ratios of all rounds, and the milliseconds of an echo alone with an fsync."""
    async with AsyncExitStack() as stack:
        world = await stack.enter_async_context(opened(mesh))
        bare, chained = await asyncio.gather(*(_called(stack, *each) for each in servers))
        view, fill = await pages.asking(world), await pages.filling(world, CALLERS)
        buy = await orders.buying(world, CALLERS, WALLET)
        through = await stack.enter_async_context(hops.through(mesh.home))
        for act in (bare.act, chained.act, view, fill, buy, through):
            await counted(CALLERS, CALLERS * 4, act)
        rounds: dict[Bound, list[float]] = {bound: [] for bound in BOUNDS}
        for done in range(ROUNDS):
            if done and time.monotonic() > enough_at:
                break
            meter = await world.meter()
            unit = await bare.cost()
            rounds[RUNTIME].append(await chained.cost() / unit)
            rounds[MESH].append(await _cost(world, meter, through, CALLS) / unit)
            rounds[REST].append(meter.rest_cores / unit)
            unit = await bare.cost()
            rounds[PAGE].append(await _cost(world, meter, view, OPERATIONS) / unit)
            rounds[CART].append(await _cost(world, meter, fill, OPERATIONS) / unit)
            rounds[ORDER].append(await _cost(world, meter, buy, ORDERS, settles=True) / unit)
        units = []
        for _ in rounds[ORDER]:
            echo_seconds, fsync_seconds, page_seconds, order_seconds = await _alone(mesh.folder, bare.act, view, buy)
            # A page needs no disk: where that is fast, it would look dear beside an fsync.
            unit = echo_seconds + fsync_seconds
            rounds[PAGE_ALONE].append(page_seconds / echo_seconds)
            rounds[ORDER_ALONE].append(order_seconds / unit)
            units.append(unit * 1000)
        return rounds, statistics.median(units)


async def _cost(world: World, meter: Meter, act: Act, operations: int, *, settles: bool = False) -> float:
    """Return what the mesh spends on one of so many operations, with what follows them when there is something."""
    with meter.running():
        window = sound(await counted(CALLERS, operations, act))
        if settles:
            await world.settle()
    return cpu.of_the_mesh(meter.per_operation(window.done))


async def _alone(folder: Path, *acts: Act) -> list[float]:
    """Return the least seconds of an echo, of an fsync, of a page and of an order, one after the other, in turns."""
    with tempfile.TemporaryFile(dir=folder) as file:

        async def fsync(caller: int) -> None:
            os.pwrite(file.fileno(), bytes(PAGE_BYTES), 0)
            os.fsync(file.fileno())

        bare, *others = acts
        taken: dict[Act, list[float]] = {act: [] for act in (bare, fsync, *others)}
        for _ in range(ALONE):
            for act, seconds in taken.items():
                began = time.perf_counter()
                await act(0)
                seconds.append(time.perf_counter() - began)
    return [min(seconds) for seconds in taken.values()]


def _served(stack: ExitStack, command: Sequence[str], token: str) -> Server:
    """Start a server of the echo's method."""
    socket, pid = stack.enter_context(echo.served(command))
    return socket, pid, token


async def _called(stack: AsyncExitStack, socket: str, pid: int, token: str) -> Served:
    """Return how a server of the echo's method is called, once it answers."""
    call = await stack.enter_async_context(echo.calling(socket))
    sent, metadata = echo.message(), echo.metadata_of(token)

    async def act(caller: int) -> None:
        await call(sent, metadata=metadata, timeout=hops.CALL_SECONDS)

    return Served(act, pid)


if __name__ == "__main__":
    sys.exit(main())
