"""Answers kept in this process for a few seconds, at most so many of them, and so many bytes.

The bound in bytes is for strangers: page tokens are not signed, so anybody can ask for as many different pages as there
are products, each of them large.

A write in this process forgets all of them at once; one in another process shows when their time is over. Whoever asks
for what is being loaded waits for that load. What is kept is shared: nobody may change it.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, TypeVar

T = TypeVar("T")

MAX_BYTES = 16 * 1024 * 1024
"""As answers travel; in memory they take a few times as much."""


class Cache:
    """Least recently used goes first; `seconds` of 0 keeps nothing. `size_of` says how many bytes an answer counts."""

    def __init__(
        self,
        *,
        items: int,
        seconds: float,
        max_bytes: int = MAX_BYTES,
        size_of: Callable[[Any], int] = lambda answer: 0,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._items = items
        self._seconds = seconds
        self._max_bytes = max_bytes
        self._size_of = size_of
        self._now = now
        self._bytes = 0
        self._kept: OrderedDict[Hashable, tuple[float, Any, int]] = OrderedDict()
        self._loading: dict[Hashable, asyncio.Future[Any]] = {}

    def __len__(self) -> int:
        return len(self._kept)

    async def get(self, key: Hashable, load: Callable[[], Awaitable[T]]) -> T:
        """Return what is kept under a key, or what `load` returns. What it raises is raised, and not kept."""
        kept = self._kept.get(key)
        if kept is not None and kept[0] > self._now():
            self._kept.move_to_end(key)
            found: T = kept[1]
            return found
        running = self._loading.get(key)
        if running is None:
            # A task of its own: the first caller may leave while others wait.
            running = asyncio.ensure_future(self._load(key, load))
            self._loading[key] = running
        loaded: T = await asyncio.shield(running)
        return loaded

    def forget_all(self) -> None:
        """Forget everything, also what is being loaded: it may have been read before the change."""
        self._kept.clear()
        self._bytes = 0
        self._loading.clear()

    async def _load(self, key: Hashable, load: Callable[[], Awaitable[T]]) -> T:
        task = asyncio.current_task()
        try:
            value = await load()
            if self._loading.get(key) is task and self._seconds > 0:
                self._keep(key, value)
            return value
        finally:
            if self._loading.get(key) is task:
                del self._loading[key]

    def _keep(self, key: Hashable, value: Any) -> None:
        if key in self._kept:
            self._bytes -= self._kept.pop(key)[2]
        size = self._size_of(value)
        self._kept[key] = (self._now() + self._seconds, value, size)
        self._bytes += size
        while len(self._kept) > self._items or self._bytes > self._max_bytes:
            _, (_, _, gone) = self._kept.popitem(last=False)
            self._bytes -= gone
