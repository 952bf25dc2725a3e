"""A key management service in memory: what `mesh.vault` asks of one is counted, and it is away when a test says so."""

from __future__ import annotations

import os
from collections.abc import Sequence
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from mesh.database import in_transaction
from mesh.refusals import Unavailable
from mesh.vault.master_keys import WrappedKey


class Kms:
    """Master keys that never leave it. Two of the same seed open one another's keys."""

    def __init__(self, seed: bytes = bytes(32)) -> None:
        self.newest = "1"
        self.keys = {"1": AESGCM(seed)}
        self.asked: list[tuple[str, int]] = []
        self.away = False

    def replace(self, name: str) -> None:
        """Make another master key, which wraps from now on."""
        self.keys[name] = AESGCM(AESGCM.generate_key(256))
        self.newest = name

    async def wrap(self, keys: Sequence[tuple[UUID, bytes]]) -> list[WrappedKey]:
        self._hear("wrap", len(keys))
        nonces = [os.urandom(12) for _ in keys]
        return [
            WrappedKey(user_id, self.newest, nonce + self.keys[self.newest].encrypt(nonce, key, user_id.bytes))
            for nonce, (user_id, key) in zip(nonces, keys, strict=True)
        ]

    async def unwrap(self, keys: Sequence[WrappedKey]) -> list[bytes | None]:
        self._hear("unwrap", len(keys))
        return [self._unwrapped(key) for key in keys]

    def refresh(self) -> None:
        """It knows its own keys."""

    def _unwrapped(self, key: WrappedKey) -> bytes | None:
        try:
            return self.keys[key.wrapped_by].decrypt(key.content[:12], key.content[12:], key.user_id.bytes)
        except (InvalidTag, KeyError, ValueError):
            return None

    def _hear(self, what: str, count: int) -> None:
        assert not in_transaction(), "nothing is called inside a transaction"
        if self.away:
            raise Unavailable("the key management service does not answer")
        self.asked.append((what, count))
