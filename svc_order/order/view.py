"""An order as it is read, beside what is known of its payment, and the mark of its latest change."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from svc_order.order.rules import Order


@dataclass(frozen=True, slots=True)
class View:
    """An order beside what its checkout knows of the payment; `sealed` holds address and e-mail."""

    order: Order
    sealed: bytes
    payment_status: int
    action_url: str | None
    action_expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class Mark:
    """A text that changes whenever an order changes; `final` once it has ended and nothing of it is to be done."""

    text: str
    final: bool = False
