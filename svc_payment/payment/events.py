"""The public events of payments and wallets. They carry ids and amounts, no personal data and no card token."""

from __future__ import annotations

import uuid

from google.protobuf.message import Message

from mesh.outbox import Event
from svc_payment.payment.effects import EventType
from svc_payment.payment.rules import Payment
from titan.payment.v1 import events_pb2
from titan.type.v1 import money_pb2

TOPIC = "titan.payment.v1"


def of_payment(payment: Payment, kind: EventType) -> Event:
    """Return the event of a payment that just changed; its version is already counted in `payment.version`."""
    payment_id, order_id = str(payment.payment_id), str(payment.order_id)
    message: Message
    match kind:
        case EventType.AUTHORIZED:
            message = events_pb2.PaymentAuthorized(
                payment_id=payment_id, order_id=order_id, amount=_money(payment), provider=payment.provider
            )
        case EventType.CAPTURED:
            message = events_pb2.PaymentCaptured(
                payment_id=payment_id, order_id=order_id, amount=_money(payment), provider=payment.provider
            )
        case EventType.REFUSED:
            message = events_pb2.PaymentRefused(
                payment_id=payment_id, order_id=order_id, reason=payment.refusal_reason or ""
            )
        case EventType.VOIDED:
            message = events_pb2.PaymentVoided(payment_id=payment_id, order_id=order_id)
        case _:
            raise ValueError(f"{kind} is not an event of a payment's status")
    return _event(message, payment_id, payment.version)


def of_refund(payment: Payment, *, refund_id: uuid.UUID, amount_minor: int) -> Event:
    """Return the event of a refund that is done; its version is already counted in `payment.version`."""
    message = events_pb2.PaymentRefunded(
        payment_id=str(payment.payment_id),
        order_id=str(payment.order_id),
        refund_id=str(refund_id),
        amount=money_pb2.Money(currency_code=payment.currency, minor_units=amount_minor),
    )
    return _event(message, str(payment.payment_id), payment.version)


def of_wallet(user_id: uuid.UUID, *, amount_minor: int, currency: str, version: int) -> Event:
    """Return the event of a wallet that was paid into."""
    message = events_pb2.WalletCredited(
        user_id=str(user_id), amount=money_pb2.Money(currency_code=currency, minor_units=amount_minor)
    )
    return _event(message, str(user_id), version)


def _money(payment: Payment) -> money_pb2.Money:
    return money_pb2.Money(currency_code=payment.currency, minor_units=payment.amount_minor)


def _event(message: Message, aggregate_id: str, version: int) -> Event:
    return Event(
        topic=TOPIC,
        type=message.DESCRIPTOR.full_name,
        aggregate_id=aggregate_id,
        version=version,
        payload=message.SerializeToString(deterministic=True),
    )
