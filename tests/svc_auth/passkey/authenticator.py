"""A software authenticator with its browser, for tests: it keeps keys, signs, and lies where a test wants it to."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from dataclasses import dataclass, field
from typing import Any

import cbor2
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

ORIGIN = "https://shop.titan.local"

PRESENT, VERIFIED, BACKUP_ELIGIBLE, BACKED_UP, ATTESTED = 0x01, 0x04, 0x08, 0x10, 0x40


@dataclass
class Key:
    """One passkey as the authenticator keeps it."""

    party_id: str
    handle: bytes
    credential_id: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    private: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    def cose(self) -> bytes:
        """Return the public half as COSE writes it (RFC 9053): EC2, ES256, P-256."""
        numbers = self.private.public_key().public_numbers()
        x, y = (number.to_bytes(32, "big") for number in (numbers.x, numbers.y))
        return cbor2.dumps({1: 2, 3: -7, -1: 1, -2: x, -3: y})


class Authenticator:
    """A device with a finger on it: present and verified, unless `flags` say something else."""

    def __init__(self, *, flags: int = PRESENT | VERIFIED, counts: bool = True) -> None:
        self.flags = flags
        self.count = 0
        self.counts = counts
        self.keys: list[Key] = []

    def create(self, options_json: str, *, origin: str = ORIGIN, **client_data: Any) -> str:
        """Make a key as `navigator.credentials.create` does; returns the credential as JSON."""
        options = json.loads(options_json)
        assert -7 in [each["alg"] for each in options["pubKeyCredParams"]]
        key = Key(options["rp"]["id"], decoded(options["user"]["id"]))
        self.keys.append(key)
        attested = bytes(16) + len(key.credential_id).to_bytes(2, "big") + key.credential_id + key.cose()
        attestation = {"fmt": "none", "attStmt": {}, "authData": self._data(key, ATTESTED) + attested}
        told = self._client_data("webauthn.create", options["challenge"], origin, client_data)
        return _credential(key, {"clientDataJSON": told, "attestationObject": cbor2.dumps(attestation)})

    def get(
        self,
        options_json: str,
        key: Key | None = None,
        *,
        origin: str = ORIGIN,
        handle: bytes | None = b"",
        **told: Any,
    ) -> str:
        """Sign as `navigator.credentials.get` does, with the last key; returns the credential as JSON."""
        options, key = json.loads(options_json), key or self.keys[-1]
        client_data = self._client_data("webauthn.get", options["challenge"], origin, told)
        data = self._data(key, 0)
        signature = key.private.sign(data + hashlib.sha256(client_data).digest(), ec.ECDSA(hashes.SHA256()))
        response = {"clientDataJSON": client_data, "authenticatorData": data, "signature": signature}
        if handle is not None:
            response["userHandle"] = handle or key.handle
        return _credential(key, response)

    def _data(self, key: Key, flags: int) -> bytes:
        self.count += self.counts
        party = hashlib.sha256(key.party_id.encode()).digest()
        return party + bytes([self.flags | flags]) + self.count.to_bytes(4, "big")

    def _client_data(self, kind: str, challenge: str, origin: str, more: dict[str, Any]) -> bytes:
        told = {"type": kind, "challenge": challenge, "origin": origin, "crossOrigin": False, **more}
        return json.dumps(told).encode()


def encoded(content: bytes) -> str:
    """Return bytes as WebAuthn's JSON has them."""
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def decoded(text: str) -> bytes:
    """Return the bytes of a text of WebAuthn's JSON."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _credential(key: Key, response: dict[str, bytes]) -> str:
    name = encoded(key.credential_id)
    content = {"id": name, "rawId": name, "type": "public-key", "clientExtensionResults": {}}
    return json.dumps({**content, "response": {field: encoded(value) for field, value in response.items()}})
