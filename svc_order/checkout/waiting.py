"""Callers of PlaceOrder who wait for an answer, wherever their order is decided."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from mesh.batcher import Batcher
from mesh.refusals import Refusal
from titan.order.v1 import checkout_service_pb2

LOOK_SECONDS = 0.25
"""How often an order that another process works on is looked up, for all who wait for it together."""
SILENCE_SECONDS = 4.5
"""How long a caller waits while nothing is heard of their order: a participant is away or hangs. A provider that is
known to think has all the caller's time."""

SLOW_PLACES = 128
"""How many callers may wait for providers that think; the others are answered PENDING at once."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the caller of PlaceOrder gets for a decided order: the response, or the refusal."""

    response: checkout_service_pb2.PlaceOrderResponse | None
    refusal: Refusal | None


@dataclass(frozen=True, slots=True)
class Rests:
    """The order waits for its customer, so its callers get it as PENDING."""


Look = Callable[[list[UUID]], Awaitable[Sequence[Answer | Rests | None]]]
"""Says what is stored of orders: an answer, that they rest, or None while they are being decided."""


@dataclass(eq=False, slots=True)
class _Place:
    """One order that somebody waits for; `news` holds an Answer, or None when it is answered as PENDING."""

    news: asyncio.Future[Answer | None]
    waiters: int = 0
    slow: bool = field(default=False)


class WaitingRoom:
    """Who waits for which order of this process's callers."""

    def __init__(self, look: Look) -> None:
        self._places: dict[UUID, _Place] = {}
        self._slow_waiters = 0
        self._looks: Batcher[UUID, Answer | Rests | None] = Batcher(look, name="order.look")

    def tell(self, order_id: UUID, answer: Answer | None) -> None:
        """Give everybody who waits for an order its answer; None when it rests."""
        place = self._places.get(order_id)
        if place is not None and not place.news.done():
            place.news.set_result(answer)

    def is_slow(self, order_id: UUID) -> None:
        """Note that a provider thinks about an order; beyond `SLOW_PLACES` its callers wait no longer.

        A caller who waits holds one of the calls that this process may run; thinking providers must not take them all.
        """
        place = self._places.get(order_id)
        if place is None or place.slow:
            return
        if self._slow_waiters + place.waiters > SLOW_PLACES:
            self.tell(order_id, None)
            return
        place.slow = True
        self._slow_waiters += place.waiters

    async def wait(self, order_id: UUID, *, seconds: float) -> Answer | None:
        """Return the answer to an order; None when it rests, or the time or the silence is over: it is PENDING then."""
        began = time.monotonic()
        place = self._enter(order_id)
        try:
            while True:
                left = began + (seconds if place.slow else min(seconds, SILENCE_SECONDS)) - time.monotonic()
                if left > 0 and not place.news.done():
                    await asyncio.wait({place.news}, timeout=min(left, LOOK_SECONDS))
                if place.news.done():
                    return place.news.result()
                if left <= 0:
                    return None
                found = await self._looks.submit(order_id)
                if found is not None:
                    self.tell(order_id, found if isinstance(found, Answer) else None)
        finally:
            self._leave(order_id, place)

    async def close(self) -> None:
        """Take nobody new."""
        await self._looks.close()

    def _enter(self, order_id: UUID) -> _Place:
        place = self._places.get(order_id)
        if place is None or place.news.done():
            place = self._places[order_id] = _Place(asyncio.get_running_loop().create_future())
        place.waiters += 1
        self._slow_waiters += place.slow
        return place

    def _leave(self, order_id: UUID, place: _Place) -> None:
        place.waiters -= 1
        self._slow_waiters -= place.slow
        if not place.waiters and self._places.get(order_id) is place:
            del self._places[order_id]
