"""Publishes the outbox: one relay per database at a time, in the order of the rows, until the broker has each.

There is no cursor: what is unpublished is taken by sequence number, published and marked, so a transaction that stays
open elsewhere holds up nothing. Within an aggregate the next event is sent only when the one before it was
acknowledged, so no fault of the broker or of the producer can turn their order around. A crash between publishing and
marking publishes again; consumers skip what they know. The relay never reads a payload.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter as Counted
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

import asyncpg
from prometheus_client import Counter, Gauge

from mesh import outbox
from mesh.database_errors import is_away
from mesh.kafka import BrokerAway, Outgoing, Publisher, Sender
from mesh.locks import disconnect, lock_key
from mesh.postgres import connect_alone
from mesh.refusals import Unavailable
from mesh.seams import failpoint
from mesh.secret_files import SecretFile
from mesh.telemetry import REGISTRY, get_logger

if TYPE_CHECKING:
    from mesh.runtime import Background, Runtime

log = get_logger("mesh.relay")

BATCH_EVENTS = 500
POLL_SECONDS = 0.5
"""For events that another process committed; this one's own wake the relay."""
GATHER_SECONDS = 0.1
"""How long an event waits for company: what one order causes is then read, sent and marked together."""
TURN_SECONDS = 1.0
CHECK_SECONDS = 5.0
PRUNE_SECONDS = 60.0
PRUNE_ROWS = 1000
REFILL_ROWS = 10_000
RETENTION_DAYS = 7
MAX_BACKOFF_SECONDS = 2.0

PUBLISHED = Counter("titan_outbox_published", "Events published.", ["package"], registry=REGISTRY)
LAG_SECONDS = Gauge("titan_outbox_lag_seconds", "Age of the oldest unpublished event.", ["package"], registry=REGISTRY)

_LOCK = lock_key("titan relay")
_TAKE = """
SELECT seq, event_id, topic, type, aggregate_id, version, subject, payload, traceparent, recorded_at
FROM outbox WHERE published_at IS NULL ORDER BY seq LIMIT $1
"""
_MARK = "UPDATE outbox SET published_at = now() WHERE seq = ANY($1::bigint[])"
_PRUNE = """
DELETE FROM outbox WHERE seq IN (
    SELECT seq FROM outbox WHERE published_at < now() - make_interval(days => $1) ORDER BY published_at LIMIT $2
)
"""
_AGAIN = """
WITH kept AS (
    SELECT seq FROM outbox WHERE published_at IS NOT NULL AND topic = ANY($1::text[]) AND seq > $2
    ORDER BY seq LIMIT $3
), again AS (
    UPDATE outbox SET published_at = NULL FROM kept WHERE outbox.seq = kept.seq RETURNING outbox.seq
)
SELECT count(*) AS events, max(seq) AS last FROM again
"""


def _chain(row: asyncpg.Record) -> tuple[str, str]:
    return row["topic"], row["aggregate_id"]


def _waves(rows: Sequence[asyncpg.Record]) -> list[list[asyncpg.Record]]:
    """Return sets with one event of an aggregate each: what may be on its way at the same time."""
    waves: list[list[asyncpg.Record]] = []
    depth: Counted[tuple[str, str]] = Counted()
    for row in rows:
        place = depth[_chain(row)]
        if place == len(waves):
            waves.append([])
        waves[place].append(row)
        depth[_chain(row)] += 1
    return waves


class RelaySender(Sender, Protocol):
    """A sender that can also say whether it is still good, and which topics are missing."""

    @property
    def failure(self) -> BrokerAway | None:
        """Why this sender is of no more use; None while it is."""
        ...

    async def missing_topics(self, topics: Iterable[str]) -> frozenset[str]:
        """Return those of the topics that the broker does not have."""
        ...


def work_of(runtime: Runtime, *, topics: Sequence[str] | None = None) -> list[Background]:
    """Return the relay of a process as background work: none where the settings name no broker.

    The topics are those of `Relay`.
    """
    if not runtime.settings.kafka:
        return []
    settings, cell = runtime.settings, runtime.topology.cell
    url, password = settings.database_url, settings.database_password
    return [Relay(url, settings.kafka, runtime.package, password=password, cell=cell, topics=topics).run]


class Relay:
    """The relay of one package's database.

    Each replica runs one; the holder of an advisory lock, on a connection of its own, publishes, and the others wait.
    The topics in `topics` are made at the start, `titan.<domain>.v1` of the package unless told otherwise.
    """

    def __init__(
        self,
        db_url: str,
        kafka: str,
        package: str,
        *,
        cell: str,
        password: SecretFile | None = None,
        topics: Sequence[str] | None = None,
        retention_days: int = RETENTION_DAYS,
        open_sender: Callable[[], RelaySender] | None = None,
    ) -> None:
        self._db_url = db_url
        self._password = password
        self._package = package
        self._same_headers = (
            ("ce_specversion", b"1.0"),
            ("ce_source", f"/{package}".encode()),
            ("ce_cell", cell.encode()),
            ("content-type", b"application/protobuf"),
        )
        self._topics = set(topics if topics is not None else [f"titan.{package.removeprefix('svc_')}.v1"])
        self._retention_days = retention_days
        self._open_sender = open_sender or (lambda: Publisher(kafka, client_id=f"{package} relay"))
        self._awake = asyncio.Event()
        self._next_prune = 0.0
        self._next_check = 0.0
        self._away = False

    def wake(self) -> None:
        """Look at the outbox now rather than at the next poll."""
        self._awake.set()

    async def run(self) -> None:
        """Publish until cancelled. No failure of the database or the broker ends it."""
        outbox.wake_on_append(self)
        while True:
            try:
                await self._with_database()
            except Exception as error:
                if isinstance(error, Unavailable) or is_away(error):
                    log.warning("relay waits for its database", package=self._package)
                else:
                    log.exception("relay failed", error, package=self._package)
            await asyncio.sleep(TURN_SECONDS * random.uniform(0.5, 1))  # noqa: S311

    async def _with_database(self) -> None:
        connection = await connect_alone(self._db_url, f"{self._package} relay", password=self._password)
        try:
            while not await connection.fetchval("SELECT pg_try_advisory_lock($1)", _LOCK):  # noqa: ASYNC110
                await asyncio.sleep(TURN_SECONDS)
            backoff = 0.1
            while True:
                started = asyncio.get_running_loop().time()
                try:
                    await self._with_broker(connection)
                except BrokerAway as error:
                    if not self._away:
                        log.warning("relay waits for the broker", package=self._package, why=str(error))
                    self._away = True
                if asyncio.get_running_loop().time() - started > 2 * MAX_BACKOFF_SECONDS:
                    backoff = 0.1
                await asyncio.sleep(backoff * random.uniform(0.5, 1))  # noqa: S311
                backoff = min(MAX_BACKOFF_SECONDS, backoff * 2)
        finally:
            await disconnect(connection)

    async def _with_broker(self, connection: asyncpg.Connection) -> None:
        sender = self._open_sender()
        try:
            await self._ensure_topics(connection, sender, self._topics)
            if self._away:
                log.info("relay has the broker again", package=self._package)
            self._away = False
            while True:
                self._awake.clear()
                rows = await connection.fetch(_TAKE, BATCH_EVENTS)
                self._measure(rows)
                if rows:
                    await self._publish(connection, sender, rows)
                    if len(rows) == BATCH_EVENTS:
                        continue
                await self._rest(connection, sender)
        finally:
            await sender.close()

    async def _publish(
        self, connection: asyncpg.Connection, sender: RelaySender, rows: Sequence[asyncpg.Record]
    ) -> None:
        """Send a batch and mark what was acknowledged, also when the rest was not."""
        topics = {row["topic"] for row in rows}
        if not topics <= self._topics:
            await self._ensure_topics(connection, sender, topics)
        await failpoint("relay.before_publish")
        acknowledged: list[int] = []
        problem: BrokerAway | None = None
        stuck: set[tuple[str, str]] = set()
        for wave in _waves(rows):
            sent = [row for row in wave if _chain(row) not in stuck]
            for row, refused in zip(sent, await sender.send([self._outgoing(row) for row in sent]), strict=True):
                if refused is None:
                    acknowledged.append(row["seq"])
                else:
                    problem = refused
                    stuck.add(_chain(row))
        await failpoint("relay.before_mark")
        if acknowledged:
            await connection.execute(_MARK, acknowledged)
            PUBLISHED.labels(self._package).inc(len(acknowledged))
            await failpoint("relay.after_mark")
        if problem is not None:
            raise problem

    def _outgoing(self, row: asyncpg.Record) -> Outgoing:
        """Return an event with its CloudEvents attributes in binary mode (Kafka protocol binding, 3.2)."""
        headers = [
            *self._same_headers,
            ("ce_id", str(row["event_id"]).encode()),
            ("ce_type", row["type"].encode()),
            ("ce_time", row["recorded_at"].astimezone(UTC).isoformat().replace("+00:00", "Z").encode()),
            ("ce_subject", row["subject"].encode()),
            ("ce_aggregateversion", str(row["version"]).encode()),
        ]
        if row["traceparent"]:
            headers.append(("traceparent", row["traceparent"].encode()))
        return Outgoing(row["topic"], row["aggregate_id"].encode(), row["payload"], headers)

    async def _ensure_topics(self, connection: asyncpg.Connection, sender: RelaySender, topics: Iterable[str]) -> None:
        """Make missing topics. One that was published to and is gone was lost with its messages: fill it again.

        The topic is made last: that it is missing is the only note of what has still to be opened again.
        """
        self._topics |= set(topics)
        missing = await sender.missing_topics(self._topics)
        if missing:
            if again := await self._open_again(connection, missing):
                log.warning("broker lost topics, filling them again", package=self._package, events=again)
            await failpoint("relay.before_topics")
            await sender.ensure_topics(missing)
        self._next_check = asyncio.get_running_loop().time() + CHECK_SECONDS

    async def _open_again(self, connection: asyncpg.Connection, topics: Iterable[str]) -> int:
        """Mark what was published to these topics as unpublished, a bounded number of rows a transaction."""
        events, last = 0, 0
        while True:
            row = await connection.fetchrow(_AGAIN, sorted(topics), last, REFILL_ROWS)
            events += row["events"]
            if row["events"] < REFILL_ROWS:
                return events
            last = row["last"]

    async def _rest(self, connection: asyncpg.Connection, sender: RelaySender) -> None:
        """Wait for work; meanwhile, now and then, prune what is published and see that the broker kept its topics."""
        now = asyncio.get_running_loop().time()
        if sender.failure is not None:
            raise sender.failure
        if now >= self._next_check:
            await self._ensure_topics(connection, sender, ())
        if now >= self._next_prune:
            await self._prune(connection, now)
        try:
            async with asyncio.timeout(POLL_SECONDS):
                await self._awake.wait()
            await asyncio.sleep(GATHER_SECONDS)
        except TimeoutError:
            pass

    async def _prune(self, connection: asyncpg.Connection, now: float) -> None:
        """Forget what is past its time. That it fails must not keep events from going out."""
        self._next_prune = now + PRUNE_SECONDS
        try:
            pruned = await connection.execute(_PRUNE, self._retention_days, PRUNE_ROWS)
        except asyncpg.PostgresError as error:
            log.exception("the outbox was not pruned", error, package=self._package)
        else:
            if int(pruned.split()[-1]) == PRUNE_ROWS:
                self._next_prune = now

    def _measure(self, rows: Sequence[asyncpg.Record]) -> None:
        lag = (datetime.now(UTC) - rows[0]["recorded_at"]).total_seconds() if rows else 0.0
        LAG_SECONDS.labels(self._package).set(max(0.0, lag))
