"""Orders that come while others are under way wait for one another and set out together: one set at every step.

Left alone, the orders of a busy process spread over the steps of their way, and each step's batch holds a few; yet a
batch costs far more than one order in it. An order that finds the process idle sets out at once.
"""

from __future__ import annotations

import asyncio
from collections import deque

AT_ONCE_ORDERS = 4
"""How many orders are under way before those who come wait for company."""
PATIENCE_SECONDS = 0.5
"""How long an order may keep others waiting: one that is slow, or asks somebody who hangs, counts no longer."""
MAX_TOGETHER_ORDERS = 256
"""How many set out together; also the most that a batch takes."""


class Ride:
    """An order's part in the convoy, from when it sets out until it has its answer, or keeps others waiting."""

    __slots__ = ("_convoy", "_patience")

    def __init__(self, convoy: Convoy) -> None:
        self._convoy = convoy
        self._patience: asyncio.TimerHandle | None = asyncio.get_running_loop().call_later(PATIENCE_SECONDS, self.leave)

    def leave(self) -> None:
        """Let the next ones set out; safe to repeat."""
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
            self._convoy._left()


class Convoy:
    """Who sets out when. As many may wait as this process runs calls (`MAX_RUNNING_CALLS` of the runtime)."""

    def __init__(self) -> None:
        self._under_way = 0
        self._waiting: deque[asyncio.Future[Ride]] = deque()

    async def join(self) -> Ride:
        """Return when it is time to set out; the ride has to be left, however it ends."""
        if self._under_way < AT_ONCE_ORDERS:
            return self._set_out()
        place: asyncio.Future[Ride] = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        try:
            return await place
        except asyncio.CancelledError:
            if not place.cancelled():
                place.result().leave()
            raise

    def _set_out(self) -> Ride:
        self._under_way += 1
        return Ride(self)

    def _left(self) -> None:
        self._under_way -= 1
        if self._under_way >= AT_ONCE_ORDERS:
            return
        together = 0
        while self._waiting and together < MAX_TOGETHER_ORDERS:
            place = self._waiting.popleft()
            if not place.done():
                place.set_result(self._set_out())
                together += 1
