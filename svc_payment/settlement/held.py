"""How a set passes by what somebody else holds: it takes the rows that are free, and comes back for the others.

Waiting for one row inside a set's transaction would make up to 255 neighbours wait, and fail with it when the lock is
waited for in vain. Nor does an item wait in a transaction of its own: a few of those would have all connections.
"""

from __future__ import annotations

import asyncio
import time
from typing import TypeVar

from mesh.batcher import Batcher
from mesh.refusals import Unavailable

I = TypeVar("I")  # noqa: E741
O = TypeVar("O")  # noqa: E741

FIRST_PAUSE_SECONDS = 0.01
MAX_PAUSE_SECONDS = 0.2
PATIENCE_SECONDS = 4.0
"""About as long as a lock is waited for anywhere else; the time that its sets take counts."""


class Held(Exception):
    """Another transaction has locked what an item of a set is about, so nothing was done about it."""


async def submit(batcher: Batcher[I, O], item: I) -> O:
    """Have an item run with a set, and with a later one for as long as its own result is `Held`.

    Raises:
        Unavailable: It was held all the time.
    """
    pause, ends = FIRST_PAUSE_SECONDS, time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return await batcher.submit(item)
        except Held as held:
            if time.monotonic() + pause > ends:
                raise Unavailable("another transaction does not let go", retry_after_seconds=1) from held
        await asyncio.sleep(pause)
        pause = min(MAX_PAUSE_SECONDS, pause * 2)
