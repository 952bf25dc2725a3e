"""What users say about themselves, and the addresses they keep: sealed as they are stored, and opened again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

from mesh.database import Database
from mesh.telemetry import get_logger
from mesh.vault.vault import Unreadable
from svc_auth.errors import UserNotFound
from svc_auth.personal import Column, Personal
from svc_auth.user import store
from svc_auth.user.rules import Profile, User
from svc_auth.user.store import StoredAddress

log = get_logger("svc_auth.profiles")


@dataclass(frozen=True)
class SavedAddress:
    """An address that a user keeps; `fields` are those of ADDRESS_FIELDS."""

    address_id: UUID
    fields: Mapping[str, str] = field(repr=False)
    created_at: datetime


class Profiles:
    """The profiles and addresses of this package's users."""

    def __init__(self, db: Database, personal: Personal) -> None:
        self._db = db
        self._personal = personal

    async def prepare(self, *user_ids: UUID) -> None:
        """Have what `sealed` and `opened` need of these users at hand. Call it before a transaction begins."""
        await self._personal.prepare(*user_ids)

    def sealed(self, user: User, profile: Profile) -> User:
        """Return a prepared user with this profile."""
        return replace(user, sealed=self._personal.seal(user.user_id, user.user_id, Column.PROFILE, profile.text))

    def opened(self, user: User) -> Profile:
        """Return the profile of a prepared user.

        Raises:
            UserNotFound: They were erased since.
            Unreadable: Their key is gone, or it is not their profile.
        """
        return Profile.of_text(self._personal.open(user.user_id, user.user_id, Column.PROFILE, user.sealed))

    async def of(self, user: User) -> Profile:
        """Return the profile of a user."""
        if user.sealed is not None:
            await self.prepare(user.user_id)
        return self.opened(user)

    async def emails_of(self, users: Sequence[User]) -> dict[UUID, str]:
        """Return the addresses of users who have one; of one whose key is gone there is none."""
        await self.prepare(*(user.user_id for user in users))
        found = {}
        for user in users:
            try:
                email = self.opened(user).email
            except UserNotFound:
                continue
            except Unreadable as error:
                log.exception("a profile can't be opened", error, user_id=str(user.user_id))
                continue
            if email is not None:
                found[user.user_id] = email
        return found

    def sealed_external_id(self, user_id: UUID, external_id: str) -> bytes | None:
        """Return the id that a prepared user has in another system as it is stored; None where their key does not open.

        It is only ever read to hash it anew: without it the customer is hashed anew when they are imported again.
        """
        if not self._personal.at_hand(user_id):
            return None
        return self._personal.seal(user_id, user_id, Column.EXTERNAL_ID, external_id)

    def sealed_address(self, user_id: UUID, address: SavedAddress) -> StoredAddress:
        """Return an address of a prepared user as it is stored."""
        sealed = self._personal.seal(user_id, address.address_id, Column.ADDRESS, json.dumps(dict(address.fields)))
        assert sealed is not None, "an address is never an empty text"
        return StoredAddress(address.address_id, sealed, address.created_at)

    async def addresses_of(self, user_id: UUID) -> list[SavedAddress]:
        """Return a user's addresses, the newest first."""
        async with self._db.hot_read() as connection:
            found = await store.list_addresses(connection, user_id)
        if found:
            await self.prepare(user_id)
        return [
            SavedAddress(
                each.address_id,
                json.loads(self._personal.open(user_id, each.address_id, Column.ADDRESS, each.sealed)),
                each.created_at,
            )
            for each in found
        ]
