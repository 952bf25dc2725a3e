"""What this package keeps encrypted in Postgres: AES-256-GCM under keys that are derived from one master key.

The master key is a file that the database never sees, so a copy of the database opens nothing. Each purpose has a key
of its own, and what is sealed is bound to the name of its row: moved under another name it does not open.
"""

from __future__ import annotations

import os
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from mesh.secret_files import read_or_make

MASTER_KEY_FILE = "auth_master_key"
SIGNING_KEYS = b"titan svc_auth signing keys"
SECOND_FACTORS = b"titan svc_auth second factors"
LINKS = b"titan svc_auth one-time links"
FLOWS = b"titan svc_auth sign-in flows"
_NONCE_BYTES = 12
_LEAST_MASTER_CHARACTERS = 32


class MasterKeyUnusable(Exception):
    """The master key is too short, or not the one that something stored was encrypted with."""


class Seal:
    """Encrypts for one purpose."""

    def __init__(self, secret: bytes, purpose: bytes) -> None:
        if len(secret) < _LEAST_MASTER_CHARACTERS:
            raise MasterKeyUnusable(f"the master key has less than {_LEAST_MASTER_CHARACTERS} characters")
        derive = HKDF(hashes.SHA256(), length=32, salt=None, info=purpose)
        self._cipher = AESGCM(derive.derive(secret))

    @classmethod
    def of_folder(cls, folder: Path, purpose: bytes) -> Seal:
        """Return the seal of a purpose under the master key of a folder of secrets, which is made if need be."""
        return cls(read_or_make(folder / MASTER_KEY_FILE).encode(), purpose)

    def close(self, name: str, content: bytes) -> bytes:
        """Return something as it is stored under this name."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, content, name.encode())

    def open(self, name: str, sealed: bytes) -> bytes:
        """Return what was stored under this name.

        Raises:
            MasterKeyUnusable: It was sealed under another master key, for another purpose, or under another name.
        """
        try:
            return self._cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], name.encode())
        except InvalidTag:
            raise MasterKeyUnusable(f"{name} was sealed under another master key: restore {MASTER_KEY_FILE}") from None
