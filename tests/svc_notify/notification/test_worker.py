"""The worker: from rows to messages, with the channel a list, and OrderService a fake."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from uuid import uuid4

import pytest

from mesh import telemetry
from mesh.failpoints import FailpointReached
from mesh.refusals import Unavailable
from mesh.seams import failpoints
from svc_notify.channels.interface import Outcome, Verdict
from svc_notify.notification import store
from svc_notify.notification import worker as workers
from svc_notify.notification.worker import POLL_SECONDS, Round
from tests.svc_notify.conftest import link_requested, received, sign_in_changed


@contextlib.asynccontextmanager
async def running(worker):
    task = asyncio.create_task(worker.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(condition, seconds: float = 3.0):
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.01)


async def test_a_round_asks_once_for_all_orders(desk, orders, channel):
    """One call for the orders and addresses of a whole batch, one message per event."""
    for _ in range(5):
        await desk.happens(received("OrderConfirmed", desk.order()))
    assert Round(5) == await desk.worker.send_due()
    assert (1, 5) == (len(orders.calls), len(channel.taken))
    assert {"SENT"} == {row["status"] for row in await desk.rows()}
    assert Round(0) == await desk.worker.send_due()


async def test_orders_that_an_answer_has_no_room_for_are_asked_for_again(desk, orders, channel):
    """Each letter of the batch still goes, and no order is asked for twice that was answered."""
    orders.room = 2
    for _ in range(5):
        await desk.happens(received("OrderConfirmed", desk.order()))

    assert Round(5) == await desk.worker.send_due()

    assert [5, 3, 1] == [len(call) for call in orders.calls]
    assert 5 == len(channel.taken)


async def test_only_the_masked_address_is_stored(desk, channel):
    """The address itself reaches the channel and no table."""
    await desk.happens(received("OrderConfirmed", desk.order(to="ada@example.com")))
    await desk.worker.send_due()
    assert ["ada@example.com"] == [m.recipient for m in channel.taken]
    assert ["a***"] == [row["recipient"] for row in await desk.rows()]


async def test_no_personal_data_is_logged(desk, channel, monkeypatch):
    """Neither when a message is sent nor when it is refused."""
    lines: list[str] = []

    class Stream:
        def write(self, text):
            lines.append(text)

        def flush(self):
            pass

    monkeypatch.setattr(telemetry.SINK, "stream", Stream())
    monkeypatch.setattr(telemetry.SINK, "level", logging.INFO)  # another test's process may have set its own
    for _ in range(2):
        await desk.happens(received("OrderConfirmed", desk.order(to="ada@example.com")))
    channel.answers = [Outcome(Verdict.REFUSED, "SMTP 550 5.1.1")]
    await desk.worker.send_due()
    text = "".join(lines)
    assert "message is dead" in text and "message sent" in text
    assert not [word for word in ("ada@", "Byron", "Mill Lane", "LS1") if word in text]


async def test_a_refused_message_is_dead_and_its_neighbours_go(desk, channel):
    """One bad address holds up nobody."""
    for _ in range(3):
        await desk.happens(received("OrderConfirmed", desk.order()))
    channel.answers = [Outcome(Verdict.TAKEN), Outcome(Verdict.REFUSED, "SMTP 550 5.1.1")]
    assert Round(3) == await desk.worker.send_due()
    assert ["SENT", "FAILED", "SENT"] == [row["status"] for row in await desk.rows()]


async def test_a_message_without_address_is_dead(desk):
    """An order may carry none; nothing would change by waiting."""
    await desk.happens(received("OrderConfirmed", desk.order(to="")))
    await desk.worker.send_due()
    assert [("FAILED", "NO ADDRESS")] == [(row["status"], row["problem"]) for row in await desk.rows()]


async def test_an_unknown_order_is_asked_for_again_later(desk, orders, clock):
    """OrderService may be behind for a moment."""
    order_id = desk.order()
    order = orders.known.pop(order_id)
    await desk.happens(received("OrderConfirmed", order_id))
    await desk.worker.send_due()
    assert [("PENDING", "ORDER UNKNOWN", 1)] == [
        (row["status"], row["problem"], row["attempts"]) for row in await desk.rows()
    ]
    orders.known[order_id] = order
    clock.advance(3)
    await desk.worker.send_due()
    assert ["SENT"] == [row["status"] for row in await desk.rows()]


async def test_while_order_service_is_away_no_try_is_counted(desk, orders):
    """The rows are given back at once."""
    orders.away = True
    await desk.happens(received("OrderConfirmed", desk.order()))
    assert Round(1, "orders: UNAVAILABLE") == await desk.worker.send_due()
    orders.away = False
    assert Round(1) == await desk.worker.send_due()
    assert [("SENT", 1)] == [(row["status"], row["attempts"]) for row in await desk.rows()]


async def test_a_crash_before_the_note_sends_again_with_the_same_message_id(desk, channel, clock):
    """At least once: the receiver can tell the repetition by its Message-ID."""
    await desk.happens(received("OrderConfirmed", desk.order()))
    failpoints.arm("notify.after_send", "raise*1")
    with pytest.raises(FailpointReached):
        await desk.worker.send_due()
    assert Round(0) == await desk.worker.send_due()
    clock.advance(store.LEASE_SECONDS)
    assert Round(1) == await desk.worker.send_due()
    first, second = channel.taken
    assert first.message_id == second.message_id


def test_letters_of_a_worker_that_died_wait_for_seconds():
    """Everything has to be done within five seconds of a restart."""
    assert store.LEASE_SECONDS + POLL_SECONDS < 5
    assert workers.RENEW_SECONDS * 2 < store.LEASE_SECONDS


async def test_a_slow_server_keeps_the_lease(desk, channel, clock, monkeypatch):
    """Another process does not send the same letter meanwhile."""
    monkeypatch.setattr(workers, "RENEW_SECONDS", 0.01)
    went_on, send = asyncio.Event(), channel.send

    async def slowly(messages):
        await went_on.wait()
        return await send(messages)

    monkeypatch.setattr(channel, "send", slowly)
    await desk.happens(received("OrderConfirmed", desk.order()))
    sending = asyncio.create_task(desk.worker.send_due())
    for _ in range(3):
        await asyncio.sleep(0.05)
        clock.advance(store.LEASE_SECONDS - 1)

    async def is_leased():
        return (await desk.rows())[0]["due_at"] == clock.now() + timedelta(seconds=store.LEASE_SECONDS)

    await until(is_leased)
    async with desk.db.hot() as tx:
        assert [] == await store.claim_due(tx, at=clock.now(), limit=10)
    went_on.set()
    assert Round(1) == await sending
    assert ["SENT"] == [row["status"] for row in await desk.rows()]


async def test_an_event_wakes_the_worker(desk, channel):
    """A receipt does not wait for the next look at the queue."""
    desk.worker._poll_seconds = 60.0
    async with running(desk.worker):
        await asyncio.sleep(0.05)
        await desk.happens(received("OrderConfirmed", desk.order()))
        await until(lambda: asyncio.sleep(0, len(channel.taken) == 1))


async def test_a_full_queue_shuts_the_gate_until_the_channel_is_back(desk, channel, gate):
    """Events then wait in the broker; afterwards everything is sent."""
    for _ in range(gate.max_waiting):
        await desk.happens(received("OrderConfirmed", desk.order()))
    channel.answers = [Outcome(Verdict.DOWN, "SMTP ConnectionRefusedError")] * 30
    refused = received("OrderConfirmed", desk.order())

    async def shut():
        try:
            await asyncio.sleep(0)
            gate.check()
        except Unavailable:
            return True
        return False

    async def all_sent():
        return {"SENT"} == {row["status"] for row in await desk.rows()}

    async with running(desk.worker):
        await until(shut)
        with pytest.raises(Unavailable):
            await desk.happens(refused)
        channel.answers = []
        await until(all_sent)
        await desk.happens(refused)
        await until(all_sent)
    assert gate.max_waiting + 1 == len(channel.taken)
    assert {1} == {row["attempts"] for row in await desk.rows()}


async def test_a_round_under_way_is_finished_when_the_process_stops(desk, channel):
    """What was handed to the channel is noted, so it is not sent again after the restart."""
    entered, go = asyncio.Event(), asyncio.Event()
    send = channel.send

    async def slowly(messages):
        entered.set()
        await go.wait()
        return await send(messages)

    channel.send = slowly
    await desk.happens(received("OrderConfirmed", desk.order()))
    task = asyncio.create_task(desk.worker.run())
    await entered.wait()
    task.cancel()
    await asyncio.sleep(0)
    go.set()
    await asyncio.gather(task, return_exceptions=True)
    assert ["SENT"] == [row["status"] for row in await desk.rows()]


async def test_a_round_asks_once_for_all_links(desk, links, orders, channel):
    """Beside the orders of the same round; the letter goes to the address that the link belongs to."""
    await desk.happens(received("OrderConfirmed", desk.order()))
    for purpose in ("EMAIL_VERIFICATION", "PASSWORD_RESET"):
        await desk.happens(link_requested(desk.link(purpose, to="bob@example.com"), purpose))
    assert Round(3) == await desk.worker.send_due()
    assert (1, 1, 2) == (len(orders.calls), len(links.calls), len(links.calls[0]))
    assert {"ada@example.com", "bob@example.com"} == {message.recipient for message in channel.taken}
    rows = [(row["template"], row["status"], row["recipient"], row["order_id"]) for row in await desk.rows()][1:]
    assert [("email_verification", "SENT", "b***", None), ("password_reset", "SENT", "b***", None)] == rows


async def test_a_round_asks_once_for_all_contacts(desk, users, channel):
    """Beside the links of the same round; each letter says when it happened."""
    await desk.happens(link_requested(desk.link()))
    bob = desk.user(to="bob@example.com")
    at = datetime(2026, 3, 4, 10, 26, 30, tzinfo=timezone(timedelta(hours=1)))
    for change in ("PASSWORD_CHANGED", "IDENTITY_LINKED"):
        await desk.happens(replace(sign_in_changed(bob, change, provider="Google"), time=at))
    await desk.happens(sign_in_changed(desk.user()))
    assert Round(4) == await desk.worker.send_due()
    assert [2] == [len(call) for call in users.calls]
    mine = [message for message in channel.taken if message.recipient == "bob@example.com"]
    assert ["Your password for Titan was changed", "Google was linked to your account at Titan"] == [
        message.subject for message in mine
    ]
    assert all("4 March 2026, 09:26 UTC" in " ".join(message.text.split()) for message in mine)


async def test_nobody_writes_to_who_is_gone(desk, channel):
    """The account that the letter would be about is gone with them."""
    await desk.happens(sign_in_changed(uuid4()))
    assert Round(1) == await desk.worker.send_due()
    assert [("FAILED", "NO ADDRESS")] == [(row["status"], row["problem"]) for row in await desk.rows()]
    assert not channel.taken


async def test_a_token_is_neither_stored_nor_logged(desk, monkeypatch):
    """Whoever reads rows or logs opens nobody's account."""
    lines: list[str] = []

    class Stream:
        def write(self, text):
            lines.append(text)

        def flush(self):
            pass

    monkeypatch.setattr(telemetry.SINK, "stream", Stream())
    monkeypatch.setattr(telemetry.SINK, "level", logging.INFO)
    await desk.happens(link_requested(desk.link()))
    await desk.worker.send_due()
    assert "message sent" in "".join(lines)
    for text in ("".join(lines), str([dict(row) for row in await desk.rows()])):
        assert "s3cret" not in text and "ada@" not in text


async def test_a_link_that_is_over_is_not_sent(desk, links, channel):
    """A newer letter has taken its place, or half an hour has gone by."""
    await desk.happens(link_requested(link_id := desk.link()))
    del links.known[link_id]
    assert Round(1) == await desk.worker.send_due()
    assert [("FAILED", "LINK OVER")] == [(row["status"], row["problem"]) for row in await desk.rows()]
    assert not channel.taken


@pytest.mark.parametrize(
    ("away", "down", "sent"),
    [
        ("links", "links", ["passkey", "receipt"]),
        ("orders", "orders", ["new password", "passkey"]),
        ("users", "contacts", ["new password", "receipt"]),
    ],
)
async def test_while_one_service_is_away_the_letters_of_the_others_go(desk, channel, away, down, sent):
    """A forgotten password does not wait for OrderService, and no try of what waits is counted."""
    await desk.happens(received("OrderConfirmed", desk.order()))
    await desk.happens(link_requested(desk.link()))
    await desk.happens(sign_in_changed(desk.user(), "PASSKEY_ADDED"))
    getattr(desk, away).away = True
    assert Round(3, f"{down}: UNAVAILABLE") == await desk.worker.send_due()
    subjects = " ".join(message.subject for message in channel.taken)
    assert 2 == len(channel.taken) and all(word in subjects for word in sent)
    getattr(desk, away).away = False
    assert Round(1) == await desk.worker.send_due()
    assert [("SENT", 1)] * 3 == [(row["status"], row["attempts"]) for row in await desk.rows()]
