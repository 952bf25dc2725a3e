"""All SQL about identities at providers, and the flows that begin there.

Identities are found by the keyed hash of issuer and subject; the subject is kept sealed, to be hashed anew when the key
is replaced. The plain subject is for replicas of the release before
alone; see `svc_auth/plain`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg

from svc_auth.blind_index import Hashed
from svc_auth.federation.rules import Flow, FlowPurpose

_IDENTITY = "identity_id, user_id, provider, linked_at, last_used_at"


@dataclass(frozen=True)
class Identity:
    """A user's identity at a provider."""

    identity_id: UUID
    user_id: UUID
    provider: str
    linked_at: datetime
    last_used_at: datetime | None


# --- flows ---


async def insert_flow(
    tx: asyncpg.Connection, flow: Flow, sealed_client_name: bytes | None, *, expires_at: datetime
) -> None:
    """Store a flow that begins; what its client calls itself is sealed."""
    await tx.execute(
        """
        INSERT INTO sign_in_flows
            (flow_hash, provider, redirect_uri, purpose, user_id, sealed_client_name, session_id, expires_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
        """,
        flow.flow_hash,
        flow.provider,
        flow.redirect_uri,
        flow.purpose.value,
        flow.user_id,
        sealed_client_name,
        flow.session_id,
        expires_at,
    )


async def take_flow(
    tx: asyncpg.Connection, hashed: bytes, purpose: FlowPurpose, *, at: datetime
) -> tuple[Flow, bytes | None] | None:
    """Return a flow that still counts for this purpose, with the sealed name of its client, and forget it: whatever
    comes of it, it is over."""
    row = await tx.fetchrow(
        """
        DELETE FROM sign_in_flows WHERE flow_hash = $1 AND purpose = $2 AND expires_at > $3
        RETURNING flow_hash, provider, redirect_uri, purpose, user_id, sealed_client_name, session_id
        """,
        hashed,
        purpose.value,
        at,
    )
    if row is None:
        return None
    fields = dict(row)
    sealed_client_name = fields.pop("sealed_client_name")
    return Flow(**{**fields, "purpose": FlowPurpose(row["purpose"])}, client_name=""), sealed_client_name


async def remove_flows(tx: asyncpg.Connection, user_id: UUID) -> int:
    """Forget what a locked user has begun to link, and say how much that was."""
    deleted: str = await tx.execute("DELETE FROM sign_in_flows WHERE user_id = $1", user_id)
    return int(deleted.split()[-1])


async def prune(tx: asyncpg.Connection, *, at: datetime, limit: int) -> int:
    """Forget at most so many flows that nobody finished, and say how many."""
    deleted: str = await tx.execute(
        "DELETE FROM sign_in_flows WHERE flow_hash IN"
        " (SELECT flow_hash FROM sign_in_flows WHERE expires_at < $1 LIMIT $2)",
        at,
        limit,
    )
    return int(deleted.split()[-1])


# --- identities ---


async def lock_subject(tx: asyncpg.Connection, subject: Hashed) -> None:
    """Let one transaction at a time decide about an identity, whether it is known or not. Call it after
    `BlindIndex.hold`."""
    await tx.execute("SELECT pg_advisory_xact_lock($1)", int.from_bytes(subject.newest[:8], "big", signed=True))


async def find_identity(connection: asyncpg.Connection, subject: Hashed) -> Identity | None:
    """Return the identity of a subject, if anybody has it."""
    query = f"SELECT {_IDENTITY} FROM identities WHERE subject_index = ANY($1)"
    row = await connection.fetchrow(query, subject.each)
    return None if row is None else Identity(**row)


async def insert_identity(
    tx: asyncpg.Connection,
    identity: Identity,
    subject: Hashed,
    sealed_subject: bytes | None,
    *,
    issuer: str,
    plain_subject: str | None,
) -> None:
    """Link a locked subject that nobody has to a locked user, in place of the user's other one at the provider."""
    await tx.execute("DELETE FROM identities WHERE user_id = $1 AND provider = $2", identity.user_id, identity.provider)
    await tx.execute(
        """
        INSERT INTO identities
            (identity_id, user_id, provider, issuer, subject_index, linked_at, last_used_at, subject, sealed_subject)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
        """,
        identity.identity_id,
        identity.user_id,
        identity.provider,
        issuer,
        subject.newest,
        identity.linked_at,
        identity.last_used_at,
        plain_subject,
        sealed_subject,
    )


async def save_used(
    tx: asyncpg.Connection, identity_id: UUID, subject: Hashed, sealed_subject: bytes | None, *, at: datetime
) -> bool:
    """Note that somebody signed in with an identity of this locked subject; False where it is not linked any more.

    It is hashed anew with it, and kept sealed where a release before did not.
    """
    query = (
        "UPDATE identities SET last_used_at = $2, subject_index = $3, sealed_subject = coalesce(sealed_subject, $4)"
        " WHERE identity_id = $1"
    )
    result: str = await tx.execute(query, identity_id, at, subject.newest, sealed_subject)
    return result.endswith(" 1")


async def list_identities(connection: asyncpg.Connection, user_id: UUID) -> list[Identity]:
    """Return a user's identities, the newest first: at most one at each provider."""
    query = f"SELECT {_IDENTITY} FROM identities WHERE user_id = $1 ORDER BY linked_at DESC, identity_id DESC"
    return [Identity(**row) for row in await connection.fetch(query, user_id)]


async def remove_identity(tx: asyncpg.Connection, user_id: UUID, identity_id: UUID) -> bool:
    """Forget an identity of this user; False where there is none."""
    query = "DELETE FROM identities WHERE user_id = $1 AND identity_id = $2"
    result: str = await tx.execute(query, user_id, identity_id)
    return result.endswith(" 1")


async def remove_identities(tx: asyncpg.Connection, user_id: UUID) -> None:
    """Forget every identity of a locked user."""
    await tx.execute("DELETE FROM identities WHERE user_id = $1", user_id)
