"""What a question is given: the mesh, the shop on it, load with its CPU by process, and the echo to compare with."""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from bench.echo import IN_FLIGHT
from bench.rig import cpu
from bench.rig.loads import Act, Window, closed, together
from bench.rig.meter import REST_SECONDS, Meter, settled
from bench.rig.result import Unmeasured
from bench.rig.shop import Shop
from bench.rig.wire import Wire
from control.own_mesh import OwnMesh

REPEATS, QUICK_REPEATS = 3, 1
QUICK_SHARE = 0.3
"""Of the time that a window takes, when one only wants to see that it works."""

ECHO_SECONDS = 2.0
WARM_UP_SHARE = 0.4
"""Of a window, before it."""

MOST_FAILED_SHARE = 0.001
MOST_LOAD_CORES = 0.8
"""Of one core. A load that takes more is itself what limits, for it has one process."""


@dataclass
class Repeats:
    """The windows of one question beside their limits, and the CPU seconds of all of them by process."""

    windows: list[Window] = field(default_factory=list)
    limits: list[float] = field(default_factory=list)
    cpu_seconds: dict[str, float] = field(default_factory=dict)
    """Of one operation, by process."""

    @property
    def per_second(self) -> tuple[float, ...]:
        """Operations a second of each repeat."""
        return tuple(window.per_second for window in self.windows)

    def percentile(self, share: float) -> float:
        """Return a percentile in milliseconds over all repeats, where an operation that failed took for ever."""
        return together(self.windows).milliseconds(share)

    @property
    def load_cores(self) -> float:
        """The share of one core that the load itself took."""
        return statistics.median(self.per_second) * self.cpu_seconds.get(cpu.CLIENT, 0.0)


class World:
    """One run of the bench."""

    def __init__(self, mesh: OwnMesh, wire: Wire, *, quick: bool, scale: float) -> None:
        """Describe it; the shop is made when it is first asked for. `scale` is in millions of rows."""
        self.mesh = mesh
        self.wire = wire
        self.quick = quick
        self.scale = scale
        self.repeats = QUICK_REPEATS if quick else REPEATS
        self.echoes: list[dict[str, float]] = []
        self._shop: Shop | None = None

    async def shop(self) -> Shop:
        """Return the shop."""
        if self._shop is None:
            self._shop = await Shop.open(self.wire, self.mesh.endpoints)
        return self._shop

    def seconds(self, full: float) -> float:
        """Return how long a window is."""
        return full * QUICK_SHARE if self.quick else full

    def operations(self, full: int) -> int:
        """Return how many operations a window of so many has."""
        return max(1, round(full * QUICK_SHARE)) if self.quick else full

    async def echo(self) -> float:
        """Return the echo's calls per second now, in processes of its own."""
        self.echoes.append(await self.calls("bench.echo", ECHO_SECONDS))
        return self.echoes[-1]["per_second"]

    async def calls(self, module: str, seconds: float, in_flight: int = IN_FLIGHT) -> dict[str, float]:
        """Return what a module prints that calls as the echo does: calls a second, CPU seconds of one on each side."""
        lasting = ("--seconds", str(self.seconds(seconds)), "--in-flight", str(in_flight))
        found: dict[str, float] = json.loads(await self.run(sys.executable, "-m", module, *lasting))
        return found

    async def run(self, *command: str, **environment: str) -> str:
        """Run a program and return what it printed.

        Raises:
            Unmeasured: It failed.
        """
        process = await asyncio.create_subprocess_exec(
            *command,
            env={**os.environ, **environment},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, problems = await process.communicate()
        if process.returncode:
            raise Unmeasured(f"{' '.join(command[:4])} failed: {problems.decode(errors='replace')[-2000:]}")
        return out.decode()

    async def ask(self, **request: Any) -> Any:
        """Have the mesh's supervisor do something."""
        return await asyncio.to_thread(lambda: self.mesh.ask(**request))

    async def processes(self) -> dict[str, int]:
        """Return the process ids of the mesh by name, and this one."""
        status = await self.ask(do="status")
        found = {row["name"]: row["pid"] for row in status["processes"]}
        return found | {cpu.SUPERVISOR: int(self.mesh.home.supervisor_pid.read_text()), cpu.CLIENT: os.getpid()}

    async def meter(self, *, seconds: float = REST_SECONDS) -> Meter:
        """Return a meter of all processes, after a look at what they spend at rest.

        Raises:
            Unmeasured: It does not come to rest.
        """
        await self.settle()
        return await Meter.open(await self.processes(), seconds=seconds)

    async def settle(self) -> None:
        """Wait until the mesh has done what follows.

        Raises:
            Unmeasured: It does not come to rest.
        """
        processes = await self.processes()
        processes.pop(cpu.CLIENT)
        await settled(lambda: sum(cpu.spent(processes).values()))

    async def renew(self) -> None:
        """See to it that nobody's session ends within the next minutes."""
        if self._shop is not None:
            await self._shop.renew()

    async def warm(self, callers: int, seconds: float, act: Act) -> None:
        """Act for a while; what comes of it is not counted."""
        await self.renew()
        await closed(callers, self.seconds(seconds) * WARM_UP_SHARE, act)

    async def repeat(
        self,
        callers: int,
        seconds: float,
        act: Act,
        *,
        limit: Callable[[], Awaitable[float]] | None = None,
        repeats: int | None = None,
        settles: bool = False,
    ) -> Repeats:
        """Run closed loops, each right after its limit (the echo unless told otherwise), and count their CPU.

        Raises:
            Unmeasured: Too many failed, the mesh does not come to rest, or the load itself is what limits.
        """
        found = Repeats()
        await self.renew()
        meter = await self.meter()
        for _ in range(repeats or self.repeats):
            found.limits.append(await (limit or self.echo)())
            await self.warm(callers, seconds, act)
            if settles:
                await self.settle()
            with meter.running():
                found.windows.append(sound(await closed(callers, self.seconds(seconds), act)))
                if settles:
                    await self.settle()
        found.cpu_seconds = meter.per_operation(sum(window.done for window in found.windows))
        return unlimited(found)

    async def sweep(self, loads: tuple[int, ...], seconds: float, act: Act) -> list[tuple[int, Window]]:
        """Run one window at each of several loads, for a picture."""
        await self.renew()
        found = []
        for callers in loads:
            await closed(callers, self.seconds(seconds) * WARM_UP_SHARE, act)
            found.append((callers, sound(await closed(callers, self.seconds(seconds), act))))
        return found


@asynccontextmanager
async def opened(mesh: OwnMesh, *, quick: bool = False, scale: float = 1.0) -> AsyncIterator[World]:
    """Yield a run on a mesh that is up."""
    wire = Wire(mesh.endpoints)
    try:
        yield World(mesh, wire, quick=quick, scale=scale)
    finally:
        wire.close()


def unlimited(found: Repeats) -> Repeats:
    """Return windows whose load had CPU to spare.

    Raises:
        Unmeasured: The load is what limits: this would be its figure, and not the mesh's.
    """
    if found.load_cores > MOST_LOAD_CORES:
        raise Unmeasured(f"the load itself takes {found.load_cores:.0%} of the core that it has")
    return found


def sound(window: Window) -> Window:
    """Return a window that is a measurement.

    Raises:
        Unmeasured: Nothing succeeded, or more than one in a thousand failed.
    """
    if not window.done or window.failed > MOST_FAILED_SHARE * window.done:
        raise Unmeasured(f"{window.failed} of {window.failed + window.done} failed, the first with {window.failure}")
    return window
