"""Events in the transaction of their change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from mesh import outbox
from mesh.outbox import Event, append

TOPIC = "titan.mesh.v1"


def event(aggregate_id: str, version: int, payload: bytes = b"x") -> Event:
    return Event(TOPIC, f"{TOPIC}.Changed", aggregate_id, version, payload)


async def rows(db, prefix):
    async with db.hot_read() as connection:
        return await connection.fetch("SELECT * FROM outbox WHERE aggregate_id LIKE $1 ORDER BY seq", f"{prefix}%")


async def test_events_are_numbered_in_the_order_given(db):
    """A set of many aggregates keeps its order."""
    wanted = [event(f"order-{n % 7}", n // 7 + 1) for n in range(300)]
    async with db.hot() as tx:
        await append(tx, wanted[:150])
    async with db.hot() as tx:
        await append(tx, wanted[150:])

    found = await rows(db, "order-")
    assert [(e.aggregate_id, e.version) for e in wanted] == [(r["aggregate_id"], r["version"]) for r in found]
    assert [e.event_id for e in wanted] == [r["event_id"] for r in found]
    assert found[0]["subject"] == "order-0"
    assert found[0]["published_at"] is None


async def test_events_vanish_with_their_transaction(db):
    """A rolled back change has no event."""
    with pytest.raises(ZeroDivisionError):
        async with db.hot() as tx:
            await append(tx, [event("undone", 1)])
            raise ZeroDivisionError
    assert [] == await rows(db, "undone")


async def test_a_version_exists_once(db):
    """The second writer of a version is stopped by the database."""
    async with db.hot() as tx:
        await append(tx, [event("once", 1)])
    with pytest.raises(asyncpg.UniqueViolationError):
        async with db.hot() as tx:
            await append(tx, [event("once", 1)])


async def test_gaps_are_refused(db):
    """Versions of one aggregate follow each other within a call."""
    for versions in ([1, 3], [2, 1], [1, 1], [0]):
        with pytest.raises(ValueError):
            async with db.hot() as tx:
                await append(tx, [event("gap", v) for v in versions])


async def test_the_trace_is_kept(db):
    """The span of the call that made the change travels with the event."""
    span = NonRecordingSpan(SpanContext(0xABC, 0xDEF, is_remote=False, trace_flags=TraceFlags(1)))
    with trace.use_span(span):
        async with db.hot() as tx:
            await append(tx, [event("traced", 1)])
    assert f"00-{0xABC:032x}-{0xDEF:016x}-01" == (await rows(db, "traced"))[0]["traceparent"]


async def test_sleepers_wake_after_the_commit_only(db):
    """Whoever asked is woken once the events can be seen."""

    class Sleeper:
        woken = 0

        def wake(self) -> None:
            self.woken += 1

    sleeper = Sleeper()
    outbox.wake_on_append(sleeper)
    async with db.hot() as tx:
        await append(tx, [event("woken", 1)])
        assert 0 == sleeper.woken
    assert 1 == sleeper.woken


async def test_republish_marks_what_is_kept(db):
    """Published rows of a topic since a time are published again."""
    async with db.hot() as tx:
        await append(tx, [event("again", 1), event("again", 2)])
        await tx.execute("UPDATE outbox SET published_at = now(), recorded_at = $1 WHERE aggregate_id = 'again'", OLD)
    async with db.hot() as tx:
        assert 0 == await outbox.republish(tx, since=OLD + timedelta(seconds=1))
        assert 0 == await outbox.republish(tx, since=OLD, topics=["other"])
        assert 2 == await outbox.republish(tx, since=OLD, topics=[TOPIC])


OLD = datetime(2026, 1, 1, tzinfo=UTC)


def test_an_event_derived_again_has_its_old_id():
    """The id follows from what the event is, so a consumer that noted it skips it."""
    assert event("a", 1, b"one").event_id == event("a", 1, b"two").event_id
    assert 3 == len({event("a", 1).event_id, event("a", 2).event_id, event("b", 1).event_id})
