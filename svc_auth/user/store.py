"""All SQL about users and the addresses they keep. Users are written as sets where they come as sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg

from mesh import audit, outbox
from mesh.audit import Command
from mesh.outbox import Event
from svc_auth.errors import EmailTaken, UserNotFound
from svc_auth.user.rules import User
from titan.auth.v1 import events_pb2

TOPIC = "titan.auth.v1"

_USER = "user_id, email, display_name, roles, version, created_at, email_verified_at"
_THERE = f"SELECT {_USER} FROM users WHERE user_id = $1 AND erased_at IS NULL"
"""Whoever was erased is nobody's user any more; an erased row has no address to be found by either."""


@dataclass(frozen=True)
class Credentials:
    """A normalised e-mail address and the hash of a password, if there is one."""

    email: str
    password_hash: str | None


def resource(user_id: UUID) -> str:
    """Return the name of a user in the audit log."""
    return f"users/{user_id}"


def _user(row: asyncpg.Record | Mapping[str, object]) -> User:
    return User(
        row["user_id"],  # type: ignore[arg-type]
        row["email"],  # type: ignore[arg-type]
        row["display_name"],  # type: ignore[arg-type]
        tuple(row["roles"]),  # type: ignore[arg-type]
        row["version"],  # type: ignore[arg-type]
        row["created_at"],  # type: ignore[arg-type]
        row["email_verified_at"],  # type: ignore[arg-type]
    )


async def find_user(connection: asyncpg.Connection, user_id: UUID) -> User | None:
    """Return a user, or None."""
    row = await connection.fetchrow(_THERE, user_id)
    return None if row is None else _user(row)


async def find_by_email(connection: asyncpg.Connection, email: str) -> tuple[User, str | None] | None:
    """Return the user who has a normalised address, with the hash of their password if any, or None."""
    row = await connection.fetchrow(f"SELECT {_USER}, password_hash FROM users WHERE email = $1", email)
    return None if row is None else (_user(row), row["password_hash"])


async def list_emails(connection: asyncpg.Connection, user_ids: Sequence[UUID]) -> dict[UUID, str]:
    """Return the addresses of those of the users who have one."""
    query = "SELECT user_id, email FROM users WHERE user_id = ANY($1) AND email IS NOT NULL"
    return {row["user_id"]: row["email"] for row in await connection.fetch(query, list(user_ids))}


async def get_user(connection: asyncpg.Connection, user_id: UUID) -> User:
    """Return a user.

    Raises:
        UserNotFound: There is none.
    """
    user = await find_user(connection, user_id)
    if user is None:
        raise UserNotFound("there is no such user")
    return user


async def find_locked(tx: asyncpg.Connection, user_id: UUID) -> User | None:
    """Return a user and hold the row, or None."""
    row = await tx.fetchrow(f"{_THERE} FOR UPDATE", user_id)
    return None if row is None else _user(row)


async def hold_user(tx: asyncpg.Connection, user_id: UUID) -> User | None:
    """Return a user and keep the row from being changed, or None."""
    row = await tx.fetchrow(f"{_THERE} FOR SHARE", user_id)
    return None if row is None else _user(row)


async def lock_user(tx: asyncpg.Connection, user_id: UUID) -> User:
    """Return a user and hold the row.

    Raises:
        UserNotFound: There is none.
    """
    user = await find_locked(tx, user_id)
    if user is None:
        raise UserNotFound("there is no such user")
    return user


async def insert_guests(tx: asyncpg.Connection, user_ids: Sequence[UUID], *, at: datetime) -> None:
    """Make users without credentials, each with its event."""
    await tx.execute(
        "INSERT INTO users (user_id, version, created_at, updated_at) SELECT user_id, 1, $2, $2 FROM unnest($1::uuid[])"
        " AS n (user_id)",
        list(user_ids),
        at,
    )
    await outbox.append(tx, [created(user_id, guest=True) for user_id in user_ids])


async def insert_registered(tx: asyncpg.Connection, user: User, credentials: Credentials) -> None:
    """Make a user with credentials.

    Raises:
        EmailTaken: Another user has the address.
    """
    row = await tx.fetchrow(
        """
        INSERT INTO users
            (user_id, email, password_hash, display_name, roles, version, created_at, updated_at, email_verified_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $7, $8)
        ON CONFLICT ON CONSTRAINT users_email DO NOTHING
        RETURNING user_id
        """,
        user.user_id,
        credentials.email,
        credentials.password_hash,
        user.display_name,
        list(user.roles),
        user.version,
        user.created_at,
        user.email_verified_at,
    )
    if row is None:
        raise EmailTaken("another user has this e-mail address")
    await outbox.append(tx, [created(user.user_id, guest=False)])


async def save_registered(tx: asyncpg.Connection, user: User, credentials: Credentials, *, at: datetime) -> None:
    """Add credentials to a locked guest.

    Raises:
        EmailTaken: Another user has the address.
    """
    try:
        await tx.execute(
            """
            UPDATE users SET email = $2, password_hash = $3, display_name = $4, version = $5, updated_at = $6,
                email_verified_at = $7
            WHERE user_id = $1
            """,
            user.user_id,
            credentials.email,
            credentials.password_hash,
            user.display_name,
            user.version,
            at,
            user.email_verified_at,
        )
    except asyncpg.UniqueViolationError as error:
        if error.constraint_name != "users_email":
            raise
        raise EmailTaken("another user has this e-mail address") from None
    payload = events_pb2.UserRegistered(user_id=str(user.user_id))
    await outbox.append(tx, [_event("UserRegistered", user.user_id, user.version, payload.SerializeToString())])


async def save_profile(tx: asyncpg.Connection, user: User, *, at: datetime) -> None:
    """Store the changed profile of a locked user, with its event."""
    await tx.execute(
        "UPDATE users SET display_name = $2, version = $3, updated_at = $4 WHERE user_id = $1",
        user.user_id,
        user.display_name,
        user.version,
        at,
    )
    await outbox.append(tx, [_updated(user.user_id, user.version)])


async def empty_user(tx: asyncpg.Connection, user: User, *, at: datetime) -> None:
    """Leave nothing of a locked user but their id, with the last of their events."""
    await tx.execute("DELETE FROM addresses WHERE user_id = $1", user.user_id)
    await tx.execute(
        """
        UPDATE users SET email = NULL, password_hash = NULL, display_name = '', roles = '{}', importer_id = NULL,
            external_id = NULL, email_verified_at = NULL, version = $2, updated_at = $3, erased_at = $3
        WHERE user_id = $1
        """,
        user.user_id,
        user.version + 1,
        at,
    )
    payload = events_pb2.UserErased(user_id=str(user.user_id))
    await outbox.append(tx, [_event("UserErased", user.user_id, user.version + 1, payload.SerializeToString())])


async def save_verified(tx: asyncpg.Connection, user: User, *, at: datetime) -> None:
    """Note that a locked user reads the mail of their address, with the event."""
    await tx.execute(
        "UPDATE users SET email_verified_at = $2, version = $3, updated_at = $2 WHERE user_id = $1",
        user.user_id,
        at,
        user.version + 1,
    )
    await outbox.append(tx, [_updated(user.user_id, user.version + 1)])


async def save_new_password(tx: asyncpg.Connection, user: User, password_hash: str) -> None:
    """Give a locked user another password."""
    await tx.execute("UPDATE users SET password_hash = $2 WHERE user_id = $1", user.user_id, password_hash)


async def hold_password(
    tx: asyncpg.Connection, user_id: UUID, password_hash: str, *, stronger_hash: str | None = None
) -> bool:
    """Keep the password from being changed until the end of the transaction; False where it has been.

    A hash of the same password with the parameters of today, if there is one, takes the place of the stored one.
    """
    if stronger_hash is not None:
        change = "UPDATE users SET password_hash = $3 WHERE user_id = $1 AND password_hash = $2"
        result: str = await tx.execute(change, user_id, password_hash, stronger_hash)
        return result.endswith(" 1")
    query = "SELECT true FROM users WHERE user_id = $1 AND password_hash = $2 FOR SHARE"
    return await tx.fetchval(query, user_id, password_hash) is True


async def save_account(tx: asyncpg.Connection, user_id: UUID, *, password_hash: str, roles: Sequence[str]) -> None:
    """Give an account of the house the password of its secret file and its roles."""
    await tx.execute(
        "UPDATE users SET password_hash = $2, roles = $3 WHERE user_id = $1", user_id, password_hash, list(roles)
    )


# --- customers of another system ---


@dataclass(frozen=True)
class Imported:
    """A customer of another system, and the id their user gets if they are new."""

    external_id: str
    user_id: UUID
    display_name: str


_IMPORT = """
INSERT INTO users (user_id, display_name, importer_id, external_id, version, created_at, updated_at)
SELECT user_id, display_name, $4, external_id, 1, $5, $5
FROM unnest($1::uuid[], $2::text[], $3::text[]) AS n (user_id, display_name, external_id)
ORDER BY external_id
ON CONFLICT ON CONSTRAINT users_external_id DO NOTHING
RETURNING user_id, external_id
"""
_FIND_IMPORTED = "SELECT external_id, user_id FROM users WHERE importer_id = $1 AND external_id = ANY($2)"


async def import_users(
    tx: asyncpg.Connection, importer_id: UUID, customers: Sequence[Imported], *, at: datetime, by: Command
) -> dict[str, UUID]:
    """Return the user of each customer by external id; those that have none yet are made. External ids are unique."""
    ids = [c.external_id for c in customers]
    known = {row["external_id"]: row["user_id"] for row in await tx.fetch(_FIND_IMPORTED, importer_id, ids)}
    new = [c for c in customers if c.external_id not in known]
    if not new:
        return known
    made = await tx.fetch(
        _IMPORT,
        [c.user_id for c in new],
        [c.display_name for c in new],
        [c.external_id for c in new],
        importer_id,
        at,
    )
    await outbox.append(tx, [created(row["user_id"], guest=True) for row in made])
    if made:
        await audit.accept(tx, "users", by)
    known.update((row["external_id"], row["user_id"]) for row in made)
    if len(known) < len(ids):  # made by a twin since we looked
        known.update((row["external_id"], row["user_id"]) for row in await tx.fetch(_FIND_IMPORTED, importer_id, ids))
    return known


# --- addresses ---

ADDRESS_FIELDS = ("full_name", "line1", "line2", "city", "region", "postal_code", "country_code")


@dataclass(frozen=True)
class SavedAddress:
    """An address that a user keeps; `fields` are those of ADDRESS_FIELDS."""

    address_id: UUID
    fields: Mapping[str, str]
    created_at: datetime


async def list_addresses(connection: asyncpg.Connection, user_id: UUID) -> list[SavedAddress]:
    """Return a user's addresses, the newest first."""
    rows = await connection.fetch(
        f"SELECT address_id, created_at, {', '.join(ADDRESS_FIELDS)} FROM addresses WHERE user_id = $1"
        " ORDER BY created_at DESC, address_id DESC",
        user_id,
    )
    return [
        SavedAddress(row["address_id"], {name: row[name] for name in ADDRESS_FIELDS}, row["created_at"]) for row in rows
    ]


async def count_addresses(tx: asyncpg.Connection, user_id: UUID) -> int:
    """Return how many addresses a user keeps."""
    count: int = await tx.fetchval("SELECT count(*) FROM addresses WHERE user_id = $1", user_id)
    return count


async def save_address(tx: asyncpg.Connection, user_id: UUID, address: SavedAddress) -> None:
    """Store a new address."""
    places = ", ".join(f"${place}" for place in range(4, 4 + len(ADDRESS_FIELDS)))
    await tx.execute(
        f"INSERT INTO addresses (address_id, user_id, created_at, {', '.join(ADDRESS_FIELDS)})"
        f" VALUES ($1, $2, $3, {places})",
        address.address_id,
        user_id,
        address.created_at,
        *(address.fields[name] for name in ADDRESS_FIELDS),
    )


async def remove_address(tx: asyncpg.Connection, user_id: UUID, address_id: UUID) -> bool:
    """Forget an address of this user; False where there is none."""
    query = "DELETE FROM addresses WHERE user_id = $1 AND address_id = $2"
    result: str = await tx.execute(query, user_id, address_id)
    return result.endswith(" 1")


# --- events ---


def created(user_id: UUID, *, guest: bool) -> Event:
    """Return the first event of a user."""
    payload = events_pb2.UserCreated(user_id=str(user_id), guest=guest)
    return _event("UserCreated", user_id, 1, payload.SerializeToString())


def _updated(user_id: UUID, version: int) -> Event:
    payload = events_pb2.UserUpdated(user_id=str(user_id))
    return _event("UserUpdated", user_id, version, payload.SerializeToString())


def _event(name: str, user_id: UUID, version: int, payload: bytes) -> Event:
    return Event(TOPIC, f"{TOPIC}.{name}", str(user_id), version, payload)
