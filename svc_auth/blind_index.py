"""How users are found by what nobody reads in the database: a keyed hash in a column of its own, with the constraint.

HMAC-SHA-256 with a key that the database never sees: whoever has a copy of it cannot try addresses one by one, as they
could with a hash alone. It tells whether two values are equal, and that is what it is for.

A key is replaced under running processes. `sealing` says with which key everything new is hashed, and, while some rows
are not hashed anew yet, with which those are. Whoever looks for something looks under both; whoever stores something
new holds that row until it is stored (`hold`), so that nobody stores under a key that went, and looks under the older
key first, so that nothing is there twice. A process that does not know yet what that row says hears so from the
statement itself (`KeysMoved`), reads again, and does it once more (`settled`).
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from uuid import UUID

import asyncpg

from mesh.database import Database
from mesh.key_file import KeyFile
from mesh.refusals import Unavailable
from svc_auth.renewal import index_store
from svc_auth.renewal.index_store import KeysMoved, Written
from svc_auth.sealing import MasterKeyUnusable, key_file
from svc_auth.user.rules import normalise_email

T = TypeVar("T")

INDEX_KEY_FILE = "auth_index_key"


class IndexKey:
    """Hashes what users are looked up by; no two kinds of it ever have one hash."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self.check = self._hash("check")
        """What tells this key from any other."""

    def email(self, address: str) -> bytes:
        """Return what a user with this address is found by, however it is typed."""
        return self._hash("e-mail", normalise_email(address))

    def identity(self, issuer: str, subject: str) -> bytes:
        """Return what an identity at a provider is found by."""
        return self._hash("identity", issuer, subject)

    def customer(self, importer_id: UUID, external_id: str) -> bytes:
        """Return what a customer of another system is found by, of whoever imported them."""
        return self._hash("customer", str(importer_id), external_id)

    def _hash(self, *parts: str) -> bytes:
        encoded = [part.encode() for part in parts]
        text = b"".join(len(part).to_bytes(4, "big") + part for part in encoded)
        return hmac.digest(self._key, text, "sha256")


@dataclass(frozen=True)
class Hashed:
    """What something is found by: under the key of what is new, and under the one that goes while there is one.

    `written` is what `sealing` said when it was hashed.
    """

    newest: bytes
    before: bytes | None
    written: Written

    @property
    def each(self) -> list[bytes]:
        """What to look for."""
        return each_of([self])


def each_of(hashed: Iterable[Hashed]) -> list[bytes]:
    """Return what to look for to find any of these."""
    return [found for one in hashed for found in (one.newest, one.before) if found is not None]


class BlindIndex:
    """The keys of a file, and what the database says of them."""

    def __init__(self, db: Database, file: KeyFile, written: Written) -> None:
        self._db = db
        self._file = file
        self._written = written
        self._keys: dict[bytes, IndexKey] = {}
        self._learn()

    @classmethod
    async def load(cls, db: Database, folder: Path, *, notice_seconds: float = 0.0) -> BlindIndex:
        """Return the index of a database under the keys of a folder of secrets, which are made if need be.

        Raises:
            MasterKeyUnusable: What users are found by was hashed with a key that is not among them.
        """
        file = key_file(folder, INDEX_KEY_FILE, notice_seconds=notice_seconds)
        async with db.hot_read() as connection:
            written = await index_store.begin(connection, IndexKey(file.keys[file.newest].encode()).check)
        index = cls(db, file, written)
        if not index.ready:
            raise MasterKeyUnusable(f"users are found by hashes of another key: restore {INDEX_KEY_FILE}")
        return index

    @property
    def written(self) -> Written:
        """What the database said of the keys when it was asked last."""
        return self._written

    @property
    def ready(self) -> bool:
        """Whether every key that is in use is at hand."""
        return all(check in self._keys for check in self._written.checks)

    @property
    def coming(self) -> bytes | None:
        """What tells the key that is to be taken up, if one is: a line below the key of what is new."""
        checks = [IndexKey(key.encode()).check for key in self._file.keys.values()]
        newest = IndexKey(self._file.keys[self._file.newest].encode()).check
        if self._written.newest not in checks or self._written.before is not None:
            return None
        return newest if checks.index(newest) > checks.index(self._written.newest) else None

    async def look(self) -> None:
        """Learn what the file and the database say by now.

        Raises:
            Unavailable: The database does not answer.
        """
        self._file.refresh()
        async with self._db.hot_read() as connection:
            self._written = await index_store.get_written(connection)
        self._learn()

    def email(self, address: str) -> Hashed:
        """Return what a user with this address is found by, however it is typed.

        Raises:
            Unavailable: A key that is in use has not reached this process yet; so for the others.
        """
        return self._hashed(lambda key: key.email(address))

    def identity(self, issuer: str, subject: str) -> Hashed:
        """Return what an identity at a provider is found by."""
        return self._hashed(lambda key: key.identity(issuer, subject))

    def customer(self, importer_id: UUID, external_id: str) -> Hashed:
        """Return what a customer of another system is found by, of whoever imported them."""
        return self._hashed(lambda key: key.customer(importer_id, external_id))

    async def hold(self, tx: asyncpg.Connection, hashed: Hashed) -> None:
        """Keep the keys from being replaced until the end of the transaction, which may store what was hashed.

        Raises:
            KeysMoved: They have been, since it was hashed.
        """
        await index_store.hold(tx, hashed.written)

    async def settled(self, body: Callable[[], Awaitable[T]]) -> T:
        """Hash and look up, or store, what `body` does; once more where the keys were replaced meanwhile.

        Raises:
            Unavailable: And again, or by one that has not reached this process yet.
        """
        try:
            return await body()
        except KeysMoved:
            await self.look()
        try:
            return await body()
        except KeysMoved:
            raise Unavailable("what users are found by is being replaced", retry_after_seconds=1) from None

    def _hashed(self, hash_with: Callable[[IndexKey], bytes]) -> Hashed:
        if not self.ready and self._file.refresh():  # another process has seen the new line before this one
            self._learn()
        if not self.ready:
            raise Unavailable("a key of the index has not reached this process yet", retry_after_seconds=1)
        hashes = [hash_with(self._keys[check]) for check in self._written.checks]
        return Hashed(hashes[0], hashes[1] if hashes[1:] else None, self._written)

    def _learn(self) -> None:
        # A key that is in use is kept although its line went too early: a new process would not start without it.
        known = {key.check: key for key in (IndexKey(text.encode()) for text in self._file.keys.values())}
        kept = {check: key for check, key in self._keys.items() if check in self._written.checks}
        self._keys = {**kept, **known}
