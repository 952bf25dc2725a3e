"""Applies each event once, in the order of its aggregate, in one transaction with the note of it.

Delivery is at least once, so the inbox table remembers what was applied, and how far each aggregate is: duplicates and
stale versions are skipped. What cannot be decoded or is refused goes to the dead letters after three tries, and later
versions of that key are parked behind it, since they build on it. Anything else that fails (a database, a mailbox,
another service) is no fault of the event: it is tried again with a growing backoff for as long as it takes. The inbox
knows no event's meaning; the handler does.
"""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack

import asyncpg
from confluent_kafka import Message
from opentelemetry import trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from prometheus_client import Counter

from mesh.database import Database
from mesh.dead_letters import DeadLetters
from mesh.error_text import line_of
from mesh.kafka import BrokerAway
from mesh.received import Poison, Received, decode, is_poison, is_race
from mesh.refusals import Refusal, Unavailable
from mesh.seams import failpoint
from mesh.telemetry import REGISTRY, get_logger, is_unsampled
from mesh.writes import Write, write

log = get_logger("mesh.inbox")
_PROPAGATOR = TraceContextTextMapPropagator()
tracer = trace.get_tracer("mesh.inbox")

TRIES_PER_EVENT = 3
FIRST_BACKOFF_SECONDS = 0.1
MAX_BACKOFF_SECONDS = 4.0
"""Also how long a partition may go on waiting for what is back already."""
KEPT_DAYS = 30
PRUNE_ROWS = 5000

APPLIED = Counter("titan_inbox_events", "Events by what became of them.", ["consumer", "outcome"], registry=REGISTRY)

Handler = Callable[[asyncpg.Connection, Sequence[Received]], Awaitable[None]]
"""Applies events of one partition, in their order, in the transaction that it is given."""

_KNOWN = "SELECT event_id FROM inbox WHERE consumer = $1 AND event_id = ANY($2::uuid[])"
_STANDING = """
SELECT topic, aggregate_id, version, parked_at IS NOT NULL AS parked FROM inbox_aggregates
WHERE consumer = $1 AND (topic, aggregate_id) IN (SELECT * FROM unnest($2::text[], $3::text[]))
ORDER BY topic, aggregate_id FOR UPDATE
"""
_NOTE = "INSERT INTO inbox (consumer, event_id, topic) SELECT $1, * FROM unnest($2::uuid[], $3::text[])"
_ADVANCE = """
INSERT INTO inbox_aggregates AS a (consumer, topic, aggregate_id, version)
SELECT $1, * FROM unnest($2::text[], $3::text[], $4::bigint[]) AS u (topic, aggregate_id, version) ORDER BY 2, 3
ON CONFLICT (consumer, topic, aggregate_id) DO UPDATE SET version = greatest(a.version, EXCLUDED.version)
"""
_PARK = """
INSERT INTO inbox_aggregates AS a (consumer, topic, aggregate_id, version, parked_at, parked_reason)
VALUES ($1, $2, $3, 0, now(), $4)
ON CONFLICT (consumer, topic, aggregate_id) DO UPDATE SET
    parked_at = coalesce(a.parked_at, now()), parked_reason = coalesce(a.parked_reason, EXCLUDED.parked_reason)
"""
_PRUNE = """
DELETE FROM inbox WHERE (consumer, event_id) IN (
    SELECT consumer, event_id FROM inbox
    WHERE consumer = $1 AND applied_at < now() - make_interval(days => $2) ORDER BY applied_at LIMIT $3
)
"""


class Inbox:
    """Applies events to one database, for one consumer (its group), whatever brings them."""

    def __init__(self, consumer: str, db: Database, handler: Handler, dead_letters: DeadLetters) -> None:
        self._consumer = consumer
        self._db = db
        self._handler = handler
        self._dead_letters = dead_letters

    async def apply(self, messages: Sequence[Message], *, waiting: Callable[[bool], None] = lambda _: None) -> None:
        """Apply messages of one partition in order; returns when each is applied, skipped or buried.

        It waits for dependencies as long as it takes, and says so through `waiting`. Messages that nothing is wrong
        with share a transaction; when that fails they are taken one by one.
        """
        if len(messages) > 1:
            try:
                received = [decode(message) for message in messages]
                if not await self._db.transact(lambda tx: self._apply_set(tx, received)):
                    return
            except Exception as error:
                log.debug("events are taken one by one", consumer=self._consumer, why=line_of(error))
        for message in messages:
            await self._apply_one(message, waiting)

    async def prune(self) -> None:
        """Forget a bounded number of notes that no broker repeats any more."""
        async with self._db.hot_read() as connection:
            await connection.execute(_PRUNE, self._consumer, KEPT_DAYS, PRUNE_ROWS)

    async def _apply_one(self, message: Message, waiting: Callable[[bool], None]) -> None:
        tries, backoff, waits = 0, FIRST_BACKOFF_SECONDS, False
        while True:
            try:
                received = decode(message)
                behind = await self._db.transact(lambda tx, only=received: self._apply_set(tx, [only]))  # type: ignore[misc]
                if behind:
                    await self._bury(message, received, "parked behind an earlier event of its key", "parked")
                break
            except Exception as error:
                if is_poison(error):
                    tries += 1
                    if tries >= TRIES_PER_EVENT and await self._buried(message, error):
                        break
                elif not waits and not is_race(error):
                    waits = True
                    waiting(True)
                    self._tell_why(message, error)
            await asyncio.sleep(backoff * random.uniform(0.5, 1))  # noqa: S311
            backoff = min(MAX_BACKOFF_SECONDS, backoff * 2)
        if waits:
            log.info("partition goes on", consumer=self._consumer, topic=message.topic())
            waiting(False)

    def _tell_why(self, message: Message, error: Exception) -> None:
        told = {"consumer": self._consumer, "topic": message.topic(), "partition": message.partition()}
        if isinstance(error, Refusal | BrokerAway | OSError):
            log.warning("partition pauses", why=repr(error), **told)
        else:
            log.exception("partition pauses at what looks like a bug", error, **told)

    async def _apply_set(self, tx: asyncpg.Connection, events: Sequence[Received]) -> list[Received]:
        """Apply events in order and note them. Returns, with nothing applied, those that stand behind a parked one."""
        known = {row["event_id"] for row in await tx.fetch(_KNOWN, self._consumer, [e.event_id for e in events])}
        topics, aggregates = [e.topic for e in events], [e.aggregate_id for e in events]
        standing = {
            (row["topic"], row["aggregate_id"]): row
            for row in await tx.fetch(_STANDING, self._consumer, topics, aggregates)
        }
        parked = {key for key, row in standing.items() if row["parked"]}
        behind = [e for e in events if (e.topic, e.aggregate_id) in parked and e.event_id not in known]
        if behind:
            return behind
        versions = {key: row["version"] for key, row in standing.items()}
        noted: dict[uuid.UUID, str] = {}
        outcomes = {"duplicate": 0, "stale": 0}
        fresh: list[Received] = []
        for event in events:
            if event.event_id in known or event.event_id in noted:
                outcomes["duplicate"] += 1
                continue
            noted[event.event_id] = event.topic
            key = (event.topic, event.aggregate_id)
            if event.version <= versions.get(key, 0):
                outcomes["stale"] += 1
                continue
            if key in versions and event.version != versions[key] + 1:
                log.warning("versions skip", consumer=self._consumer, topic=event.topic, version=event.version)
            versions[key] = event.version
            fresh.append(event)
        if fresh:
            await self._handle(tx, fresh)
        if noted:
            keys = list(versions)
            columns = ([topic for topic, _ in keys], [aggregate for _, aggregate in keys], list(versions.values()))
            await write(
                tx,
                Write(_NOTE, (self._consumer, list(noted), list(noted.values()))),
                Write(_ADVANCE, (self._consumer, *columns)),
            )
        await failpoint("inbox.before_commit")
        for outcome, count in {**outcomes, "applied": len(fresh)}.items():
            if count:
                APPLIED.labels(self._consumer, outcome).inc(count)
        return []

    async def _handle(self, tx: asyncpg.Connection, events: Sequence[Received]) -> None:
        """Have events applied. Each whose trace is recorded sees that in its trace; those of the set see its time."""
        with ExitStack() as spans:
            for event in events:
                if event.traceparent and not is_unsampled(event.traceparent):
                    parent = _PROPAGATOR.extract({"traceparent": event.traceparent})
                    name = f"consume {event.type}"
                    span = tracer.start_as_current_span(name, context=parent, kind=trace.SpanKind.CONSUMER)
                    spans.enter_context(span)
            await self._handler(tx, events)

    async def _buried(self, message: Message, cause: Exception) -> bool:
        """Bury a poison event; False when that has to be tried again."""
        try:
            received: Received | None = decode(message)
        except Poison:
            received = None
        try:
            await self._bury(message, received, _why(cause), "poison")
        except (BrokerAway, Unavailable) as error:
            log.warning("a dead letter waits", consumer=self._consumer, topic=message.topic(), why=repr(error))
            return False
        log.error(
            "event is dead",
            consumer=self._consumer,
            topic=message.topic(),
            partition=message.partition(),
            offset=message.offset(),
            why=_why(cause),
        )
        return True

    async def _bury(self, message: Message, received: Received | None, why: str, outcome: str) -> None:
        """Send a message to the dead letters, then note it and park its key. A crash in between buries it twice."""
        await self._dead_letters.send(message, why=why)
        key = (message.key() or b"").decode(errors="replace").replace("\x00", "")

        async def park(tx: asyncpg.Connection) -> None:
            if key:
                await tx.execute(_PARK, self._consumer, message.topic(), key, why)
            if received is not None:
                await tx.execute(
                    "INSERT INTO inbox (consumer, event_id, topic) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
                    self._consumer,
                    received.event_id,
                    received.topic,
                )

        await self._db.transact(park)
        APPLIED.labels(self._consumer, outcome).inc()


async def unpark(tx: asyncpg.Connection, *, consumer: str, topic: str, aggregate_id: str) -> bool:
    """Let a key be applied again, once what was wrong is mended. Returns whether it was parked.

    What was buried meanwhile stays in the dead letters; publishing it again to its topic applies nothing by itself,
    since its ids are noted.
    """
    result: str = await tx.execute(
        "UPDATE inbox_aggregates SET parked_at = NULL, parked_reason = NULL"
        " WHERE consumer = $1 AND topic = $2 AND aggregate_id = $3 AND parked_at IS NOT NULL",
        consumer,
        topic,
        aggregate_id,
    )
    return result.endswith(" 1")


def _why(error: Exception) -> str:
    return error.reason if isinstance(error, Refusal) else line_of(error)
