"""What svc_auth keeps about users, sealed with the key of each: texts that nobody but this process reads.

Keys are prepared before a transaction begins, as making one takes a transaction of its own and a call to whatever has
the master keys; inside, `seal` and `open` only compute.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from uuid import UUID

from mesh.vault.vault import Erased, Vault
from svc_auth.errors import UserNotFound

MASTER_KEYS_FILE = "auth_vault_key"
"""The file of the master keys that wrap the users' keys."""


class Column(enum.Enum):
    """What a sealed text is; it opens as nothing else. `row_id` is the user's where there is one for each user."""

    PROFILE = b"profile"
    ADDRESS = b"address"
    CLIENT_NAME = b"client name"
    PASSKEY_NAME = b"passkey name"
    EXTERNAL_ID = b"id in another system"
    SUBJECT = b"subject at a provider"


class Personal:
    """Seals and opens the texts of this package's database. An empty text is stored as NULL, and needs no key."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    async def prepare(self, *user_ids: UUID) -> None:
        """Have the keys of these users at hand, made where there are none."""
        await self._vault.prepare(user_ids)

    def at_hand(self, user_id: UUID) -> bool:
        """Return whether `seal` seals for a user who was prepared; it does, unless no master key opens their key."""
        return self._vault.at_hand(user_id)

    def seal(self, user_id: UUID, row_id: UUID, column: Column, text: str) -> bytes | None:
        """Return a text sealed for a row of a user whose key was prepared."""
        return self._vault.seal(user_id, row_id, text.encode(), column.value) if text else None

    def open(self, user_id: UUID, row_id: UUID, column: Column, sealed: bytes | None) -> str:
        """Return what was sealed for a row of a user whose key was prepared.

        Raises:
            UserNotFound: They were erased since it was read.
            Unreadable: It was sealed for another place, or its key is gone.
        """
        if sealed is None:
            return ""
        try:
            return self._vault.open(user_id, row_id, sealed, column.value).decode()
        except Erased:
            raise UserNotFound("there is no such user") from None

    async def sealed_name(self, user_id: UUID, client_name: str) -> bytes | None:
        """Return what a client calls itself, sealed for its user. It may be moved from one row of theirs to another."""
        if not client_name:
            return None
        await self.prepare(user_id)
        return self.seal(user_id, user_id, Column.CLIENT_NAME, client_name)

    async def opened_names(self, user_id: UUID, sealed: Iterable[bytes | None]) -> list[str]:
        """Return what clients of a user called themselves, in this order."""
        names = list(sealed)
        if any(names):
            await self.prepare(user_id)
        return [self.open(user_id, user_id, Column.CLIENT_NAME, each) for each in names]
