"""What operations cost in CPU, by process, without what the processes spend when nobody comes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from bench.rig import cpu
from bench.rig.cpu import CLIENT

REST_SECONDS = 2.0


class Meter:
    """Adds up what is spent while it runs."""

    def __init__(self, processes: Mapping[str, int], at_rest: Mapping[str, float]) -> None:
        """Begin at zero; `at_rest` is CPU seconds a second by process."""
        self._processes = processes
        self._at_rest = at_rest
        self._total = dict.fromkeys(processes, 0.0)

    @classmethod
    async def open(cls, processes: Mapping[str, int]) -> Meter:
        """Return a meter, after a look at what the processes spend at rest; the client has none."""
        before, began = cpu.spent(processes), time.monotonic()
        await asyncio.sleep(REST_SECONDS)
        after, lasted = cpu.spent(processes), time.monotonic() - began
        return cls(processes, {name: (after[name] - before[name]) / lasted for name in processes if name != CLIENT})

    @contextmanager
    def running(self) -> Iterator[None]:
        """Count what is spent meanwhile."""
        before, began = cpu.spent(self._processes), time.monotonic()
        yield
        self.add(before, cpu.spent(self._processes), time.monotonic() - began)

    def add(self, before: Mapping[str, float], after: Mapping[str, float], lasted: float) -> None:
        """Count what was spent in so many seconds."""
        for name in self._total:
            self._total[name] += after[name] - before[name] - self._at_rest.get(name, 0.0) * lasted

    def per_operation(self, operations: int) -> dict[str, float]:
        """Return CPU seconds of one operation by process, the most expensive first, and begin at zero again."""
        found = cpu.per_operation(self._total, operations)
        self._total = dict.fromkeys(self._processes, 0.0)
        return found
