"""Messages and orders between Python and protobuf."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from svc_notify.channels.interface import ChannelKind
from svc_notify.notification.rules import Notification, NotificationStatus
from svc_notify.templates.facts import Amount, Line, Link, Notice, Order
from titan.auth.v1 import events_pb2, link_pb2
from titan.notify.v1 import notification_pb2 as pb
from titan.order.v1 import order_pb2
from titan.type.v1 import address_pb2, money_pb2

CHANNELS: dict[ChannelKind, Any] = {
    kind: pb.NotificationChannel.Value(f"NOTIFICATION_CHANNEL_{kind.value}") for kind in ChannelKind
}
STATUSES: dict[NotificationStatus, Any] = {
    status: pb.NotificationStatus.Value(f"NOTIFICATION_STATUS_{status.value}") for status in NotificationStatus
}


def to_wire(notification: Notification) -> pb.Notification:
    """Return a message as the contract writes it."""
    return pb.Notification(
        notification_id=str(notification.notification_id),
        channel=CHANNELS[notification.channel],
        template=notification.template,
        recipient=notification.recipient,
        user_id=str(notification.user_id),
        order_id=str(notification.order_id or ""),
        status=STATUSES[notification.status],
        attempts=notification.attempts,
        message_id=notification.message_id,
        create_time=_timestamp(notification.created_at),
        send_time=None if notification.sent_at is None else _timestamp(notification.sent_at),
        problem=notification.problem,
    )


def status_from_wire(number: int) -> NotificationStatus | None:
    """Return a status, or None where none is named."""
    return next((status for status, value in STATUSES.items() if value == number), None)


def order_from_wire(order: order_pb2.Order) -> Order:
    """Return what letters need of an order."""
    return Order(
        order_id=order.order_id,
        placed_at=order.effective_time.ToDatetime(tzinfo=UTC),
        lines=tuple(
            Line(
                title=line.title,
                sku=line.sku,
                quantity=line.quantity,
                unit_price=_amount(line.unit_price),
                total=_amount(line.line_total),
            )
            for line in order.lines
        ),
        shipping=_amount(order.shipping, order.total.currency_code),
        tax=_amount(order.tax, order.total.currency_code),
        total=_amount(order.total),
        recipient_name=order.shipping_address.full_name,
        address=_envelope(order.shipping_address),
    )


def link_from_wire(link: link_pb2.Link) -> Link:
    """Return what letters need of a one-time link."""
    return Link(token=link.token, expires_at=link.expire_time.ToDatetime(tzinfo=UTC))


def purpose_from_wire(number: int) -> str:
    """Return what a link is for, as `rules.LINK_TEMPLATES` has it; empty for what is not known here."""
    known = number in link_pb2.LinkPurpose.values()
    return link_pb2.LinkPurpose.Name(number).removeprefix("LINK_PURPOSE_") if known else ""  # type: ignore[arg-type]


def change_from_wire(number: int) -> str:
    """Return what changed about a sign-in, as `rules.NOTICE_TEMPLATES` has it; empty for what is not known here."""
    known, name = events_pb2.SignInChange.values(), events_pb2.SignInChange.Name
    return name(number).removeprefix("SIGN_IN_CHANGE_") if number in known else ""  # type: ignore[arg-type]


def notice_from(details: Mapping[str, str]) -> Notice:
    """Return what letters need of a change that was noted with its event."""
    happened_at = datetime.fromisoformat(details["happened_at"]).astimezone(UTC)
    return Notice(happened_at=happened_at, provider=details["provider"])


def _envelope(address: address_pb2.Address) -> tuple[str, ...]:
    lines = (
        address.full_name,
        address.line1,
        address.line2,
        address.city,
        address.region,
        address.postal_code,
        address.country_code,
    )
    return tuple(line for line in lines if line)


def _amount(money: money_pb2.Money, otherwise: str = "") -> Amount:
    return Amount(money.minor_units, money.currency_code or otherwise)


def _timestamp(at: datetime) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(at)
    return stamp
