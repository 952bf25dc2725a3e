"""The plain columns: sealed before a process serves, and emptied when their time is over.

Three steps, each in bounded batches that may be stopped anywhere and run by several processes at once. Migration 0011
added the columns. Before a process serves, it seals all that is plain, so that nothing else in this package reads a
plain column; what a replica of the release before writes later is sealed a second after. Such replicas look users up by
address, by subject at a provider and by id in another system: those three stay in plain beside their hashes, and are
written so for new users, until an hour after the migration; then they are emptied. So are the addresses to send to that
were there. Names are blank to such replicas at once: by that one tells which they have changed since.

What belongs to a user whose own key is damaged stays as it is until somebody brings back what opens it. It is the harm
of that user alone: everybody else is sealed and served.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg

from mesh.database import Database
from mesh.refusals import Unavailable
from mesh.seams import Clock
from mesh.telemetry import get_logger
from mesh.vault.vault import Unreadable
from svc_auth.blind_index import BlindIndex
from svc_auth.errors import UserNotFound
from svc_auth.personal import Column, Personal
from svc_auth.plain import store
from svc_auth.plain.store import Table
from svc_auth.renewal import index_store
from svc_auth.user.rules import ADDRESS_FIELDS, Profile

log = get_logger("svc_auth.plain")

BATCH_ROWS = 500
"""What is sealed, or emptied, in one transaction."""
POLL_SECONDS = 1.0
"""How often what a replica of the release before wrote is looked for."""
REST_SECONDS = 3600.0
"""The same, once there is none."""
AGAIN_SECONDS = 600.0
"""How often what could not be sealed is tried again, and told of: whoever runs Titan may have brought back a key."""

Sealed = Callable[[asyncpg.Record], tuple[Any, ...]]
"""Makes of a plain row what its table stores."""


class Plain:
    """The plain columns of this package's database."""

    def __init__(
        self, db: Database, personal: Personal, index: BlindIndex, clock: Clock, plain_until: datetime
    ) -> None:
        self._db = db
        self._personal = personal
        self._index = index
        self._clock = clock
        self._until = plain_until
        self._left: set[UUID] = set()  # the rows that could not be sealed
        self._again_at = datetime.min.replace(tzinfo=UTC)  # when they are tried again
        self._tables: dict[Table, Sealed] = {
            store.USERS: self._user,
            store.ADDRESSES: self._address,
            store.SESSIONS: self._session,
            store.PASSKEYS: self._passkey,
            store.IDENTITIES: self._identity,
        }

    @classmethod
    async def load(cls, db: Database, personal: Personal, index: BlindIndex, clock: Clock) -> Plain:
        """Return the plain columns of a database."""
        async with db.hot_read() as connection:
            plain_until = await store.get_plain_until(connection)
        return cls(db, personal, index, clock, plain_until)

    def kept(self, text: str) -> str | None:
        """Return what is written in plain beside a hash: the text while the release before may look for it."""
        return None if self._over() else text

    async def seal_all(self) -> int:
        """Seal all that stands in plain columns, and say how many rows that were.

        Rows of users whose keys do not open stay as they are.

        Raises:
            Unavailable: The database, or what has the master keys, does not answer.
        """
        if self._clock.now() >= self._again_at:
            self._left.clear()
            self._again_at = self._clock.now() + timedelta(seconds=AGAIN_SECONDS)
        known = len(self._left)
        count = sum([await self._seal_table(table, sealed) for table, sealed in self._tables.items()])
        if count:
            log.info("what was stored in plain is sealed", rows=count)
        if len(self._left) > known:
            log.error("the keys of some users don't open, and what is theirs stays in plain", rows=len(self._left))
        return count

    async def empty(self) -> None:
        """Empty what stayed in plain for replicas of the release before."""
        while await self._db.transact(lambda tx: store.empty_some(tx, limit=BATCH_ROWS)) >= BATCH_ROWS:
            pass

    async def follow(self) -> None:
        """Seal what a replica of the release before writes, and empty what it looks for when its time is over; until
        cancelled."""
        while True:
            over = self._over()
            try:
                await self.seal_all()
                if over:
                    await self.empty()
            except Unavailable:
                over = False  # once more as soon as it is back
            await asyncio.sleep(REST_SECONDS if over else POLL_SECONDS)

    def _over(self) -> bool:
        return self._clock.now() >= self._until

    async def _seal_table(self, table: Table, sealed: Sealed) -> int:
        count, after = 0, None
        while True:
            async with self._db.hot_read() as connection:
                found = await store.find_plain(connection, table, after=after, limit=BATCH_ROWS)
            if tried := [(row_id, user_id) for row_id, user_id in found if row_id not in self._left]:
                count += await self._seal_rows(table, sealed, tried)
            if len(found) < BATCH_ROWS:
                return count
            after = found[-1][0]

    async def _seal_rows(self, table: Table, sealed: Sealed, found: Sequence[tuple[UUID, UUID]]) -> int:
        """Seal rows, each with its user, and say how many; those that cannot be are noted."""
        await self._personal.prepare(*(user_id for _, user_id in found))
        closed = {row_id for row_id, user_id in found if not self._personal.at_hand(user_id)}

        async def seal(tx: asyncpg.Connection) -> tuple[int, set[UUID]]:
            await index_store.hold(tx, self._index.written)
            # What somebody else has sealed meanwhile is plain no more, and is not among these.
            rows = await store.lock_plain(tx, table, [row_id for row_id, _ in found if row_id not in closed])
            done, unreadable = [], set()
            for row in rows:
                try:
                    done.append(sealed(row))
                except UserNotFound:
                    continue  # they are being erased, and then nothing of theirs is left to seal
                except Unreadable:
                    unreadable.add(row[table.key])
            await store.save_sealed(tx, table, done)
            return len(done), unreadable

        count, unreadable = await self._index.settled(lambda: self._db.transact(seal))
        self._left |= closed | unreadable
        return count

    # Where something is plain and sealed, the plain one is newer: this release writes no plain names.

    def _user(self, row: asyncpg.Record) -> tuple[Any, ...]:
        user_id, email, external_id = row["user_id"], row["email"], row["external_id"]
        before = Profile.of_text(self._personal.open(user_id, user_id, Column.PROFILE, row["sealed"]))
        profile = Profile(email or before.email, row["display_name"] or before.display_name)
        return (
            user_id,
            self._personal.seal(user_id, user_id, Column.PROFILE, profile.text),
            row["email_index"] if email is None else self._index.email(email).newest,
            row["external_index"]
            if external_id is None
            else self._index.customer(row["importer_id"], external_id).newest,
            row["sealed_external_id"]
            if external_id is None
            else self._personal.seal(user_id, user_id, Column.EXTERNAL_ID, external_id),
        )

    def _address(self, row: asyncpg.Record) -> tuple[Any, ...]:
        fields = json.dumps({name: row[name] for name in ADDRESS_FIELDS})
        sealed = self._personal.seal(row["user_id"], row["address_id"], Column.ADDRESS, fields)
        return row["address_id"], sealed

    def _session(self, row: asyncpg.Record) -> tuple[Any, ...]:
        user_id = row["user_id"]
        return row["session_id"], self._personal.seal(user_id, user_id, Column.CLIENT_NAME, row["client_name"])

    def _passkey(self, row: asyncpg.Record) -> tuple[Any, ...]:
        passkey_id = row["passkey_id"]
        return passkey_id, self._personal.seal(row["user_id"], passkey_id, Column.PASSKEY_NAME, row["name"])

    def _identity(self, row: asyncpg.Record) -> tuple[Any, ...]:
        identity_id, subject = row["identity_id"], row["subject"]
        sealed = self._personal.seal(row["user_id"], identity_id, Column.SUBJECT, subject)
        return identity_id, self._index.identity(row["issuer"], subject).newest, sealed
