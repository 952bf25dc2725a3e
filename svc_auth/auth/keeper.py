"""Keeps the key ring of this process like the table, and makes the next key when the newest has served its time."""

from __future__ import annotations

import asyncio
from uuid import UUID

import asyncpg

from mesh import audit
from mesh.audit import Command
from mesh.database import Database
from mesh.refusals import Unavailable
from mesh.seams import Clock, Ids, failpoint
from mesh.telemetry import get_logger
from svc_auth.auth import attempt_store, key_store, rules, store
from svc_auth.keys import KeyRing, MasterKey, StoredKey, make_key
from svc_auth.settings import Settings

log = get_logger("svc_auth.keys")

PRUNE_EVERY_SECONDS = 60.0


class KeyKeeper:
    """Call `load` once before serving, then run `follow` in the background.

    Every replica polls far more often than a new key waits before it signs, so all of them publish it in time.
    """

    def __init__(
        self, db: Database, ring: KeyRing, master: MasterKey, clock: Clock, ids: Ids, settings: Settings
    ) -> None:
        self._db = db
        self._ring = ring
        self._master = master
        self._clock = clock
        self._ids = ids
        self._settings = settings

    async def load(self) -> None:
        """Take the stored keys; make one where it is due.

        Raises:
            MasterKeyUnusable: A stored key was encrypted with another master key.
        """
        async with self._db.hot_read() as connection:
            keys = await key_store.list_keys(connection)
        at = self._clock.now()
        if rules.rotation_due(keys, at=at, period_seconds=self._settings.key_rotation_seconds):
            await self.rotate(due_only=True)
        else:
            self._ring.replace(keys, at=at)

    async def rotate(self, by: Command | None = None, *, due_only: bool = False) -> StoredKey:
        """Publish a new key and return it, or the one to wait for before another can be made.

        `by` is the command that asks for it, where somebody does.

        Raises:
            MasterKeyUnusable: A stored key was encrypted with another master key: none is made.
        """

        async def add(tx: asyncpg.Connection) -> tuple[list[StoredKey], StoredKey | None]:
            keys, at = await key_store.lock_keys(tx), self._clock.now()
            self._ring.replace(keys, at=at)  # before one more is stored that the other processes may not open
            if rules.key_to_await(keys, at=at) is not None:
                return keys, None
            if due_only and not rules.rotation_due(keys, at=at, period_seconds=self._settings.key_rotation_seconds):
                return keys, None
            key = self._make(keys, self._ids.new())
            await key_store.save_key(tx, key)
            if by is not None:
                await audit.accept(tx, f"signingKeys/{key.kid}", by)
            await failpoint("auth.rotate.before_commit")
            return [key, *keys], key

        keys, made = await self._db.transact(add)
        self._ring.replace(keys, at=self._clock.now())
        if made is not None:
            log.info("a new signing key is published", kid=made.kid, sign_time=made.sign_at.isoformat())
        return made or max(keys, key=lambda key: key.sign_at)

    async def follow(self) -> None:
        """Follow the table until cancelled, and forget what has had its time."""
        pruned_at = None
        while True:
            await asyncio.sleep(self._settings.key_poll_seconds)
            try:
                await self.load()
                now = self._clock.now()
                if pruned_at is None or (now - pruned_at).total_seconds() >= PRUNE_EVERY_SECONDS:
                    pruned_at = now
                    async with self._db.hot() as tx:
                        for each in (key_store, attempt_store, store):
                            await each.prune(tx, at=now)
            except Unavailable:
                continue  # The keys in memory stay good; whatever needs the database says so itself.

    def _make(self, keys: list[StoredKey], kid: UUID) -> StoredKey:
        at = self._clock.now()
        sign_at = rules.next_sign_time(keys, at=at, notice_seconds=self._settings.key_notice_seconds)
        return make_key(self._master, kid=str(kid), created_at=at, sign_at=sign_at)
