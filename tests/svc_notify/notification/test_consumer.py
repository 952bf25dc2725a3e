"""From an event to a message: through the real inbox where duplicates matter."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

import pytest

from mesh.received import Poison
from mesh.refusals import Unavailable
from tests.svc_notify.conftest import gbp, link_requested, received, sign_in_changed


async def test_a_confirmed_order_makes_a_receipt(desk):
    """The row names the order and its user, and nothing about the person."""
    order_id = desk.order()
    event = received("OrderConfirmed", order_id)
    await desk.happens(event)
    (row,) = await desk.rows()
    assert ("order_confirmed", order_id, event.event_id, "", {}) == (
        row["template"],
        row["order_id"],
        row["event_id"],
        row["recipient"],
        row["details"],
    )
    assert f"<{row['notification_id']}@titan.local>" == row["message_id"]


async def test_the_same_event_twice_makes_one_message(desk):
    """Even past the inbox, whose notes are forgotten after a month."""
    event = received("OrderConfirmed", desk.order())
    await desk.happens(event)
    await desk.happens(event)
    assert 1 == len(await desk.rows())


async def test_what_the_event_alone_knows_is_kept(desk):
    """A tracking code and an amount; the rest is asked for when the letter is written."""
    order_id = desk.order()
    await desk.happens(received("OrderConfirmed", order_id, version=2))
    await desk.happens(received("OrderShipped", order_id, version=3, tracking_code="TRK"))
    await desk.happens(received("OrderRefunded", order_id, version=4, amount=gbp(500), full=False))
    details = [row["details"] for row in await desk.rows()]
    assert [{}, {"tracking_code": "TRK"}, {"amount_minor": "500", "currency": "GBP", "full": "false"}] == details


async def test_an_order_that_was_never_confirmed_is_not_told_of_its_end(desk):
    """The customer had the refusal as an answer."""
    order_id = desk.order()
    await desk.happens(received("OrderPlaced", order_id, version=1))
    await desk.happens(received("OrderCancelled", order_id, version=2, reason="PAYMENT_DECLINED"))
    assert [] == await desk.rows()


async def test_a_cancelled_order_whose_money_is_back_has_one_letter_of_each(desk):
    """First that it is cancelled, then what went back; the same event again makes no second letter."""
    order_id = desk.order()
    refunded = received("OrderRefunded", order_id, version=4, amount=gbp(2749), full=True)
    await desk.happens(received("OrderConfirmed", order_id, version=2))
    await desk.happens(received("OrderCancelled", order_id, version=3, reason="CUSTOMER"))
    await desk.happens(refunded)
    await desk.happens(refunded)
    rows = sorted(await desk.rows(), key=lambda row: row["order_version"])
    assert ["order_confirmed", "order_cancelled", "order_refunded"] == [row["template"] for row in rows]


async def test_an_event_without_an_order_is_poison(desk):
    """No repetition mends it."""
    event = received("OrderConfirmed", UUID(int=1))
    with pytest.raises(Poison):
        await desk.happens(replace(event, payload=b""))


async def test_a_shut_gate_pauses_the_partition(desk, gate):
    """An unavailable dependency is no fault of the event: the inbox waits and asks again."""
    gate.shut("SMTP 421")
    with pytest.raises(Unavailable):
        await desk.happens(received("OrderConfirmed", desk.order()))
    await desk.happens(received("OrderDelivered", desk.order()))
    gate.open()
    await desk.happens(received("OrderConfirmed", desk.order()))
    assert 1 == len(await desk.rows())


async def test_a_link_that_was_asked_for_makes_a_letter(desk):
    """One for each purpose, about no order; the same event twice makes one."""
    for purpose in ("EMAIL_VERIFICATION", "PASSWORD_RESET"):
        event = link_requested(desk.link(purpose), purpose)
        await desk.happens(event)
        await desk.happens(event)
    rows = await desk.rows()
    assert ["email_verification", "password_reset"] == [row["template"] for row in rows]
    assert list(desk.links.known) == [row["link_id"] for row in rows]
    assert {None} == {row["order_id"] for row in rows}


async def test_a_change_of_an_account_makes_a_letter(desk):
    """One for each change, about no order and no link, with the time of the event; the same event twice makes one."""
    changes = ("PASSWORD_CHANGED", "PASSKEY_ADDED", "IDENTITY_LINKED")
    events = [sign_in_changed(desk.user(), change, provider="Google") for change in changes]
    for event in events:
        await desk.happens(event, event)
    rows = await desk.rows()
    assert ["password_changed", "passkey_added", "identity_linked"] == [row["template"] for row in rows]
    assert list(desk.users.known) == [row["user_id"] for row in rows]
    assert {(None, None)} == {(row["order_id"], row["link_id"]) for row in rows}
    wanted = [{"happened_at": event.time.isoformat(), "provider": "Google"} for event in events]
    assert wanted == [row["details"] for row in rows]


async def test_a_change_without_a_letter_is_poison(desk):
    """Neither a change that is not known here nor a missing id is mended by repetition."""
    for event in (
        sign_in_changed(desk.user(), "UNSPECIFIED"),
        replace(sign_in_changed(desk.user()), payload=b""),
        replace(sign_in_changed(desk.user()), payload=b"\x18\x63"),
    ):
        with pytest.raises(Poison):
            await desk.happens(event)


async def test_a_link_without_a_letter_is_poison(desk):
    """Neither a purpose that is not known here nor a missing id is mended by repetition."""
    for event in (
        link_requested(desk.link(), "UNSPECIFIED"),
        replace(link_requested(desk.link()), payload=b""),
        replace(link_requested(desk.link()), payload=b"\x18\x63"),
    ):
        with pytest.raises(Poison):
            await desk.happens(event)
