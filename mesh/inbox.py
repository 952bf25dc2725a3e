"""Consumes topics: each event applied once, in the order of its aggregate, in one transaction with the note of it.

Delivery is at least once, so the inbox table remembers what was applied, and how far each aggregate is: duplicates and
stale versions are skipped. What cannot be decoded or is refused goes to `<topic>.dead` after three tries, and later
versions of that key are parked behind it, since they build on it. Anything else that fails (a database, a mailbox,
another service) is no fault of the event: its partition pauses with a growing backoff and resumes where it stood. The
consumer knows no event's meaning; the handler does.
"""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol, cast

import asyncpg
import grpc
from confluent_kafka import Consumer as KafkaConsumer
from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition
from google.protobuf.message import DecodeError
from opentelemetry import trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from prometheus_client import Counter, Gauge

from mesh.database import Database
from mesh.error_text import line_of
from mesh.kafka import METADATA_TIMEOUT_SECONDS, BrokerAway, Headers, Publisher, quiet
from mesh.refusals import Refusal, Unavailable
from mesh.seams import failpoint
from mesh.telemetry import REGISTRY, get_logger

log = get_logger("mesh.inbox")
_PROPAGATOR = TraceContextTextMapPropagator()
tracer = trace.get_tracer("mesh.inbox")

TRIES = 3
CHUNK = 50
MAX_BUFFERED = 1000
POLL_SECONDS = 0.25
FIRST_BACKOFF_SECONDS = 0.1
MAX_BACKOFF_SECONDS = 30.0
SESSION_TIMEOUT_MS = 6000
"""The least that Apache Kafka allows by default; the embedded broker makes a first assignment wait for half of it."""
KEPT_DAYS = 30
REJOIN_SECONDS = 60.0
PRUNE_SECONDS = 600.0
PRUNE_ROWS = 5000

APPLIED = Counter("titan_inbox_events", "Events by what became of them.", ["consumer", "outcome"], registry=REGISTRY)
PAUSED = Gauge("titan_inbox_paused_partitions", "Partitions that wait.", ["consumer"], registry=REGISTRY)

_COMMIT, _PAUSE, _RESUME = "commit", "pause", "resume"
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


Handler = Callable[[asyncpg.Connection, Received], Awaitable[None]]


class DeadLetters(Protocol):
    """What the inbox needs of a producer; `mesh.kafka.Publisher` is one."""

    def send(self, topic: str, *, key: bytes, value: bytes, headers: Headers) -> asyncio.Future[None]: ...

    async def ensure_topics(self, topics: Sequence[str]) -> None: ...

    async def close(self) -> None: ...


def decode(message: Message) -> Received:
    """Return the event inside a message (CloudEvents, binary mode).

    Raises:
        Poison: An attribute is missing or malformed.
    """
    try:
        text = {name: value.decode() for name, value in _headers_of(message)}
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


def _headers_of(message: Message) -> list[tuple[str, bytes]]:
    headers = cast(list[tuple[str, Any]], message.headers() or [])
    return [(name, value) for name, value in headers if isinstance(value, bytes)]


def is_poison(error: BaseException) -> bool:
    """Return whether an event is at fault: undecodable, refused for good, or breaking a rule of the database."""
    if isinstance(error, Refusal):
        return error.code not in _MAY_PASS
    return isinstance(
        error, Poison | DecodeError | asyncpg.IntegrityConstraintViolationError | asyncpg.DataError
    ) and not _is_race(error)


def _is_race(error: BaseException) -> bool:
    """Return whether two processes applied the same event at once, as can be during a rebalance."""
    return isinstance(error, asyncpg.UniqueViolationError) and error.constraint_name == "inbox_pkey"


class Inbox:
    """Applies events to one database, for one consumer (its group), whatever brings them."""

    def __init__(
        self, consumer: str, db: Database, handler: Handler, open_dead_letters: Callable[[], DeadLetters]
    ) -> None:
        self._consumer = consumer
        self._db = db
        self._handler = handler
        self._open_dead_letters = open_dead_letters
        self._dead_letters: DeadLetters | None = None
        self._burying = asyncio.Lock()

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

    async def close(self) -> None:
        """Let go of the producer of dead letters."""
        if self._dead_letters is not None:
            await self._dead_letters.close()
            self._dead_letters = None

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
                    if tries >= TRIES and await self._buried(message, error):
                        break
                elif not waits and not _is_race(error):
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
        outcomes = {"applied": 0, "duplicate": 0, "stale": 0}
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
            outcomes["applied"] += 1
            await self._handle(tx, event)
        if noted:
            await tx.execute(_NOTE, self._consumer, list(noted), list(noted.values()))
            keys = list(versions)
            columns = ([topic for topic, _ in keys], [aggregate for _, aggregate in keys], list(versions.values()))
            await tx.execute(_ADVANCE, self._consumer, *columns)
        await failpoint("inbox.before_commit")
        for outcome, count in outcomes.items():
            if count:
                APPLIED.labels(self._consumer, outcome).inc(count)
        return []

    async def _handle(self, tx: asyncpg.Connection, event: Received) -> None:
        parent = _PROPAGATOR.extract({"traceparent": event.traceparent}) if event.traceparent else None
        with tracer.start_as_current_span(f"consume {event.type}", context=parent, kind=trace.SpanKind.CONSUMER):
            await self._handler(tx, event)

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
        topic = f"{message.topic()}.dead"
        headers = [
            *_headers_of(message),
            ("titan_dead_consumer", self._consumer.encode()),
            ("titan_dead_reason", why.encode()),
            ("titan_dead_position", f"{message.partition()}:{message.offset()}".encode()),
        ]
        async with self._burying:
            if self._dead_letters is None:
                self._dead_letters = self._open_dead_letters()
            try:
                await self._dead_letters.ensure_topics([topic])
                await self._dead_letters.send(
                    topic, key=message.key() or b"", value=message.value() or b"", headers=headers
                )
            except BrokerAway:
                await self.close()
                raise
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


class _Partition:
    """What was fetched of one partition and is not yet applied, and the task that applies it."""

    def __init__(self) -> None:
        self.buffer: deque[Message] = deque()
        self.filled = asyncio.Event()
        self.task: asyncio.Task[None] | None = None
        self.full = False
        self.waits = False


class Consumer:
    """One member of a consumer group: fetches in a thread, applies in the event loop, a task per partition.

    Replicas run one each with the same group. Offsets are committed after the transaction, so a crash repeats events
    and loses none. A broker that came back without its memory knows neither the member nor its offsets: the group
    protocol makes the member join anew and read from the beginning. What it would read before that, from its old place
    in a log that is another one now, is thrown away, since it would skip versions.
    """

    def __init__(
        self,
        kafka: str,
        group: str,
        topics: Sequence[str],
        db: Database,
        handler: Handler,
        *,
        session_timeout_ms: int = SESSION_TIMEOUT_MS,
    ) -> None:
        self._group = group
        self._topics = list(topics)
        self._settings: dict[str, Any] = {
            "bootstrap.servers": kafka,
            "group.id": group,
            "client.id": group,
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "session.timeout.ms": session_timeout_ms,
            "heartbeat.interval.ms": session_timeout_ms // 4,
            "allow.auto.create.topics": False,
            "topic.metadata.refresh.interval.ms": 2000,
            "fetch.wait.max.ms": 100,
            "reconnect.backoff.max.ms": 1000,
            "logger": quiet,
            "error_cb": self._on_error,
            "on_commit": self._on_commit,
        }
        self._inbox = Inbox(group, db, handler, lambda: Publisher(kafka, client_id=f"{group} dead letters"))
        self._partitions: dict[tuple[str, int], _Partition] = {}
        self._connection_lost = False
        self._misplaced_since: float | None = None
        self._confirmed: dict[tuple[str, int], int] = {}
        self._held: list[Message] = []
        self._failure: BaseException | None = None
        self._orders: deque[tuple[str, tuple[str, int], int]] = deque()

    async def run(self) -> None:
        """Consume until cancelled. No failure of the broker, the database or the handler ends it."""
        pruning = asyncio.create_task(self._prune())
        try:
            while True:
                try:
                    await self._be_member()
                except (KafkaException, BrokerAway) as error:
                    log.warning("consumer joins again", consumer=self._group, why=str(error))
                except Exception as error:
                    log.exception("consumer failed", error, consumer=self._group)
                await asyncio.sleep(random.uniform(0.5, 1))  # noqa: S311
        finally:
            pruning.cancel()
            await self._inbox.close()

    async def _be_member(self) -> None:
        loop = asyncio.get_running_loop()
        self._settle_in()
        self._orders.clear()  # those of the last membership are about a place that may be another member's by now
        self._failure = None

        def revoked(losing: KafkaConsumer, partitions: list[TopicPartition]) -> None:
            asyncio.run_coroutine_threadsafe(self._drop([(p.topic, p.partition) for p in partitions]), loop).result(10)
            self._carry_out_orders(losing)

        def assigned(_: KafkaConsumer, partitions: list[TopicPartition]) -> None:
            self._settle_in()

        consumer = KafkaConsumer(self._settings)
        # All that can block runs in one thread of its own: librdkafka calls back from within poll.
        thread = ThreadPoolExecutor(1, thread_name_prefix=f"kafka {self._group}")
        try:
            consumer.subscribe(self._topics, on_assign=assigned, on_revoke=revoked, on_lost=revoked)
            while True:
                for message in await loop.run_in_executor(thread, self._fetch, consumer):
                    self._take(message)
                if self._failure is not None:
                    raise self._failure
        finally:
            # Given to the thread before anything is waited for, so that a second cancellation cannot prevent it.
            closing = loop.run_in_executor(thread, consumer.close)
            thread.shutdown(wait=False)
            await self._drop(list(self._partitions))
            await asyncio.shield(closing)

    def _take(self, message: Message) -> None:
        error = message.error()
        if error is not None:
            if error.fatal():
                raise KafkaException(error)
            # A topic that its relay has not made yet appears with a later refresh of the metadata.
            log.debug("broker says", consumer=self._group, why=error.str())
            return
        key = (message.topic() or "", message.partition() or 0)
        partition = self._partitions.get(key)
        if partition is None:
            partition = self._partitions[key] = _Partition()
            partition.task = asyncio.create_task(self._work(key, partition), name=f"{self._group} {key}")
            partition.task.add_done_callback(self._ended)
        partition.buffer.append(message)
        partition.filled.set()
        if len(partition.buffer) >= MAX_BUFFERED and not partition.full:
            partition.full = True
            self._flow(key, partition)

    async def _work(self, key: tuple[str, int], partition: _Partition) -> None:
        def waiting(waits: bool) -> None:
            partition.waits = waits
            self._flow(key, partition)

        try:
            while True:
                await partition.filled.wait()
                chunk = [partition.buffer.popleft() for _ in range(min(CHUNK, len(partition.buffer)))]
                if not partition.buffer:
                    partition.filled.clear()
                    if partition.full:
                        partition.full = False
                        self._flow(key, partition)
                await self._inbox.apply(chunk, waiting=waiting)
                await failpoint("inbox.before_offset")
                self._orders.append((_COMMIT, key, (chunk[-1].offset() or 0) + 1))
        finally:
            if partition.waits:
                partition.waits = False
                self._count_paused()

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Have the member join anew when the work on a partition has died: nobody else would take what it holds."""
        if not task.cancelled() and task.exception() is not None:
            self._failure = task.exception()

    def _flow(self, key: tuple[str, int], partition: _Partition) -> None:
        """Pause or resume the fetching of a partition; polling goes on, or the group would expel its member."""
        self._count_paused()
        self._orders.append((_PAUSE if partition.full or partition.waits else _RESUME, key, 0))

    def _count_paused(self) -> None:
        PAUSED.labels(self._group).set(sum(each.waits for each in self._partitions.values()))

    async def _drop(self, keys: Sequence[tuple[str, int]]) -> None:
        """Stop the work on partitions that somebody else has now; what was not committed is theirs."""
        tasks = [each.task for key in keys if (each := self._partitions.pop(key, None)) is not None and each.task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # These run in the thread, called back from within poll or by `_fetch`.

    def _fetch(self, consumer: KafkaConsumer) -> list[Message]:
        """Wait a moment for one message, then take what else is there."""
        self._carry_out_orders(consumer)
        first = consumer.poll(POLL_SECONDS)
        if first is not None:
            self._held.append(first)
        if self._connection_lost:
            self._find_place(consumer)
            if self._connection_lost:
                return []
        held, self._held = self._held, []
        if self._misplaced_since is not None:
            if time.monotonic() - self._misplaced_since > REJOIN_SECONDS:
                raise BrokerAway("the group did not take its member back")
            return []
        return [*held, *consumer.consume(499, 0)] if held else []

    def _carry_out_orders(self, consumer: KafkaConsumer) -> None:
        """Do what the event loop has asked for: the library would make it wait until the running poll ends."""
        offsets: dict[tuple[str, int], int] = {}
        while self._orders:
            order, key, offset = self._orders.popleft()
            try:
                if order == _COMMIT:
                    offsets[key] = offset
                else:
                    (consumer.pause if order == _PAUSE else consumer.resume)([TopicPartition(*key)])
            except (KafkaException, RuntimeError) as error:
                log.debug("partition is no longer ours", consumer=self._group, why=str(error))
        if offsets:
            try:
                consumer.commit(offsets=[TopicPartition(*key, offset) for key, offset in offsets.items()])
            except (KafkaException, RuntimeError) as error:
                # Repeated events are skipped, so an offset that was not committed costs only time.
                log.debug("offsets not committed", consumer=self._group, why=str(error))

    def _find_place(self, consumer: KafkaConsumer) -> None:
        """Ask a broker that was away whether it still has the offsets that it had confirmed."""
        asked = [TopicPartition(*key) for key in self._confirmed]
        try:
            answered = consumer.committed(asked, timeout=METADATA_TIMEOUT_SECONDS) if asked else []
        except KafkaException:
            return  # not back yet; ask again
        self._connection_lost = False
        lost = any(p.error is None and p.offset < self._confirmed[p.topic, p.partition] for p in answered)
        self._misplaced_since = time.monotonic() if lost else None

    def _settle_in(self) -> None:
        """Begin at a place that the group has given."""
        self._connection_lost = False
        self._misplaced_since = None
        self._confirmed.clear()
        self._held.clear()

    def _on_commit(self, error: KafkaError | None, partitions: list[TopicPartition]) -> None:
        if error is None:
            self._confirmed |= {(p.topic, p.partition): p.offset for p in partitions if p.error is None}

    def _on_error(self, error: KafkaError) -> None:
        if error.code() == KafkaError._ALL_BROKERS_DOWN:
            self._connection_lost = True
            log.warning("consumer waits for the broker", consumer=self._group, why=error.str())

    async def _prune(self) -> None:
        while True:
            await asyncio.sleep(PRUNE_SECONDS)
            try:
                await self._inbox.prune()
            except Unavailable:
                pass
            except asyncpg.PostgresError as error:
                log.exception("the inbox was not pruned", error, consumer=self._group)
