"""What a mesh costs before anybody comes: its memory, the time until it is ready, and its CPU at rest."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from bench.rig import memory
from bench.rig.cpu import CLIENT, SUPERVISOR
from bench.rig.picture import Bars
from bench.rig.result import Goal, Outcome, Terms
from bench.rig.world import World

LIMIT_GB = 1.2
LIMIT_SECONDS = 10.0
LOOK_SECONDS = 1.0
IDLE_SECONDS = 10.0

MEMORY = Terms(
    "memory",
    "How much memory does a fresh mesh occupy?",
    """All processes of the mesh with its embedded servers, the supervisor too, before the first order; a page that
    several share is counted once (proportional set size). What differs between repeats is what passes by itself.""",
    "GB",
    "1.2 GB",
    Goal(1.0, 0.8 / LIMIT_GB, less_is_better=True),
)
READY = Terms(
    "ready",
    "How long does `make up` take until the mesh is ready?",
    """From the command to its end, which is when every process is healthy. The first start makes the databases and the
    keys; the others find them.""",
    "s",
    "10 s",
    Goal(1.0, 0.5, less_is_better=True),
)

IDLE = Terms(
    "idle",
    "What does a mesh spend while nobody comes?",
    f"""CPU of all processes, the supervisor too, over {IDLE_SECONDS:g} s without a call, once what came before is done:
    as so many calls of the echo a second, by what its server spends on one in the slice just before. The limit is how
    many one core could answer.""",
    "calls/s",
    "a core full of the echo's server, calls/s",
    Goal(0.15, 0.075, less_is_better=True),
)


async def occupied(world: World) -> Outcome:
    """Answer for memory, with the picture of it by process."""
    processes = await world.processes()
    processes.pop(CLIENT)
    totals, by_process = [], {}
    for number in range(world.repeats):
        if number:
            await asyncio.sleep(LOOK_SECONDS)
        by_process = {name: memory.occupied(pid, alone=name == SUPERVISOR) for name, pid in processes.items()}
        totals.append(sum(by_process.values()) / 1e9)
    largest = sorted(by_process.items(), key=lambda item: -item[1])
    bars = Bars("Memory of a fresh mesh by process", "MB", tuple((name, size / 1e6) for name, size in largest))
    return Outcome(tuple(totals), (LIMIT_GB,) * len(totals), picture=bars)


async def ready(world: World) -> Outcome:
    """Answer for starts; the mesh is down in between, and up again afterwards."""
    mesh = world.mesh
    while len(mesh.ready_seconds) < world.repeats:
        world.wire.close()
        await asyncio.to_thread(mesh.stop)
        await asyncio.to_thread(mesh.start)
    names = ["on an empty folder", *(f"again ({n})" for n in range(1, len(mesh.ready_seconds)))]
    bars = Bars("Time until the mesh is ready", "s", tuple(zip(names, mesh.ready_seconds, strict=True)))
    return Outcome(tuple(mesh.ready_seconds), (LIMIT_SECONDS,) * len(mesh.ready_seconds), picture=bars)


async def idle(world: World) -> Outcome:
    """Answer for CPU at rest, with the picture of it by process."""
    figures, limits = [], []
    spent: Mapping[str, float] = {}
    for _ in range(world.repeats):
        await world.echo()
        unit = world.echoes[-1]["server_cpu_seconds"]
        limits.append(1 / unit)
        meter = await world.meter(seconds=world.seconds(IDLE_SECONDS))
        figures.append(meter.rest_cores / unit)
        spent = meter.at_rest
    largest = tuple((name, cores * 1000) for name, cores in sorted(spent.items(), key=lambda item: -item[1]))
    bars = Bars("CPU of a mesh at rest by process", "ms a second", largest)
    more: dict[str, float | str] = {"cores at rest": sum(spent.values())}
    return Outcome(tuple(figures), tuple(limits), more=more, picture=bars)
