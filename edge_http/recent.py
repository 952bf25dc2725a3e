"""Keeps answers that anybody may read, for a second: a crowd that looks at one page asks its service once.

The contract decides which: reads that are public, asked without a token. Such an answer may be five seconds old anyway
(`max-age`); one from here says its age, so that whoever keeps it on counts from when it was made. A change that goes
through this process makes it forget them all, so that whoever made it sees it.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace

from edge_http.answer import Answer

KEPT_SECONDS = 1.0
MAX_BYTES = 16 * 1024 * 1024
MAX_ANSWER_BYTES = 256 * 1024
OVERHEAD_BYTES = 1024
"""What an answer without a body takes, about: its headers, its key, its place in the table."""

_AGE = (b"age", b"1")
"""In whole seconds (RFC 9111): never less than it is."""

Asked = tuple[str, bytes]
"""A path and a query, as they came."""
Moment = tuple[float, int]
"""Seconds on the clock, and how many changes there had been."""


class Recent:
    """The answers of the last second, within a bound of bytes; the oldest go first."""

    def __init__(self, max_bytes: int = MAX_BYTES, clock: Callable[[], float] = time.monotonic) -> None:
        self._max = max_bytes
        self._clock = clock
        self._size = 0
        self._kept: OrderedDict[Asked, tuple[float, int, Answer]] = OrderedDict()
        self._edition = 0

    def find(self, key: Asked) -> Answer | None:
        """Return the answer to this path and query, where it was made within the last second."""
        found = self._kept.get(key)
        if found is None:
            return None
        until, _, answer = found
        if self._clock() >= until:
            self._drop(key)
            return None
        return answer

    def moment(self) -> Moment:
        """Return when an answer is being asked for, for `keep`."""
        return self._clock(), self._edition

    def keep(self, key: Asked, answer: Answer, asked_for: Moment) -> None:
        """Keep an answer, unless something has changed since it was asked for."""
        since, edition = asked_for
        if edition != self._edition or len(answer.body) > MAX_ANSWER_BYTES:
            return
        self._drop(key)
        size = len(key[0]) + len(key[1]) + len(answer.body) + OVERHEAD_BYTES
        self._kept[key] = (since + KEPT_SECONDS, size, replace(answer, headers=[*answer.headers, _AGE]))
        self._size += size
        while self._size > self._max:
            self._drop(next(iter(self._kept)))

    def forget(self) -> None:
        """Forget all of them, and what is being asked for."""
        self._edition += 1
        self._kept.clear()
        self._size = 0

    def _drop(self, key: Asked) -> None:
        found = self._kept.pop(key, None)
        if found is not None:
            self._size -= found[1]

    def __len__(self) -> int:
        return len(self._kept)
