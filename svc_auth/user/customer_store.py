"""All SQL about customers of another system, who are users that nobody can sign in to.

They are found by the keyed hash of their id there and of who imported them; the id itself is kept sealed, to be hashed
anew when the key is replaced. The plain column is for replicas of the release before alone; see `svc_auth/plain`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

import asyncpg

from mesh import audit, outbox
from mesh.audit import Command
from svc_auth.blind_index import Hashed, each_of
from svc_auth.user import store as user_store


@dataclass(frozen=True)
class Imported:
    """A customer of another system, what they are found by, and the user they become if they are new."""

    hashed: Hashed
    user_id: UUID
    sealed: bytes | None = field(repr=False)
    sealed_id: bytes | None = field(repr=False)
    plain_id: str | None = field(repr=False)


@dataclass(frozen=True)
class HashedAnew:
    """A customer who has a user already, and is found by a key that goes; `sealed_id` is None where nothing can be
    sealed for them."""

    hashed: Hashed
    user_id: UUID
    sealed_id: bytes | None = field(repr=False)


_IMPORT = """
INSERT INTO users
    (user_id, sealed, sealed_external_id, importer_id, external_index, external_id, version, created_at, updated_at)
SELECT user_id, sealed, sealed_id, $7, external_index, plain_id, 1, $8, $8
FROM unnest($1::uuid[], $2::bytea[], $3::bytea[], $4::bytea[], $5::bytea[], $6::text[])
    AS n (user_id, sealed, sealed_id, external_index, before, plain_id)
WHERE before IS NULL OR NOT EXISTS (SELECT FROM users u WHERE u.external_index = n.before)
ORDER BY external_index
ON CONFLICT DO NOTHING
RETURNING user_id, external_index
"""
_FIND_IMPORTED = "SELECT external_index, user_id FROM users WHERE external_index = ANY($1)"


async def find_imported(connection: asyncpg.Connection, indices: Sequence[bytes]) -> dict[bytes, UUID]:
    """Return the users of those of the customers who have one, by what the customers are found by."""
    rows = await connection.fetch(_FIND_IMPORTED, list(indices))
    return {row["external_index"]: row["user_id"] for row in rows}


async def import_users(
    tx: asyncpg.Connection, importer_id: UUID, customers: Sequence[Imported], *, at: datetime, by: Command
) -> dict[bytes, UUID]:
    """Make the users of new customers, and return those of all, by what they are found by: a twin may be quicker.

    Call it after `BlindIndex.hold`.
    """
    made = await tx.fetch(
        _IMPORT,
        [c.user_id for c in customers],
        [c.sealed for c in customers],
        [c.sealed_id for c in customers],
        [c.hashed.newest for c in customers],
        [c.hashed.before for c in customers],
        [c.plain_id for c in customers],
        importer_id,
        at,
    )
    await outbox.append(tx, [user_store.created(row["user_id"], guest=True) for row in made])
    if made:
        await audit.accept(tx, "users", by)
    found = {row["external_index"]: row["user_id"] for row in made}
    missing = each_of(c.hashed for c in customers if c.hashed.newest not in found)
    return {**found, **await find_imported(tx, missing)} if missing else found


async def save_hashed_anew(tx: asyncpg.Connection, customers: Sequence[HashedAnew]) -> None:
    """Store what customers are found by with the newest key, and what was hashed; where nothing can be sealed what is
    there stays. Call it after `BlindIndex.hold`."""
    await tx.execute(
        """
        UPDATE users u SET external_index = n.external_index,
            sealed_external_id = coalesce(n.sealed_id, u.sealed_external_id)
        FROM unnest($1::uuid[], $2::bytea[], $3::bytea[], $4::bytea[]) AS n (user_id, before, external_index, sealed_id)
        WHERE u.user_id = n.user_id AND u.external_index = n.before
        """,
        [c.user_id for c in customers],
        [c.hashed.before for c in customers],
        [c.hashed.newest for c in customers],
        [c.sealed_id for c in customers],
    )
