"""The inbox: messages written by hand, one test for each fault."""

from __future__ import annotations

import asyncio
import uuid
from contextlib import suppress

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from mesh import inbox as consuming
from mesh.dead_letters import DeadLetters
from mesh.failpoints import FailpointReached
from mesh.inbox import Inbox, unpark
from mesh.outbox import event_id
from mesh.received import Poison
from mesh.refusals import Overloaded, Unavailable
from mesh.seams import failpoints
from tests.mesh.deliveries import TOPIC, FakeMessage, NotAcceptable, Shelf, seen


def inbox_of(db, handler, dead, *, consumer: str = "test") -> Inbox:
    return Inbox(consumer, db, handler, DeadLetters(consumer, lambda: dead))


@pytest.fixture
def inbox(db, shelf, dead) -> Inbox:
    return inbox_of(db, shelf, dead)


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
    await inbox_of(db, shelf, dead, consumer="other").apply([FakeMessage("a", 1)])

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
    await inbox_of(db, once, dead).apply([FakeMessage("a", 1)])
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

    async def handler(tx, events) -> None:
        await tx.execute("CREATE TEMP TABLE IF NOT EXISTS strict (email text CONSTRAINT short CHECK (email = ''))")
        await tx.execute("INSERT INTO strict VALUES ('ada@example.com')")

    inbox = inbox_of(db, handler, dead, consumer="strict")
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
        while shelf.calls <= 5:
            await asyncio.sleep(0.001)
        shelf.failures.clear()

    shelf.failures["a", 2] = [failure]
    mending = asyncio.create_task(mend())
    await inbox.apply([FakeMessage("a", 1), FakeMessage("a", 2), FakeMessage("a", 3)], waiting=told.append)
    await mending

    assert [("a", 1), ("a", 2), ("a", 3)] == await seen(db)
    assert [True, False] == told
    assert [] == dead.messages


async def test_after_a_long_outage_a_partition_goes_on_within_seconds(db, inbox, shelf, monkeypatch):
    """However often it was tried: a service is to be at its work five seconds after what it needs is back."""
    pauses, sleep = [], asyncio.sleep

    async def note(seconds):
        if asyncio.current_task() is not applying:
            return await sleep(seconds)
        pauses.append(seconds)
        await sleep(0)

    shelf.failures["a", 1] = [Unavailable("x")]
    applying = asyncio.create_task(inbox.apply([FakeMessage("a", 1)]))
    monkeypatch.setattr(asyncio, "sleep", note)
    while len(pauses) < 20:
        await sleep(0.001)
    shelf.failures.clear()
    await applying

    assert [("a", 1)] == await seen(db)
    assert 2 < max(pauses) < 5


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
    others = [inbox_of(db, shelf, dead) for _ in range(3)]
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


async def test_events_of_one_set_have_spans_beside_each_other(db, dead, monkeypatch):
    """Each is a child of whoever caused its event, also where several share a cause; none is a child of another."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(consuming, "tracer", provider.get_tracer("test"))
    inside = []

    async def handler(tx, events):
        inside.append(trace.get_current_span().get_span_context().span_id)

    one, other = f"00-{0xA:032x}-{1:016x}-01", f"00-{0xB:032x}-{2:016x}-01"
    causes = {"a": one, "b": one, "c": other, "d": f"00-{0xC:032x}-{3:016x}-00", "e": None}
    events = [FakeMessage(key, 1, traceparent=cause) for key, cause in causes.items()]
    await inbox_of(db, handler, dead, consumer="traced").apply(events)

    spans = exporter.get_finished_spans()
    assert [(0xA, 1), (0xA, 1), (0xB, 2)] == sorted((each.parent.trace_id, each.parent.span_id) for each in spans)
    assert all(each.context.trace_id == each.parent.trace_id for each in spans)
    assert 1 == len(inside) and inside[0] in {each.context.span_id for each in spans}
