"""Writes messages as proto3 JSON, by a function that is made once per message type from its descriptor.

camelCase names in the order of the proto; 64-bit integers as texts; enum values without their prefix; bytes as base64;
fields without presence always there, with their default if need be; absent messages left out; maps sorted by key, so
that one message is always the same bytes. `json_format` does the same (but for the enum names) and is the oracle of the
tests: it walks descriptors anew for every message and builds a dict to be written, which costs several times as much.
"""

from __future__ import annotations

import base64
import json
import math
import struct
from collections.abc import Callable, Mapping
from datetime import date
from functools import lru_cache
from json.encoder import encode_basestring as quote
from keyword import iskeyword
from typing import Any

from google.protobuf import descriptor_pool, json_format, message_factory
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
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

Write = Callable[[Any], str]
"""Returns a value as JSON text."""

_encode = json.JSONEncoder(ensure_ascii=False, check_circular=False, separators=(",", ":")).encode
_writers: dict[str, Write] = {}
_begun: set[str] = set()


def to_bytes(message: Message) -> bytes:
    """Return a message as UTF-8 JSON."""
    return _writer(message)(message).encode()


def to_value(message: Message) -> Any:
    """Return a message as the value that its JSON stands for; for what is small and rare."""
    return json.loads(_writer(message)(message))


def encode(value: Any) -> bytes:
    """Return a JSON value as compact UTF-8."""
    return _encode(value).encode()


def _writer(message: Message) -> Write:
    descriptor: Any = message.DESCRIPTOR
    return writer_of(descriptor)


def writer_of(descriptor: Descriptor) -> Write:
    """Return the function that writes messages of this type."""
    name = descriptor.full_name
    found = _writers.get(name)
    if found is not None:
        return found
    if name in _begun:
        # A message type inside itself: looked up when it is written.
        return lambda message: _writers[name](message)
    _begun.add(name)
    try:
        if name in _SPECIAL:
            made = _SPECIAL[name]
        elif name.startswith("google.protobuf.") and name.endswith("Value"):
            inner = _writer_of_values(descriptor.fields_by_name["value"])

            def made(message: Any) -> str:
                return inner(message.value)

        else:
            made = _compile(descriptor)
        _writers[name] = made
        return made
    finally:
        _begun.discard(name)


def _compile(descriptor: Descriptor) -> Write:
    """Return the writer of an ordinary message.

    It is one expression: a template that holds all names and punctuation, filled with the fields' values. Interpreting
    a list of fields instead costs three times as much.
    """
    known: dict[str, Any] = {"quote": quote}
    template: list[str] = []
    values: list[str] = []
    fields = list(descriptor.fields)
    # With an optional field in front nobody knows which field is the first: all bring a comma, and the first is cut.
    cut = bool(fields) and fields[0].has_presence
    for index, field in enumerate(fields):
        key = ("," if index or cut else "") + quote(field.json_name) + ":"
        get = f"getattr(m, {field.name!r})" if iskeyword(field.name) else f"m.{field.name}"
        value = _expression(field, get, index, known)
        if field.has_presence:
            known[f"key{index}"] = key
            template.append("%s")
            values.append(f"(key{index} + {value} if m.HasField({field.name!r}) else '')")
        else:
            template.append(key + "%s")
            values.append(value)
    known["template"] = "".join(template)
    filled = f"template % ({', '.join(values)},)" if values else "''"
    source = f"lambda m: '{{' + ({filled}){'[1:]' if cut else ''} + '}}'"
    made: Write = eval(source, known)  # noqa: S307 - made of the names in our own contracts, like a namedtuple
    return made


def _expression(field: FieldDescriptor, get: str, index: int, known: dict[str, Any]) -> str:
    """Return an expression for a field's value as JSON text; what it needs is added to `known`."""
    entry = field.message_type
    if entry is not None and entry.GetOptions().map_entry:
        known[f"write{index}"] = _writer_of_maps(entry)
        return f"write{index}({get})"
    if not field.is_repeated and field.type == FieldDescriptor.TYPE_STRING:
        return f"quote({get})"
    if not field.is_repeated and field.enum_type is not None:
        known[f"names{index}"] = _Names(field.enum_type)
        return f"names{index}[{get}]"
    write = _writer_of_values(field)
    if field.is_repeated:
        known[f"write{index}"] = write
        return f"('[' + ','.join([write{index}(each) for each in {get}]) + ']')"
    known[f"write{index}"] = write
    return f"write{index}({get})"


def _writer_of_values(field: FieldDescriptor) -> Write:
    """Return what writes one value of a field."""
    if field.message_type is not None:
        return writer_of(field.message_type)
    if field.enum_type is not None:
        return _Names(field.enum_type).__getitem__
    if field.type in _LONG:
        return '"%d"'.__mod__
    return _BY_TYPE.get(field.type, str)


class _Names(dict[int, str]):
    """The JSON text of every number of an enum; a number that has no name stands for itself."""

    def __init__(self, descriptor: EnumDescriptor) -> None:
        if descriptor.full_name == "google.protobuf.NullValue":
            super().__init__({0: "null"})
        else:
            super().__init__({number: quote(name) for number, name in enum_names(descriptor).items()})

    def __missing__(self, number: int) -> str:
        return str(number)


def _writer_of_maps(entry: Descriptor) -> Write:
    write = _writer_of_values(entry.fields_by_name["value"])
    is_bool = entry.fields_by_name["key"].type == FieldDescriptor.TYPE_BOOL
    as_key: Callable[[Any], str] = _bool if is_bool else str

    def written(pairs: Any) -> str:
        if not pairs:
            return "{}"
        return "{" + ",".join([f"{quote(as_key(key))}:{write(pairs[key])}" for key in sorted(pairs)]) + "}"

    return written


def _bool(value: bool) -> str:
    return "true" if value else "false"


def _bytes(value: bytes) -> str:
    return f'"{base64.b64encode(value).decode("ascii")}"'


def _double(value: float) -> str:
    if math.isfinite(value):
        return repr(value)
    return '"NaN"' if math.isnan(value) else '"Infinity"' if value > 0 else '"-Infinity"'


def _float(value: float) -> str:
    """Write the shortest decimal that is the same 32-bit number: 0.1, not 0.10000000149011612."""
    if math.isfinite(value):
        for digits in (6, 7, 8):
            short = float(f"{value:.{digits}g}")
            try:
                if struct.unpack("f", struct.pack("f", short))[0] == value:
                    return repr(short)
            except OverflowError:
                continue
    return _double(value)


_BY_TYPE: Mapping[int, Write] = {
    FieldDescriptor.TYPE_STRING: quote,
    FieldDescriptor.TYPE_BOOL: _bool,
    FieldDescriptor.TYPE_BYTES: _bytes,
    FieldDescriptor.TYPE_DOUBLE: _double,
    FieldDescriptor.TYPE_FLOAT: _float,
}


# Types that have a JSON form of their own


@lru_cache(maxsize=4096)
def _day(days: int) -> str:
    return date.fromordinal(_EPOCH_DAY + days).isoformat()


_TIMES = [f"T{minute // 60:02d}:{minute % 60:02d}:" for minute in range(24 * 60)]


def _fraction(nanos: int) -> str:
    if nanos == 0:
        return ""
    if nanos % 1_000_000 == 0:
        return f".{nanos // 1_000_000:03d}"
    return f".{nanos // 1_000:06d}" if nanos % 1_000 == 0 else f".{nanos:09d}"


def _timestamp(message: Any) -> str:
    minutes, second = divmod(message.seconds, 60)
    days, minute = divmod(minutes, 1440)
    return f'"{_day(days)}{_TIMES[minute]}{second:02d}{_fraction(message.nanos)}Z"'


def _duration(message: Any) -> str:
    sign = "-" if message.seconds < 0 or message.nanos < 0 else ""
    return f'"{sign}{abs(message.seconds)}{_fraction(abs(message.nanos))}s"'


def _any(message: Any) -> str:
    """Write the message inside an Any beside its type; only the type where this process does not know it."""
    kind = f'{{"@type":{quote(message.type_url)}'
    try:
        descriptor = descriptor_pool.Default().FindMessageTypeByName(message.type_url.rpartition("/")[2])
    except KeyError:
        return kind + "}"
    inner = message_factory.GetMessageClass(descriptor)()
    inner.ParseFromString(message.value)
    text = writer_of(descriptor)(inner)
    if descriptor.full_name in _SPECIAL or not text.startswith("{"):
        return f'{kind},"value":{text}}}'
    return f"{kind}{',' if text != '{}' else ''}{text[1:]}"


def _by_library(message: Message) -> str:
    return _encode(json_format.MessageToDict(message))


_SPECIAL: Mapping[str, Write] = {
    "google.protobuf.Timestamp": _timestamp,
    "google.protobuf.Duration": _duration,
    "google.protobuf.FieldMask": lambda message: quote(message.ToJsonString()),
    "google.protobuf.Any": _any,
    # Rare in contracts, and never on a hot path.
    "google.protobuf.Struct": _by_library,
    "google.protobuf.Value": _by_library,
    "google.protobuf.ListValue": _by_library,
}
