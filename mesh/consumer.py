"""A member of a consumer group: fetches topics in a thread and has the inbox apply them, a task per partition.

It owns the membership, the flow of each partition and the offsets. It knows neither what an event means nor what was
applied before: the inbox does.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import asyncpg
from confluent_kafka import Consumer as KafkaConsumer
from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition
from prometheus_client import Gauge

from mesh.database import Database
from mesh.dead_letters import DeadLetters
from mesh.inbox import Handler, Inbox
from mesh.kafka import METADATA_TIMEOUT_SECONDS, BrokerAway, Publisher, missing_topics, quiet
from mesh.refusals import Unavailable
from mesh.seams import failpoint
from mesh.telemetry import REGISTRY, get_logger

log = get_logger("mesh.consumer")

CHUNK_EVENTS = 50
"""How many share a transaction: a fault among them makes all of them be taken one by one."""
FETCHED_EVENTS = 500
MAX_BUFFERED_EVENTS = 1000
"""A partition with so many waiting is not fetched until they are applied."""
POLL_SECONDS = 0.25
DROP_SECONDS = 10.0
SESSION_TIMEOUT_MS = 2000
"""How long a member that died keeps its partitions from the next one: about as long as that one needs to start."""

LEAST_SESSION_TIMEOUT_MS = 6000
"""The least that Apache Kafka allows where nobody has lowered its `group.min.session.timeout.ms`."""
REJOIN_SECONDS = 60.0
UNASSIGNED_SECONDS = 5.0
"""How long a topic may be in no partition of a member before it asks whether the topic is there: the library looks for
new ones every two seconds."""

PRUNE_SECONDS = 600.0

PAUSED = Gauge("titan_inbox_paused_partitions", "Partitions that wait.", ["consumer"], registry=REGISTRY)

_COMMIT, _PAUSE, _RESUME = "commit", "pause", "resume"


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

    A topic that is made while a group shares out its partitions can be left out for good: the library then takes it for
    known. A member that got nothing of a topic that is there joins anew, once, and then believes that others have it.
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
            **_session(session_timeout_ms),
            "allow.auto.create.topics": False,
            "topic.metadata.refresh.interval.ms": 2000,
            "fetch.wait.max.ms": 100,
            "reconnect.backoff.max.ms": 1000,
            "logger": quiet,
            "error_cb": self._on_error,
            "on_commit": self._on_commit,
        }
        self._dead_letters = DeadLetters(group, lambda: Publisher(kafka, client_id=f"{group} dead letters"))
        self._inbox = Inbox(group, db, handler, self._dead_letters)
        self._partitions: dict[tuple[str, int], _Partition] = {}
        self._connection_lost = False
        self._misplaced_since: float | None = None
        self._confirmed: dict[tuple[str, int], int] = {}
        self._held: list[Message] = []
        self._failure: BaseException | None = None
        self._orders: deque[tuple[str, tuple[str, int], int]] = deque()
        self._unassigned: set[str] = set()
        self._look_at = math.inf
        self._joined_for: set[str] = set()

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
            await self._dead_letters.close()

    async def _be_member(self) -> None:
        loop = asyncio.get_running_loop()
        self._settle_in()
        self._look_at = math.inf
        self._orders.clear()  # those of the last membership are about a place that may be another member's by now
        self._failure = None

        def revoked(losing: KafkaConsumer, partitions: list[TopicPartition]) -> None:
            dropping = self._drop([(p.topic, p.partition) for p in partitions])
            asyncio.run_coroutine_threadsafe(dropping, loop).result(DROP_SECONDS)
            self._carry_out_orders(losing)

        def assigned(_: KafkaConsumer, partitions: list[TopicPartition]) -> None:
            self._settle_in()
            self._note_assigned({p.topic for p in partitions})
            # The library remembers what this member had paused, also when it lost the partition in between.
            self._orders.extend((_RESUME, (p.topic, p.partition), 0) for p in partitions)

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
            if error.code() == KafkaError.INVALID_SESSION_TIMEOUT:
                self._settings |= _session(LEAST_SESSION_TIMEOUT_MS)
                raise KafkaException(error)
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
        if len(partition.buffer) >= MAX_BUFFERED_EVENTS and not partition.full:
            partition.full = True
            self._flow(key, partition)

    async def _work(self, key: tuple[str, int], partition: _Partition) -> None:
        def waiting(waits: bool) -> None:
            partition.waits = waits
            self._flow(key, partition)

        try:
            while True:
                await partition.filled.wait()
                chunk = [partition.buffer.popleft() for _ in range(min(CHUNK_EVENTS, len(partition.buffer)))]
                if not partition.buffer:
                    partition.filled.clear()
                    if partition.full:
                        partition.full = False
                        self._flow(key, partition)
                await failpoint("inbox.before_apply")
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
        if time.monotonic() >= self._look_at:
            self._look_for_topics(consumer)
        held, self._held = self._held, []
        if self._misplaced_since is not None:
            if time.monotonic() - self._misplaced_since > REJOIN_SECONDS:
                raise BrokerAway("the group did not take its member back")
            return []
        return [*held, *consumer.consume(FETCHED_EVENTS - 1, 0)] if held else []

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

    def _note_assigned(self, topics: set[str]) -> None:
        """Remember of which topics this member got nothing, and look for them later."""
        self._joined_for |= topics  # the library knows them: nothing of them later means that others have it
        self._unassigned = set(self._topics) - topics - self._joined_for
        self._look_at = time.monotonic() + UNASSIGNED_SECONDS if self._unassigned else math.inf

    def _look_for_topics(self, consumer: KafkaConsumer) -> None:
        """Have the member join anew for topics that are there, and of which it has nothing."""
        self._look_at = time.monotonic() + UNASSIGNED_SECONDS
        try:
            made = self._unassigned - missing_topics(consumer, frozenset(self._unassigned))
        except BrokerAway:
            return  # a broker that is slow to say so is no reason to leave
        if made:
            self._joined_for |= made
            raise BrokerAway(f"nothing was assigned of {', '.join(sorted(made))}")

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
            self._joined_for.clear()
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


def _session(timeout_ms: int) -> dict[str, int]:
    """Return the settings of a member that its group gives up when it was silent for so long."""
    return {"session.timeout.ms": timeout_ms, "heartbeat.interval.ms": timeout_ms // 4}
