"""The seams where a proof can take hold: the clock, the source of ids, and named failpoints.

Code that needs the time, a new id or a place to die asks here, so that a test can hold all three. Nothing in this
module knows what it is used for.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol


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


class FailpointReached(RuntimeError):
    """An armed failpoint with the action `raise` was reached."""


@dataclass
class _Armed:
    action: str
    milliseconds: int
    left: int | None


class Failpoints:
    """The armed failpoints of this process.

    Actions: `exit` ends the process at once with status 137, as a kill would; `raise` raises `FailpointReached`;
    `hang` waits until cancelled; `sleep:<ms>` waits that long. `exit*1` acts once and then lets pass.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.armed: dict[str, _Armed] = {}
        for entry in filter(None, environment.get("TITAN_FAILPOINTS", "").split(";")):
            name, separator, action = entry.partition("=")
            if not separator:
                raise ValueError(f"TITAN_FAILPOINTS: {entry!r} is not name=action")
            self.arm(name.strip(), action.strip())

    def arm(self, name: str, action: str) -> None:
        """Make the failpoint act from now on.

        Raises:
            ValueError: There is no such action.
        """
        verb, star, count = action.partition("*")
        verb, _, milliseconds = verb.partition(":")
        if verb not in ("exit", "raise", "hang", "sleep") or (verb == "sleep") != bool(milliseconds):
            raise ValueError(f"failpoint {name}: no action {action!r}")
        self.armed[name] = _Armed(verb, int(milliseconds or 0), int(count) if star else None)

    def reset(self) -> None:
        """Disarm every failpoint."""
        self.armed.clear()

    async def act(self, name: str) -> None:
        """Do what the failpoint is armed with."""
        armed = self.armed.get(name)
        if armed is None or armed.left == 0:
            return
        if armed.left is not None:
            armed.left -= 1
        if armed.action == "exit":
            os._exit(137)
        if armed.action == "raise":
            raise FailpointReached(name)
        if armed.action == "hang":
            await asyncio.Event().wait()
        await asyncio.sleep(armed.milliseconds / 1000)


# The one reading of the environment outside a settings module: a failpoint must be armed before any settings load.
failpoints = Failpoints(os.environ)


async def failpoint(name: str) -> None:
    """A place where a test may stop, delay or end the process. Off, it costs one look into an empty dict."""
    if failpoints.armed:
        await failpoints.act(name)
