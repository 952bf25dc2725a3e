"""The stored answers to orders: opened for whoever asks again or waits, and told when their carts are closed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from uuid import UUID

from google.rpc import status_pb2

from mesh.database import Database
from mesh.refusals import Refusal
from mesh.telemetry import get_logger
from mesh.vault.vault import Vault
from svc_order.checkout import store
from svc_order.checkout.participants import CartOrdered
from svc_order.checkout.steps import Steps
from svc_order.checkout.tasks import Tasks
from svc_order.checkout.waiting import Answer, Rests, WaitingRoom
from titan.order.v1 import checkout_service_pb2

log = get_logger("order.answers")

CART_PATIENCE_SECONDS = 1.0
"""How long a stored answer waits for its cart to be closed; the saga goes on with that, whoever has left."""


class Answers:
    """What was decided, for those who ask again, and a room for those who wait for it."""

    def __init__(self, db: Database, steps: Steps, tasks: Tasks, vault: Vault) -> None:
        self._db = db
        self._steps = steps
        self._tasks = tasks
        self._vault = vault
        self._closing: set[UUID] = set()
        self.waiting = WaitingRoom(self._look)

    async def open_known(self, known: Sequence[store.Known]) -> list[Answer | None]:
        """Return the answers that are stored under keys; None while there is none.

        A cart is closed before the reply, so what a dying process left open is closed here, by whoever asks again.
        Where svc_cart hangs the answer comes all the same, while its caller has time left.
        """
        answers = await self._open_all(known)
        carts = [_open_cart(each, answer) for each, answer in zip(known, answers, strict=True)]
        try:
            async with asyncio.timeout(CART_PATIENCE_SECONDS):
                await asyncio.gather(*(self._steps.close_cart(cart) for cart in carts if cart is not None))
        except TimeoutError:
            log.warning("answered before the cart is closed", order_ids=[str(each.order_id) for each in known])
        return answers

    async def find(self, order_id: UUID) -> Answer | None:
        """Return the stored answer to an order; None while there is none."""
        async with self._db.hot_read() as connection:
            known = await store.list_known(connection, [order_id])
        return (await self.open_known(list(known.values())))[0] if known else None

    async def _look(self, order_ids: list[UUID]) -> Sequence[Answer | Rests | None]:
        """Look for all who wait at once. A cart that is still open is closed apart from that, and then its order told:
        svc_cart may hang, and nobody who waits for another order waits for it."""
        async with self._db.hot_read() as connection:
            known = await store.list_known(connection, order_ids)
        answers = dict(zip(known, await self._open_all(list(known.values())), strict=True))
        for order_id, answer in answers.items():
            cart = _open_cart(known[order_id], answer)
            if cart is not None:
                answers[order_id] = None
                if order_id not in self._closing:
                    self._closing.add(order_id)
                    self._tasks.start(self._close_and_tell(order_id, cart, answer), "the closing of a cart")
        return [
            answers.get(order_id) or (Rests() if order_id in known and known[order_id].rests else None)
            for order_id in order_ids
        ]

    async def _close_and_tell(self, order_id: UUID, cart: CartOrdered, answer: Answer | None) -> None:
        try:
            await self._steps.close_cart(cart)
            self.waiting.tell(order_id, answer)
        finally:
            self._closing.discard(order_id)

    async def _open_all(self, known: Sequence[store.Known]) -> list[Answer | None]:
        await self._vault.prepare(each.user_id for each in known if each.response is not None)
        return [self.open(each) for each in known]

    def open(self, known: store.Known) -> Answer | None:
        """Return the answer that is stored under a key, if there is one; its owner's key has to be prepared."""
        if known.refusal is not None:
            return Answer(None, Refusal.from_status(status_pb2.Status.FromString(known.refusal)))
        if known.response is not None:
            text = self._vault.open(known.user_id, known.order_id, known.response)
            return Answer(checkout_service_pb2.PlaceOrderResponse.FromString(text), None)
        return None


def _open_cart(known: store.Known, answer: Answer | None) -> CartOrdered | None:
    """Return what a confirmed order took of a cart that may still be open."""
    if known.finished or answer is None or answer.response is None or not answer.response.order.cart_id:
        return None
    order = answer.response.order
    return CartOrdered.by(known.user_id, UUID(order.cart_id), order.lines)
