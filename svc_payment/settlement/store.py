"""The only writer of `provider_work`: what a provider still has to be asked, by whom, and when again.

A row is a lease as much as a task: `due_at` lies ahead while somebody works on it, and is moved on as long as that
process lives, so a crash gives it back by itself. Leases only save double work. Providers know every call by its id, so
two workers on one row do no harm. All times are the database's: a process whose clock is wrong neither keeps work from
the others nor takes theirs.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import asyncpg

from mesh.writes import Write, write

LEASE_SECONDS = 3.0
"""What a crash in the middle waits for its second try: with a look of the sweeper, less than the five seconds in which
everything has to be done after a restart. A provider's call, or the wait for its turn, may take longer: see `renew`."""

_ADD = """
INSERT INTO provider_work (subject_id, subject_kind, provider, card_token, due_at)
SELECT subject_id, subject_kind, provider, card_token, now() + make_interval(secs => $5)
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[]) AS w (subject_id, subject_kind, provider, card_token)
ORDER BY subject_id
ON CONFLICT (subject_id) DO UPDATE
SET due_at = EXCLUDED.due_at, attempts = 0, problem = NULL,
    card_token = CASE WHEN $6 THEN provider_work.card_token ELSE EXCLUDED.card_token END
"""
_RENEW = """
UPDATE provider_work w SET due_at = now() + make_interval(secs => $2::float8)
FROM (SELECT subject_id FROM provider_work
      WHERE subject_id = ANY($1::uuid[]) AND due_at < now() + make_interval(secs => $2::float8 / 2)
      ORDER BY subject_id FOR UPDATE SKIP LOCKED) AS held
WHERE w.subject_id = held.subject_id
"""
# From one provider to the next along the index, past however much work of each.
_PROVIDERS = """
WITH RECURSIVE known (provider) AS (
    SELECT min(provider) FROM provider_work
    UNION ALL
    SELECT (SELECT min(w.provider) FROM provider_work w WHERE w.provider > known.provider)
    FROM known WHERE known.provider IS NOT NULL
)
SELECT provider FROM known WHERE provider IS NOT NULL
"""
_CLAIM_DUE = """
UPDATE provider_work w SET due_at = now() + make_interval(secs => $2), attempts = w.attempts + 1
FROM (SELECT subject_id FROM provider_work WHERE provider = $1 AND due_at <= now() ORDER BY due_at LIMIT $3
      FOR UPDATE SKIP LOCKED) AS due
WHERE w.subject_id = due.subject_id
RETURNING w.subject_kind, w.subject_id, w.provider
"""
_FINISH = "DELETE FROM provider_work WHERE subject_id = ANY($1::uuid[])"
_FORGET_TOKENS = """
UPDATE provider_work SET card_token = NULL WHERE subject_id = ANY($1::uuid[]) AND card_token IS NOT NULL
"""
_POSTPONE = """
UPDATE provider_work w
SET due_at = now() + make_interval(secs => p.seconds), problem = p.problem,
    card_token = CASE WHEN p.answered THEN NULL ELSE w.card_token END
FROM unnest($1::uuid[], $2::float8[], $3::text[], $4::boolean[]) AS p (subject_id, seconds, problem, answered)
WHERE w.subject_id = p.subject_id
"""


class SubjectKind(StrEnum):
    """What a piece of work is about."""

    PAYMENT = "payment"
    REFUND = "refund"
    TOP_UP = "top_up"


@dataclass(frozen=True, slots=True)
class Work:
    """One subject that a provider has to be asked about."""

    kind: SubjectKind
    subject_id: uuid.UUID
    provider: str
    card_token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Open:
    """Work that is not settled: the card token while it is needed, and how often it was tried."""

    card_token: str | None = field(repr=False)
    attempts: int
    problem: str | None = None


async def add(tx: asyncpg.Connection, work: Sequence[Work], *, keep_token: bool = False) -> None:
    """Store work, leased to the caller, who starts it after the commit.

    Work that is stored already is leased again; its card token goes, unless `keep_token` says that it is still needed.
    """
    if not work:
        return
    await tx.execute(
        _ADD,
        [w.subject_id for w in work],
        [w.kind.value for w in work],
        [w.provider for w in work],
        [w.card_token for w in work],
        LEASE_SECONDS,
        keep_token,
    )


async def find(connection: asyncpg.Connection, subject_ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, Open]:
    """Return the open work about subjects; those that are settled have none."""
    rows = await connection.fetch(
        "SELECT subject_id, card_token, attempts, problem FROM provider_work WHERE subject_id = ANY($1::uuid[])",
        subject_ids,
    )
    return {row["subject_id"]: Open(row["card_token"], row["attempts"], row["problem"]) for row in rows}


async def renew(tx: asyncpg.Connection, subject_ids: Sequence[uuid.UUID]) -> None:
    """Hold on to work that the caller has, where its lease is half over; what is just being settled is left alone."""
    if subject_ids:
        await tx.execute(_RENEW, subject_ids, LEASE_SECONDS)


async def list_providers(connection: asyncpg.Connection) -> list[str]:
    """List the providers that owe an answer to anything, configured or not."""
    return [row["provider"] for row in await connection.fetch(_PROVIDERS)]


async def claim_due(tx: asyncpg.Connection, provider: str, *, limit: int) -> list[Work]:
    """Lease at most `limit` pieces of a provider's due work, the oldest first; what is under way is skipped."""
    rows = await tx.fetch(_CLAIM_DUE, provider, LEASE_SECONDS, limit)
    return [Work(SubjectKind(row["subject_kind"]), row["subject_id"], row["provider"]) for row in rows]


@dataclass(frozen=True, slots=True)
class Pause:
    """Work to give back for a later try; `problem` says, for a person, why it did not end."""

    subject_id: uuid.UUID
    seconds: float
    problem: str | None = None


async def give_back(
    tx: asyncpg.Connection,
    *,
    settled: Sequence[uuid.UUID] = (),
    answered: Sequence[uuid.UUID] = (),
    paused: Sequence[Pause] = (),
) -> None:
    """Store how work goes on: what is settled is removed, what was answered needs its card token no more.

    What is in neither `settled` nor `paused` keeps its lease.
    """
    going_on = set(answered) - {each.subject_id for each in paused}
    await write(
        tx,
        Write(_FINISH, (sorted(settled),)) if settled else None,
        Write(_FORGET_TOKENS, (sorted(going_on),)) if going_on else None,
        Write(
            _POSTPONE,
            (
                [each.subject_id for each in paused],
                [each.seconds for each in paused],
                [each.problem for each in paused],
                [each.subject_id in answered for each in paused],
            ),
        )
        if paused
        else None,
    )
