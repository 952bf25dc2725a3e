"""The master keys that wrap the users' keys: a file of them, and what a KMS has to offer in its place.

The file (`mesh/key_file.py`) has 32 bytes in hex for each key. `wrapped_by` beside each user's key says which one wraps
it, so that a new line takes effect at once, and an old one may go when it wraps nothing more.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from mesh.key_file import KeyFile
from mesh.secret_files import read_or_make

KEY_BYTES = 32
_FORM = re.compile(r"[0-9a-fA-F]{64}")
_NONCE_BYTES = 12


@dataclass(frozen=True, slots=True)
class WrappedKey:
    """The key of a user as it is stored, and the id of the master key that wraps it."""

    user_id: UUID
    wrapped_by: str
    content: bytes = field(repr=False)


class MasterKeys(Protocol):
    """Wraps and unwraps keys of users. It may be far away, so it is asked about many at once, and never while a
    connection to the database is held.

    An adapter of a KMS gives the user's id as the authenticated context of each call, and raises `Unavailable` while
    the KMS does not answer.
    """

    @property
    def newest(self) -> str:
        """The id of the master key that wraps; the others unwrap alone."""
        ...

    async def wrap(self, keys: Sequence[tuple[UUID, bytes]]) -> list[WrappedKey]:
        """Return the keys of these users, wrapped by the newest master key, in their order."""
        ...

    async def unwrap(self, keys: Sequence[WrappedKey]) -> list[bytes | None]:
        """Return what was wrapped, in the order of `keys`; None for each that no master key opens for its user."""
        ...

    def refresh(self) -> None:
        """Learn of master keys that were added or retired since. Called every second; it must not block."""
        ...


class MasterKeyFile:
    """Master keys in a file that the database never sees, so a copy of the database opens nothing."""

    def __init__(self, path: Path) -> None:
        self._file = KeyFile(path, _FORM)
        self._ciphers = self._made()

    @classmethod
    def of_folder(cls, folder: Path, name: str) -> MasterKeyFile:
        """Return the master keys of a file of a folder of secrets, which is made if need be.

        Raises:
            ValueError: It does not hold what such a file holds.
            SecretUnusable: It is empty, or others may read it.
            OSError: There is none, and the folder takes no new file.
        """
        read_or_make(folder / name, lambda: os.urandom(KEY_BYTES).hex())
        return cls(folder / name)

    @property
    def newest(self) -> str:
        """The id of the last line."""
        return self._file.newest

    async def wrap(self, keys: Sequence[tuple[UUID, bytes]]) -> list[WrappedKey]:
        """Return the keys of these users, wrapped by the newest master key, in their order."""
        newest, cipher = self.newest, self._ciphers[self.newest]
        wrapped = []
        for user_id, key in keys:
            nonce = os.urandom(_NONCE_BYTES)
            wrapped.append(WrappedKey(user_id, newest, nonce + cipher.encrypt(nonce, key, user_id.bytes)))
        return wrapped

    async def unwrap(self, keys: Sequence[WrappedKey]) -> list[bytes | None]:
        """Return what was wrapped, in the order of `keys`; None for each that no master key opens for its user."""
        if any(key.wrapped_by not in self._ciphers for key in keys):
            self.refresh()  # another process has seen the new line before this one
        return [self._unwrapped(key) for key in keys]

    def refresh(self) -> None:
        """Read the file again where it has changed. One that is being written, or is wrong, changes nothing."""
        if self._file.refresh():
            self._ciphers = self._made()

    def _made(self) -> Mapping[str, AESGCM]:
        return {name: AESGCM(bytes.fromhex(key)) for name, key in self._file.keys.items()}

    def _unwrapped(self, key: WrappedKey) -> bytes | None:
        cipher = self._ciphers.get(key.wrapped_by)
        if cipher is None:
            return None
        try:
            return cipher.decrypt(key.content[:_NONCE_BYTES], key.content[_NONCE_BYTES:], key.user_id.bytes)
        except (InvalidTag, ValueError):
            return None
