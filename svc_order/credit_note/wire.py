"""Credit notes as they travel."""

from __future__ import annotations

from svc_order.credit_note.store import CreditNote
from svc_order.order.values import money, timestamp
from titan.order.v1 import invoice_pb2


def to_wire(note: CreditNote) -> invoice_pb2.CreditNote:
    """Return a credit note as the contract writes it."""
    return invoice_pb2.CreditNote(
        seller_id=note.seller_id,
        number=note.number,
        invoice_number=note.invoice_number,
        order_id=str(note.order_id),
        refund_id=str(note.refund_id),
        issue_time=timestamp(note.issued_at),
        effective_time=timestamp(note.effective_at),
        total=money(note.total_minor, note.currency),
        tax=money(note.tax_minor, note.currency),
    )
