"""One event as it arrived from a topic, and the difference between an event that is at fault and one that is not.

It reads the envelope (CloudEvents, binary mode) and never the payload: that is the handler's.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, cast

import asyncpg
import grpc
from confluent_kafka import Message
from google.protobuf.message import DecodeError

from mesh.refusals import Refusal

_MAY_PASS = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNKNOWN,
    }
)


class Poison(Exception):
    """Raised by a handler for an event that no repetition will make acceptable."""


@dataclass(frozen=True, slots=True)
class Received:
    """One event as it arrived."""

    topic: str
    type: str
    event_id: uuid.UUID
    aggregate_id: str
    version: int
    subject: str
    time: datetime
    source: str
    cell: str
    payload: bytes = field(repr=False)
    traceparent: str | None
    partition: int
    offset: int


def decode(message: Message) -> Received:
    """Return the event inside a message (CloudEvents, binary mode).

    Raises:
        Poison: An attribute is missing or malformed.
    """
    try:
        text = {name: value.decode() for name, value in headers_of(message)}
        return Received(
            topic=message.topic() or "",
            type=text["ce_type"],
            event_id=uuid.UUID(text["ce_id"]),
            aggregate_id=(message.key() or b"").decode(),
            version=int(text["ce_aggregateversion"]),
            subject=text.get("ce_subject", ""),
            time=datetime.fromisoformat(text["ce_time"]),
            source=text.get("ce_source", ""),
            cell=text.get("ce_cell", ""),
            payload=message.value() or b"",
            traceparent=text.get("traceparent"),
            partition=message.partition() or 0,
            offset=message.offset() or 0,
        )
    except (KeyError, ValueError) as error:
        raise Poison(f"not an event: {error!r}") from error


def headers_of(message: Message) -> list[tuple[str, bytes]]:
    """Return the headers of a message that have a value, in their order."""
    headers = cast(list[tuple[str, Any]], message.headers() or [])
    return [(name, value) for name, value in headers if isinstance(value, bytes)]


def is_poison(error: BaseException) -> bool:
    """Return whether an event is at fault: undecodable, refused for good, or breaking a rule of the database."""
    if isinstance(error, Refusal):
        return error.code not in _MAY_PASS
    return isinstance(
        error, Poison | DecodeError | asyncpg.IntegrityConstraintViolationError | asyncpg.DataError
    ) and not is_race(error)


def is_race(error: BaseException) -> bool:
    """Return whether two processes applied the same event at once, as can be during a rebalance."""
    return isinstance(error, asyncpg.UniqueViolationError) and error.constraint_name == "inbox_pkey"
