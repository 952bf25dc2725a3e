"""Seals and opens what belongs to users, with keys that are made when they are first needed.

AES-256-GCM (NIST SP 800-38D) with random 96-bit nonces. The row's own id, and its column where a row has several sealed
ones, is authenticated with the text, so that a sealed value can't be moved to another place.

An erased user is noted beside the keys, and is never given another one. Every process forgets the key within a second
or two; `follow` looks for those who were erased elsewhere.
"""

from __future__ import annotations

import asyncio
import os
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from mesh.database import Database
from mesh.refusals import Unavailable
from mesh.secret_files import SecretUnusable
from mesh.telemetry import get_logger
from mesh.vault import store
from mesh.vault.master_keys import MasterKeyFile, MasterKeys, WrappedKey

log = get_logger("mesh.vault")

CACHED_KEYS = 20_000
FOLLOW_SECONDS = 1.0
"""How often a process looks for users who were erased elsewhere, and for master keys that were added."""
LOOK_BACK_SECONDS = 60.0
"""How long before the last look it asks from: an erasure counts from its beginning, and may be committed after a look.
Twice what any transaction may take."""
REWRAP_KEYS = 500
"""At most so many keys are wrapped anew in one statement."""
REWRAP_AFTER_SECONDS = 600.0
"""How long a master key has to be the newest before users' keys are wrapped anew with it, and how often that is looked
after: a host whose file has not got it by then can read nobody's data."""
CHECKED_KEYS = 10
"""So many keys of each master key are tried at the start: one that is damaged is its user's harm alone."""
_NONCE_BYTES = 12


class Unreadable(Exception):
    """Something sealed can't be opened: its key is gone, or it is not what was sealed for this row."""


class Erased(Unreadable):
    """Something sealed can't be opened, as its user was erased."""


class Vault:
    """The users' keys of one database, as far as this process has them at hand."""

    def __init__(self, db: Database, master_keys: MasterKeys) -> None:
        self._db = db
        self._master_keys = master_keys
        self._keys: OrderedDict[UUID, AESGCM | None] = OrderedDict()  # None for whoever was erased
        self._looked_at: datetime | None = None  # when erased users were looked for, by the database's clock

    @classmethod
    async def of_folder(cls, db: Database, folder: Path, name: str) -> Vault:
        """Return the vault of a database under the master keys of a file, which is made while they wrap nothing yet.

        Raises:
            SecretUnusable: The file is gone, or is not the one that wrapped what is stored; or as `MasterKeyFile`.
            ValueError, OSError: As `MasterKeyFile.of_folder`.
            Unavailable: The database does not answer.
        """
        async with db.hot_read() as connection:
            in_use = await store.has_keys(connection)
        # Looked for after that: a process that starts beside this one makes the file before it wraps anything.
        if in_use and not (folder / name).exists():
            raise SecretUnusable(f"the secret file {folder / name} is gone, and its keys wrap users' keys: restore it")
        vault = cls(db, MasterKeyFile.of_folder(folder, name))
        await vault.check()
        return vault

    async def check(self) -> None:
        """Try the master keys on what is stored, before anything is sealed under others that have their ids.

        Raises:
            SecretUnusable: One that wraps users' keys is not among them, or is another one now.
            Unavailable: The database, or what has the master keys, does not answer.
        """
        async with self._db.hot_read() as connection:
            keys = await store.list_some_of_each(connection, limit=CHECKED_KEYS)
        unwrapped = await self._master_keys.unwrap(keys)
        opened = {key.wrapped_by for key, content in zip(keys, unwrapped, strict=True) if content is not None}
        if lost := {key.wrapped_by for key in keys} - opened:
            raise SecretUnusable(
                f"no master key opens users' keys that are wrapped by {', '.join(sorted(lost))}: bring back the one"
                " that does"
            )

    async def prepare(self, user_ids: Iterable[UUID]) -> None:
        """Have the keys of these users at hand, made where there are none; `seal` and `open` then need no wait.

        A key may be made for somebody who is not stored in the end; it stays, and opens nothing.

        Raises:
            Unavailable: The database, or what has the master keys, does not answer.
        """
        missing = sorted({user_id for user_id in user_ids if not self.at_hand(user_id)})
        if not missing:
            return
        async with self._db.hot_read() as connection:
            if self._looked_at is None:  # before the first key: `forget_erased` finds whoever is erased from here on
                self._looked_at = await store.get_now(connection)
            found = await store.find_keys(connection, missing)
        if len(found) < len(missing):
            known = {key.user_id for key in found}
            found += await self._make([user_id for user_id in missing if user_id not in known])
        if found:
            await self._take(found)

    def at_hand(self, user_id: UUID) -> bool:
        """Return whether a user's key is at hand; of whoever was prepared it is, unless no master key opens it."""
        if user_id not in self._keys:
            return False
        self._keys.move_to_end(user_id)
        return True

    def forget(self, user_id: UUID) -> None:
        """Open and seal nothing more of a user who was erased."""
        self._keys[user_id] = None

    async def follow(self) -> None:
        """Forget the keys of users whom other processes erased, and learn of new master keys; until cancelled."""
        while True:
            self.trim()
            self._master_keys.refresh()
            try:
                await self.forget_erased()
            except Unavailable:
                pass  # others may erase somebody meanwhile: the next look asks from the last one on
            await asyncio.sleep(FOLLOW_SECONDS)

    async def forget_erased(self) -> None:
        """Forget the keys of users who were erased since the last look, however long ago that was."""
        if self._looked_at is None:
            return  # no key is at hand yet
        async with self._db.hot_read() as connection:
            self._looked_at, erased = await store.list_erased_since(
                connection, self._looked_at, before_seconds=LOOK_BACK_SECONDS
            )
        for user_id in erased:
            if self._keys.get(user_id) is not None:
                self.forget(user_id)

    def seal(self, user_id: UUID, row_id: UUID, text: bytes, column: bytes = b"") -> bytes:
        """Return `text` sealed for a row of a user whose key was prepared.

        What is sealed for an erased user gets a key that nobody keeps: a call of theirs that was under way is carried
        out, and what it says is as unreadable as the rest.

        Raises:
            Unavailable: The user has a key that no master key opens here.
        """
        try:
            key = self._key(user_id) or AESGCM(AESGCM.generate_key(256))
        except KeyError:
            raise Unavailable("what the user's data is sealed with does not open") from None
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + key.encrypt(nonce, text, row_id.bytes + column)

    def open(self, user_id: UUID, row_id: UUID, sealed: bytes, column: bytes = b"") -> bytes:
        """Return what was sealed for a row of a user whose key was prepared.

        Raises:
            Erased: The user was.
            Unreadable: It was sealed for another row or with another key, or was changed.
        """
        try:
            key = self._key(user_id)
            if key is None:
                raise Erased(f"the user of row {row_id} was erased")
            return key.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], row_id.bytes + column)
        except (InvalidTag, KeyError, ValueError) as error:
            raise Unreadable(f"something sealed for row {row_id} can't be opened") from error

    def trim(self) -> None:
        """Forget the keys that were not asked for for longest, beyond the limit of the cache."""
        while len(self._keys) > CACHED_KEYS:
            self._keys.popitem(last=False)

    async def rewrap(self) -> int:
        """Have the newest master key wrap every key that an older one does, and say how many; a few at a time.

        Users' keys stay as they are, and so does all that is sealed with them. It may be stopped anywhere, and run by
        two at once.

        Raises:
            Unavailable: The database, or what has the master keys, does not answer.
        """
        newest, count, unopened, after = self._master_keys.newest, 0, 0, None
        while True:
            async with self._db.hot_read() as connection:
                old = await store.list_not_wrapped_by(connection, newest, after=after, limit=REWRAP_KEYS)
            opened = [
                (before, key)
                for before, key in zip(old, await self._master_keys.unwrap(old), strict=True)
                if key is not None
            ]
            wrapped = await self._master_keys.wrap([(before.user_id, key) for before, key in opened])
            changes = [(before, now) for (before, _), now in zip(opened, wrapped, strict=True)]
            async with self._db.hot_read() as connection:
                await store.save_rewrapped(connection, changes)
            count, unopened = count + len(changes), unopened + len(old) - len(opened)
            if len(old) < REWRAP_KEYS:
                break
            after = old[-1].user_id
        if unopened:
            log.error("no master key opens some users' keys: bring back the one that does", keys=unopened)
        elif count:
            log.info(
                "this master key wraps every user's key: keep older ones until the last backup from before has expired",
                key=newest,
                keys=count,
            )
        return count

    async def keep_wrapped(self) -> None:
        """Rewrap every ten minutes with what was the newest master key ten minutes ago already; until cancelled.

        Every process does: whoever comes second finds nothing left, and a lock would cost each package a connection.
        """
        newest = ""
        while True:
            newest = await self.rewrap_if_still(newest)
            await asyncio.sleep(REWRAP_AFTER_SECONDS)

    async def rewrap_if_still(self, newest: str) -> str:
        """Rewrap where this is still the newest master key, and what has the master keys answers; returns which is."""
        now = self._master_keys.newest
        if now == newest:
            try:
                await self.rewrap()
            except Unavailable:
                pass  # the next time, then
        return now

    def _key(self, user_id: UUID) -> AESGCM | None:
        self._keys.move_to_end(user_id)
        return self._keys[user_id]

    async def _make(self, user_ids: Sequence[UUID]) -> list[WrappedKey]:
        """Make keys for users who have none; returns those that others have made meanwhile."""
        fresh = {user_id: AESGCM.generate_key(256) for user_id in user_ids}
        wrapped = await self._master_keys.wrap(list(fresh.items()))
        async with self._db.hot_read() as connection:
            made = await store.insert_keys(connection, wrapped)
            rest = [user_id for user_id in user_ids if user_id not in made]
            others = await store.find_keys(connection, rest) if rest else []
        for user_id in made:
            self._keys[user_id] = AESGCM(fresh[user_id])
        for user_id in set(rest) - {key.user_id for key in others}:
            self.forget(user_id)
        return others

    async def _take(self, found: Sequence[WrappedKey]) -> None:
        for wrapped, key in zip(found, await self._master_keys.unwrap(found), strict=True):
            if key is None:
                # Of this user alone nothing can be read; whoever opens it hears so. The others of the set go on.
                log.error(
                    "a user's key can't be unwrapped", user_id=str(wrapped.user_id), master_key=wrapped.wrapped_by
                )
            else:
                self._keys[wrapped.user_id] = AESGCM(key)
