"""The keys that sign access tokens: made here, kept encrypted in Postgres, and held in memory to sign and verify.

A private key leaves this module only as ciphertext. The master keys are a file that the database never sees, so a copy
of the database signs nothing. Which key signs when is decided in `auth/rules.py`; the rows are written by
`auth/key_store.py`.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)

from mesh.identity import TOKEN_TYPE, KeySet, key_of_jwk
from mesh.refusals import Unavailable
from svc_auth.auth import rules
from svc_auth.auth.rules import KeyTimes
from svc_auth.sealing import SIGNING_KEYS, MasterKeyUnusable, Seal

ALGORITHM = "ES256"


class MasterKey:
    """Encrypts private keys, each bound to its key id."""

    def __init__(self, seal: Seal) -> None:
        self._seal = seal

    @classmethod
    def of_folder(cls, folder: Path) -> MasterKey:
        """Return the master key of a folder of secrets; it is made now if there is none."""
        return cls(Seal.of_folder(folder, SIGNING_KEYS))

    def seal(self, kid: str, key: ec.EllipticCurvePrivateKey) -> bytes:
        """Return a private key as it is stored."""
        return self._seal.close(kid, key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()))

    def open(self, kid: str, sealed: bytes) -> ec.EllipticCurvePrivateKey:
        """Return a private key from what is stored.

        Raises:
            MasterKeyUnusable: It was encrypted with another master key, or belongs to another key id.
        """
        key = load_der_private_key(self._seal.open(kid, sealed), password=None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise MasterKeyUnusable(f"signing key {kid} is of another kind")
        return key


@dataclass(frozen=True)
class StoredKey(KeyTimes):
    """A signing key as its row holds it."""

    public_jwk: Mapping[str, str]
    private_key: bytes
    created_at: datetime


def make_key(master: MasterKey, *, kid: str, created_at: datetime, sign_at: datetime) -> StoredKey:
    """Return a new key, ready to be stored."""
    key = ec.generate_private_key(ec.SECP256R1())
    numbers = key.public_key().public_numbers()
    jwk = {
        "kid": kid,
        "kty": "EC",
        "crv": "P-256",
        "x": _coordinate(numbers.x),
        "y": _coordinate(numbers.y),
        "alg": ALGORITHM,
        "use": "sig",
    }
    return StoredKey(kid, sign_at, jwk, master.seal(kid, key), created_at)


def _coordinate(number: int) -> str:
    return base64.urlsafe_b64encode(number.to_bytes(32, "big")).rstrip(b"=").decode()


class KeyRing:
    """The keys in memory: signs with the one whose time it is, and answers the key set.

    `verifying` is the same set for `mesh.identity`, so that this package trusts its own tokens without asking anybody.
    """

    def __init__(self, master: MasterKey) -> None:
        self._master = master
        self._keys: Sequence[StoredKey] = ()
        self._private: dict[str, ec.EllipticCurvePrivateKey] = {}
        self.verifying = KeySet()

    def replace(self, keys: Iterable[StoredKey], *, at: datetime) -> None:
        """Take the stored keys in place of those in memory.

        Raises:
            MasterKeyUnusable: A key cannot be decrypted.
        """
        kept = rules.verifying_keys(list(keys), at=at)
        self._private = {key.kid: self._private.get(key.kid) or self._open(key) for key in kept}
        self._keys = kept
        self.verifying.replace(key_of_jwk(key.public_jwk) for key in kept)

    def sign(self, claims: Mapping[str, Any], *, at: datetime) -> str:
        """Return a signed access token.

        Raises:
            Unavailable: No key signs yet.
        """
        key = rules.signing_key(self._keys, at=at)
        if key is None:
            raise Unavailable("no signing key is loaded", retry_after_seconds=1)
        headers = {"kid": key.kid, "typ": TOKEN_TYPE}
        return jwt.encode(dict(claims), self._private[key.kid], algorithm=ALGORITHM, headers=headers)

    def published(self, *, at: datetime) -> list[StoredKey]:
        """Return the keys that verify, the newest first."""
        return rules.verifying_keys(self._keys, at=at)

    def _open(self, key: StoredKey) -> ec.EllipticCurvePrivateKey:
        return self._master.open(key.kid, key.private_key)
