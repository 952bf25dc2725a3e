"""The sessions that ended, followed from the database and told to every stream of this process.

A poll of a partial index, five times a second, rather than LISTEN: a notification takes a lock on the whole database at
every commit that sends one, and a poll finds by itself what a lost connection would have missed. A session that ends in
this process wakes the poll at once. All of its times are the database's: the clocks of two processes need not agree,
and each poll puts the clock of this one right.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from mesh.database import Database
from mesh.identity import RevocationView
from mesh.refusals import Overloaded, Unavailable
from svc_auth.auth import rules, store
from svc_auth.clock import DatabaseClock

OVERLAP_SECONDS = 30
"""How far each poll looks back again: longer than any transaction that ends a session may take to commit."""

MAX_FOLLOWERS = 256
MAX_KNOWN_SESSIONS = 10_000
AWAY_SECONDS = 0.5


@dataclass(frozen=True)
class Ended:
    """A session that has ended."""

    session_id: UUID
    revoked_at: datetime

    @property
    def forget_at(self) -> datetime:
        """When its last token has expired."""
        return rules.revocation_end(self.revoked_at)


@dataclass(frozen=True)
class News:
    """What a follower has to hear; the view is complete up to `as_of`."""

    ended: Sequence[Ended]
    as_of: datetime


class _Follower:
    """What one stream has not told yet. It is one list, however slowly it is read, so nothing piles up or is lost."""

    def __init__(self) -> None:
        self.pending: list[Ended] = []
        self.told: datetime | None = None
        self.woken = asyncio.Event()


class RevocationFeed:
    """Run `follow` in the background. `view` is what this process itself verifies with."""

    def __init__(self, db: Database, clock: DatabaseClock, *, poll_seconds: float, heartbeat_seconds: float) -> None:
        self._db = db
        self._clock = clock
        self._poll = poll_seconds
        self._heartbeat = timedelta(seconds=heartbeat_seconds)
        self._known: dict[UUID, Ended] = {}
        self._as_of: datetime | None = None
        self._wanted = asyncio.Event()
        self._followers: set[_Follower] = set()
        self.view = RevocationView(now=lambda: clock.now().timestamp())

    async def follow(self) -> None:
        """Follow the database until cancelled; while it is away the view grows older, and says so itself."""
        while True:
            pause = self._poll
            try:
                await self.look()
            except Unavailable:
                pause = AWAY_SECONDS
            try:
                async with asyncio.timeout(pause):
                    await self._wanted.wait()
            except TimeoutError:
                continue

    def wake(self) -> None:
        """Look at once: a session has ended in this process."""
        self._wanted.set()

    async def look(self) -> None:
        """Read what is new, and tell everybody."""
        self._wanted.clear()
        since = None if self._as_of is None else self._as_of - timedelta(seconds=OVERLAP_SECONDS)
        async with self._db.hot_read() as connection:
            asked_at = self._clock.now()
            found = await store.list_revoked(connection, since=since)
        at = found.as_of
        self._clock.told(at, asked_at=asked_at)
        new = [Ended(*session) for session in found.sessions if session[0] not in self._known]
        self._known.update((ended.session_id, ended) for ended in new)
        if len(self._known) > MAX_KNOWN_SESSIONS or not new:
            self._forget(at)
        self._as_of = at
        self.view.apply(((e.session_id, e.forget_at.timestamp()) for e in new), as_of=at.timestamp())
        for follower in self._followers:
            follower.pending += new
            if new or follower.told is None or at - follower.told >= self._heartbeat:
                follower.woken.set()

    async def watch(self) -> AsyncIterator[News]:
        """Tell a follower all that still matters, then what is new, and at each heartbeat that nothing is.

        Raises:
            Overloaded: Too many follow already.
            Unavailable: The database does not answer.
        """
        if len(self._followers) >= MAX_FOLLOWERS:
            raise Overloaded("too many followers", retry_after_seconds=5)
        if self._as_of is None:
            await self.look()
        follower = _Follower()
        follower.pending = list(self._known.values())
        self._followers.add(follower)
        try:
            while True:
                assert self._as_of is not None
                follower.woken.clear()
                ended, follower.pending, follower.told = follower.pending, [], self._as_of
                yield News(ended, follower.told)
                await follower.woken.wait()
        finally:
            self._followers.discard(follower)

    def _forget(self, at: datetime) -> None:
        if any(ended.forget_at <= at for ended in self._known.values()):
            self._known = {key: ended for key, ended in self._known.items() if ended.forget_at > at}
