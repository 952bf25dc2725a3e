"""How a key of the index is replaced: taken up, everything hashed anew, and the one before let go.

Taken up: a line below the key in use is that of all that is new from now on, in one statement for all processes; what
is there is found under both. Hashed anew: users and identities in bounded batches, from what is kept sealed beside the
hash. Let go: once no row is left, in one statement, and only then may the old line go. Broken off anywhere, the next
process goes on; whoever comes second finds nothing left.
"""

from __future__ import annotations

import asyncio
import time
from uuid import UUID

import asyncpg

from mesh.database import Database
from mesh.refusals import Unavailable
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


class IndexRenewal:
    """The replacement of the index's keys in one process. Run `follow` in the background."""

    def __init__(self, db: Database, index: BlindIndex, personal: Personal) -> None:
        self._db = db
        self._index = index
        self._personal = personal
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
        """Hash everything with the key in use and let go the one before; False where rows are left of it.

        Raises:
            KeysMoved: Another process was further on.
        """
        written = self._index.written
        if written.before is None:
            return True
        if left := await self._users(written) + await self._identities(written):
            log.error("some of what users are found by can't be hashed anew: keep the old key", rows=left)
            return False
        if await self._db.transact(lambda tx: index_store.finish(tx, written)):
            log.info("what users are found by is hashed with the newest key: older lines may go", file=INDEX_KEY_FILE)
        await self._index.look()
        return True

    async def _users(self, written: Written) -> int:
        """Hash anew what users are found by, and say how many hashes could not be."""
        left, after = 0, None
        while True:
            async with self._db.hot_read() as connection:
                rows = await index_store.list_users(connection, after=after, limit=BATCH_ROWS)
            await self._personal.prepare(*(row["user_id"] for row in rows))
            batch = _Batch()
            for row in rows:
                self._add_user(batch, row)
            left += await self._save(written, batch)
            if len(rows) < BATCH_ROWS:
                return left
            after = rows[-1]["user_id"]

    async def _identities(self, written: Written) -> int:
        """Hash anew what identities are found by, and say how many hashes could not be."""
        left, after = 0, None
        while True:
            async with self._db.hot_read() as connection:
                rows = await index_store.list_identities(connection, after=after, limit=BATCH_ROWS)
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
        batch.add(EMAIL, user_id, row["email_index"], email)
        batch.add(CUSTOMER, user_id, row["external_index"], customer)

    def _add_identity(self, batch: _Batch, row: asyncpg.Record) -> None:
        identity_id = row["identity_id"]
        try:
            text = self._personal.open(row["user_id"], identity_id, Column.SUBJECT, row["sealed_subject"])
        except UserNotFound:
            return
        except Unreadable:
            text = ""
        subject = self._index.identity(row["issuer"], text) if text else None
        batch.add(SUBJECT, identity_id, row["subject_index"], subject)

    async def _save(self, written: Written, batch: _Batch) -> int:
        async def save(tx: asyncpg.Connection) -> None:
            await index_store.hold(tx, written)
            for column in (EMAIL, CUSTOMER, SUBJECT):
                await index_store.save_moved(tx, [each for each in batch.moved if each.column == column])

        if batch.moved:
            await self._db.transact(save)
        return batch.left


class _Batch:
    """What of some rows is to be hashed anew, and how many hashes cannot be."""

    def __init__(self) -> None:
        self.moved: list[Moved] = []
        self.left = 0

    def add(self, column: index_store.Column, row_id: UUID, stored: bytes | None, hashed: Hashed | None) -> None:
        """Add the hash of a row; `hashed` is what it is of, or None where that is not known."""
        if stored is None or (hashed is not None and stored == hashed.newest):
            return
        if hashed is None or stored != hashed.before:
            self.left += 1
        else:
            self.moved.append(Moved(column, row_id, stored, hashed.newest))
