"""InvoiceService on the wire: decodes, calls the store, encodes."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from mesh import pages, powers
from mesh.database import Database
from mesh.refusals import PageTokenInvalid
from svc_order.credit_note import store as credit_notes
from svc_order.credit_note.wire import to_wire as credit_to_wire
from svc_order.invoice import store
from svc_order.invoice.wire import to_wire
from svc_order.order.reads import view_within
from titan.order.v1 import invoice_service_pb2 as pb
from titan.order.v1 import invoice_service_pb2_grpc

_LIST = "InvoiceService.ListInvoices"
_CREDITS = "InvoiceService.ListCreditNotes"
_OF_ORDER = "InvoiceService.ListOrderCreditNotes"


class InvoiceServicer(invoice_service_pb2_grpc.InvoiceServiceServicer):
    """Reads what was invoiced and credited."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def ListOrderInvoices(
        self, request: pb.ListOrderInvoicesRequest, context: Any
    ) -> pb.ListOrderInvoicesResponse:
        """Refuses with ORDER_NOT_FOUND or TICKET_REQUIRED."""
        order_id, reach = UUID(request.order_id), powers.reach(request.ticket_id)
        async with self._db.hot_read() as connection:
            await view_within(connection, order_id, reach)
            found = await store.list_of_order(connection, order_id)
        return pb.ListOrderInvoicesResponse(invoices=[to_wire(each) for each in found])

    async def ListInvoices(self, request: pb.ListInvoicesRequest, context: Any) -> pb.ListInvoicesResponse:
        """Refuses with PAGE_TOKEN_INVALID."""
        before = pages.decode_number(request.page_token, _LIST, request.seller_id)
        size = pages.page_size(request.page_size)
        if not powers.may_read_of(request.seller_id):  # as if nothing had been sold of them
            return pb.ListInvoicesResponse()
        async with self._db.hot_read() as connection:
            found = await store.list_newest(connection, request.seller_id, before=before, limit=size + 1)
        shown = found[:size]
        more = pages.encode(_LIST, [shown[-1].number], request.seller_id) if len(found) > size else ""
        return pb.ListInvoicesResponse(invoices=[to_wire(each) for each in shown], next_page_token=more)

    async def ListOrderCreditNotes(
        self, request: pb.ListOrderCreditNotesRequest, context: Any
    ) -> pb.ListOrderCreditNotesResponse:
        """Refuses with ORDER_NOT_FOUND, TICKET_REQUIRED or PAGE_TOKEN_INVALID."""
        order_id, reach = UUID(request.order_id), powers.reach(request.ticket_id)
        after = _position(request.page_token, order_id)
        size = pages.page_size(request.page_size)
        async with self._db.hot_read() as connection:
            await view_within(connection, order_id, reach)
            found = await credit_notes.list_of_order(connection, order_id, after=after, limit=size + 1)
        shown, more = found[:size], ""
        if len(found) > size:
            more = pages.encode(_OF_ORDER, [shown[-1].seller_id, shown[-1].number], order_id)
        return pb.ListOrderCreditNotesResponse(
            credit_notes=[credit_to_wire(each) for each in shown], next_page_token=more
        )

    async def ListCreditNotes(self, request: pb.ListCreditNotesRequest, context: Any) -> pb.ListCreditNotesResponse:
        """Refuses with PAGE_TOKEN_INVALID."""
        before = pages.decode_number(request.page_token, _CREDITS, request.seller_id)
        size = pages.page_size(request.page_size)
        if not powers.may_read_of(request.seller_id):
            return pb.ListCreditNotesResponse()
        async with self._db.hot_read() as connection:
            found = await credit_notes.list_newest(connection, request.seller_id, before=before, limit=size + 1)
        shown = found[:size]
        more = pages.encode(_CREDITS, [shown[-1].number], request.seller_id) if len(found) > size else ""
        return pb.ListCreditNotesResponse(credit_notes=[credit_to_wire(each) for each in shown], next_page_token=more)


def _position(token: str, order_id: UUID) -> tuple[str, int] | None:
    position = pages.decode(token, _OF_ORDER, order_id)
    if position is None:
        return None
    match position:
        case [str(seller_id), int(number)]:
            return seller_id, number
    raise PageTokenInvalid("the page token has another position")
