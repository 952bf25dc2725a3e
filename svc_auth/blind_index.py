"""How users are found by what nobody reads in the database: a keyed hash in a column of its own, with the constraint.

HMAC-SHA-256 with a key that the database never sees: whoever has a copy of it cannot try addresses one by one, as they
could with a hash alone. It tells whether two values are equal, and that is what it is for. The key cannot be exchanged
while the hashes stand; it lasts as long as they do.
"""

from __future__ import annotations

import hmac
from pathlib import Path
from uuid import UUID

from mesh.secret_files import read_or_make
from svc_auth.sealing import MasterKeyUnusable
from svc_auth.user.rules import normalise_email

INDEX_KEY_FILE = "auth_index_key"
_LEAST_KEY_CHARACTERS = 32


class BlindIndex:
    """Hashes what users are looked up by; no two kinds of it ever have one hash."""

    def __init__(self, key: bytes) -> None:
        if len(key) < _LEAST_KEY_CHARACTERS:
            raise MasterKeyUnusable(f"the key of the index has less than {_LEAST_KEY_CHARACTERS} characters")
        self._key = key

    @classmethod
    def of_folder(cls, folder: Path) -> BlindIndex:
        """Return the index under the key of a folder of secrets, which is made if need be."""
        return cls(read_or_make(folder / INDEX_KEY_FILE).encode())

    @property
    def check(self) -> bytes:
        """What tells this key from any other."""
        return self._hash("check")

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
