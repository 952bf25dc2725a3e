"""The seams where a proof can take hold: the clock, the source of ids, and named failpoints.

Code that needs the time, a new id or a place to die asks here, so that a test can hold all three. Nothing in this
module knows what it is used for.
"""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    from mesh.failpoints import Failpoints


class Clock(Protocol):
    """Tells the time. Everything that decides by the time takes one of these."""

    def now(self) -> datetime:
        """Return the present moment, aware, in UTC."""
        ...


class SystemClock:
    """The clock of the machine."""

    def now(self) -> datetime:
        """Return the present moment, aware, in UTC."""
        return datetime.now(UTC)


class ManualClock:
    """A clock that stands still until a test moves it."""

    def __init__(self, start: datetime | None = None) -> None:
        self._now = start or datetime(2026, 1, 1, tzinfo=UTC)
        if self._now.tzinfo is None:
            raise ValueError("a clock starts at an aware time")

    def now(self) -> datetime:
        """Return the moment the clock was left at."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Move the clock forward."""
        self._now += timedelta(seconds=seconds)


class Ids(Protocol):
    """Makes ids. Every id of Titan is made by one of these, never by a client."""

    def new(self) -> uuid.UUID:
        """Return an id that was never given before."""
        ...


class SystemIds:
    """UUIDv7 (RFC 9562, 5.7), strictly ascending within a process even when the clock steps back.

    The 12 bits after the version count the ids of one millisecond (method 1 of section 6.2), from a random start in
    the lower half; a counter that runs over borrows from the next millisecond. The last 62 bits are random.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._milliseconds = 0
        self._counter = 0

    def new(self) -> uuid.UUID:
        """Return the next id."""
        now = time.time_ns() // 1_000_000
        random = int.from_bytes(os.urandom(10), "big")
        with self._lock:
            if now > self._milliseconds:
                self._milliseconds, self._counter = now, (random >> 64) & 0x7FF
            elif self._counter < 0xFFF:
                self._counter += 1
            else:
                self._milliseconds, self._counter = self._milliseconds + 1, 0
            prefix = self._milliseconds << 16 | 0x7000 | self._counter
        return uuid.UUID(int=prefix << 64 | 0x2 << 62 | random & 0x3FFF_FFFF_FFFF_FFFF)


class SequentialIds:
    """Ids that count from one, shaped like UUIDv7, for tests that compare them."""

    def __init__(self, start: int = 1) -> None:
        self._next = start

    def new(self) -> uuid.UUID:
        """Return the next id in sequence."""
        number, self._next = self._next, self._next + 1
        return uuid.UUID(int=0x7000 << 64 | 0x2 << 62 | number)


class NoFailpoints:
    """Stands in for the failpoints of a build that has no `mesh.failpoints`: there is nothing that arms one."""

    armed: Mapping[str, object] = MappingProxyType({})

    def __init__(self, environment: Mapping[str, str]) -> None:
        """Refuse to start as if they were armed.

        Raises:
            ValueError: Somebody wants to arm one.
        """
        if environment.get("TITAN_FAILPOINTS"):
            raise ValueError("TITAN_FAILPOINTS: this build has no failpoints to arm")


def _failpoints(environment: Mapping[str, str]) -> Failpoints:
    if find_spec("mesh.failpoints") is None:
        return cast("Failpoints", NoFailpoints(environment))
    from mesh.failpoints import Failpoints

    return Failpoints(environment)


# The one reading of the environment outside a settings module: a failpoint must be armed before any settings load.
failpoints = _failpoints(os.environ)


async def failpoint(name: str) -> None:
    """A place where a test may stop, delay or end the process. Off, it costs one look into an empty dict."""
    if failpoints.armed:
        await failpoints.act(name)
