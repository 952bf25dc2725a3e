"""Examples for the description: made from the descriptors, and good enough to pass the contract's own limits."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from edge_http.json_names import enum_names
from edge_http.schemas import must_be_given, rules_of

MAX_LEVELS = 6

_UUID = "0192f0c1-7a5b-7c3d-8e4f-5a6b7c8d9e0f"
_WELL_KNOWN: Mapping[str, Any] = {
    "google.protobuf.Timestamp": "2026-11-21T10:00:00Z",
    "google.protobuf.Duration": "3.500s",
    "google.protobuf.FieldMask": "",
    "google.protobuf.Any": {"@type": "type.googleapis.com/google.protobuf.Empty"},
    "google.protobuf.Struct": {},
    "google.protobuf.Value": None,
    "google.protobuf.ListValue": [],
}
_TEXTS: Mapping[str, str] = {
    "currency_code": "GBP",
    "country_code": "GB",
    "postal_code": "E1 6AN",
    "city": "London",
    "full_name": "Ada Lovelace",
    "display_name": "Ada",
    "line1": "12 Tea Street",
    "line2": "Flat 3",
    "region": "Greater London",
    "email": "ada@example.com",
    "url": "https://example.com/",
}
"""Values of standards and of addresses, which no rule can guess."""


def of_message(
    descriptor: Descriptor, *, sent: bool, without: Collection[str] = (), depth: int = MAX_LEVELS
) -> dict[str, Any]:
    """Return an example of a message, in camelCase.

    One that is sent leaves out what a server fills in by itself (ids, times and etags that nothing asks for) and parts
    that need not be there.
    """
    example: dict[str, Any] = {}
    chosen: set[str] = set()
    for field in descriptor.fields:
        if field.name in without or (sent and _is_left_out(field)):
            continue
        oneof = field.containing_oneof
        if oneof is not None:
            if oneof.name in chosen:
                continue
            chosen.add(oneof.name)
        value = _of_field(field, sent=sent, depth=depth)
        if value is not None:
            example[field.json_name] = value
    return example


def of_field(field: FieldDescriptor) -> Any:
    """Return an example of one field's value."""
    return _of_field(field, sent=True, depth=MAX_LEVELS)


def _is_left_out(field: FieldDescriptor) -> bool:
    if must_be_given(field):
        return False
    name = field.name
    return (
        name in ("etag", "update_mask", "request_id")
        or name.endswith(("_token", "_id"))
        or (field.message_type is not None and not field.is_repeated and field.containing_oneof is None)
    )


def _of_field(field: FieldDescriptor, *, sent: bool, depth: int) -> Any:
    rules = rules_of(field)
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        value = field.message_type.fields_by_name["value"]
        inner = _single(value, rules.map.values if rules is not None else None, sent=sent, depth=depth)
        return None if inner is None else {_key(field.message_type): inner}
    if field.is_repeated:
        inner = _single(field, rules.repeated.items if rules is not None else None, sent=sent, depth=depth)
        return [] if inner is None else [inner]
    return _single(field, rules, sent=sent, depth=depth)


def _key(entry: Descriptor) -> str:
    kind = entry.fields_by_name["key"].type
    return "colour" if kind == FieldDescriptor.TYPE_STRING else "true" if kind == FieldDescriptor.TYPE_BOOL else "1"


def _single(field: FieldDescriptor, rules: Any, *, sent: bool, depth: int) -> Any:
    if field.message_type is not None:
        name = field.message_type.full_name
        if name in _WELL_KNOWN:
            return _WELL_KNOWN[name]
        if name.startswith("google.protobuf.") and name.endswith("Value"):
            return _single(field.message_type.fields_by_name["value"], None, sent=sent, depth=depth)
        if depth == 0:
            return None
        return of_message(field.message_type, sent=sent, depth=depth - 1)
    if field.enum_type is not None:
        names = enum_names(field.enum_type)
        return next((name for number, name in names.items() if number), next(iter(names.values())))
    if field.type == FieldDescriptor.TYPE_BOOL:
        return True
    if field.type == FieldDescriptor.TYPE_STRING:
        return _text(field, rules)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return "dGVh"
    number = _number(rules)
    return str(number) if field.type in _LONG else number


_LONG = {
    FieldDescriptor.TYPE_INT64,
    FieldDescriptor.TYPE_SINT64,
    FieldDescriptor.TYPE_SFIXED64,
    FieldDescriptor.TYPE_UINT64,
    FieldDescriptor.TYPE_FIXED64,
}


def _number(rules: Any) -> int:
    kind = rules.WhichOneof("type") if rules is not None else None
    value = 1
    if kind is not None and "gte" in getattr(rules, kind).DESCRIPTOR.fields_by_name:
        limits = getattr(rules, kind)
        value = 1250 if limits.HasField("lte") and limits.lte > 1_000_000_000 else 1
        if limits.HasField("gte"):
            value = max(value, int(limits.gte))
        if limits.HasField("gt"):
            value = max(value, int(limits.gt) + 1)
        if limits.HasField("lte"):
            value = min(value, int(limits.lte))
        if limits.HasField("lt"):
            value = min(value, int(limits.lt) - 1)
    return value


def _text(field: FieldDescriptor, rules: Any) -> str:
    name = field.name.removesuffix("s") if field.is_repeated else field.name
    limits = rules.string if rules is not None and rules.WhichOneof("type") == "string" else None
    words = name.replace("_", " ")
    is_id = name == "id" or name.endswith("_id")
    candidates = [
        *(text for ending, text in _TEXTS.items() if name == ending or name.endswith(f"_{ending}")),
        *([_UUID] if is_id else []),
        words,
        name,
        f"{name.upper()}-1",
        _UUID,
        "AB",
        "1",
        "",
    ]
    if limits is None:
        return candidates[0]
    if getattr(limits, "in"):
        return str(getattr(limits, "in")[0])
    if limits.uuid:
        return _UUID
    if limits.email:
        return _TEXTS["email"]
    padded = [text + "x" * max(0, limits.min_len - len(text)) for text in candidates]
    for text in padded:
        fits = len(text) >= limits.min_len and (not limits.max_len or len(text) <= limits.max_len)
        if fits and (not limits.pattern or re.search(limits.pattern, text)):
            return text
    return ""
