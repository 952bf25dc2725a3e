"""What this package keeps encrypted in Postgres: AES-256-GCM under keys that are derived from a master key.

The master keys are a file that the database never sees, so a copy of the database opens nothing. Each purpose has keys
of its own, and what is sealed is bound to the name of its row: moved under another name it does not open. The newest
master key seals, each opens; `svc_auth/renewal` seals anew what an older one sealed.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from mesh.key_file import KeyFile
from mesh.secret_files import read_or_make

MASTER_KEY_FILE = "auth_master_key"
SIGNING_KEYS = b"titan svc_auth signing keys"
SECOND_FACTORS = b"titan svc_auth second factors"
LINKS = b"titan svc_auth one-time links"
FLOWS = b"titan svc_auth sign-in flows"
SECRET = re.compile(r"\S{32,}")
"""What a key of a file of this package is: 256 bits where Titan made it."""
_NONCE_BYTES = 12


class MasterKeyUnusable(Exception):
    """A key is missing or malformed, or not the one that something stored was encrypted or hashed with."""


def key_file(folder: Path, name: str, *, notice_seconds: float = 0.0) -> KeyFile:
    """Return a file of keys of a folder of secrets, which is made if need be.

    Raises:
        MasterKeyUnusable: It does not hold what such a file holds.
        SecretUnusable: It is empty, or others may read it.
        OSError: There is none, and the folder takes no new file.
    """
    read_or_make(folder / name)
    try:
        return KeyFile(folder / name, SECRET, notice_seconds=notice_seconds)
    except ValueError as error:
        raise MasterKeyUnusable(f"{name}: {error}") from None


class Seal:
    """Encrypts for one purpose."""

    def __init__(self, file: KeyFile, purpose: bytes) -> None:
        self._file = file
        self._purpose = purpose
        self._ciphers: dict[str, AESGCM] = {}

    @classmethod
    def of_folder(cls, folder: Path, purpose: bytes) -> Seal:
        """Return the seal of a purpose under the master keys of a folder of secrets, which are made if need be."""
        return cls(key_file(folder, MASTER_KEY_FILE), purpose)

    def close(self, name: str, content: bytes) -> bytes:
        """Return something as it is stored under this name."""
        nonce, cipher = os.urandom(_NONCE_BYTES), self._cipher(self._file.keys[self._file.newest])
        return nonce + cipher.encrypt(nonce, content, name.encode())

    def open(self, name: str, sealed: bytes) -> bytes:
        """Return what was stored under this name.

        Raises:
            MasterKeyUnusable: It was sealed under another master key, for another purpose, or under another name.
        """
        content = self._opened(name, sealed)
        if content is None and self._file.refresh():  # another process has seen the new line before this one
            content = self._opened(name, sealed)
        if content is None:
            raise MasterKeyUnusable(f"{name} was sealed under another master key: restore {MASTER_KEY_FILE}")
        return content

    def opens(self, name: str, sealed: bytes) -> bool:
        """Return whether one of the master keys opens what was stored under this name."""
        return self._opened(name, sealed) is not None

    def renewed(self, name: str, sealed: bytes) -> bytes | None:
        """Return the same, sealed with the newest master key; None where it is already.

        Raises:
            MasterKeyUnusable: As `open`.
        """
        if self._opened_with(self._file.keys[self._file.newest], name, sealed) is not None:
            return None
        return self.close(name, self.open(name, sealed))

    def _opened(self, name: str, sealed: bytes) -> bytes | None:
        # Which key sealed it is not stored: the wrong ones say so, and there are two at most, for as long as one goes.
        tried = (self._opened_with(secret, name, sealed) for secret in reversed(self._file.keys.values()))
        return next((content for content in tried if content is not None), None)

    def _opened_with(self, secret: str, name: str, sealed: bytes) -> bytes | None:
        try:
            return self._cipher(secret).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], name.encode())
        except (InvalidTag, ValueError):
            return None

    def _cipher(self, secret: str) -> AESGCM:
        if secret not in self._ciphers:
            derive = HKDF(hashes.SHA256(), length=32, salt=None, info=self._purpose)
            self._ciphers[secret] = AESGCM(derive.derive(secret.encode()))
        return self._ciphers[secret]
