"""The outbox: the public events of a change, written in the transaction of that change.

A row is numbered twice: `version` counts the events of one aggregate without a gap, and `seq` gives the order in which
the relay publishes. `seq` is taken when the row is written, after the aggregate was locked, so within an aggregate the
two agree. Events carry no personal data. This module never talks to a broker.
"""

from __future__ import annotations

import uuid
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import asyncpg
from opentelemetry import trace

from mesh.database import after_commit
from mesh.writes import Write

MAX_PAYLOAD_BYTES = 900_000
"""What fits into a message of a broker with its default limits, headers included."""

EVENT_ID_NAMESPACE = uuid.UUID("6b1f0a52-7d0e-5b0c-9f2d-0d3c5f3b8a11")

_APPEND = """
INSERT INTO outbox (event_id, topic, type, aggregate_id, version, subject, payload, traceparent)
SELECT event_id, topic, type, aggregate_id, version, subject, payload, $8
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::text[], $7::bytea[])
     WITH ORDINALITY AS e (event_id, topic, type, aggregate_id, version, subject, payload, place)
{where}
ORDER BY place
"""


@dataclass(frozen=True, slots=True)
class Event:
    """One public event: what happened to which aggregate, as its how-manieth event."""

    topic: str
    type: str
    aggregate_id: str
    version: int
    payload: bytes
    subject: str = ""

    @property
    def event_id(self) -> uuid.UUID:
        """The id of the event, made from its topic, aggregate and version.

        An event that is derived again from a journal therefore has the id that consumers have already noted.
        """
        return event_id(self.topic, self.aggregate_id, self.version)


def event_id(topic: str, aggregate_id: str, version: int) -> uuid.UUID:
    """Return the id of one event of an aggregate: a UUIDv5 (RFC 9562, 5.5), the same whenever it is asked for."""
    return uuid.uuid5(EVENT_ID_NAMESPACE, f"{topic}\n{aggregate_id}\n{version}")


async def append(tx: asyncpg.Connection, events: Sequence[Event]) -> None:
    """Write events in the caller's transaction, in this order. Call it after the rows of the aggregates are locked.

    The transaction belongs to a `Database`, whose commit wakes the relay.

    The versions of one aggregate ascend by one within a call; that they continue those stored is the caller's promise,
    since the caller holds the aggregate. A version that exists already breaks a unique constraint.

    Raises:
        ValueError: The versions of an aggregate skip or repeat, or no broker would take a payload of this size.
    """
    made = appending(events)
    if made is not None:
        await tx.execute(made.sql, *made.arguments)


def appending(events: Sequence[Event], *, where: str = "") -> Write | None:
    """Return the write of events, to travel with others of the open transaction; as `append` in all else.

    `where` leaves out those of aggregates that an earlier part did not change after all.
    """
    if not events:
        return None
    _refuse_wrong(events)
    after_commit(wake)
    return Write(
        _APPEND.format(where=where),
        (
            [e.event_id for e in events],
            [e.topic for e in events],
            [e.type for e in events],
            [e.aggregate_id for e in events],
            [e.version for e in events],
            [e.subject or e.aggregate_id for e in events],
            [e.payload for e in events],
            current_traceparent(),
        ),
    )


async def republish(connection: asyncpg.Connection, *, since: datetime, topics: Sequence[str] | None = None) -> int:
    """Let the relay publish again what is kept since a time, for a broker that lost it. Returns how many rows."""
    result: str = await connection.execute(
        "UPDATE outbox SET published_at = NULL"
        " WHERE published_at IS NOT NULL AND recorded_at >= $1 AND ($2::text[] IS NULL OR topic = ANY($2))",
        since,
        list(topics) if topics is not None else None,
    )
    wake()
    return int(result.split()[-1])


def current_traceparent() -> str | None:
    """Return the running span as a W3C traceparent, or None outside a trace."""
    span = trace.get_current_span().get_span_context()
    if not span.is_valid:
        return None
    return f"00-{span.trace_id:032x}-{span.span_id:016x}-{span.trace_flags & 0x01:02x}"


class Wakeable(Protocol):
    """Whoever wants to know at once that events were committed in this process."""

    def wake(self) -> None:
        """Look at the outbox now."""
        ...


_sleepers: weakref.WeakSet[Wakeable] = weakref.WeakSet()


def wake_on_append(sleeper: Wakeable) -> None:
    """Wake this one after each commit that appended, for as long as it lives.

    A shortcut only: NOTIFY would take a lock on the whole database at every commit, and a relay polls anyway.
    """
    _sleepers.add(sleeper)


def wake() -> None:
    """Wake every relay of this process."""
    for sleeper in tuple(_sleepers):
        sleeper.wake()


def _refuse_wrong(events: Sequence[Event]) -> None:
    last: dict[tuple[str, str], int] = {}
    for event in events:
        key = (event.topic, event.aggregate_id)
        if event.version < 1 or event.version != last.get(key, event.version - 1) + 1:
            raise ValueError(f"{event.topic} {event.aggregate_id}: version {event.version} after {last.get(key)}")
        last[key] = event.version
        if len(event.payload) > MAX_PAYLOAD_BYTES:
            raise ValueError(f"{event.type} of {event.aggregate_id}: {len(event.payload)} bytes")
