"""The relay: with a producer written by hand for each fault, and once with a real broker that loses everything."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Sequence
from contextlib import asynccontextmanager
from types import SimpleNamespace

import confluent_kafka
import pytest

from control.servers.broker import Broker
from mesh import relay as relay_module
from mesh.database import Database
from mesh.kafka import Answers, BrokerAway, Outgoing
from mesh.outbox import Event, append, event_id
from mesh.relay import Relay, work_of
from mesh.seams import failpoints

TOPIC = "titan.mesh.v1"


class Log:
    """What a broker has, as the relay's producers see it."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, str, int]] = []
        self.headers: list[dict[str, bytes]] = []
        self.topics: set[str] = set()
        self.away = False
        self.refuses = lambda key, version: False
        self.unacknowledged = 0
        self.opened = 0
        self.in_flight: dict[str, int] = {}

    def forget(self) -> None:
        self.messages.clear()
        self.topics.clear()

    def versions(self, key: str) -> list[int]:
        return [version for _, found, version in self.messages if found == key]

    def sender(self) -> FakeSender:
        self.opened += 1
        return FakeSender(self)


class FakeSender:
    """A producer that acknowledges a moment later, or fails as its log says."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self.failure: BrokerAway | None = None

    async def missing_topics(self, topics) -> frozenset[str]:
        if self.log.away:
            raise BrokerAway("away")
        return frozenset(topics) - self.log.topics

    async def ensure_topics(self, topics) -> None:
        self.log.topics |= await self.missing_topics(topics)

    def send(self, messages: Sequence[Outgoing]) -> asyncio.Future[Answers]:
        return asyncio.ensure_future(self._send_all(messages))

    async def _send_all(self, messages: Sequence[Outgoing]) -> Answers:
        sending = [self._send(each.topic, each.key.decode(), dict(each.headers)) for each in messages]
        ended = await asyncio.gather(*sending, return_exceptions=True)
        assert all(error is None or isinstance(error, BrokerAway) for error in ended), ended
        return ended

    async def _send(self, topic, key, headers) -> None:
        log, version = self.log, int(headers["ce_aggregateversion"])
        assert not log.in_flight.get(key), "two of one aggregate in flight"
        log.in_flight[key] = version
        try:
            await asyncio.sleep(0.001)
            if log.away or topic not in log.topics or log.refuses(key, version):
                raise BrokerAway("not acknowledged")
            log.messages.append((topic, key, version))
            log.headers.append(headers)
            if log.unacknowledged:
                log.unacknowledged -= 1
                raise BrokerAway("acknowledgement lost")
        finally:
            log.in_flight.pop(key)

    async def close(self) -> None:
        pass


@pytest.fixture
async def log(db, monkeypatch) -> Log:
    monkeypatch.setattr(relay_module, "TURN_SECONDS", 0.02)
    monkeypatch.setattr(relay_module, "CHECK_SECONDS", 0.05)
    monkeypatch.setattr(relay_module, "MAX_BACKOFF_SECONDS", 0.02)
    async with db.hot() as tx:
        await tx.execute("TRUNCATE outbox")
    return Log()


@asynccontextmanager
async def running(url: str, log: Log, cell: str = "local"):
    task = asyncio.create_task(Relay(url, "", "svc_mesh", cell=cell, open_sender=log.sender).run())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def add(db: Database, *keys: str, versions=(1,)) -> None:
    async with db.hot() as tx:
        await append(tx, [Event(TOPIC, f"{TOPIC}.Changed", key, version, b"x") for key in keys for version in versions])


async def drained(db: Database, seconds: float = 5) -> None:
    async with asyncio.timeout(seconds):
        while True:
            async with db.hot_read() as connection:
                if not await connection.fetchval("SELECT count(*) FROM outbox WHERE published_at IS NULL"):
                    return
            await asyncio.sleep(0.01)


async def test_events_arrive_in_order_with_their_headers(db, database_url, log):
    """More than a batch; each aggregate in order, one at a time; CloudEvents headers in binary mode."""
    await add(db, *[f"k{n}" for n in range(120)], versions=range(1, 6))
    async with running(database_url, log, cell="north"):
        await drained(db)

    assert 600 == len(log.messages)
    assert all([1, 2, 3, 4, 5] == log.versions(f"k{n}") for n in range(120))
    headers = log.headers[0]
    assert headers["ce_id"].decode() == str(event_id(TOPIC, "k0", 1))
    assert (b"1.0", b"/svc_mesh", b"k0", b"north", b"1", f"{TOPIC}.Changed".encode()) == tuple(
        headers[f"ce_{name}"] for name in ("specversion", "source", "subject", "cell", "aggregateversion", "type")
    )
    assert headers["ce_time"].endswith(b"Z")


async def test_a_commit_wakes_the_relay(db, database_url, log, monkeypatch):
    """Nobody waits for the poll in the process that committed."""
    monkeypatch.setattr(relay_module, "POLL_SECONDS", 30)
    monkeypatch.setattr(relay_module, "CHECK_SECONDS", 30)
    async with running(database_url, log):
        await add(db, "first")
        await drained(db)
        await asyncio.sleep(0.05)
        await add(db, "second")
        await drained(db, seconds=1)


async def test_it_drains_after_the_broker_was_away(db, database_url, log):
    """Nothing is lost and nothing fails while the broker is down."""
    log.away = True
    async with running(database_url, log) as task:
        await add(db, "patient", versions=(1, 2, 3))
        async with asyncio.timeout(5):
            while log.opened < 3:
                await asyncio.sleep(0.01)
        assert not task.done()
        assert [] == log.messages
        log.away = False
        await drained(db)
    assert [1, 2, 3] == log.versions("patient")


async def test_a_refused_message_holds_back_its_aggregate_alone(db, database_url, log):
    """Later versions wait for the refused one; other aggregates go on; when it passes the order is whole."""
    log.refuses = lambda key, version: key == "stuck" and version == 2
    async with running(database_url, log):
        await add(db, "stuck", "free", versions=(1, 2, 3))
        async with asyncio.timeout(5):
            while [1, 2, 3] != log.versions("free"):
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        assert [1] == log.versions("stuck")
        log.refuses = lambda key, version: False
        await drained(db)
    assert [1, 2, 3] == log.versions("stuck")


async def test_a_lost_acknowledgement_repeats_in_order(db, database_url, log):
    """What may not have arrived is sent again before what comes after it."""
    log.unacknowledged = 1
    async with running(database_url, log):
        await add(db, "unsure", versions=(1, 2))
        await drained(db)
    assert [1, 1, 2] == log.versions("unsure")


async def test_a_crash_before_the_mark_publishes_again(db, database_url, log):
    """The mark is what counts, and it comes after the acknowledgement."""
    failpoints.arm("relay.before_mark", "raise*1")
    async with running(database_url, log):
        await add(db, "twice")
        await drained(db)
    assert [1, 1] == log.versions("twice")


async def test_a_broker_that_lost_its_topics_is_filled_again(db, database_url, log):
    """Also when nothing new is published: what is kept goes out again, from the oldest on."""
    async with running(database_url, log):
        await add(db, "kept", versions=(1, 2, 3))
        await drained(db)
        log.forget()
        async with asyncio.timeout(5):
            while [1, 2, 3] != log.versions("kept"):
                await asyncio.sleep(0.01)
        await drained(db)


@pytest.mark.parametrize("rows", [2, 10_000])
async def test_a_refill_that_was_broken_off_goes_on(db, database_url, log, monkeypatch, rows):
    """Whatever dies between noticing the loss and making the topic: the missing topic still says what is to be done."""
    monkeypatch.setattr(relay_module, "REFILL_ROWS", rows)
    async with running(database_url, log):
        await add(db, "lost", versions=(1, 2, 3))
        await drained(db)
    log.forget()
    failpoints.arm("relay.before_topics", "raise*2")
    async with running(database_url, log):
        async with asyncio.timeout(5):
            while [1, 2, 3] != log.versions("lost"):
                await asyncio.sleep(0.01)
        await drained(db)
    assert failpoints.armed["relay.before_topics"].left == 0


async def test_a_database_that_dies_during_a_refill_does_not_end_it(db, database_url, log, monkeypatch):
    """The topic is made only when every row of it was committed as unpublished."""
    async with running(database_url, log):
        await add(db, "lost", versions=(1, 2, 3))
        await drained(db)
    log.forget()
    async with db.hot() as tx:
        await tx.execute("CREATE SEQUENCE IF NOT EXISTS refills")
        await tx.execute(
            "CREATE FUNCTION fail_once() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            " IF nextval('refills') = 2 THEN RAISE EXCEPTION 'gone'; END IF; RETURN NEW; END $$"
        )
        await tx.execute("CREATE TRIGGER fail_once BEFORE UPDATE ON outbox FOR EACH ROW EXECUTE FUNCTION fail_once()")
    try:
        async with running(database_url, log):
            async with asyncio.timeout(5):
                while [1, 2, 3] != log.versions("lost"):
                    await asyncio.sleep(0.01)
    finally:
        async with db.hot() as tx:
            await tx.execute("DROP FUNCTION fail_once CASCADE")


async def test_a_prune_that_fails_stalls_nothing(db, database_url, log):
    """Events go out though nothing can be deleted."""
    async with db.hot() as tx:
        await tx.execute(
            "CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no'; END $$"
        )
        await tx.execute("CREATE TRIGGER keep BEFORE DELETE ON outbox EXECUTE FUNCTION keep()")
    try:
        async with running(database_url, log):
            await add(db, "first")
            await drained(db)
            await asyncio.sleep(0.05)
            await add(db, "second")
            await drained(db)
    finally:
        async with db.hot() as tx:
            await tx.execute("DROP FUNCTION keep CASCADE")
    assert 1 == log.opened


async def test_pruning_reads_what_is_old_alone(db):
    """The table keeps a week of events, so the prune of every minute must not read them all."""
    async with db.hot_read() as connection:
        await connection.execute("SET enable_seqscan = off")
        plan = "\n".join(
            row[0]
            for row in await connection.fetch("EXPLAIN " + relay_module._PRUNE.replace("$1", "7").replace("$2", "1000"))
        )
        await connection.execute("RESET enable_seqscan")
    assert "outbox_published" in plan


def test_a_process_runs_the_relay_of_its_cell():
    """The cell of the topology is in every event; without a broker there is no relay."""
    settings = SimpleNamespace(kafka="127.0.0.1:1", database_url="", database_password=None)
    runtime = SimpleNamespace(settings=settings, package="svc_mesh", topology=SimpleNamespace(cell="north"))

    (run,) = work_of(runtime)
    assert b"north" == dict(run.__self__._same_headers)["ce_cell"]
    settings.kafka = ""
    assert [] == work_of(runtime)


async def test_one_relay_at_a_time(db, database_url, log):
    """Two replicas publish each event once; when the first goes the second takes over."""
    async with running(database_url, log):
        async with running(database_url, log) as first:
            await asyncio.sleep(0.05)
            await add(db, *[f"r{n}" for n in range(50)])
            await drained(db)
            assert 50 == len(log.messages)
            first.cancel()
        await add(db, "after")
        await drained(db)
    assert 51 == len(log.messages)


async def test_an_open_transaction_elsewhere_stalls_nothing(db, database_url, log):
    """A row of a lower number that commits late is published late, and the others did not wait for it."""
    async with running(database_url, log):
        async with db.hot() as slow:
            await append(slow, [Event(TOPIC, f"{TOPIC}.Changed", "late", 1, b"x")])
            await add(db, "early")
            await drained(db)
            assert [(TOPIC, "early", 1)] == log.messages
        await drained(db)
    assert [(TOPIC, "early", 1), (TOPIC, "late", 1)] == log.messages


async def test_published_rows_are_pruned_after_their_time(db, database_url, log):
    """Old and published goes; young, or unpublished at any age, stays."""
    log.refuses = lambda key, version: key == "unpublished"
    await add(db, "old", "young", "unpublished")
    async with db.hot() as tx:
        await tx.execute("UPDATE outbox SET published_at = now() - interval '8 days' WHERE aggregate_id = 'old'")
        await tx.execute("UPDATE outbox SET published_at = now() WHERE aggregate_id = 'young'")
        await tx.execute("UPDATE outbox SET recorded_at = now() - interval '9 days' WHERE aggregate_id = 'unpublished'")
    log.topics.add(TOPIC)
    relay = Relay(database_url, "", "svc_mesh", cell="local", open_sender=log.sender)
    async with db.hot_read() as connection:
        await relay._rest(connection, log.sender())
        rows = await connection.fetch("SELECT aggregate_id FROM outbox ORDER BY 1")
    assert ["unpublished", "young"] == [row["aggregate_id"] for row in rows]


async def test_a_real_broker_that_is_killed_and_comes_back_empty(db, database_url, log, titan_home):
    """Events committed before, during and after the outage are all in the new broker, in order."""
    data, logfile = titan_home / "data" / "kafka-relay", titan_home / "log" / "kafka-relay.log"
    broker = Broker(data=data, log=logfile)
    broker.start()
    task = asyncio.create_task(Relay(database_url, broker.url, "svc_mesh", cell="local").run())
    try:
        await add(db, "real", versions=(1, 2))
        await drained(db, seconds=10)
        assert [1, 2] == await asyncio.to_thread(consumed, broker.url, 2)
        kill(broker)
        await add(db, "real", versions=(3, 4))
        await asyncio.sleep(0.3)
        await asyncio.to_thread(broker.start)
        await drained(db, seconds=15)
        await add(db, "real", versions=(5,))
        await drained(db, seconds=10)
        assert [1, 2, 3, 4, 5] == await asyncio.to_thread(consumed, broker.url, 5)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        kill(broker)


def kill(broker: Broker) -> None:
    """End the broker at once; asked kindly it waits for its clients."""
    if broker.pid:
        os.kill(broker.pid, signal.SIGKILL)
    broker.stop()


def consumed(url: str, count: int) -> list[int]:
    """Read that many messages of the topic, without a group, and return their versions."""
    consumer = confluent_kafka.Consumer({"bootstrap.servers": url, "group.id": "reader", "enable.auto.commit": False})
    beginning = confluent_kafka.OFFSET_BEGINNING
    partitions = consumer.list_topics(TOPIC, timeout=5).topics[TOPIC].partitions
    consumer.assign([confluent_kafka.TopicPartition(TOPIC, each, beginning) for each in partitions])
    versions: list[int] = []
    for _ in range(100):
        message = consumer.poll(0.1)
        if message is not None and message.error() is None:
            versions.append(int(dict(message.headers())["ce_aggregateversion"]))
        if len(versions) == count:
            break
    consumer.close()
    return versions
