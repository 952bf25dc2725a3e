"""How a key of the index is replaced: taken up, everything hashed anew, and the one before let go.

Taken up: a line below the key in use is that of all that is new from now on, in one statement for all processes; what
is there is found under both. Hashed anew: users and identities in bounded batches, from what is kept sealed beside the
hash. Let go: once no row is left, in one statement, and only then may the old line go. Broken off anywhere, the next
process goes on; whoever comes second finds nothing left.

One process at a time does it, by a claim that it renews with each batch: no connection is held for a lock, and a
process that died loses it in a minute. All is looked through once. What could not be hashed anew is noted, and that
alone is tried again: nothing is hashed with the key before any more once another is taken up. It moves when its user
comes and what it is a hash of is known, and it is never let go by itself, however long it takes: a master key that is
missing for a while makes rows look lost that are not, and whoever is let go is found no more. Whoever runs Titan says
so (docs/SECRETS.md).
"""

from __future__ import annotations

import asyncio
import time
from uuid import UUID

import asyncpg

from mesh.database import Database
from mesh.refusals import Unavailable
from mesh.seams import SystemIds
from mesh.telemetry import get_logger
from mesh.vault.vault import Unreadable
from svc_auth.blind_index import INDEX_KEY_FILE, BlindIndex, Hashed
from svc_auth.errors import UserNotFound
from svc_auth.personal import Column, Personal
from svc_auth.renewal import index_store
from svc_auth.renewal.index_store import CUSTOMER, EMAIL, SUBJECT, KeysMoved, Moved, Written
from svc_auth.user.rules import Profile

log = get_logger("svc_auth.index")

BATCH_ROWS = 200
"""What is read, and what is hashed anew in one transaction."""
POLL_SECONDS = 1.0
"""How often the file and the database are asked for the keys."""
REST_SECONDS = 600.0
"""How often rows are looked at again that could not be hashed anew."""
CLAIM_SECONDS = 60.0
"""How long a process has the work without a word of it: many times what a batch takes."""


class IndexRenewal:
    """The replacement of the index's keys in one process. Run `follow` in the background."""

    def __init__(self, db: Database, index: BlindIndex, personal: Personal) -> None:
        self._db = db
        self._index = index
        self._personal = personal
        self._holder_id = SystemIds().new()
        self._rests_until = float("-inf")

    async def follow(self) -> None:
        """Learn which keys are in use, and replace the one in use by a newer line; until cancelled."""
        while True:
            try:
                await self._index.look()
                if time.monotonic() >= self._rests_until and not await self.replace():
                    self._rests_until = time.monotonic() + REST_SECONDS
            except Unavailable:
                pass  # nothing is stored meanwhile either
            await asyncio.sleep(POLL_SECONDS)

    async def replace(self) -> bool:
        """Replace the key in use where a newer one is there; False where rows are left that could not be hashed anew.

        Raises:
            Unavailable: The database does not answer.
        """
        if not self._index.ready:
            log.error("users are found by hashes of a key that is missing: give this process its line")
            return False
        try:
            await self.take_up()
            return await self.hash_anew()
        except KeysMoved:
            return True  # another process was further on

    async def take_up(self) -> None:
        """Have everything new hashed with a newer key, where one is there and the one before was let go."""
        written, check = self._index.written, self._index.coming
        if check is None:
            return
        if await self._db.transact(lambda tx: index_store.take_up(tx, written, check)):
            log.info("what users are found by is hashed with a new key from now on", file=INDEX_KEY_FILE)
        await self._index.look()

    async def hash_anew(self) -> bool:
        """Hash everything with the key in use and let go the one before; False where rows are left of it, or another
        process is at it.

        Raises:
            KeysMoved: Another process was further on.
        """
        written = self._index.written
        if written.before is None:
            return True
        scanned = await self._claim(written, CLAIM_SECONDS)
        if scanned is None:
            return False
        left = await self._users(written, scanned) + await self._identities(written, scanned)
        if not scanned:
            await self._db.transact(lambda tx: self._save_scanned(tx, written))
        if left:
            log.error("some of what users are found by can't be hashed anew: keep the old key", rows=left)
            await self._claim(written, REST_SECONDS)
            return False
        if await self._db.transact(lambda tx: index_store.finish(tx, written)):
            log.info("what users are found by is hashed with the newest key: older lines may go", file=INDEX_KEY_FILE)
        await self._index.look()
        return True

    async def _claim(self, written: Written, seconds: float) -> bool | None:
        async with self._db.hot_read() as connection:
            return await index_store.claim(connection, written, self._holder_id, seconds=seconds)

    async def _save_scanned(self, tx: asyncpg.Connection, written: Written) -> None:
        await index_store.hold(tx, written)
        await index_store.save_scanned(tx, written)

    async def _users(self, written: Written, only_left: bool) -> int:
        """Hash anew what users are found by, and say how many hashes could not be."""
        left, after = 0, None
        while True:
            async with self._db.hot_read() as connection:
                rows = await index_store.list_users(connection, only_left=only_left, after=after, limit=BATCH_ROWS)
            await self._personal.prepare(*(row["user_id"] for row in rows))
            batch = _Batch()
            for row in rows:
                self._add_user(batch, row)
            left += await self._save(written, batch)
            if len(rows) < BATCH_ROWS:
                return left
            after = rows[-1]["user_id"]

    async def _identities(self, written: Written, only_left: bool) -> int:
        """Hash anew what identities are found by, and say how many hashes could not be."""
        left, after = 0, None
        while True:
            async with self._db.hot_read() as connection:
                rows = await index_store.list_identities(connection, only_left=only_left, after=after, limit=BATCH_ROWS)
            await self._personal.prepare(*(row["user_id"] for row in rows))
            batch = _Batch()
            for row in rows:
                self._add_identity(batch, row)
            left += await self._save(written, batch)
            if len(rows) < BATCH_ROWS:
                return left
            after = rows[-1]["identity_id"]

    def _add_user(self, batch: _Batch, row: asyncpg.Record) -> None:
        user_id = row["user_id"]
        try:
            profile = Profile.of_text(self._personal.open(user_id, user_id, Column.PROFILE, row["sealed"]))
            external_id = self._personal.open(user_id, user_id, Column.EXTERNAL_ID, row["sealed_external_id"])
        except UserNotFound:
            return  # erased since, hashes and all
        except Unreadable:
            profile, external_id = Profile(), ""
        email = self._index.email(profile.email) if profile.email else None
        customer = self._index.customer(row["importer_id"], external_id) if external_id else None
        batch.add(EMAIL, user_id, row, email)
        batch.add(CUSTOMER, user_id, row, customer)

    def _add_identity(self, batch: _Batch, row: asyncpg.Record) -> None:
        identity_id = row["identity_id"]
        try:
            text = self._personal.open(row["user_id"], identity_id, Column.SUBJECT, row["sealed_subject"])
        except UserNotFound:
            return
        except Unreadable:
            text = ""
        subject = self._index.identity(row["issuer"], text) if text else None
        batch.add(SUBJECT, identity_id, row, subject)

    async def _save(self, written: Written, batch: _Batch) -> int:
        async def save(tx: asyncpg.Connection) -> None:
            await index_store.hold(tx, written)
            for column in (EMAIL, CUSTOMER, SUBJECT):
                await index_store.save_moved(tx, [each for each in batch.moved if each.column == column])
                await index_store.save_known(tx, column, [row_id for known, row_id in batch.known if known == column])
            await index_store.save_left(tx, batch.left)

        if batch.moved or batch.known or batch.left:
            await self._db.transact(save)
            if await self._claim(written, CLAIM_SECONDS) is None:
                raise KeysMoved  # it took longer than a claim lasts: another process does it
        return batch.count_left


class _Batch:
    """What of some rows is to be hashed anew, what cannot be, and what was left and is known by now."""

    def __init__(self) -> None:
        self.moved: list[Moved] = []
        self.known: list[tuple[index_store.Column, UUID]] = []
        self.left: list[tuple[index_store.Column, UUID]] = []
        self.count_left = 0

    def add(self, column: index_store.Column, row_id: UUID, row: asyncpg.Record, hashed: Hashed | None) -> None:
        """Add the hash of a row; `hashed` is what it is of, or None where that is not known."""
        stored = row[column.name]
        if stored is None or (row["names"] is not None and column.name not in row["names"]):
            return
        if hashed is None or stored not in hashed.each:
            self.count_left += 1
            if row["names"] is None:  # or else it is noted already, unless its user has come this moment
                self.left.append((column, row_id))
            return
        if row["names"] is not None:
            self.known.append((column, row_id))
        if stored == hashed.before:
            self.moved.append(Moved(column, row_id, stored, hashed.newest))
