"""What was answered to each request id, kept so that asking again gives the same answer, byte for byte.

A claim is a row written in the transaction of the decision: a twin in any process waits on its unique key until that
transaction ends, and then finds the answer, or nothing if it was rolled back. So a failure before anything was stored
never burns a key. This module decides nothing about the calls; it stores serialized answers and refusals.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import asyncpg
from google.protobuf.message import Message
from google.rpc import status_pb2

from mesh.database import Database
from mesh.refusals import IdempotencyKeyInProgress, IdempotencyKeyReused, Refusal

KEPT_DAYS = 30
FINGERPRINT_BYTES = 32

_CLAIM = """
INSERT INTO idempotency (user_id, method, request_id, fingerprint)
SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bytea[]) AS c (user_id, method, request_id, fingerprint)
ORDER BY user_id, method, request_id
ON CONFLICT DO NOTHING
RETURNING user_id, method, request_id
"""
_FIND = """
SELECT user_id, method, request_id, i.fingerprint, i.response, i.status
FROM unnest($1::uuid[], $2::text[], $3::text[]) AS c (user_id, method, request_id)
JOIN idempotency i USING (user_id, method, request_id)
"""
_STORE = """
UPDATE idempotency i SET response = a.response, status = a.status
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bytea[], $5::bytea[])
     AS a (user_id, method, request_id, response, status)
WHERE i.user_id = a.user_id AND i.method = a.method AND i.request_id = a.request_id
  AND i.response IS NULL AND i.status IS NULL
"""


@dataclass(frozen=True, slots=True)
class Claim:
    """A request id that one user sends to one method, and what its body amounts to."""

    user_id: uuid.UUID
    method: str
    request_id: str
    fingerprint: bytes = field(repr=False)

    @property
    def key(self) -> tuple[uuid.UUID, str, str]:
        """What makes the claim unique."""
        return (self.user_id, self.method, self.request_id)


def fingerprint(message: Message, *, ignore: Sequence[str] = ("request_id",)) -> bytes:
    """Return a hash (SHA-256) of what a request asks for: its known fields without the ignored ones.

    Two bodies that differ in the order of fields or map entries, or in fields that this contract does not know, have
    the same fingerprint.
    """
    canonical = type(message)()
    canonical.CopyFrom(message)
    for name in ignore:
        if name in canonical.DESCRIPTOR.fields_by_name:
            canonical.ClearField(name)
    canonical.DiscardUnknownFields()  # type: ignore[attr-defined]
    kind = message.DESCRIPTOR.full_name.encode()
    return hashlib.sha256(kind + b"\n" + canonical.SerializeToString(deterministic=True)).digest()


async def claim(
    tx: asyncpg.Connection, *, user_id: uuid.UUID, method: str, request_id: str, fingerprint: bytes
) -> bytes | None:
    """Claim a request id in the caller's transaction.

    Returns:
        None: it is new, go on, and `store` the answer in the same transaction. Bytes: the answer of an earlier success.

    Raises:
        IdempotencyKeyReused: The id was used with another body.
        IdempotencyKeyInProgress: Its first call has not come to an answer.
        Refusal: The refusal that was stored.
    """
    found = (await claim_many(tx, [Claim(user_id, method, request_id, fingerprint)]))[0]
    if isinstance(found, Refusal):
        raise found
    return found


async def once(db: Database, claim: Claim, answer: Callable[[asyncpg.Connection], Awaitable[bytes | Refusal]]) -> bytes:
    """Return the answer to a request id, made now, in one transaction with its claim, or kept from before.

    Raises:
        Refusal: That was the answer, or the request id is taken, as `claim` says.
    """

    async def decide(tx: asyncpg.Connection) -> bytes | Refusal:
        known = (await claim_many(tx, [claim]))[0]
        if known is not None:
            return known
        made = await answer(tx)
        await store_many(tx, [(claim.key, made)])
        return made

    made = await db.transact(decide)
    if isinstance(made, Refusal):
        raise made
    return made


async def claim_many(tx: asyncpg.Connection, claims: Sequence[Claim]) -> list[bytes | Refusal | None]:
    """Claim a set of request ids in one transaction, locking them in key order so that two sets never deadlock.

    Returns one entry per claim, in their order: None for a new one, the stored answer, or the refusal to raise. Of two
    equal claims in one set the first is new and the others are IdempotencyKeyInProgress: ask again after the commit.

    Raises:
        IdempotencyKeyInProgress: A twin in another transaction held a key longer than the lock timeout.
    """
    if not claims:
        return []
    first = {c.key: place for place, c in reversed(list(enumerate(claims)))}
    columns = ([c.user_id for c in claims], [c.method for c in claims], [c.request_id for c in claims])
    try:
        claimed = await tx.fetch(_CLAIM, *columns, [c.fingerprint for c in claims])
    except asyncpg.LockNotAvailableError as error:
        raise IdempotencyKeyInProgress("the first call with this key still runs", retry_after_seconds=1) from error
    new = {tuple(row.values()) for row in claimed}
    stored: dict[tuple[object, ...], asyncpg.Record] = {}
    if len(new) < len(claims):
        rows = await tx.fetch(_FIND, *columns)
        stored = {(row["user_id"], row["method"], row["request_id"]): row for row in rows}
    answers: list[bytes | Refusal | None] = []
    for place, each in enumerate(claims):
        if each.key in new and first[each.key] == place:
            answers.append(None)
        else:
            answers.append(_answer(each, stored[each.key]))
    return answers


async def store(tx: asyncpg.Connection, *, user_id: uuid.UUID, method: str, request_id: str, response: bytes) -> None:
    """Keep the serialized response of a claimed request id."""
    await store_many(tx, [((user_id, method, request_id), response)])


async def store_refusal(
    tx: asyncpg.Connection, *, user_id: uuid.UUID, method: str, request_id: str, refusal: Refusal
) -> None:
    """Keep a refusal, with all its details, as the answer to a claimed request id."""
    await store_many(tx, [((user_id, method, request_id), refusal)])


async def store_many(
    tx: asyncpg.Connection, answers: Sequence[tuple[tuple[uuid.UUID, str, str], bytes | Refusal]]
) -> None:
    """Keep the answers of a set of claimed request ids, each a serialized response or a refusal.

    Raises:
        RuntimeError: One was never claimed or has its answer: the caller is wrong, and its transaction must not commit.
    """
    if not answers:
        return
    result = await tx.execute(
        _STORE,
        [key[0] for key, _ in answers],
        [key[1] for key, _ in answers],
        [key[2] for key, _ in answers],
        [None if isinstance(answer, Refusal) else answer for _, answer in answers],
        [serialize(answer) if isinstance(answer, Refusal) else None for _, answer in answers],
    )
    if int(result.split()[-1]) != len(answers):
        raise RuntimeError("an answer was stored for a request id that was not claimed, or that had its answer")


def serialize(refusal: Refusal) -> bytes:
    """Return the status of a refusal as it is kept."""
    serialized: bytes = refusal.to_status().SerializeToString(deterministic=True)
    return serialized


async def prune(tx: asyncpg.Connection, *, older_than_days: int = KEPT_DAYS, limit: int = 1000) -> int:
    """Forget at most `limit` answers past their time, the oldest first. Returns how many; fewer means done."""
    result: str = await tx.execute(
        "DELETE FROM idempotency WHERE (user_id, method, request_id) IN ("
        " SELECT user_id, method, request_id FROM idempotency WHERE created_at < now() - make_interval(days => $1)"
        " ORDER BY created_at LIMIT $2 FOR UPDATE SKIP LOCKED)",
        older_than_days,
        limit,
    )
    return int(result.split()[-1])


def _answer(claim: Claim, row: asyncpg.Record) -> bytes | Refusal:
    if row["fingerprint"] != claim.fingerprint:
        return IdempotencyKeyReused("this idempotency key was used before, with another body")
    if row["response"] is not None:
        response: bytes = row["response"]
        return response
    if row["status"] is not None:
        return Refusal.from_status(status_pb2.Status.FromString(row["status"]))
    return IdempotencyKeyInProgress("the first call with this key still runs", retry_after_seconds=1)
