"""Which of the orders that were looked at are a page of what a seller sold: pure."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from svc_order.order.rules import OrderStatus

SEARCHED_ORDERS = 250
"""Looked at for a page with a status, however few stand there: no page takes long."""


def page(
    found: Sequence[tuple[UUID, OrderStatus]], wanted: OrderStatus | None, *, size: int, looked_at: int
) -> tuple[list[UUID], UUID | None]:
    """Return the orders of a page, and after which one the next begins; None where there are no more.

    `found` are orders with where they stand, as many as were asked for (`looked_at`) unless there are no more.
    """
    standing = [order_id for order_id, status in found if wanted is None or status is wanted]
    if len(standing) > size:
        return standing[:size], standing[size - 1]
    return standing, found[-1][0] if len(found) == looked_at else None
