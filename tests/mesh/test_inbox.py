"""The inbox: messages written by hand for each fault, and once a real group on a broker that loses everything."""

from __future__ import annotations

import asyncio
import os
import signal
import time
import uuid
from contextlib import suppress
from typing import ClassVar

import grpc
import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition
from google.protobuf.message import DecodeError

from control.servers.broker import Broker
from mesh import inbox as inbox_module
from mesh.inbox import Consumer, Inbox, Poison, decode, is_poison, unpark
from mesh.kafka import BrokerAway
from mesh.outbox import Event, append, event_id
from mesh.refusals import Overloaded, Refusal, Unavailable
from mesh.relay import Relay
from mesh.seams import FailpointReached, failpoints
from titan.type.v1 import money_pb2

TOPIC = "titan.mesh.v1"


class NotAcceptable(Refusal):
    code = grpc.StatusCode.FAILED_PRECONDITION


class FakeMessage:
    """A message as the client library gives it."""

    def __init__(self, key: str, version: int, value: bytes = b"", *, offset: int = 0, **changes) -> None:
        self._key, self._value, self._offset = key, value, offset
        attributes = {
            "ce_id": str(event_id(TOPIC, key, version)),
            "ce_type": f"{TOPIC}.Changed",
            "ce_time": "2026-05-01T12:00:00.5Z",
            "ce_aggregateversion": str(version),
            "ce_subject": key,
            **changes,
        }
        self._headers = [(name, text.encode()) for name, text in attributes.items() if text is not None]

    def topic(self):
        return TOPIC

    def partition(self):
        return 0

    def offset(self):
        return self._offset

    def key(self):
        return self._key.encode()

    def value(self):
        return self._value or None

    def headers(self):
        return self._headers

    def error(self):
        return None


class Dead:
    """Dead letters in a list; it can be away."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, str, dict]] = []
        self.away = 0
        self.topics: set[str] = set()

    async def ensure_topics(self, topics):
        self.topics |= set(topics)
        return frozenset()

    def send(self, topic, *, key, value, headers):
        future = asyncio.get_running_loop().create_future()
        if self.away:
            self.away -= 1
            future.set_exception(BrokerAway("away"))
        else:
            assert topic in self.topics
            self.messages.append((topic, key.decode(), dict(headers)))
            future.set_result(None)
        return future

    async def close(self):
        pass


class Shelf:
    """A handler that writes what it sees to a table, and fails on demand."""

    def __init__(self) -> None:
        self.failures: dict[tuple[str, int], list[Exception]] = {}
        self.calls = 0

    async def __call__(self, tx, event) -> None:
        self.calls += 1
        await tx.execute(
            "INSERT INTO seen (consumer, key, version) VALUES ('', $1, $2)", event.aggregate_id, event.version
        )
        if event.payload == b"undecodable":
            money_pb2.Money.FromString(b"\xff\xff\xff")
        queue = self.failures.get((event.aggregate_id, event.version))
        if queue:
            raise queue.pop(0) if len(queue) > 1 else queue[0]


@pytest.fixture
async def shelf(db, monkeypatch) -> Shelf:
    monkeypatch.setattr(inbox_module, "FIRST_BACKOFF_SECONDS", 0.005)
    async with db.hot() as tx:
        await tx.execute("CREATE TABLE IF NOT EXISTS seen (n serial, consumer text, key text, version int)")
        await tx.execute("TRUNCATE seen, inbox, inbox_aggregates, outbox")
    return Shelf()


@pytest.fixture
def dead() -> Dead:
    return Dead()


@pytest.fixture
def inbox(db, shelf, dead) -> Inbox:
    return Inbox("test", db, shelf, lambda: dead)


async def seen(db) -> list[tuple[str, int]]:
    async with db.hot_read() as connection:
        return [
            (row["key"], row["version"]) for row in await connection.fetch("SELECT key, version FROM seen ORDER BY n")
        ]


async def test_events_are_applied_in_order_in_one_transaction(db, inbox, shelf):
    """A chunk of many aggregates is applied as it came."""
    await inbox.apply([FakeMessage(key, version) for version in (1, 2) for key in "abc"])

    assert [(key, version) for version in (1, 2) for key in "abc"] == await seen(db)
    assert 6 == shelf.calls


async def test_duplicates_are_skipped(db, inbox):
    """Within a chunk, after it, and one by one."""
    await inbox.apply([FakeMessage("a", 1), FakeMessage("a", 1), FakeMessage("a", 2)])
    await inbox.apply([FakeMessage("a", 1)])
    await inbox.apply([FakeMessage("a", 1), FakeMessage("a", 2), FakeMessage("a", 3)])

    assert [("a", 1), ("a", 2), ("a", 3)] == await seen(db)


async def test_stale_versions_are_skipped(db, inbox):
    """An older version that comes late, under an id never seen, changes nothing."""
    await inbox.apply([FakeMessage("a", 5)])
    await inbox.apply([FakeMessage("a", 4), FakeMessage("a", 5, ce_id=str(uuid.uuid4())), FakeMessage("b", 1)])

    assert [("a", 5), ("b", 1)] == await seen(db)


async def test_consumers_do_not_share_their_notes(db, inbox, shelf, dead):
    """Two groups on one database each apply an event."""
    await inbox.apply([FakeMessage("a", 1)])
    await Inbox("other", db, shelf, lambda: dead).apply([FakeMessage("a", 1)])

    assert [("a", 1), ("a", 1)] == await seen(db)


async def test_a_refused_event_is_parked_with_what_follows_it(db, inbox, shelf, dead):
    """After three tries it is dead, later versions of its key follow it, and neighbours are applied."""
    shelf.failures["bad", 1] = [NotAcceptable("never")]
    await inbox.apply(
        [FakeMessage("good", 1), FakeMessage("bad", 1, offset=7), FakeMessage("bad", 2), FakeMessage("good", 2)]
    )
    await inbox.apply([FakeMessage("bad", 3), FakeMessage("good", 3)])
    await inbox.apply([FakeMessage("bad", 1), FakeMessage("bad", 2)])  # delivered twice, buried once

    assert [("good", 1), ("good", 2), ("good", 3)] == await seen(db)
    assert [(f"{TOPIC}.dead", "bad", b"%d" % n) for n in (1, 2, 3)] == [
        (topic, key, headers["ce_aggregateversion"]) for topic, key, headers in dead.messages
    ]
    headers = dead.messages[0][2]
    assert (b"test", b"NOT_ACCEPTABLE", b"0:7") == tuple(
        headers[f"titan_dead_{name}"] for name in ("consumer", "reason", "position")
    )


async def test_a_refused_event_has_three_tries(db, inbox, shelf, dead):
    """What passes at the third is no poison."""
    shelf.failures["a", 1] = [NotAcceptable("1"), NotAcceptable("2"), ZeroDivisionError(), Unavailable("3")]

    class Once(Shelf):
        async def __call__(self, tx, event):
            self.calls += 1
            if self.calls < 3:
                raise NotAcceptable("not yet")

    once = Once()
    await Inbox("test", db, once, lambda: dead).apply([FakeMessage("a", 1)])
    assert 3 == once.calls
    assert [] == dead.messages


@pytest.mark.parametrize(
    "message",
    [
        FakeMessage("x", 1, ce_id="no uuid"),
        FakeMessage("x", 1, ce_type=None),
        FakeMessage("x", 1, ce_aggregateversion="one"),
        FakeMessage("x", 1, b"undecodable"),
    ],
)
async def test_what_cannot_be_decoded_is_dead(db, inbox, dead, message):
    """Headers or payload: it is set aside, and its neighbours are applied."""
    await inbox.apply([FakeMessage("a", 1), message, FakeMessage("a", 2)])

    assert [("a", 1), ("a", 2)] == await seen(db)
    assert ["x"] == [key for _, key, _ in dead.messages]


async def test_a_dead_letter_does_not_carry_a_row(db, dead):
    """Why it is dead is told by constraint and state; the row stays in the database."""

    async def handler(tx, event) -> None:
        await tx.execute("CREATE TEMP TABLE IF NOT EXISTS strict (email text CONSTRAINT short CHECK (email = ''))")
        await tx.execute("INSERT INTO strict VALUES ('ada@example.com')")

    inbox = Inbox("strict", db, handler, lambda: dead)
    await inbox.apply([FakeMessage("personal", 1)])

    (_, _, headers), *_ = dead.messages
    async with db.hot_read() as connection:
        reason = await connection.fetchval("SELECT parked_reason FROM inbox_aggregates WHERE consumer = 'strict'")
    assert reason == headers["titan_dead_reason"].decode()
    assert "23514" in reason and "short" in reason and "ada" not in reason


async def test_a_key_is_applied_again_after_unpark(db, inbox, shelf, dead):
    """An operator lets a key go on."""
    shelf.failures["a", 1] = [Poison("no")]
    await inbox.apply([FakeMessage("a", 1)])
    async with db.hot() as tx:
        assert await unpark(tx, consumer="test", topic=TOPIC, aggregate_id="a")
        assert not await unpark(tx, consumer="test", topic=TOPIC, aggregate_id="b")
    await inbox.apply([FakeMessage("a", 2)])

    assert [("a", 2)] == await seen(db)


@pytest.mark.parametrize("failure", [Unavailable("x"), Overloaded("x"), ConnectionRefusedError(), KeyError("a bug")])
async def test_a_failing_dependency_pauses_and_resumes(db, inbox, shelf, dead, failure):
    """It is no fault of the event: nothing is buried, the partition says that it waits, and goes on."""
    told = []

    async def mend():
        await asyncio.sleep(0.05)
        shelf.failures.clear()

    shelf.failures["a", 2] = [failure]
    mending = asyncio.create_task(mend())
    await inbox.apply([FakeMessage("a", 1), FakeMessage("a", 2), FakeMessage("a", 3)], waiting=told.append)
    await mending

    assert [("a", 1), ("a", 2), ("a", 3)] == await seen(db)
    assert [True, False] == told
    assert [] == dead.messages
    assert shelf.calls > 5


async def test_dead_letters_wait_for_the_broker(db, inbox, shelf, dead):
    """An event is not dropped because the dead letters cannot be written."""
    dead.away = 2
    shelf.failures["a", 1] = [Poison("no")]
    await inbox.apply([FakeMessage("a", 1)])

    assert 1 == len(dead.messages)


async def test_a_crash_before_the_commit_applies_once(db, inbox):
    """The effect and the note of it are one transaction."""
    failpoints.arm("inbox.before_commit", "raise*1")
    with suppress(FailpointReached):
        await inbox.apply([FakeMessage("a", 1), FakeMessage("a", 2)])
    await inbox.apply([FakeMessage("a", 1), FakeMessage("a", 2)])

    assert [("a", 1), ("a", 2)] == await seen(db)


async def test_two_processes_at_once_apply_once(db, inbox, shelf, dead):
    """During a rebalance both may hold an event: one applies it, the other finds the note."""
    others = [Inbox("test", db, shelf, lambda: dead) for _ in range(3)]
    messages = [FakeMessage(f"k{n}", 1) for n in range(20)]
    await asyncio.gather(*[each.apply(messages) for each in others])

    assert 20 == len(await seen(db))
    assert [] == dead.messages


async def test_pruning_forgets_the_old(db, inbox):
    """Notes go after their time; how far an aggregate is stays."""
    await inbox.apply([FakeMessage("a", 1), FakeMessage("b", 1)])
    async with db.hot() as tx:
        await tx.execute(
            "UPDATE inbox SET applied_at = now() - interval '31 days' WHERE event_id = $1", event_id(TOPIC, "a", 1)
        )
    await inbox.prune()
    async with db.hot_read() as connection:
        assert 1 == await connection.fetchval("SELECT count(*) FROM inbox")
    await inbox.apply([FakeMessage("a", 1)])
    assert [("a", 1), ("b", 1)] == await seen(db)


def test_decoding_reads_cloudevents():
    """Binary mode headers, the key as the aggregate, a tombstone as an empty payload."""
    received = decode(FakeMessage("a", 3, b"payload", offset=9, ce_cell="north", traceparent="00-ab-cd-01"))

    assert ("a", 3, b"payload", "north", 9) == (
        received.aggregate_id,
        received.version,
        received.payload,
        received.cell,
        received.offset,
    )
    assert received.time.tzinfo is not None
    assert b"" == decode(FakeMessage("a", 1)).payload


def test_what_is_poison():
    """Only what no repetition will make acceptable."""
    assert all(map(is_poison, [Poison("x"), DecodeError("x"), NotAcceptable("x")]))
    assert not any(map(is_poison, [Unavailable("x"), Overloaded("x"), KeyError("x"), OSError("x"), TimeoutError()]))


async def test_a_group_survives_a_broker_that_loses_everything(db, database_url, shelf, titan_home):
    """Through relay, broker and group: each event once, in order, before and after the broker was killed."""
    data, logfile = titan_home / "data" / "kafka-inbox", titan_home / "log" / "kafka-inbox.log"
    broker = Broker(data=data, log=logfile)
    broker.start()
    tasks = [
        asyncio.create_task(Relay(database_url, broker.url, "svc_mesh", cell="local").run()),
        asyncio.create_task(Consumer(broker.url, "readers", [TOPIC], db, shelf, session_timeout_ms=1000).run()),
    ]
    shelf.failures["poison", 1] = [NotAcceptable("never")]
    try:
        await add(db, "a", 1)
        await add(db, "poison", 1)
        await add(db, "a", 2)
        await until_seen(db, 2)
        kill(broker)
        await add(db, "a", 3)
        await asyncio.to_thread(broker.start)
        await add(db, "poison", 2)
        await add(db, "a", 4)
        await until_seen(db, 4)
        assert [("a", n) for n in (1, 2, 3, 4)] == await seen(db)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        kill(broker)


class FakeGroup:
    """A group member's library: messages to poll, and what the broker says was committed."""

    def __init__(self, messages) -> None:
        self.messages = list(messages)
        self.offset: int | None = None

    def poll(self, seconds):
        return self.messages.pop(0) if self.messages else None

    def consume(self, count, seconds):
        taken, self.messages = self.messages, []
        return taken

    def committed(self, partitions, timeout):
        if self.offset is None:
            raise KafkaException(KafkaError(KafkaError._TRANSPORT))
        return [TopicPartition(TOPIC, 0, self.offset)]


@pytest.mark.parametrize(("offset", "kept"), [(5, [6, 7, 8, 9]), (-1001, [9])])
async def test_after_an_outage_a_place_is_kept_only_if_the_broker_knows_it(db, shelf, offset, kept):
    """Nothing is skipped when the log is the old one; nothing is read from the middle of another one."""
    consumer = Consumer("", "readers", [TOPIC], db, shelf)
    group = FakeGroup([FakeMessage("a", 6), FakeMessage("a", 7)])
    consumer._on_commit(None, [TopicPartition(TOPIC, 0, 5)])
    consumer._on_error(KafkaError(KafkaError._ALL_BROKERS_DOWN))
    got = [*consumer._fetch(group), *consumer._fetch(group)]
    assert [] == got  # away: held, since nobody can say what they are

    group.offset = offset
    group.messages = [FakeMessage("a", 8)]
    got = [*consumer._fetch(group), *consumer._fetch(group)]
    if offset < 0:
        consumer._settle_in()  # as an assignment does
    group.messages = [FakeMessage("a", 9)]
    got += consumer._fetch(group)
    assert kept == [decode(message).version for message in got]


class FakeMember:
    """A member of a group that is given the same message until it commits, in every membership."""

    members: ClassVar[list[FakeMember]] = []

    def __init__(self, settings) -> None:
        self.committed: list[int] = []
        self.messages = [FakeMessage("member", 1)]
        self.members.append(self)

    def subscribe(self, topics, **callbacks) -> None:
        pass

    def poll(self, seconds):
        time.sleep(0.01)
        return self.messages.pop() if self.messages else None

    def consume(self, count, seconds):
        return []

    def commit(self, offsets) -> None:
        self.committed += [each.offset for each in offsets]

    def close(self) -> None:
        pass


@pytest.fixture
def members(monkeypatch) -> list[FakeMember]:
    monkeypatch.setattr(inbox_module, "KafkaConsumer", FakeMember)
    monkeypatch.setattr(FakeMember, "members", [])
    return FakeMember.members


async def test_a_member_joins_anew_when_work_has_died(db, shelf, members):
    """A partition that nobody works on would be fetched for ever and never applied."""
    failpoints.arm("inbox.before_offset", "raise*1")
    task = asyncio.create_task(Consumer("", "readers", [TOPIC], db, shelf).run())
    try:
        async with asyncio.timeout(5):
            while not any(member.committed for member in members):
                await asyncio.sleep(0.01)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert [[], [1]] == [member.committed for member in members]
    assert [("member", 1)] == await seen(db)


async def test_a_member_forgets_what_the_last_membership_wanted(db, shelf, members):
    """An offset of an old place, committed at a new one, would skip events."""
    consumer = Consumer("", "readers", [TOPIC], db, shelf)
    consumer._orders.append(("commit", (TOPIC, 0), 99))
    task = asyncio.create_task(consumer.run())
    try:
        async with asyncio.timeout(5):
            while not any(member.committed for member in members):
                await asyncio.sleep(0.01)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert [[1]] == [member.committed for member in members]


async def add(db, key: str, version: int) -> None:
    async with db.hot() as tx:
        await append(tx, [Event(TOPIC, f"{TOPIC}.Changed", key, version, b"x")])


async def until_seen(db, count: int) -> None:
    async with asyncio.timeout(20):
        while len(await seen(db)) < count:
            await asyncio.sleep(0.02)


def kill(broker: Broker) -> None:
    if broker.pid:
        os.kill(broker.pid, signal.SIGKILL)
    broker.stop()
