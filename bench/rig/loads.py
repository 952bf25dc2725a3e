"""Two ways to put a load on something, and what came of it.

Closed loop, for capacity: so many callers, each sends its next call when the last one was answered. Open loop, for
latency: calls become due at a fixed rate, whatever became of those before, and the latency of each is taken from the
time it was due. A call that could not be sent in time so counts its waiting too (coordinated omission, Gil Tene).
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import inf

from bench.rig.samples import percentile

LOOK_SECONDS = 1.0
GROWING_LOOKS = 5
"""An open loop looks at its queue each second; one that grew at so many looks in a row will not shrink."""

Act = Callable[[int], Awaitable[None]]
"""One operation of the caller of this number; it raises when the answer is not the one that was wanted."""


@dataclass
class Window:
    """What was done in one stretch of time. `latencies` has the seconds of each operation that succeeded.

    What failed was never answered rightly: no percentile knows a longer time.
    """

    seconds: float
    latencies: list[float] = field(default_factory=list)
    failed: int = 0
    failure: str = ""
    """What the first one that failed said."""

    @property
    def done(self) -> int:
        """How many operations succeeded."""
        return len(self.latencies)

    @property
    def per_second(self) -> float:
        """Operations that succeeded, a second."""
        return self.done / self.seconds

    @property
    def failed_share(self) -> float:
        """The share of the operations that failed; all of them where there was none."""
        return self.failed / (self.done + self.failed) if self.done else 1.0

    def milliseconds(self, share: float) -> float:
        """Return a percentile of the latencies in milliseconds, where an operation that failed took for ever."""
        return percentile([*self.latencies, *[inf] * self.failed] or [inf], share) * 1000

    def note(self, problem: Exception) -> None:
        """Count an operation that failed, and keep what the first one said."""
        self.fail(f"{type(problem).__name__}: {problem}")

    def fail(self, why: str, *, operations: int = 1) -> None:
        """Count operations that failed."""
        self.failed += operations
        self.failure = self.failure or why


def together(windows: Iterable[Window]) -> Window:
    """Return what was done in all of them."""
    whole = Window(0.0)
    for window in windows:
        whole.seconds += window.seconds
        whole.latencies += window.latencies
        if window.failed:
            whole.fail(window.failure, operations=window.failed)
    return whole


async def closed(callers: int, seconds: float, act: Act) -> Window:
    """Have so many callers act one operation after the other for so long."""
    window = Window(seconds)
    began = time.perf_counter()
    until = began + seconds

    async def repeat(caller: int) -> None:
        while (started := time.perf_counter()) < until:
            try:
                await act(caller)
            except Exception as problem:
                window.note(problem)
                await asyncio.sleep(0.01)
            else:
                window.latencies.append(time.perf_counter() - started)

    await asyncio.gather(*(repeat(caller) for caller in range(callers)))
    window.seconds = time.perf_counter() - began
    return window


async def counted(callers: int, operations: int, act: Act) -> Window:
    """Have so many callers act until so many operations are done, which cost the same CPU however slow the machine."""
    window = Window(0.0)
    began = time.perf_counter()
    left = iter(range(operations))

    async def repeat(caller: int) -> None:
        for _ in left:
            started = time.perf_counter()
            try:
                await act(caller)
            except Exception as problem:
                window.note(problem)
            else:
                window.latencies.append(time.perf_counter() - started)

    await asyncio.gather(*(repeat(caller) for caller in range(callers)))
    window.seconds = time.perf_counter() - began
    return window


def due_times(per_second: float, seconds: float, *, seed: int = 0) -> list[float]:
    """Return when each call of an open loop is due, in seconds from its start and in order.

    One falls at a random moment of each interval: the rate is exact, and no call is sent in step with a timer of what
    is measured.
    """
    draw = random.Random(seed)  # noqa: S311
    return [(number + draw.random()) / per_second for number in range(int(per_second * seconds))]


def is_growing(under_way: Sequence[int], between_looks: float) -> bool:
    """Return whether a queue only grows: longer at each of the last looks, and by now than what is due between two."""
    last = under_way[-GROWING_LOOKS - 1 :]
    grew = len(last) > GROWING_LOOKS and all(earlier < later for earlier, later in pairwise(last))
    return grew and last[-1] > between_looks


async def open_loop(
    per_second: float,
    seconds: float,
    act: Act,
    *,
    callers: int,
    seed: int = 0,
    gives_up: bool = False,
    look_seconds: float = LOOK_SECONDS,
) -> Window:
    """Begin operations at a fixed rate, whatever became of earlier ones; latencies count from when each was due.

    Operation n is done by caller n modulo `callers`, who may have several under way at once.

    Args:
        gives_up: Whether to begin nothing more once the queue only grows; what was not begun has failed.
    """
    window = Window(seconds)
    began = time.perf_counter()
    running: set[asyncio.Task[None]] = set()
    looks: list[int] = []
    schedule = due_times(per_second, seconds, seed=seed)

    async def once(caller: int, due: float) -> None:
        try:
            await act(caller)
        except Exception as problem:
            window.note(problem)
        else:
            window.latencies.append(time.perf_counter() - due)

    for number, offset in enumerate(schedule):
        due = began + offset
        if (wait := due - time.perf_counter()) > 0:
            await asyncio.sleep(wait)
        if offset >= (len(looks) + 1) * look_seconds:
            looks.append(len(running))
            if gives_up and is_growing(looks, per_second * look_seconds):
                why = f"not begun: {len(running)} were under way, and more each second"
                window.fail(why, operations=len(schedule) - number)
                break
        task = asyncio.create_task(once(number % callers, due))
        running.add(task)
        task.add_done_callback(running.discard)
    await asyncio.gather(*running)
    window.seconds = time.perf_counter() - began
    return window
