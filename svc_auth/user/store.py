"""All SQL about users and the addresses they keep. Users are written as sets where they come as sets.

What is personal comes and goes sealed. The plain columns `email` and `external_id` are for replicas of the release
before alone: `svc_auth/plain` says when something is written there, and empties them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

import asyncpg

from mesh import outbox
from mesh.outbox import Event
from svc_auth.blind_index import Hashed
from svc_auth.errors import EmailTaken, UserNotFound
from svc_auth.user.rules import User
from titan.auth.v1 import events_pb2

TOPIC = "titan.auth.v1"

_USER = "user_id, email_index, sealed, roles, version, created_at, email_verified_at, house"
_THERE = f"SELECT {_USER} FROM users WHERE user_id = $1 AND erased_at IS NULL"
"""Whoever was erased is nobody's user any more; an erased row has no address to be found by either."""


def resource(user_id: UUID) -> str:
    """Return the name of a user in the audit log."""
    return f"users/{user_id}"


def _user(row: asyncpg.Record | Mapping[str, object]) -> User:
    return User(
        row["user_id"],  # type: ignore[arg-type]
        row["email_index"],  # type: ignore[arg-type]
        row["sealed"],  # type: ignore[arg-type]
        tuple(row["roles"]),  # type: ignore[arg-type]
        row["version"],  # type: ignore[arg-type]
        row["created_at"],  # type: ignore[arg-type]
        row["email_verified_at"],  # type: ignore[arg-type]
        row["house"],  # type: ignore[arg-type]
    )


async def find_user(connection: asyncpg.Connection, user_id: UUID) -> User | None:
    """Return a user, or None."""
    row = await connection.fetchrow(_THERE, user_id)
    return None if row is None else _user(row)


async def find_by_email(connection: asyncpg.Connection, email: Hashed) -> tuple[User, str | None] | None:
    """Return the user who has an address, with the hash of their password if any, or None."""
    query = f"SELECT {_USER}, password_hash FROM users WHERE email_index = ANY($1)"
    row = await connection.fetchrow(query, email.each)
    return None if row is None else (_user(row), row["password_hash"])


async def find_password(connection: asyncpg.Connection, user_id: UUID) -> str | None:
    """Return the hash of a user's password, if there is one."""
    found: str | None = await connection.fetchval("SELECT password_hash FROM users WHERE user_id = $1", user_id)
    return found


async def list_registered(connection: asyncpg.Connection, user_ids: Sequence[UUID]) -> list[User]:
    """Return those of the users who have an address."""
    query = f"SELECT {_USER} FROM users WHERE user_id = ANY($1) AND email_index IS NOT NULL"
    return [_user(row) for row in await connection.fetch(query, list(user_ids))]


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


async def insert_registered(
    tx: asyncpg.Connection, user: User, password_hash: str | None, *, email: Hashed, plain_email: str | None
) -> None:
    """Make a user with an address, and a password if there is one. Call it after `BlindIndex.hold`.

    Raises:
        EmailTaken: Another user has the address.
    """
    row = await tx.fetchrow(
        """
        INSERT INTO users
            (user_id, email_index, sealed, password_hash, roles, version, created_at, updated_at, email_verified_at,
             house, email)
        SELECT $1, $2, $3, $4, $5, $6, $7, $7, $8, $9, $10 WHERE NOT EXISTS (SELECT FROM users WHERE email_index = $11)
        ON CONFLICT DO NOTHING
        RETURNING user_id
        """,
        user.user_id,
        email.newest,
        user.sealed,
        password_hash,
        list(user.roles),
        user.version,
        user.created_at,
        user.email_verified_at,
        user.house,
        plain_email,
        email.before,
    )
    if row is None:
        raise EmailTaken("another user has this e-mail address")
    await outbox.append(tx, [created(user.user_id, guest=False)])


async def save_registered(
    tx: asyncpg.Connection,
    user: User,
    password_hash: str | None,
    *,
    at: datetime,
    email: Hashed,
    plain_email: str | None,
) -> None:
    """Add an address to a locked guest, and a password if there is one. Call it after `BlindIndex.hold`.

    Raises:
        EmailTaken: Another user has the address.
    """
    try:
        saved: str = await tx.execute(
            """
            UPDATE users SET email_index = $2, sealed = $3, password_hash = $4, version = $5, updated_at = $6,
                email_verified_at = $7, email = $8
            WHERE user_id = $1 AND NOT EXISTS (SELECT FROM users WHERE email_index = $9)
            """,
            user.user_id,
            email.newest,
            user.sealed,
            password_hash,
            user.version,
            at,
            user.email_verified_at,
            plain_email,
            email.before,
        )
    except asyncpg.UniqueViolationError as error:
        if error.constraint_name not in ("users_email_index", "users_email"):
            raise
        raise EmailTaken("another user has this e-mail address") from None
    if not saved.endswith(" 1"):
        raise EmailTaken("another user has this e-mail address")
    payload = events_pb2.UserRegistered(user_id=str(user.user_id))
    await outbox.append(tx, [_event("UserRegistered", user.user_id, user.version, payload.SerializeToString())])


async def save_profile(tx: asyncpg.Connection, user: User, *, at: datetime) -> None:
    """Store the changed profile of a locked user, with its event."""
    await tx.execute(
        "UPDATE users SET sealed = $2, version = $3, updated_at = $4 WHERE user_id = $1",
        user.user_id,
        user.sealed,
        user.version,
        at,
    )
    await outbox.append(tx, [_updated(user.user_id, user.version)])


async def empty_user(tx: asyncpg.Connection, user: User, *, at: datetime) -> None:
    """Leave nothing of a locked user but their id, with the last of their events."""
    await tx.execute("DELETE FROM addresses WHERE user_id = $1", user.user_id)
    await tx.execute(
        """
        UPDATE users SET email_index = NULL, external_index = NULL, sealed = NULL, password_hash = NULL, roles = '{}',
            importer_id = NULL, email_verified_at = NULL, version = $2, updated_at = $3, erased_at = $3,
            sealed_external_id = NULL, email = NULL, external_id = NULL, display_name = ''
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


async def save_closed(tx: asyncpg.Connection, user_id: UUID, *, role: str) -> None:
    """Take password and role from an account of the house."""
    await tx.execute(
        "UPDATE users SET password_hash = NULL, roles = array_remove(roles, $2) WHERE user_id = $1", user_id, role
    )


async def save_account(tx: asyncpg.Connection, user_id: UUID, *, password_hash: str, roles: Sequence[str]) -> None:
    """Give an account of the house the password of its secret file and its roles."""
    await tx.execute(
        "UPDATE users SET password_hash = $2, roles = $3, house = true WHERE user_id = $1",
        user_id,
        password_hash,
        list(roles),
    )


# --- addresses ---


@dataclass(frozen=True)
class StoredAddress:
    """An address that a user keeps, sealed."""

    address_id: UUID
    sealed: bytes = field(repr=False)
    created_at: datetime


async def list_addresses(connection: asyncpg.Connection, user_id: UUID) -> list[StoredAddress]:
    """Return a user's addresses, the newest first."""
    rows = await connection.fetch(
        "SELECT address_id, sealed, created_at FROM addresses WHERE user_id = $1 AND sealed IS NOT NULL"
        " ORDER BY created_at DESC, address_id DESC",
        user_id,
    )
    return [StoredAddress(**row) for row in rows]


async def count_addresses(tx: asyncpg.Connection, user_id: UUID) -> int:
    """Return how many addresses a user keeps."""
    count: int = await tx.fetchval("SELECT count(*) FROM addresses WHERE user_id = $1", user_id)
    return count


async def save_address(tx: asyncpg.Connection, user_id: UUID, address: StoredAddress) -> None:
    """Store a new address."""
    await tx.execute(
        "INSERT INTO addresses (address_id, user_id, sealed, created_at) VALUES ($1, $2, $3, $4)",
        address.address_id,
        user_id,
        address.sealed,
        address.created_at,
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
