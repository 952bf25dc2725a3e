"""How long callers wait for an order that nobody decides."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from uuid import UUID, uuid4

import pytest

from svc_order.checkout import waiting
from svc_order.checkout.waiting import Answer, Rests, WaitingRoom

SILENCE_SECONDS = 0.2
CALLER_SECONDS = 1.0


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch) -> WaitingRoom:
    """A room in which nothing is found of any order, and nobody waits long in silence."""
    monkeypatch.setattr(waiting, "SILENCE_SECONDS", SILENCE_SECONDS)
    monkeypatch.setattr(waiting, "LOOK_SECONDS", 0.02)

    async def look(order_ids: list[UUID]) -> Sequence[Answer | Rests | None]:
        return [None] * len(order_ids)

    return WaitingRoom(look)


async def seconds_of(wait: asyncio.Task[Answer | None], began: float) -> float:
    assert await wait is None
    return time.monotonic() - began


async def test_a_silent_order_is_pending_long_before_the_callers_time_is_over(room: WaitingRoom) -> None:
    """A participant hangs: the shopper hears that the order is recorded, and the saga goes on without them."""
    began = time.monotonic()
    taken = await seconds_of(asyncio.create_task(room.wait(uuid4(), seconds=CALLER_SECONDS)), began)

    assert SILENCE_SECONDS <= taken < CALLER_SECONDS


async def test_a_caller_with_less_time_waits_no_longer_than_that(room: WaitingRoom) -> None:
    began = time.monotonic()
    taken = await seconds_of(asyncio.create_task(room.wait(uuid4(), seconds=0.05)), began)

    assert taken < SILENCE_SECONDS


async def test_a_provider_that_thinks_has_all_the_callers_time(room: WaitingRoom) -> None:
    """It is not silent: it said that it works on it."""
    order_id, began = uuid4(), time.monotonic()
    wait = asyncio.create_task(room.wait(order_id, seconds=CALLER_SECONDS))
    await asyncio.sleep(0)
    room.is_slow(order_id)

    assert await seconds_of(wait, began) >= CALLER_SECONDS


async def test_an_answer_after_the_silence_of_others_reaches_who_still_waits(room: WaitingRoom) -> None:
    """One caller leaves; a later twin of theirs gets the answer."""
    order_id, answer = uuid4(), Answer(None, None)
    first = asyncio.create_task(room.wait(order_id, seconds=CALLER_SECONDS))
    await asyncio.sleep(SILENCE_SECONDS / 2)
    second = asyncio.create_task(room.wait(order_id, seconds=CALLER_SECONDS))

    assert await first is None
    room.tell(order_id, answer)
    assert await second is answer
