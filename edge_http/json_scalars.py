"""Reads one JSON value that is no message: numbers, texts, truth, bytes and the names of enum values.

It takes what proto3 JSON takes (numbers as texts, base64 of either alphabet), and enum values with or without their
prefix. It knows no field and no path: what it cannot take it tells in words that complete a sentence.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor

from edge_http.json_names import enum_numbers
from edge_http.schemas import rules_of

_WHOLE = re.compile(r"-?(?:0|[1-9][0-9]{0,19})")
_FRACTION = re.compile(r"-?(?:0|[1-9][0-9]*)\.[0-9]+")
_INTEGERS: Mapping[int, tuple[int, int]] = {
    FieldDescriptor.TYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.TYPE_SINT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.TYPE_SFIXED32: (-(2**31), 2**31 - 1),
    FieldDescriptor.TYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.TYPE_FIXED32: (0, 2**32 - 1),
    FieldDescriptor.TYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.TYPE_SINT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.TYPE_SFIXED64: (-(2**63), 2**63 - 1),
    FieldDescriptor.TYPE_UINT64: (0, 2**64 - 1),
    FieldDescriptor.TYPE_FIXED64: (0, 2**64 - 1),
}
_LARGEST_FLOAT = math.nextafter(2.0**128 - 2.0**103, 0)
"""What still becomes the largest float of 32 bits, which is written rounded up, as 3.4028235e38."""


class Unfit(ValueError):
    """A value that a field cannot take; the message completes a sentence that starts with the field."""


Scalar = Callable[[Any], Any]
"""Returns a field's value from a JSON value; raises `Unfit`."""


def scalar_of(field: FieldDescriptor) -> Scalar:
    """Return the function that reads one value of a field that is no message."""
    if field.enum_type is not None:
        return _enum(field.enum_type)
    if field.type in _INTEGERS:
        return _integer(*_INTEGERS[field.type], told=_told_bounds(field))
    return _SCALARS[field.type]


def kind_of(value: Any) -> str:
    """Return what kind of JSON value this is, for a message."""
    if value is None:
        return "null"
    if type(value) is bool:
        return "true" if value else "false"
    return {dict: "an object", list: "a list", str: "a text", int: "a number", float: "a number"}.get(
        type(value), "this"
    )


def _integer(least: int, most: int, *, told: tuple[int, int] | None = None) -> Scalar:
    """Return the reader of a whole number; `told` are the bounds for people, narrower than what the type can hold."""
    lower, upper = told or (least, most)

    def scalar(value: Any) -> int:
        if type(value) is not int:
            if type(value) is float and value.is_integer():
                value = int(value)
            elif type(value) is str and _WHOLE.fullmatch(value):
                value = int(value)
            elif type(value) is float and not math.isfinite(value):
                raise Unfit(f"must be between {lower} and {upper}")
            elif type(value) is float or (type(value) is str and _FRACTION.fullmatch(value)):
                raise Unfit("must be a whole number, not a fraction")
            else:
                raise Unfit(f"must be a whole number, not {kind_of(value)}")
        if not least <= value <= most:
            raise Unfit(f"must be between {lower} and {upper}")
        return value

    return scalar


def _told_bounds(field: FieldDescriptor) -> tuple[int, int]:
    """Return the bounds of a field's own rules, where it has some, within those of its type."""
    least, most = _INTEGERS[field.type]
    rules = rules_of(field)
    if rules is not None and rules.WhichOneof("type") == "repeated":
        rules = rules.repeated.items
    kind = rules.WhichOneof("type") if rules is not None else None
    limits = getattr(rules, kind) if kind is not None else None
    if limits is None or "gte" not in limits.DESCRIPTOR.fields_by_name:
        return least, most
    lowest = [limits.gte] * limits.HasField("gte") + [limits.gt + 1] * limits.HasField("gt")
    highest = [limits.lte] * limits.HasField("lte") + [limits.lt - 1] * limits.HasField("lt")
    return max([least, *lowest]), min([most, *highest])


def _number(most: float) -> Scalar:
    def scalar(value: Any) -> float:
        try:
            number = float(value) if type(value) in (int, float, str) and value != "" else None
        except (ValueError, OverflowError):
            number = None
        if number is None or (type(value) is str and not _is_number(value)):
            raise Unfit(f"must be a number, not {kind_of(value)}")
        if not math.isfinite(number) or abs(number) > most:
            raise Unfit("is too large")
        return number

    return scalar


_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")


def _is_number(text: str) -> bool:
    return _NUMBER.fullmatch(text) is not None


def _bool(value: Any) -> bool:
    if type(value) is not bool:
        raise Unfit(f"must be true or false, not {kind_of(value)}")
    return value


def bool_text(value: Any) -> bool:
    """Return the truth that a key of a map, or a query parameter, writes as a text."""
    if value not in ("true", "false"):
        raise Unfit("must be true or false")
    return value == "true"


def _string(value: Any) -> str:
    if type(value) is not str:
        raise Unfit(f"must be a text, not {kind_of(value)}")
    if "\x00" in value:
        raise Unfit("holds the character NUL, which cannot be stored")
    return value


def _bytes(value: Any) -> bytes:
    if type(value) is not str:
        raise Unfit(f"must be a text in base64, not {kind_of(value)}")
    text = value.replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise Unfit("must be base64") from None


def _enum(descriptor: EnumDescriptor) -> Scalar:
    numbers = enum_numbers(descriptor)
    takes_null = descriptor.full_name == "google.protobuf.NullValue"

    def scalar(value: Any) -> int:
        if type(value) is str:
            number = numbers.get(value)
            if number is None:
                choices = ", ".join(list(numbers)[-12:])
                raise Unfit(f"must be one of {choices}")
            return number
        if value is None and takes_null:
            return 0
        return whole(value)

    whole = _integer(-(2**31), 2**31 - 1)
    return scalar


_SCALARS: Mapping[int, Scalar] = {
    FieldDescriptor.TYPE_STRING: _string,
    FieldDescriptor.TYPE_BOOL: _bool,
    FieldDescriptor.TYPE_BYTES: _bytes,
    FieldDescriptor.TYPE_DOUBLE: _number(math.inf),
    FieldDescriptor.TYPE_FLOAT: _number(_LARGEST_FLOAT),
}
