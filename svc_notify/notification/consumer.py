"""Turns the events of orders into messages to send, each in the transaction that notes its event.

Sending happens elsewhere and later: a mail server that hangs must not hold a transaction open, and one message that it
refuses must not hold up the orders behind it in the partition. So what pauses the partition is what this handler itself
needs: its database, and room in the queue, which ends when a channel is down for so long that the gate is shut.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

import asyncpg

from mesh.database import after_commit
from mesh.received import Poison, Received
from mesh.seams import Clock, Ids
from svc_notify.channels.interface import ChannelKind
from svc_notify.notification import rules, store
from svc_notify.notification.gate import Gate
from svc_notify.notification.rules import Notification
from titan.order.v1 import events_pb2

GROUP = "svc_notify"
TOPICS = ("titan.order.v1",)

_MESSAGES: dict[str, type[Any]] = {name: getattr(events_pb2, name.rpartition(".")[2]) for name in rules.TEMPLATES}


class OrderEvents:
    """The handler of the inbox."""

    def __init__(
        self,
        clock: Clock,
        ids: Ids,
        gate: Gate,
        *,
        channel: ChannelKind,
        domain: str,
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        self._clock = clock
        self._ids = ids
        self._gate = gate
        self._channel = channel
        self._domain = domain
        self._wake = wake

    async def __call__(self, tx: asyncpg.Connection, received: Received) -> None:
        """Write the message that an event makes, if it makes one.

        Raises:
            Poison: The event names no order or no user.
            Unavailable: The queue is full while its channel is down.
        """
        template = rules.template_of(received.type)
        if template is None:
            return
        self._gate.check()
        notification = self._decode(received, template)
        await store.add(tx, notification, only_after_receipt=template in rules.AFTER_A_RECEIPT)
        after_commit(self._wake)

    def _decode(self, received: Received, template: str) -> Notification:
        event = _MESSAGES[received.type].FromString(received.payload)
        try:
            order_id, user_id = UUID(event.order_id), UUID(event.user_id)
        except ValueError:
            raise Poison(f"{received.type} without an order or a user") from None
        notification_id = self._ids.new()
        return Notification(
            notification_id=notification_id,
            event_id=received.event_id,
            channel=self._channel,
            template=template,
            user_id=user_id,
            order_id=order_id,
            order_version=received.version,
            message_id=rules.message_id(notification_id, self._domain),
            created_at=self._clock.now(),
            details=_details(event),
        )


def _details(event: Any) -> dict[str, str]:
    """Return what the letter needs of an event and the order does not say: no personal data."""
    if isinstance(event, events_pb2.OrderShipped):
        return {"tracking_code": event.tracking_code}
    if isinstance(event, events_pb2.OrderCancelled):
        return {"reason": event.reason}
    if isinstance(event, events_pb2.OrderRefunded):
        return {
            "amount_minor": str(event.amount.minor_units),
            "currency": event.amount.currency_code,
            "full": "true" if event.full else "false",
        }
    return {}
