"""A member of a group: against a library played by hand, and once on a real broker that loses everything."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from types import SimpleNamespace
from typing import ClassVar

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from control.servers.broker import Broker
from mesh import consumer as consumer_module
from mesh.consumer import Consumer
from mesh.kafka import PARTITIONS
from mesh.outbox import Event, append
from mesh.received import decode
from mesh.relay import Relay
from mesh.seams import failpoints
from tests.mesh.deliveries import TOPIC, FakeMessage, NotAcceptable, seen


async def test_a_group_survives_a_broker_that_loses_everything(db, database_url, shelf, titan_home):
    """Through relay, broker and group: each event once, in order, before and after the broker was killed.

    The member had paused its partitions when it lost them; nobody else would ever resume them.
    """
    data, logfile = titan_home / "data" / "kafka-inbox", titan_home / "log" / "kafka-inbox.log"
    broker = Broker(data=data, log=logfile)
    broker.start()
    consumer = Consumer(broker.url, "readers", [TOPIC], db, shelf, session_timeout_ms=1000)
    tasks = [
        asyncio.create_task(Relay(database_url, broker.url, "svc_mesh", cell="local").run()),
        asyncio.create_task(consumer.run()),
    ]
    shelf.failures["poison", 1] = [NotAcceptable("never")]
    try:
        await add(db, "a", 1)
        await add(db, "poison", 1)
        await add(db, "a", 2)
        await until_seen(db, 2)
        consumer._orders.extend(("pause", (TOPIC, partition), 0) for partition in range(PARTITIONS))
        async with asyncio.timeout(5):
            while consumer._orders:
                await asyncio.sleep(0.02)
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


MEMBER = """
import sys
from confluent_kafka import Consumer
address, group, topic, session = sys.argv[1:]
member = Consumer({"bootstrap.servers": address, "group.id": group, "session.timeout.ms": session})
member.subscribe([topic], on_assign=lambda _, partitions: print("assigned", flush=True))
while True:
    member.poll(0.1)
"""
START_SECONDS, REJOINED_SECONDS = 1.5, 5.0
"""What a service needs to start again after its death, and when it has to be at its work again."""


async def test_a_member_that_was_killed_has_a_successor_at_once(db, database_url, shelf, titan_home):
    """The dead one still holds its partitions; nobody has told the broker."""
    broker = Broker(data=titan_home / "data" / "kafka-rejoin", log=titan_home / "log" / "kafka-rejoin.log")
    await asyncio.to_thread(broker.start)
    relay = asyncio.create_task(Relay(database_url, broker.url, "svc_mesh", cell="local").run())
    consuming: asyncio.Task[None] | None = None
    arguments = [broker.url, "readers", TOPIC, str(consumer_module.SESSION_TIMEOUT_MS)]
    await add(db, "a", 1)
    member = await asyncio.create_subprocess_exec(
        sys.executable, "-c", MEMBER, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        await asyncio.wait_for(member.stdout.readline(), 20)
        member.kill()
        died = time.monotonic()
        await asyncio.sleep(START_SECONDS)
        consuming = asyncio.create_task(Consumer(broker.url, "readers", [TOPIC], db, shelf).run())
        await until_seen(db, 1)
        assert time.monotonic() - died < REJOINED_SECONDS
    finally:
        for task in filter(None, (relay, consuming)):
            task.cancel()
        await asyncio.gather(*filter(None, (relay, consuming)), return_exceptions=True)
        if member.returncode is None:
            member.kill()
        await member.wait()
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
    monkeypatch.setattr(consumer_module, "KafkaConsumer", FakeMember)
    monkeypatch.setattr(FakeMember, "members", [])
    return FakeMember.members


async def test_a_member_joins_anew_when_work_has_died(db, shelf, members):
    """A partition that nobody works on would be fetched for ever and never applied."""
    failpoints.arm("inbox.before_offset", "raise*1")
    await run_until_committed(Consumer("", "readers", [TOPIC], db, shelf), members)
    assert [[], [1]] == [member.committed for member in members]
    assert [("member", 1)] == await seen(db)


async def test_a_member_forgets_what_the_last_membership_wanted(db, shelf, members):
    """An offset of an old place, committed at a new one, would skip events."""
    consumer = Consumer("", "readers", [TOPIC], db, shelf)
    consumer._orders.append(("commit", (TOPIC, 0), 99))
    await run_until_committed(consumer, members)
    assert [[1]] == [member.committed for member in members]


async def test_a_member_that_got_nothing_of_a_topic_joins_anew_once_it_is_there(db, shelf, members, monkeypatch):
    """The library takes a topic for known that came while the group shared out. A large group has nothing for some."""
    there = {TOPIC: SimpleNamespace(error=None)}

    class Late(FakeMember):
        def subscribe(self, topics, *, on_assign, **callbacks) -> None:
            self.assign = on_assign

        def poll(self, seconds):
            if self.messages:
                assigned = [TopicPartition(TOPIC, 0)] if len(self.members) == 1 else []
                self.assign(self, assigned)
            return super().poll(seconds)

        def list_topics(self, timeout):
            return SimpleNamespace(topics=there)

        def resume(self, partitions) -> None:
            pass

    monkeypatch.setattr(consumer_module, "KafkaConsumer", Late)
    monkeypatch.setattr(consumer_module, "UNASSIGNED_SECONDS", 0.05)
    task = asyncio.create_task(Consumer("", "readers", [TOPIC, "late"], db, shelf).run())
    try:
        await asyncio.sleep(0.2)
        assert 1 == len(members)
        there["late"] = SimpleNamespace(error=None)
        async with asyncio.timeout(5):
            while len(members) < 2:
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.2)
        assert 2 == len(members)  # it had something of the other before, and has asked for the late one
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


class Refusal:
    """The broker's answer to a member whose session it finds too short."""

    def error(self):
        return KafkaError(KafkaError.INVALID_SESSION_TIMEOUT)


async def test_a_broker_that_allows_no_short_session_gets_a_longer_one(db, shelf, members, monkeypatch):
    asked = []

    class Choosy(FakeMember):
        def __init__(self, settings) -> None:
            super().__init__(settings)
            asked.append((settings["session.timeout.ms"], settings["heartbeat.interval.ms"]))
            if settings["session.timeout.ms"] < consumer_module.LEAST_SESSION_TIMEOUT_MS:
                self.messages = [Refusal()]

    monkeypatch.setattr(consumer_module, "KafkaConsumer", Choosy)
    await run_until_committed(Consumer("", "readers", [TOPIC], db, shelf), members)
    assert [(2000, 500), (6000, 1500)] == asked
    assert [("member", 1)] == await seen(db)


async def run_until_committed(consumer: Consumer, members: list[FakeMember]) -> None:
    task = asyncio.create_task(consumer.run())
    try:
        async with asyncio.timeout(5):
            while not any(member.committed for member in members):
                await asyncio.sleep(0.01)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


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
