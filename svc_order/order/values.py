"""Money and times between Python and protobuf."""

from __future__ import annotations

from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp

from titan.type.v1 import money_pb2


def money(minor_units: int, currency: str) -> money_pb2.Money:
    """Return an amount of money."""
    return money_pb2.Money(currency_code=currency, minor_units=minor_units)


def timestamp(at: datetime) -> Timestamp:
    """Return a time."""
    stamp = Timestamp()
    stamp.FromDatetime(at)
    return stamp


def datetime_of(stamp: Timestamp) -> datetime:
    """Return the time in a field, aware and in UTC."""
    return stamp.ToDatetime(tzinfo=UTC)
