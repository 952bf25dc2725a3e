"""What an export of a user's data has of their orders: documents and words with each, the latter opened."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import asyncpg

from mesh.vault.vault import Erased, Vault
from svc_order.credit_note import store as credit_notes
from svc_order.credit_note.wire import to_wire as credit_to_wire
from svc_order.invoice import store as invoices
from svc_order.invoice.wire import to_wire as invoice_to_wire
from svc_order.order import store
from svc_order.order.values import timestamp
from titan.order.v1 import order_pb2
from titan.order.v1 import order_service_pb2 as pb


async def parts(
    connection: asyncpg.Connection, vault: Vault, user_id: UUID, orders: Sequence[order_pb2.Order]
) -> list[pb.ListUserOrdersResponse]:
    """Return each of a user's orders with what belongs to it, in their order; the user's key is prepared."""
    found = {order.order_id: pb.ListUserOrdersResponse(orders=[order]) for order in orders}
    order_ids = list(map(UUID, found))
    for invoice in await invoices.list_of_orders(connection, order_ids):
        found[str(invoice.order_id)].invoices.append(invoice_to_wire(invoice))
    for note in await credit_notes.list_of_orders(connection, order_ids):
        found[str(note.order_id)].credit_notes.append(credit_to_wire(note))
    for words in await store.list_words(connection, order_ids):
        try:
            text = vault.open(user_id, words.order_id, words.sealed).decode()
        except Erased:
            continue
        found[str(words.order_id)].words.add(
            order_id=str(words.order_id),
            version=words.version,
            type=words.type,
            text=text,
            record_time=timestamp(words.recorded_at),
        )
    return list(found.values())
