"""Turns events of orders, links and accounts into messages to send, each in the transaction that notes its event.

Sending happens elsewhere and later: a mail server that hangs must not hold a transaction open, and one message that it
refuses must not hold up the orders behind it in the partition. So what pauses the partition is what this handler itself
needs: its database, and room in the queue, which ends when a channel is down for so long that the gate is shut.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

import asyncpg

from mesh.database import after_commit
from mesh.received import Poison, Received
from mesh.seams import Clock, Ids
from svc_notify.channels.interface import ChannelKind
from svc_notify.notification import rules, store, wire
from svc_notify.notification.gate import Gate
from svc_notify.notification.rules import Notification
from titan.auth.v1 import events_pb2 as auth_events_pb2
from titan.order.v1 import events_pb2

GROUP = "svc_notify"
TOPICS = ("titan.order.v1", "titan.auth.mail.v1")

_MESSAGES: dict[str, type[Any]] = {name: getattr(events_pb2, name.rpartition(".")[2]) for name in rules.TEMPLATES}


class MessageEvents:
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

    async def __call__(self, tx: asyncpg.Connection, events: Sequence[Received]) -> None:
        """Write the messages that events make; most make none.

        Raises:
            Poison: An event names not what or whom it is about, or a purpose or change that has no letter.
            Unavailable: The queue is full while its channel is down.
        """
        wanted = [made for event in events if (made := self._made_by(event)) is not None]
        if wanted:
            self._gate.check()
            await store.add(tx, wanted)
            after_commit(self._wake)

    def _made_by(self, received: Received) -> Notification | None:
        template = rules.template_of(received.type)
        if template is not None:
            return self._of_order(received, template)
        if received.type == rules.LINK_REQUESTED:
            return self._of_link(received)
        return self._of_notice(received) if received.type == rules.SIGN_IN_CHANGED else None

    def _of_order(self, received: Received, template: str) -> Notification:
        event = _MESSAGES[received.type].FromString(received.payload)
        order_id, user_id = _ids_of(received, event.order_id, event.user_id)
        return self._new(received, template, user_id, order_id=order_id, details=_details(event))

    def _of_link(self, received: Received) -> Notification:
        event = auth_events_pb2.LinkRequested.FromString(received.payload)
        link_id, user_id = _ids_of(received, event.link_id, event.user_id)
        template = rules.LINK_TEMPLATES.get(wire.purpose_from_wire(event.purpose))
        if template is None:
            raise Poison(f"{received.type} with a purpose that has no letter")
        return self._new(received, template, user_id, link_id=link_id)

    def _of_notice(self, received: Received) -> Notification:
        event = auth_events_pb2.SignInChanged.FromString(received.payload)
        _, user_id = _ids_of(received, event.notice_id, event.user_id)
        template = rules.NOTICE_TEMPLATES.get(wire.change_from_wire(event.change))
        if template is None:
            raise Poison(f"{received.type} with a change that has no letter")
        details = {"happened_at": received.time.isoformat(), "provider": event.provider}
        return self._new(received, template, user_id, details=details)

    def _new(
        self,
        received: Received,
        template: str,
        user_id: UUID,
        *,
        order_id: UUID | None = None,
        link_id: UUID | None = None,
        details: Mapping[str, str] | None = None,
    ) -> Notification:
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
            details=details or {},
            link_id=link_id,
        )


def _ids_of(received: Received, about: str, user: str) -> tuple[UUID, UUID]:
    try:
        return UUID(about), UUID(user)
    except ValueError:
        raise Poison(f"{received.type} does not say what or whom it is about") from None


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
