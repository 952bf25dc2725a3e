"""Keeps answers that anybody may read, for a second: a crowd that looks at one page asks its service once.

The contract decides which: reads that are public, asked without a token. Such an answer may be five seconds old anyway
(`max-age`); one from here says its age, so that whoever keeps it on counts from when it was made. Whoever asks for a
page that somebody is being told waits for that answer, within the same second. A change that goes through this process
makes it forget them all, and what is under way, so that whoever made it sees it.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import replace

from edge_http.answer import Answer
from mesh.refusals import Refusal

KEPT_SECONDS = 1.0
"""From when the service was asked, however long it took: it may have looked at once."""
MAX_BYTES = 16 * 1024 * 1024
MAX_ANSWER_BYTES = 256 * 1024
OVERHEAD_BYTES = 1024
"""What an answer without a body takes, about: its headers, its key, its place in the table."""

_AGE = (b"age", b"1")
"""In whole seconds (RFC 9111): never less than it is."""

Asked = tuple[str, bytes]
"""A path and a query, as they came."""


class Recent:
    """The answers of the last second, within a bound of bytes; the oldest go first.

    Of what is being asked for there is no more than there are exchanges: it ends with the last one that waits for it.
    """

    def __init__(self, max_bytes: int = MAX_BYTES, clock: Callable[[], float] = time.monotonic) -> None:
        self._max = max_bytes
        self._clock = clock
        self._size = 0
        self._kept: OrderedDict[Asked, tuple[float, int, Answer]] = OrderedDict()
        self._asks: dict[Asked, _Ask] = {}

    def find(self, key: Asked) -> Answer | None:
        """Return the answer to this path and query, where it was asked for within the last second."""
        found = self._kept.get(key)
        if found is None:
            return None
        until, _, answer = found
        if self._clock() >= until:
            self._drop(key)
            return None
        return answer

    async def ask(self, key: Asked, call: Callable[[], Awaitable[Answer]]) -> Answer:
        """Return what `call` answers, or what it answers to somebody who asked for the same within the last second.

        Nobody waits longer than for a call of their own: the one that they share has begun before.

        Raises:
            Refusal: What the call was refused with. It is kept for nobody.
        """
        now = self._clock()
        ask = self._asks.get(key)
        if ask is not None and now < ask.until:
            return _aged(await self._wait(key, ask, follows=True))
        # A task of its own: the first who asked may leave while others wait.
        ask = self._asks[key] = _Ask(now + KEPT_SECONDS)
        ask.task = asyncio.create_task(self._run(key, ask, call))
        return await self._wait(key, ask)

    def forget(self) -> None:
        """Forget all of them. What is being asked for is for those who wait already: it may tell of before."""
        self._asks.clear()
        self._kept.clear()
        self._size = 0

    async def _run(self, key: Asked, ask: _Ask, call: Callable[[], Awaitable[Answer]]) -> None:
        found: Answer | Exception | None = None
        try:
            found = await call()
            if self._asks.get(key) is ask:
                self._keep(key, found, ask.until)
        except Exception as error:
            found = error  # for each who waits, and for nobody where they have left
        finally:
            self._leave(key, ask)
            ask.end(found)

    async def _wait(self, key: Asked, ask: _Ask, *, follows: bool = False) -> Answer:
        waiter = asyncio.get_running_loop().create_future()
        ask.waiting.add(waiter)
        try:
            found = await waiter
        finally:
            ask.waiting.discard(waiter)
            if not ask.waiting and not ask.task.done():
                self._leave(key, ask)
                ask.task.cancel()
        if isinstance(found, Answer):
            return found
        if not follows:
            raise found
        # Raised in several places at once, one object would gather the tracebacks of all of them.
        if isinstance(found, Refusal):
            raise Refusal.from_status(found.to_status())
        raise RuntimeError("the call that was waited for has failed") from found

    def _leave(self, key: Asked, ask: _Ask) -> None:
        if self._asks.get(key) is ask:
            del self._asks[key]

    def _keep(self, key: Asked, answer: Answer, until: float) -> None:
        if len(answer.body) > MAX_ANSWER_BYTES or self._clock() >= until:
            return
        self._drop(key)
        size = len(key[0]) + len(key[1]) + len(answer.body) + OVERHEAD_BYTES
        self._kept[key] = (until, size, _aged(answer))
        self._size += size
        while self._size > self._max:
            self._drop(next(iter(self._kept)))

    def _drop(self, key: Asked) -> None:
        found = self._kept.pop(key, None)
        if found is not None:
            self._size -= found[1]

    def __len__(self) -> int:
        return len(self._kept)


class _Ask:
    """A call under way, until when others may join it, and who waits for its end."""

    __slots__ = ("task", "until", "waiting")

    task: asyncio.Task[None]

    def __init__(self, until: float) -> None:
        self.until = until
        self.waiting: set[asyncio.Future[Answer | Exception]] = set()

    def end(self, found: Answer | Exception | None) -> None:
        """Tell whoever waits what was found; nothing where the call was cancelled, and so are they."""
        for waiter in self.waiting:
            if waiter.done():
                continue
            if found is None:
                waiter.cancel()
            else:
                waiter.set_result(found)


def _aged(answer: Answer) -> Answer:
    return replace(answer, headers=[*answer.headers, _AGE])
