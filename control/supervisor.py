"""Brings a mesh up in stages, keeps it up, answers questions about it, and takes it down in order.

It knows processes, stages and ports, and nothing of what a mesh is made of: `control.processes` plans that.
"""

from __future__ import annotations

import asyncio
import signal
import time
import traceback
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from control.memory import memory_of
from control.remote import Refused
from control.servers.ports import HOST, port_is_taken
from control.spawn import StartFailed
from control.supervised import Process, Supervised

READY_SECONDS = 45.0
LEFTOVER_SECONDS = 5.0
"""How long servers of a supervisor that was killed may need to finish."""

BACKGROUND_PAUSE_SECONDS = 5.0
MOST_REPLICAS = 10
HOLD_SECONDS = 60.0
"""How long a process may take to end that is to be held down."""


@dataclass(frozen=True)
class Stage:
    """A step of the start: its work and its processes side by side. The next one begins when all of it is done."""

    title: str
    processes: Callable[[], Sequence[Process]] = tuple
    work: Callable[[], Awaitable[None]] | None = None


@dataclass(frozen=True)
class Plan:
    """What to bring up.

    Attributes:
        ports: The ports that have to be free, by the name of who wants them.
        background: Run from the moment that everything is ready until the stop.
        publish: Told about the processes whenever one of them changes, once everything is ready.
        retract: Called when everything has stopped.
        replica: Makes the process of a further replica, or raises KeyError for an unknown package.
        join: Gives a replica's process its share of the calls.
        leave: Takes it back, and returns when no new call can meet it.
        rotate: Gives everybody a new certificate.
        replace_password: Replaces the password of this name under the running processes.
    """

    ports: Mapping[str, int]
    stages: Sequence[Stage]
    background: Sequence[Callable[[], Awaitable[None]]] = ()
    publish: Callable[[Sequence[Supervised]], None] = lambda processes: None
    retract: Callable[[], None] = lambda: None
    replica: Callable[[str, int], Process] | None = None
    join: Callable[[Process], None] = lambda process: None
    leave: Callable[[Process], Awaitable[None]] | None = None
    rotate: Callable[[], None] | None = None
    replace_password: Callable[[str], Awaitable[None]] | None = None


@dataclass
class Supervisor:
    """The running mesh."""

    plan: Plan
    profile: str = "default"
    phase: str = "starting"
    stage: str = ""
    started: dict[str, list[str]] = field(default_factory=dict)
    """The stages that have begun, in order, each with the names of its processes."""

    processes: dict[str, Supervised] = field(default_factory=dict)
    started_at: float = field(default_factory=time.monotonic)
    ready_seconds: float | None = None

    def __post_init__(self) -> None:
        self._background: list[asyncio.Task[None]] = []
        self._scaling = asyncio.Lock()

    async def start(self, *, after_a_crash: bool = False) -> None:
        """Bring everything up, stage by stage.

        Args:
            after_a_crash: A supervisor was killed here: its servers may need a moment to end.

        Raises:
            StartFailed: A port is taken, or a process did not become ready; what was started is stopped again.
        """
        try:
            await self._refuse_taken_ports(LEFTOVER_SECONDS if after_a_crash else 0.0)
            for stage in self.plan.stages:
                self.stage = stage.title
                processes = stage.processes()
                self.started[stage.title] = [process.name for process in processes]
                await self._start_together(processes, stage.work)
        except BaseException:
            await self.stop()
            raise
        self.phase = "ready"
        self.stage = ""
        self.ready_seconds = time.monotonic() - self.started_at
        self._publish()
        self._background = [asyncio.create_task(_forever(work)) for work in self.plan.background]

    async def stop(self) -> None:
        """Take everything down, in the order that the processes ask for; safe to repeat."""
        self.phase = "stopping"
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        for order in sorted({each.process.stop_order for each in self.processes.values()}):
            together = [each for each in self.processes.values() if each.process.stop_order == order]
            self.stage = f"stopping {', '.join(each.name for each in together)}"
            await asyncio.gather(*(each.stop() for each in together))
        self.plan.retract()
        self.phase = "stopped"

    async def status(self, *, memory: bool = False) -> dict[str, Any]:
        """Return what runs, asked now: phase, profile, seconds to ready, and a row per process.

        Args:
            memory: Measure each too, which costs a look at every process of the machine.
        """
        everyone = list(self.processes.values())
        healthy = await asyncio.gather(*(each.healthy() for each in everyone))
        rows = [_row(each, health) for each, health in zip(everyone, healthy, strict=True)]
        if memory:
            measured = await asyncio.to_thread(memory_of, {row["pid"] for row in rows} - {None})
            rows = [{**row, "memory_bytes": measured.get(row["pid"], 0)} for row in rows]
        return {
            "phase": self.phase,
            "stage": self.stage,
            "profile": self.profile,
            "ready_seconds": self.ready_seconds,
            "processes": rows,
        }

    def progress(self) -> dict[str, Any]:
        """Return what is happening, without asking any process."""
        return {
            "phase": self.phase,
            "stage": self.stage,
            "ready_seconds": self.ready_seconds,
            "profile": self.profile,
            "started": self.started,
            "processes": {each.name: each.state.value for each in self.processes.values()},
        }

    async def scale(self, package: str, replicas: int) -> None:
        """Let a package have this many replicas: a new one joins when it is healthy, one that goes leaves first.

        Raises:
            Refused: The package is unknown, or the number is out of bounds.
            StartFailed: A new replica did not become healthy; those before it stay.
        """
        if not 1 <= replicas <= MOST_REPLICAS:
            raise Refused(f"a package has 1 to {MOST_REPLICAS} replicas, not {replicas}")
        async with self._scaling:
            present = sorted(
                (each for each in self.processes.values() if each.process.package == package),
                key=lambda each: each.process.replica,
            )
            if not present or self.plan.replica is None:
                raise Refused(f"there is no package {package}")
            for number in range(len(present), replicas):
                process = self.plan.replica(package, number)
                await self._start_together([process])
                self.plan.join(process)
                self._publish()
            for leaving in reversed(present[replicas:]):
                if self.plan.leave is not None:
                    await self.plan.leave(leaving.process)
                await leaving.stop()
                del self.processes[leaving.name]
                self._publish()

    def restart(self, name: str, environment: Mapping[str, str] | None = None) -> None:
        """End a process in an orderly way and start it again, this once with more in its environment.

        Raises:
            Refused: There is no such process.
        """
        self._named(name).restart(environment)

    def kill(self, name: str, signal_name: str = "SIGKILL") -> None:
        """Send a process a signal, to see what happens.

        Raises:
            Refused: There is no such process or signal.
        """
        self._named(name).signal(_signal(signal_name))

    async def hold(self, name: str, signal_name: str = "SIGKILL") -> None:
        """End a process with a signal, and leave it down until it is released.

        Raises:
            Refused: There is no such process or signal, or it does not end.
        """
        held, chosen = self._named(name), _signal(signal_name)
        try:
            await asyncio.wait_for(held.hold(chosen), HOLD_SECONDS)
        except TimeoutError:
            held.release()
            raise Refused(f"{name} did not end within {HOLD_SECONDS:.0f} s of {signal_name}") from None

    def release(self, name: str) -> None:
        """Start a process again that is held down.

        Raises:
            Refused: There is no such process.
        """
        self._named(name).release()

    def rotate(self) -> None:
        """Give everybody a new certificate now.

        Raises:
            Refused: This mesh has none.
        """
        if self.plan.rotate is None:
            raise Refused("this mesh has no certificates")
        self.plan.rotate()

    async def replace_password(self, name: str) -> None:
        """Replace a password under the running processes.

        Raises:
            Refused: There is no such password, its server does not answer, another process replaces
                one, or the mesh is not ready.
        """
        if self.plan.replace_password is None or self.phase != "ready":
            raise Refused("this mesh has no passwords, or is not ready")
        try:
            await self.plan.replace_password(name)
        finally:
            self._publish()  # one that was broken off has changed what is told as well

    def _named(self, name: str) -> Supervised:
        try:
            return self.processes[name]
        except KeyError:
            raise Refused(f"there is no process {name}; there are {', '.join(self.processes)}") from None

    async def _start_together(
        self, processes: Sequence[Process], work: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        """Start processes at once and wait for all; the first failure stops those that it came with."""
        together = [Supervised(process, changed=self._publish) for process in processes]
        self.processes.update((each.name, each) for each in together)
        starts = [asyncio.create_task(each.start(ready_seconds=READY_SECONDS)) for each in together]
        if work is not None:
            starts.append(asyncio.create_task(_awaited(work)))
        try:
            await asyncio.gather(*starts)
        except BaseException:
            for start in starts:
                start.cancel()
            await asyncio.gather(*starts, return_exceptions=True)
            await asyncio.gather(*(each.stop() for each in together))
            for each in together:
                del self.processes[each.name]
            raise

    async def _refuse_taken_ports(self, patience_seconds: float) -> None:
        deadline = time.monotonic() + patience_seconds
        while taken := {name: port for name, port in self.plan.ports.items() if port_is_taken(port)}:
            if time.monotonic() >= deadline:
                wanted = ", ".join(f"{port} ({name})" for name, port in taken.items())
                ports, are = ("port", "is") if len(taken) == 1 else ("ports", "are")
                raise StartFailed(
                    f"nothing was started: {ports} {wanted} of {HOST} {are} taken by another program. "
                    "Stop it, or set TITAN_PORT_BASE to move all ports of this mesh."
                )
            await asyncio.sleep(0.05)

    def _publish(self) -> None:
        if self.phase == "ready":
            self.plan.publish(list(self.processes.values()))


def _signal(name: str) -> signal.Signals:
    try:
        return signal.Signals[name]
    except KeyError:
        raise Refused(f"there is no signal {name}") from None


async def _awaited(work: Callable[[], Awaitable[None]]) -> None:
    await work()


async def _forever(work: Callable[[], Awaitable[None]]) -> None:
    """Run background work, and begin it again when it fails: a mesh outlives a failed rotation of a certificate."""
    while True:
        try:
            await work()
        except Exception:
            traceback.print_exc()
        await asyncio.sleep(BACKGROUND_PAUSE_SECONDS)


def _row(each: Supervised, healthy: bool) -> dict[str, Any]:
    return {
        "name": each.name,
        "hosts": list(each.process.hosts),
        "address": each.process.address,
        "state": each.state.value,
        "healthy": healthy,
        "pid": each.pid,
        "restarts": each.restarts,
        "last_end": each.last_end,
        "log": str(each.process.program.log),
    }
