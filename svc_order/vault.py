"""Personal data at rest: sealed with a key of its user, which a master key wraps.

Who destroys a user's key has erased what was sealed with it, journal included. AES-256-GCM (NIST SP 800-38D) with
random 96-bit nonces; the row's own id is authenticated with the text, so a sealed value can't be moved to another row.

An erased user is noted beside the keys, and is never given another one. Every process forgets the key within a second
or two; `follow` looks for those who were erased elsewhere.
"""

from __future__ import annotations

import asyncio
import os
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path
from uuid import UUID

import asyncpg
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from mesh.database import Database
from mesh.refusals import Unavailable
from mesh.secret_files import read_or_make
from mesh.telemetry import get_logger

log = get_logger("order.vault")

CACHED_KEYS = 20_000
FOLLOW_SECONDS = 1.0
"""How often a process looks for users who were erased elsewhere."""
LOOK_BACK_SECONDS = 60.0
"""An erasure that was committed late still counts from its beginning; twice what any transaction may take."""
_KEY_BYTES = 32
_NONCE_BYTES = 12

_MAKE_KEYS = """
INSERT INTO user_keys (user_id, wrapped_key)
SELECT * FROM unnest($1::uuid[], $2::bytea[]) AS k (user_id, wrapped_key)
WHERE user_id NOT IN (SELECT e.user_id FROM erased_users e WHERE e.user_id = ANY($1::uuid[]))
ORDER BY user_id
ON CONFLICT DO NOTHING
"""
_ERASE = """
WITH erased AS (INSERT INTO erased_users (user_id) VALUES ($1) ON CONFLICT DO NOTHING)
DELETE FROM user_keys WHERE user_id = $1
"""
_ERASED_LATELY = "SELECT user_id FROM erased_users WHERE erased_at > now() - make_interval(secs => $1)"


def load_master_key(secrets_dir: Path) -> bytes:
    """Return the master key (32 bytes), made at the first start of the package; replicas that start together agree."""
    path = secrets_dir / "order_master_key"
    key = bytes.fromhex(read_or_make(path, lambda: os.urandom(_KEY_BYTES).hex()))
    if len(key) != _KEY_BYTES:
        raise ValueError(f"{path} does not hold a key of {_KEY_BYTES} bytes in hex")
    return key


class Unreadable(Exception):
    """Something sealed can't be opened: its key is gone, or it is not what was sealed for this row."""


class Erased(Unreadable):
    """Something sealed can't be opened, as its user was erased."""


async def destroy_key(tx: asyncpg.Connection, user_id: UUID) -> None:
    """Erase a user: nothing that was sealed for them opens again. Call `Vault.forget` once it is committed."""
    await tx.execute(_ERASE, user_id)


class Vault:
    """Seals and opens what belongs to users."""

    def __init__(self, db: Database, master_key: bytes) -> None:
        self._db = db
        self._master = AESGCM(master_key)
        self._keys: OrderedDict[UUID, AESGCM | None] = OrderedDict()  # None for whoever was erased

    async def prepare(self, user_ids: Iterable[UUID]) -> None:
        """Have the keys of these users at hand, made where there are none; `seal` and `open` then need no wait."""
        missing = sorted({user_id for user_id in user_ids if user_id not in self._keys})
        if not missing:
            return
        async with self._db.hot_read() as connection:
            rows = await self._find(connection, missing)
            if len(rows) < len(missing):
                known = {row["user_id"] for row in rows}
                fresh = [user_id for user_id in missing if user_id not in known]
                await connection.execute(_MAKE_KEYS, fresh, [self._wrapped(user_id) for user_id in fresh])
                rows = await self._find(connection, missing)
        for row in rows:
            wrapped = row["wrapped_key"]
            try:
                key = self._master.decrypt(wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:], row["user_id"].bytes)
            except InvalidTag as error:
                # Of this user alone nothing can be read; whoever opens it hears so. The others of the set go on.
                log.exception("a user's key can't be unwrapped", error, user_id=str(row["user_id"]))
                continue
            self._keys[row["user_id"]] = AESGCM(key)
        for user_id in set(missing) - {row["user_id"] for row in rows}:
            self._keys[user_id] = None

    def forget(self, user_id: UUID) -> None:
        """Open and seal nothing more of a user who was erased."""
        self._keys[user_id] = None

    async def follow(self) -> None:
        """Forget the keys of users who were erased by other processes, until cancelled."""
        while True:
            try:
                await self.forget_erased()
            except Unavailable:
                pass  # nobody can be erased meanwhile either
            await asyncio.sleep(FOLLOW_SECONDS)

    async def forget_erased(self) -> None:
        """Forget the keys of users who were erased in the last minute."""
        async with self._db.hot_read() as connection:
            rows = await connection.fetch(_ERASED_LATELY, LOOK_BACK_SECONDS)
        for row in rows:
            if self._keys.get(row["user_id"]) is not None:
                self.forget(row["user_id"])

    def seal(self, user_id: UUID, row_id: UUID, text: bytes) -> bytes:
        """Return `text` sealed for a row of a user whose key was prepared.

        What is sealed for an erased user gets a key that nobody keeps: a call of theirs that was under way is carried
        out, and what it says is as unreadable as the rest.
        """
        nonce, key = os.urandom(_NONCE_BYTES), self._key(user_id) or AESGCM(AESGCM.generate_key(256))
        return nonce + key.encrypt(nonce, text, row_id.bytes)

    def open(self, user_id: UUID, row_id: UUID, sealed: bytes) -> bytes:
        """Return what was sealed for a row of a user whose key was prepared.

        Raises:
            Erased: The user was.
            Unreadable: It was sealed for another row or with another key, or was changed.
        """
        try:
            key = self._key(user_id)
            if key is None:
                raise Erased(f"the user of row {row_id} was erased")
            return key.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], row_id.bytes)
        except (InvalidTag, KeyError, ValueError) as error:
            raise Unreadable(f"something sealed for row {row_id} can't be opened") from error

    def trim(self) -> None:
        """Forget the keys that were not used for longest, beyond the limit of the cache; between batches only."""
        while len(self._keys) > CACHED_KEYS:
            self._keys.popitem(last=False)

    def _key(self, user_id: UUID) -> AESGCM | None:
        self._keys.move_to_end(user_id)
        return self._keys[user_id]

    def _wrapped(self, user_id: UUID) -> bytes:
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._master.encrypt(nonce, AESGCM.generate_key(256), user_id.bytes)

    async def _find(self, connection: object, user_ids: list[UUID]) -> list:  # type: ignore[type-arg]
        return await connection.fetch(  # type: ignore[attr-defined, no-any-return]
            "SELECT user_id, wrapped_key FROM user_keys WHERE user_id = ANY($1::uuid[])", user_ids
        )
