"""The tasks of one process that outlive the calls that began them."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from mesh.telemetry import detached_context, get_logger

log = get_logger("order.tasks")

STOP_SECONDS = 2.0


class Tasks:
    """Starts tasks, and sees them end. What breaks off is picked up by a sweeper when its lease is over."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[Any, Any, None], what: str) -> None:
        """Run work in the current trace, but not in the current call: neither its deadline nor its caller count."""
        task = asyncio.get_running_loop().create_task(work, context=detached_context())
        self._running.add(task)

        def ended(done: asyncio.Task[None]) -> None:
            self._running.discard(done)
            error = None if done.cancelled() else done.exception()
            if error is not None:
                log.exception(f"{what} broke off", error)

        task.add_done_callback(ended)

    async def close(self) -> None:
        """Give what runs a little time, then stop it."""
        running = set(self._running)
        if running:
            await asyncio.wait(running, timeout=STOP_SECONDS)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
