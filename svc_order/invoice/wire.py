"""Invoices as they travel."""

from __future__ import annotations

from svc_order.invoice.store import Invoice
from svc_order.order.values import money, timestamp
from titan.order.v1 import invoice_pb2


def to_wire(invoice: Invoice) -> invoice_pb2.Invoice:
    """Return an invoice as the contract writes it."""
    return invoice_pb2.Invoice(
        seller_id=invoice.seller_id,
        number=invoice.number,
        order_id=str(invoice.order_id),
        issue_time=timestamp(invoice.issued_at),
        effective_time=timestamp(invoice.effective_at),
        total=money(invoice.total_minor, invoice.currency),
        tax=money(invoice.tax_minor, invoice.currency),
        shipping=money(invoice.shipping_minor, invoice.currency),
    )
