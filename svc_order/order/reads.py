"""Orders as their owners read them: rows joined with the payment's state, personal data opened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

import asyncpg

from mesh.batcher import Batcher
from mesh.database import Database
from mesh.powers import Reach
from mesh.telemetry import get_logger
from mesh.vault.vault import Erased, Unreadable, Vault
from svc_order.errors import OrderNotFound
from svc_order.order import store, wire
from svc_order.order.view import Mark, View
from titan.order.v1 import order_pb2

log = get_logger("order.reads")


async def view_within(connection: asyncpg.Connection, order_id: UUID, reach: Reach) -> View:
    """Return an order as it is stored, if the call may be about it.

    Raises:
        OrderNotFound: There is none, or it is not within reach; or the refusal that says what is missing for it.
    """
    with reach.hiding(OrderNotFound) as owner_id:
        return await store.get_view(connection, order_id, owner_id=owner_id)


class Reads:
    """Reads orders from the primary."""

    def __init__(self, db: Database, vault: Vault) -> None:
        self._db = db
        self._vault = vault
        self._marks: Batcher[UUID, Mark] = Batcher(self._read_marks, name="order.marks")

    async def mark(self, order_id: UUID) -> Mark:
        """Return what changes whenever an order changes; cheap, and read for all who ask at the same time."""
        return await self._marks.submit(order_id)

    async def _read_marks(self, order_ids: list[UUID]) -> Sequence[Mark]:
        async with self._db.hot_read() as connection:
            marks = await store.list_marks(connection, order_ids)
        return [marks.get(order_id, Mark("")) for order_id in order_ids]

    async def get(self, order_id: UUID, *, owner_id: UUID | None) -> order_pb2.Order:
        """Return one order.

        Raises:
            OrderNotFound: There is none, or it is not the owner's.
        """
        async with self._db.hot_read() as connection:
            view = await store.get_view(connection, order_id, owner_id=owner_id)
        return (await self.opened([view]))[0]

    async def get_within(self, order_id: UUID, reach: Reach) -> order_pb2.Order:
        """Return one order to somebody who may be its owner, or not; what is personal in it for its owner alone.

        Raises:
            OrderNotFound: There is none, or it is not within reach; or the refusal that says what is missing for it.
        """
        async with self._db.hot_read() as connection:
            view = await view_within(connection, order_id, reach)
        return await self.opened_for(view, reach.user_id)

    async def list_of_user(self, user_id: UUID, *, before: UUID | None, limit: int) -> list[order_pb2.Order]:
        """Return a user's orders, the newest first, at most `limit`."""
        async with self._db.hot_read() as connection:
            views = await store.list_of_user(connection, user_id, before=before, limit=limit)
        return await self.opened(views)

    async def find(self, order_ids: Sequence[UUID]) -> dict[UUID, order_pb2.Order]:
        """Return those of these orders that exist, whoever owns them."""
        async with self._db.hot_read() as connection:
            views = await store.list_views(connection, order_ids)
        return {view.order.order_id: order for view, order in zip(views, await self.opened(views), strict=True)}

    async def opened_for(self, view: View, reader_id: UUID) -> order_pb2.Order:
        """Return the public order of a stored one; address, e-mail and the page to pay on for its owner alone."""
        if view.order.user_id != reader_id:
            return wire.view_to_wire(replace(view, action_url=None), b"")
        return (await self.opened([view]))[0]

    async def opened(self, views: Sequence[View]) -> list[order_pb2.Order]:
        """Return the public orders of stored ones, in their order; address and e-mail of those alone that open."""
        await self._vault.prepare(view.order.user_id for view in views)
        return [wire.view_to_wire(view, self._opened(view)) for view in views]

    def _opened(self, view: View) -> bytes:
        try:
            return self._vault.open(view.order.user_id, view.order.order_id, view.sealed)
        except Erased:
            return b""
        except Unreadable as unreadable:
            # Of this order alone: its neighbours in a page or a set of receipts are read as ever.
            log.exception("an order's personal data can't be opened", unreadable, order_id=str(view.order.order_id))
            return b""
