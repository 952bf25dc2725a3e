"""Money, times and returned units between Python and protobuf."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from svc_order.order.lines import units_from_json
from titan.order.v1 import order_pb2
from titan.type.v1 import money_pb2


def money(minor_units: int, currency: str) -> money_pb2.Money:
    """Return an amount of money."""
    return money_pb2.Money(currency_code=currency, minor_units=minor_units)


def timestamp(at: datetime) -> Timestamp:
    """Return a time."""
    stamp = Timestamp()
    stamp.FromDatetime(at)
    return stamp


def returned_to_wire(payload: Mapping[str, Any]) -> list[order_pb2.ReturnedUnits]:
    """Return the units that came back with a journal entry, in the order of their lines."""
    units = units_from_json(payload.get("units"))
    return [order_pb2.ReturnedUnits(line_number=number, quantity=units[number]) for number in sorted(units)]


def datetime_of(stamp: Timestamp) -> datetime:
    """Return the time in a field, aware and in UTC."""
    return stamp.ToDatetime(tzinfo=UTC)
