"""What operations cost in CPU, by process, without what the processes spend when nobody comes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from bench.rig import cpu
from bench.rig.cpu import CLIENT
from bench.rig.result import Unmeasured

REST_SECONDS = 2.0
LOOK_SECONDS = 0.5
SETTLE_SECONDS = 60.0
"""What follows an operation (captures, events, letters) is waited for, so long at most, and counted as its cost."""

SETTLED_CORES = 0.3
"""A mesh at rest spends a third of it; one that still works spends a whole core or more."""

SETTLED_LOOKS = 2
"""So many in a row: between two stages of what follows there may be a moment of rest."""


class Meter:
    """Adds up what is spent while it runs."""

    def __init__(self, processes: Mapping[str, int], at_rest: Mapping[str, float]) -> None:
        """Begin at zero; `at_rest` is CPU seconds a second by process."""
        self._processes = processes
        self.at_rest = at_rest
        self._total = dict.fromkeys(processes, 0.0)

    @classmethod
    async def open(cls, processes: Mapping[str, int], *, seconds: float) -> Meter:
        """Return a meter, after a look at what the processes spend at rest; the client has none.

        Raises:
            Unmeasured: They are not at rest: what they still have to do would be taken off every window.
        """
        before, began = cpu.spent(processes), time.monotonic()
        await asyncio.sleep(seconds)
        after, lasted = cpu.spent(processes), time.monotonic() - began
        return cls(processes, resting(before, after, lasted))

    @property
    def rest_cores(self) -> float:
        """CPU seconds a second that all of them spend at rest."""
        return sum(self.at_rest.values())

    @contextmanager
    def running(self) -> Iterator[None]:
        """Count what is spent meanwhile."""
        before, began = cpu.spent(self._processes), time.monotonic()
        yield
        self.add(before, cpu.spent(self._processes), time.monotonic() - began)

    def add(self, before: Mapping[str, float], after: Mapping[str, float], lasted: float) -> None:
        """Count what was spent in so many seconds."""
        for name in self._total:
            self._total[name] += after[name] - before[name] - self.at_rest.get(name, 0.0) * lasted

    def per_operation(self, operations: int) -> dict[str, float]:
        """Return CPU seconds of one operation by process, the most expensive first, and begin at zero again."""
        found = cpu.per_operation(self._total, operations)
        self._total = dict.fromkeys(self._processes, 0.0)
        return found


def resting(before: Mapping[str, float], after: Mapping[str, float], lasted: float) -> dict[str, float]:
    """Return the CPU seconds a second of each process but the client.

    Raises:
        Unmeasured: Together they spend more than a mesh at rest.
    """
    found = {name: (after[name] - before[name]) / lasted for name in after if name != CLIENT}
    if (cores := sum(found.values())) > SETTLED_CORES:
        busiest = max(found, key=lambda name: found[name])
        raise Unmeasured(f"the mesh is not at rest: it spends {cores:.2f} cores, most of it {busiest}")
    return found


async def settled(
    spent: Callable[[], float], *, seconds: float = SETTLE_SECONDS, look_seconds: float = LOOK_SECONDS
) -> None:
    """Wait until what is spent, in CPU seconds, is no more than at rest for several looks.

    Raises:
        Unmeasured: It is not within so many seconds.
    """
    last, looked, quiet = spent(), time.monotonic(), 0
    until = looked + seconds
    cores = 0.0
    while quiet < SETTLED_LOOKS:
        if looked > until:
            raise Unmeasured(f"the mesh still spends {cores:.2f} cores {seconds:g} s after the load")
        await asyncio.sleep(look_seconds)
        spent_now, now = spent(), time.monotonic()
        cores = (spent_now - last) / (now - looked)
        quiet = quiet + 1 if cores <= SETTLED_CORES else 0
        last, looked = spent_now, now
