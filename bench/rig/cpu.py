"""CPU seconds by process, read from the kernel: of what the supervisor runs, and of whoever loads it.

All processes of the machine are read in one pass of some milliseconds, for whoever measures shares the cores.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

CLIENT = "this client"
SUPERVISOR = "supervisor"
READS = 30
"""Each takes some milliseconds, in which any process of the machine may end."""

PROC = Path("/proc")
TICKS = os.sysconf("SC_CLK_TCK")
"""In a second; the kernel counts in them."""


class Ended(Exception):
    """A process ended while it was measured."""


@dataclass(frozen=True, slots=True)
class Times:
    """A process's parent, and the CPU seconds of it and of the children that it reaped."""

    parent: int
    own: float
    reaped: float


class Snapshot:
    """What each process of the machine had spent at one moment."""

    def __init__(self, found: Mapping[int, Times]) -> None:
        """Keep what was read."""
        self._found = found
        self._children: dict[int, list[int]] = defaultdict(list)
        for pid, times in found.items():
            self._children[times.parent].append(pid)

    def seconds(self, pid: int) -> float:
        """Return what a process and its living and reaped children have spent.

        The supervisor's children stand for themselves, and so do those of the process that asks.

        Raises:
            Ended: The process is gone.
        """
        if pid not in self._found:
            raise Ended(f"process {pid} has ended")
        if pid == os.getpid() or _is_supervisor(pid):
            return self._found[pid].own
        return self._family(pid)

    def _family(self, pid: int) -> float:
        times = self._found[pid]
        return times.own + times.reaped + sum(self._family(child) for child in self._children[pid])


def snapshot(read: Callable[[], dict[int, Times]] | None = None) -> Snapshot:
    """Return what each process of the machine has spent until now.

    One that ends while all are read (a backend of Postgres whose client went) is then found among those that its parent
    reaped: all are read again.

    Raises:
        Ended: Processes come and go faster than they can be read.
    """
    for _ in range(READS):
        try:
            return Snapshot((read or _read)())
        except ProcessLookupError:
            continue
    raise Ended("processes come and go faster than they can be read")


def spent(processes: Mapping[str, int]) -> dict[str, float]:
    """Return what each process and its children have spent since they began.

    Raises:
        Ended: One of them is gone.
    """
    now = snapshot()
    try:
        return {name: now.seconds(pid) for name, pid in processes.items()}
    except Ended as problem:
        raise Ended(f"a process of the mesh ended while it was measured: {problem}") from problem


def seconds(pid: int) -> float:
    """Return what one process has spent, with its children.

    Raises:
        Ended: It is gone.
    """
    return snapshot().seconds(pid)


def _read() -> dict[int, Times]:
    """Read every process.

    Raises:
        ProcessLookupError: One of them ended meanwhile.
    """
    return {int(name): _times(name) for name in os.listdir(PROC) if name.isdecimal()}


def _times(pid: str) -> Times:
    try:
        text = (PROC / pid / "stat").read_text()
    except FileNotFoundError as gone:
        raise ProcessLookupError from gone
    fields = text.rpartition(")")[2].split()  # a name may have spaces, and brackets too
    user, system, reaped_user, reaped_system = (int(field) / TICKS for field in fields[11:15])
    return Times(int(fields[1]), user + system, reaped_user + reaped_system)


def _is_supervisor(pid: int) -> bool:
    try:
        return b"control\0serve" in (PROC / str(pid) / "cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False


def per_operation(total: Mapping[str, float], operations: int) -> dict[str, float]:
    """Return the CPU seconds of one operation by process, the most expensive first; replicas count as their package.

    What comes out below zero, after what is spent at rest was taken off, is zero.

    Raises:
        ValueError: There was no operation.
    """
    if operations < 1:
        raise ValueError("no operation, no cost of one")
    totals: dict[str, float] = {}
    for name, spent_in_all in total.items():
        package, _, replica = name.rpartition(".")
        group = package if replica.isdecimal() and package else name
        totals[group] = totals.get(group, 0.0) + spent_in_all
    each = {name: max(0.0, found) / operations for name, found in totals.items()}
    return dict(sorted(each.items(), key=lambda item: -item[1]))


def of_the_mesh(each: Mapping[str, float]) -> float:
    """Return the sum over the processes of the mesh: everything but whoever loads it."""
    return sum(cost for name, cost in each.items() if name != CLIENT)
