"""How fast events leave the outbox, and how fast a consumer applies each exactly once.

The relay and the consumer are the runtime's own, in this process, on a database of their own in the mesh's Postgres and
on its broker.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from itertools import count
from uuid import uuid4

import asyncpg
from confluent_kafka import Producer

from bench.rig import scratch
from bench.rig.picture import Lines, Series
from bench.rig.result import Goal, Outcome, Terms, Unmeasured
from bench.rig.world import World
from mesh import outbox, schema
from mesh.consumer import Consumer
from mesh.database import Database
from mesh.kafka import PARTITIONS, Publisher
from mesh.received import Received
from mesh.relay import Relay

EVENTS = 10_000
SWEEP = (1_000, 3_000, 10_000)
PAYLOAD_BYTES = 200
WAIT_SECONDS = 120.0
LOOK_SECONDS = 0.02
COUNT_SECONDS = 0.2
OWNER = "svc_bench"
HEADERS = (
    ("ce_specversion", 3),
    ("ce_id", 36),
    ("ce_source", 10),
    ("ce_type", 22),
    ("ce_time", 27),
    ("ce_subject", 36),
    ("ce_cell", 5),
    ("ce_aggregateversion", 1),
    ("content-type", 20),
)
"""The attributes of an event with the bytes that each has."""

RELAY = Terms(
    "relay",
    "How many events a second leave the outbox for Kafka?",
    f"""{EVENTS:,} events of {PAYLOAD_BYTES} bytes, each of an aggregate of its own, are committed to an outbox at once;
    the clock stops when the relay has marked the last one as acknowledged by the broker (acks=all, idempotent). The
    limit is one confluent-kafka producer with the same settings, messages and headers, from memory, just before.""",
    "events/s",
    "one producer alone, events/s",
    Goal(0.5, 0.8),
)
CONSUMER = Terms(
    "consumer",
    "How many events a second does a consumer apply exactly once?",
    """The events that the relay has just published are applied by a new consumer group: a row of its own for each,
    with the note of it in the inbox, in durable transactions. From the first set applied to the last, and the rows
    are counted afterwards. The limit is the relay in the same repeat.""",
    "events/s",
    "the relay, events/s",
    Goal(0.5, 1.0),
)

_FILL = """
INSERT INTO outbox (event_id, topic, type, aggregate_id, version, subject, payload)
SELECT id, $1, $1 || '.Changed', id::text, 1, id::text, $3
FROM (SELECT uuidv7() AS id FROM generate_series(1, $2::int)) AS fresh
"""
_APPLIED = "CREATE TABLE applied (event_id uuid PRIMARY KEY, aggregate_id text NOT NULL)"
_APPLY = "INSERT INTO applied SELECT * FROM unnest($1::uuid[], $2::text[])"

_topics = count(1)


class Statements(list[str]):
    """Takes what a migration would execute."""

    def execute(self, sqltext: str) -> None:
        """Keep it."""
        self.append(sqltext)


@dataclass(frozen=True)
class Stand:
    """A database with an outbox and an inbox, and the broker."""

    dsn: str
    kafka: str
    connection: asyncpg.Connection

    async def publish(self, topic: str, events: int) -> float:
        """Have the relay publish so many events to a new topic, and one before them; returns how many a second."""
        relay = Relay(self.dsn, self.kafka, OWNER, cell="local", topics=[topic])
        running = asyncio.create_task(relay.run())
        try:
            await self._fill(topic, 1)  # the first takes the lock and makes the topic
            return events / await self._fill(topic, events)
        finally:
            await _end(running)

    async def _fill(self, topic: str, events: int) -> float:
        """Commit so many events; returns the seconds from then until each is marked as published."""
        await self.connection.execute(_FILL, topic, events, b"x" * PAYLOAD_BYTES)
        began = time.perf_counter()
        outbox.wake()
        async with asyncio.timeout(WAIT_SECONDS):
            while await self.connection.fetchval(  # noqa: ASYNC110
                "SELECT EXISTS (SELECT FROM outbox WHERE published_at IS NULL)"
            ):
                await asyncio.sleep(LOOK_SECONDS)
        return time.perf_counter() - began

    async def produce(self, topic: str, events: int) -> float:
        """Send as many messages from memory to a new topic; returns how many a second."""
        publisher = Publisher(self.kafka, client_id="bench")
        await publisher.ensure_topics([topic])
        await publisher.close()
        return await asyncio.to_thread(self._produce, topic, events)

    def _produce(self, topic: str, events: int) -> float:
        producer = Producer(
            {"bootstrap.servers": self.kafka, "enable.idempotence": True, "acks": "all", "linger.ms": 2}
        )
        headers: list[tuple[str, str | bytes | None]] = [(name, b"0" * size) for name, size in HEADERS]
        producer.produce(topic, value=b"x", key=b"x")
        producer.flush(WAIT_SECONDS)
        began = time.perf_counter()
        for _ in range(events):
            producer.produce(topic, value=b"x" * PAYLOAD_BYTES, key=str(uuid4()).encode(), headers=headers)
        if producer.flush(WAIT_SECONDS):
            raise Unmeasured("the broker did not acknowledge")
        return events / (time.perf_counter() - began)

    async def consume(self, topic: str, events: int) -> float:
        """Have a new group apply the events of a topic, and hold that each was applied; returns how many a second."""
        await self.connection.execute("TRUNCATE applied")
        db = await Database.connect(self.dsn, pool_size=PARTITIONS + 2, name="bench")
        sets: list[tuple[float, int]] = []

        async def handle(tx: asyncpg.Connection, received: Sequence[Received]) -> None:
            await tx.execute(_APPLY, [each.event_id for each in received], [each.aggregate_id for each in received])
            sets.append((time.perf_counter(), len(received)))

        consumer = asyncio.create_task(Consumer(self.kafka, f"bench-{uuid4()}", [topic], db, handle).run())
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                while await self.connection.fetchval("SELECT count(*) FROM applied") < events:  # noqa: ASYNC110
                    await asyncio.sleep(COUNT_SECONDS)
        except TimeoutError as late:
            raise Unmeasured(f"{sum(size for _, size in sets)} of {events} events were handled") from late
        finally:
            await _end(consumer)
            await db.close()
        (began, first), (ended, _) = sets[0], sets[-1]
        return (sum(size for _, size in sets) - first) / (ended - began)


@asynccontextmanager
async def standing(world: World) -> AsyncIterator[Stand]:
    """Yield a place to publish and consume."""
    async with scratch.database(world) as dsn:
        statements = Statements([_APPLIED])
        schema.create_outbox(statements)
        schema.create_inbox(statements)
        connection = await asyncpg.connect(dsn)
        try:
            await connection.execute(";".join(statements))
            yield Stand(dsn, world.mesh.endpoints["kafka"], connection)
        finally:
            await connection.close()


async def relay(world: World) -> Outcome:
    """Answer for the relay, with the picture of its speed against how much waits."""
    found, limits = [], []
    async with standing(world) as stand:
        meter = await world.meter()
        for _ in range(world.repeats):
            limits.append(await stand.produce(_topic(), EVENTS))
            with meter.running():
                found.append(await stand.publish(_topic(), EVENTS))
        points = tuple([(float(events), await stand.publish(_topic(), events)) for events in SWEEP])
    picture = Lines(
        "Events from the outbox to Kafka",
        "events that wait",
        "events a second",
        (Series("relay", points),),
        (("a producer alone", sorted(limits)[len(limits) // 2]),),
    )
    return Outcome(tuple(found), tuple(limits), meter.per_operation(EVENTS * len(found)), picture=picture)


async def consumer(world: World) -> Outcome:
    """Answer for the consumer, with the picture of both against the number of events."""
    found, limits = [], []
    async with standing(world) as stand:
        meter = await world.meter()
        for _ in range(world.repeats):
            topic = _topic()
            limits.append(await stand.publish(topic, EVENTS))
            with meter.running():
                found.append(await stand.consume(topic, EVENTS + 1))
        relayed, applied = [], []
        for events in SWEEP:
            topic = _topic()
            relayed.append((float(events), await stand.publish(topic, events)))
            applied.append((float(events), await stand.consume(topic, events + 1)))
    picture = Lines(
        "Events published and applied",
        "events that wait",
        "events a second",
        (Series("relay", tuple(relayed)), Series("consumer", tuple(applied))),
    )
    return Outcome(tuple(found), tuple(limits), meter.per_operation(EVENTS * len(found)), picture=picture)


def _topic() -> str:
    return f"titan.bench.v{next(_topics)}"


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
