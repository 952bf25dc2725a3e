"""Writes messages as proto3 JSON, by a plan that is made once per message type from its descriptor.

camelCase names; 64-bit integers as strings; enum values without their prefix; bytes as base64; fields without presence
always there, with their default if need be; absent messages left out; maps sorted by key, so that one message is
always the same bytes. `json_format` does the same (but for the enum names) and is the oracle of the tests: it walks
descriptors anew for every message, which costs several times as much.
"""

from __future__ import annotations

import base64
import json
import math
import struct
from collections.abc import Callable, Mapping
from datetime import date
from functools import cache, lru_cache
from operator import attrgetter
from typing import Any

from google.protobuf import descriptor_pool, json_format, message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from edge_http.json_names import enum_names

_EPOCH_DAY = date(1970, 1, 1).toordinal()
_LONG = {
    FieldDescriptor.TYPE_INT64,
    FieldDescriptor.TYPE_UINT64,
    FieldDescriptor.TYPE_SINT64,
    FieldDescriptor.TYPE_FIXED64,
    FieldDescriptor.TYPE_SFIXED64,
}

Convert = Callable[[Any], Any]
_encode = json.JSONEncoder(ensure_ascii=False, check_circular=False, separators=(",", ":")).encode


def to_bytes(message: Message) -> bytes:
    """Return a message as UTF-8 JSON."""
    return encode(to_value(message))


def encode(value: Any) -> bytes:
    """Return a JSON value as compact UTF-8."""
    return _encode(value).encode()


def to_value(message: Message) -> Any:
    """Return a message as the value that JSON writes: an object, or a text for a time and its like."""
    return writer_of(message.DESCRIPTOR)(message)


@cache
def writer_of(descriptor: Descriptor) -> Convert:
    """Return the function that turns a message of this type into a JSON value."""
    special = _SPECIAL.get(descriptor.full_name)
    if special is not None:
        return special
    if descriptor.full_name.startswith("google.protobuf.") and descriptor.full_name.endswith("Value"):
        inner = _converter(descriptor.fields_by_name["value"])
        return lambda message: message.value if inner is None else inner(message.value)
    return _Plan(descriptor).write


class _Plan:
    """The plan of one message type.

    All fields are fetched by one `attrgetter`, in C, in the order of the proto; afterwards absent ones are taken out,
    and those whose values JSON would not take as they are get converted. It is worked out when first needed, so that
    a message type may contain itself.
    """

    def __init__(self, descriptor: Descriptor) -> None:
        self._descriptor = descriptor
        self._ready = False

    def _prepare(self) -> None:
        fields = list(self._descriptor.fields)
        self._present: list[tuple[str, str, Convert | None]] = []
        self._converted: list[tuple[str, Convert]] = []
        for field in fields:
            if field.has_presence:
                self._present.append((field.name, field.json_name, _converter(field)))
            elif (convert := _of_many(field) if field.is_repeated else _converter(field)) is not None:
                self._converted.append((field.json_name, convert))
        self._names = [field.json_name for field in fields]
        # One name makes attrgetter return a value instead of a tuple; none is an error.
        names = [field.name for field in fields]
        self._get: Callable[[Any], tuple[Any, ...]]
        if len(names) > 1:
            self._get = attrgetter(*names)
        else:
            self._get = lambda message: tuple(getattr(message, name) for name in names)
        self._ready = True

    def write(self, message: Any) -> dict[str, Any]:
        if not self._ready:
            self._prepare()
        out = dict(zip(self._names, self._get(message), strict=True))
        for name, convert in self._converted:
            out[name] = convert(out[name])
        for attribute, name, present in self._present:
            if not message.HasField(attribute):
                del out[name]
            elif present is not None:
                out[name] = present(out[name])
        return out


def _same(value: Any) -> Any:
    return value


def _converter(field: FieldDescriptor) -> Convert | None:
    """Return what turns one value of a field into its JSON value; None where it is the same."""
    if field.message_type is not None:
        return writer_of(field.message_type)
    if field.enum_type is not None:
        if field.enum_type.full_name == "google.protobuf.NullValue":
            return lambda value: None
        names = enum_names(field.enum_type)
        return lambda number: names.get(number, number)
    if field.type in _LONG:
        return str
    if field.type == FieldDescriptor.TYPE_BYTES:
        return lambda value: base64.b64encode(value).decode("ascii")
    if field.type == FieldDescriptor.TYPE_DOUBLE:
        return _double
    if field.type == FieldDescriptor.TYPE_FLOAT:
        return lambda value: _double(_shortest(value))
    return None


def _of_many(field: FieldDescriptor) -> Convert:
    entry = field.message_type
    if entry is not None and entry.GetOptions().map_entry:
        key_type = entry.fields_by_name["key"].type
        convert = _converter(entry.fields_by_name["value"]) or _same
        key = _bool_key if key_type == FieldDescriptor.TYPE_BOOL else str
        return lambda pairs: {key(name): convert(pairs[name]) for name in sorted(pairs)} if pairs else {}
    single = _converter(field)
    if single is None:
        return list
    return lambda values: [single(value) for value in values]


def _bool_key(value: bool) -> str:
    return "true" if value else "false"


def _double(value: float) -> Any:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _shortest(value: float) -> float:
    """Return the shortest decimal that is the same 32-bit number: 0.1, not 0.10000000149011612."""
    if math.isfinite(value):
        for digits in (6, 7, 8):
            short = float(f"{value:.{digits}g}")
            try:
                if struct.unpack("f", struct.pack("f", short))[0] == value:
                    return short
            except OverflowError:
                continue
    return value


# Types that have a JSON form of their own


@lru_cache(maxsize=4096)
def _day(days: int) -> str:
    return date.fromordinal(_EPOCH_DAY + days).isoformat()


def _fraction(nanos: int) -> str:
    if nanos == 0:
        return ""
    if nanos % 1_000_000 == 0:
        return f".{nanos // 1_000_000:03d}"
    return f".{nanos // 1_000:06d}" if nanos % 1_000 == 0 else f".{nanos:09d}"


def _timestamp(message: Any) -> str:
    days, seconds = divmod(message.seconds, 86_400)
    minutes, second = divmod(seconds, 60)
    hour, minute = divmod(minutes, 60)
    return f"{_day(days)}T{hour:02d}:{minute:02d}:{second:02d}{_fraction(message.nanos)}Z"


def _duration(message: Any) -> str:
    sign = "-" if message.seconds < 0 or message.nanos < 0 else ""
    return f"{sign}{abs(message.seconds)}{_fraction(abs(message.nanos))}s"


def _any(message: Any) -> dict[str, Any]:
    """Return the message inside an Any beside its type; only the type where this process does not know it."""
    name = message.type_url.rpartition("/")[2]
    try:
        descriptor = descriptor_pool.Default().FindMessageTypeByName(name)
    except KeyError:
        return {"@type": message.type_url}
    inner = message_factory.GetMessageClass(descriptor)()
    inner.ParseFromString(message.value)
    value = to_value(inner)
    if descriptor.full_name in _SPECIAL or not isinstance(value, dict):
        return {"@type": message.type_url, "value": value}
    return {"@type": message.type_url, **value}


def _by_library(message: Message) -> Any:
    return json_format.MessageToDict(message)


_SPECIAL: Mapping[str, Convert] = {
    "google.protobuf.Timestamp": _timestamp,
    "google.protobuf.Duration": _duration,
    "google.protobuf.FieldMask": lambda message: message.ToJsonString(),
    "google.protobuf.Any": _any,
    # Rare in contracts, and never on a hot path.
    "google.protobuf.Struct": _by_library,
    "google.protobuf.Value": _by_library,
    "google.protobuf.ListValue": _by_library,
}
