"""The queue of messages on a real Postgres."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from uuid import UUID, uuid4

import asyncpg
import pytest

from mesh.seams import SystemIds
from svc_notify.channels.interface import ChannelKind, Outcome, Verdict
from svc_notify.notification import rules, store
from svc_notify.notification.rules import Notification, NotificationStatus

IDS = SystemIds()


def a_notification(clock, *, order_id: UUID | None = None, version: int = 2, template: str = "order_confirmed"):
    notification_id = IDS.new()
    return Notification(
        notification_id=notification_id,
        event_id=uuid4(),
        channel=ChannelKind.EMAIL,
        template=template,
        user_id=uuid4(),
        order_id=order_id or uuid4(),
        order_version=version,
        message_id=rules.message_id(notification_id, "titan.local"),
        created_at=clock.now(),
        details={"tracking_code": "T"},
    )


async def add(db, *wanted: Notification) -> set[UUID]:
    async with db.hot() as tx:
        return await store.add(tx, wanted)


async def claim(db, clock, limit: int = 10) -> list[Notification]:
    async with db.hot() as tx:
        return await store.claim_due(tx, at=clock.now(), limit=limit)


async def settle(db, clock, notification: Notification, verdict: Verdict) -> None:
    result = rules.judge(notification, Outcome(verdict, "X"), recipient="a***@b.c", at=clock.now(), jitter=1.0)
    async with db.hot() as tx:
        await store.save_results(tx, [result])


async def test_an_event_makes_one_message(db, clock):
    """The same event again adds nothing, whatever id the second try made."""
    one = a_notification(clock)
    again = replace(one, notification_id=IDS.new())
    assert {one.event_id} == await add(db, one, again)
    assert set() == await add(db, again)


async def test_a_claimed_message_comes_back_as_it_was_stored(db, clock):
    """Details and all."""
    one = a_notification(clock)
    await add(db, one)
    assert [one] == await claim(db, clock)


async def test_a_lease_keeps_others_away_until_it_ends(db, clock):
    """What a crash leaves behind is found again."""
    await add(db, a_notification(clock))
    assert 1 == len(await claim(db, clock))
    assert [] == await claim(db, clock)
    clock.advance(store.LEASE_SECONDS)
    assert 1 == len(await claim(db, clock))


async def test_two_workers_never_claim_the_same_message(db, clock):
    """The second skips what the first has locked, without waiting."""
    await add(db, *(a_notification(clock) for _ in range(4)))
    async with db.hot() as first, db.hot() as second:
        one = await store.claim_due(first, at=clock.now(), limit=2)
        two = await store.claim_due(second, at=clock.now(), limit=4)
    assert (2, 2) == (len(one), len(two)) and not {n.event_id for n in one} & {n.event_id for n in two}


async def test_letters_about_one_order_leave_in_the_order_of_its_events(db, clock):
    """A later one waits until the one before is sent or dead."""
    order_id = uuid4()
    receipt = a_notification(clock, order_id=order_id, version=2)
    note = a_notification(clock, order_id=order_id, version=3, template="order_shipped")
    await add(db, note, receipt)
    claimed = await claim(db, clock)
    assert [receipt] == claimed
    assert [] == await claim(db, clock)
    await settle(db, clock, receipt, Verdict.REFUSED)
    assert [note] == await claim(db, clock)


async def test_what_is_settled_stays_settled(db, clock):
    """A worker that wakes up after its lease does not undo what another has done."""
    one = a_notification(clock)
    await add(db, one)
    await settle(db, clock, one, Verdict.TAKEN)
    await settle(db, clock, one, Verdict.LATER)
    async with db.hot_read() as connection:
        (stored,) = await store.list_messages(connection, limit=5)
    assert (NotificationStatus.SENT, "a***@b.c", 1) == (stored.status, stored.recipient, stored.attempts)


async def test_a_message_for_later_is_due_again_after_its_pause(db, clock):
    """And not before."""
    one = a_notification(clock)
    await add(db, one)
    await settle(db, clock, one, Verdict.LATER)
    clock.advance(1.9)
    assert [] == await claim(db, clock)
    clock.advance(0.2)
    assert [1] == [n.attempts for n in await claim(db, clock)]


async def test_messages_that_a_channel_spoiled_are_due_at_once(db, clock):
    """A channel that was down takes no lease with it."""
    await add(db, a_notification(clock))
    (one,) = await claim(db, clock)
    await settle(db, clock, one, Verdict.DOWN)
    assert [one.notification_id] == [each.notification_id for each in await claim(db, clock)]


async def test_a_cancellation_follows_a_receipt_only(db, clock):
    """An order that was never confirmed ended in its own answer."""
    order_id = uuid4()
    note = a_notification(clock, order_id=order_id, version=3, template="order_cancelled")
    receipt = a_notification(clock, order_id=order_id)
    assert set() == await add(db, note)
    assert {receipt.event_id} == await add(db, receipt)
    assert {note.event_id} == await add(db, note)


async def test_a_cancellation_follows_the_receipt_of_its_own_set(db, clock):
    """Both came together."""
    order_id = uuid4()
    receipt = a_notification(clock, order_id=order_id, template="order_confirmed")
    note = a_notification(clock, order_id=order_id, version=3, template="order_cancelled")
    assert {receipt.event_id, note.event_id} == await add(db, receipt, note)


async def test_an_address_in_clear_is_refused_by_the_database(db, clock):
    """The constraint stands behind the mask."""
    await add(db, a_notification(clock))
    with pytest.raises(asyncpg.CheckViolationError):
        async with db.hot() as tx:
            await tx.execute("UPDATE notifications SET recipient = 'ada@example.com'")


async def test_the_backlog_is_counted_up_to_a_limit(db, clock):
    """The count costs no more than the limit."""
    await add(db, *(a_notification(clock) for _ in range(5)))
    async with db.hot_read() as connection:
        assert [3, 5] == [await store.count_waiting(connection, most=most) for most in (3, 100)]


async def test_the_oldest_due_is_claimed_first(db, clock):
    """Nobody is overtaken for ever."""
    first = a_notification(clock)
    second = replace(a_notification(clock), created_at=clock.now() - timedelta(seconds=5))
    await add(db, first, second)
    assert [second] == await claim(db, clock, limit=1)


async def test_sent_letters_are_forgotten_after_half_a_year_and_receipts_after_three(db, clock):
    """Receipts decide whether an order gets further letters; what waits or could not be sent stays for good."""
    receipt, note = a_notification(clock), a_notification(clock, template="order_shipped")
    dead, waiting = a_notification(clock, template="order_shipped"), a_notification(clock)
    await add(db, receipt, note, dead, waiting)
    for each, verdict in ((receipt, Verdict.TAKEN), (note, Verdict.TAKEN), (dead, Verdict.REFUSED)):
        await settle(db, clock, each, verdict)

    async def prune(days: int) -> set[UUID]:
        clock.advance(days * 86_400)
        for forget in (store.prune_letters, store.prune_receipts):
            await db.transact(lambda tx, forget=forget: forget(tx, at=clock.now(), limit=10))
        async with db.hot_read() as connection:
            return {
                row["notification_id"] for row in await connection.fetch("SELECT notification_id FROM notifications")
            }

    young, half_a_year, three_years = await prune(179), await prune(2), await prune(3 * 365)

    every = {each.notification_id for each in (receipt, note, dead, waiting)}
    assert (every, every - {note.notification_id}) == (young, half_a_year)
    assert {dead.notification_id, waiting.notification_id} == three_years
