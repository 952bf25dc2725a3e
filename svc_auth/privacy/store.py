"""All SQL about erasures; what a user leaves empty is emptied by the stores that write it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

import asyncpg

from mesh.vault import store as keys
from svc_auth.auth import attempt_store
from svc_auth.auth import store as session_store
from svc_auth.auth.rules import ERASED
from svc_auth.factor import store as factor_store
from svc_auth.federation import store as federation_store
from svc_auth.link import store as link_store
from svc_auth.passkey import store as passkey_store
from svc_auth.privacy.rules import LEASE_SECONDS, Erasure
from svc_auth.user import notice_store
from svc_auth.user import store as user_store
from svc_auth.user.rules import User

_ERASURE = "user_id, decided_at, emptied_at, finished_at, attempts, next_run_at"
_CLAIM = f"""
UPDATE erasures SET next_run_at = $2 WHERE user_id IN (
    SELECT user_id FROM erasures WHERE finished_at IS NULL AND next_run_at <= $1
    ORDER BY next_run_at LIMIT $3 FOR UPDATE SKIP LOCKED
) RETURNING {_ERASURE}
"""


async def find(connection: asyncpg.Connection, user_id: UUID) -> Erasure | None:
    """Return the erasure of a user, if there is one."""
    row = await connection.fetchrow(f"SELECT {_ERASURE} FROM erasures WHERE user_id = $1", user_id)
    return None if row is None else Erasure(**row)


async def empty(tx: asyncpg.Connection, user: User, *, at: datetime) -> None:
    """Leave nothing of a locked user in this database but their id, and end all that could sign in as them.

    Their key is destroyed with it, for what a backup or a dead row still holds.
    """
    await factor_store.remove_factor(tx, user.user_id)
    await federation_store.remove_identities(tx, user.user_id)
    await federation_store.remove_flows(tx, user.user_id)
    await passkey_store.remove_passkeys(tx, user.user_id)
    await passkey_store.remove_challenges(tx, user.user_id)
    await link_store.remove_links(tx, user.user_id)
    await notice_store.remove_notices(tx, user.user_id)
    await attempt_store.forget_attempts(tx, attempt_store.factor_key(user.user_id))
    if user.email_index is not None:
        await attempt_store.forget_attempts(tx, user.email_index)
    # Challenges before sessions: one that is being answered is a session by the time that it can be removed.
    await session_store.remove_challenges(tx, user.user_id)
    await session_store.save_all_revoked(tx, user.user_id, reason=ERASED)
    await session_store.empty_sessions(tx, user.user_id)
    await user_store.empty_user(tx, user, at=at)
    await keys.destroy_key(tx, user.user_id)


async def insert(tx: asyncpg.Connection, user_id: UUID, *, requested_by: UUID, reason: str, at: datetime) -> Erasure:
    """Store that a user is erased; the packages are to be emptied at once."""
    row = await tx.fetchrow(
        "INSERT INTO erasures (user_id, requested_by, reason, decided_at, next_run_at) VALUES ($1, $2, $3, $4, $4)"
        f" RETURNING {_ERASURE}",
        user_id,
        requested_by,
        reason,
        at,
    )
    return Erasure(**row)


async def claim_due(tx: asyncpg.Connection, *, at: datetime, limit: int) -> Sequence[Erasure]:
    """Lease at most so many erasures that are due."""
    return [Erasure(**row) for row in await tx.fetch(_CLAIM, at, at + timedelta(seconds=LEASE_SECONDS), limit)]


async def save(tx: asyncpg.Connection, erasure: Erasure, *, lease: datetime) -> None:
    """Store how far an erasure is, for whoever still holds it: `lease` is the `next_run_at` that it was claimed with.
    Where somebody else has taken it meanwhile, theirs is what counts."""
    await tx.execute(
        "UPDATE erasures SET emptied_at = coalesce(emptied_at, $2), finished_at = $3, attempts = $4, next_run_at = $5"
        " WHERE user_id = $1 AND finished_at IS NULL AND next_run_at = $6",
        erasure.user_id,
        erasure.emptied_at,
        erasure.finished_at,
        erasure.attempts,
        erasure.next_run_at,
        lease,
    )
