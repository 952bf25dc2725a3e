"""The master keys that wrap the users' keys: a file of them, and what a KMS has to offer in its place.

The file has a line for each key, the newest last: an id, a space, and 32 bytes in hex. `wrapped_by` beside each user's
key says which one wraps it, so that a new line takes effect at once, and an old one may go when it wraps nothing more.
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

from mesh.secret_files import SecretFile, SecretUnusable, read_or_make
from mesh.telemetry import get_logger

log = get_logger("mesh.vault")

KEY_BYTES = 32
FIRST_ID = "1"
"""The key of a first line that has no id: a file that was made before keys had one, or by a first start."""
_LINE = re.compile(r"(?:([A-Za-z0-9._-]{1,32}) )?([0-9a-fA-F]{64})")
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
        self._path = path
        self._read_at: tuple[int, int, int] | None = None
        self._newest: str = FIRST_ID
        self._keys: Mapping[str, AESGCM] = {}
        self._read()

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
        return self._newest

    async def wrap(self, keys: Sequence[tuple[UUID, bytes]]) -> list[WrappedKey]:
        """Return the keys of these users, wrapped by the newest master key, in their order."""
        newest, cipher = self._newest, self._keys[self._newest]
        wrapped = []
        for user_id, key in keys:
            nonce = os.urandom(_NONCE_BYTES)
            wrapped.append(WrappedKey(user_id, newest, nonce + cipher.encrypt(nonce, key, user_id.bytes)))
        return wrapped

    async def unwrap(self, keys: Sequence[WrappedKey]) -> list[bytes | None]:
        """Return what was wrapped, in the order of `keys`; None for each that no master key opens for its user."""
        if any(key.wrapped_by not in self._keys for key in keys):
            self.refresh()  # another process has seen the new line before this one
        return [self._unwrapped(key) for key in keys]

    def refresh(self) -> None:
        """Read the file again where it has changed. One that is being written, or is wrong, changes nothing."""
        try:
            if self._stamp() != self._read_at:
                self._read()
        except (OSError, SecretUnusable, ValueError) as error:
            log.error("a file of master keys can't be read again", file=self._path.name, error=type(error).__name__)

    def _unwrapped(self, key: WrappedKey) -> bytes | None:
        cipher = self._keys.get(key.wrapped_by)
        if cipher is None:
            return None
        try:
            return cipher.decrypt(key.content[:_NONCE_BYTES], key.content[_NONCE_BYTES:], key.user_id.bytes)
        except (InvalidTag, ValueError):
            return None

    def _read(self) -> None:
        stamp = self._stamp()
        self._newest, secrets = parse(SecretFile(self._path).read_all())
        self._keys = {name: AESGCM(secret) for name, secret in secrets.items()}
        self._read_at = stamp

    def _stamp(self) -> tuple[int, int, int]:
        stat = self._path.stat()
        return stat.st_ino, stat.st_mtime_ns, stat.st_size


def parse(lines: Sequence[str]) -> tuple[str, Mapping[str, bytes]]:
    """Return the id of the newest master key, and all of them by id.

    Raises:
        ValueError: A line is not an id and 32 bytes in hex, an id comes twice, or there is no line. What stands there
            is not told.
    """
    keys: dict[str, bytes] = {}
    for number, line in enumerate(lines, start=1):
        found = _LINE.fullmatch(line)
        if found is None or (found[1] is None and keys):
            raise ValueError(f"line {number} of the master keys is not an id and {KEY_BYTES} bytes in hex")
        name = found[1] or FIRST_ID
        if name in keys:
            raise ValueError(f"line {number} of the master keys has the id of a line before")
        keys[name] = bytes.fromhex(found[2])
    if not keys:
        raise ValueError("there is no master key")
    return next(reversed(keys)), keys
