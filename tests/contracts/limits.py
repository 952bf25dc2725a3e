"""Requests with one thing in them that is beyond its limit, from the limits that the contract sets."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from buf.validate import validate_pb2

DEEPEST = 3
"""How far inside a request a limit is tried."""


def rules_of(field: FieldDescriptor) -> Any:
    """Return what the contract says of a field's values."""
    return field.GetOptions().Extensions[validate_pb2.field]  # type: ignore[index]


def has_a_limit(field: FieldDescriptor) -> bool:
    return field.GetOptions().HasExtension(validate_pb2.field)  # type: ignore[arg-type]


def broken_requests(request_class: type[Message]) -> Iterator[tuple[str, Message]]:
    """Yield a field's path and a request with nothing in it but too much there, for each field with a limit."""

    def inside(path: tuple[str, ...], fields: Any) -> Iterator[tuple[str, Message]]:
        for field in fields:
            here = (*path, field.name)
            if has_a_limit(field) and (request := broken(request_class(), path, field)) is not None:
                yield ".".join(here), request
            if field.message_type is not None and not field.is_repeated and len(here) < DEEPEST:
                if not field.message_type.full_name.startswith("google."):
                    yield from inside(here, field.message_type.fields)

    yield from inside((), request_class.DESCRIPTOR.fields)


def broken(request: Message, path: tuple[str, ...], field: FieldDescriptor) -> Message | None:
    """Put something beyond the limit of a field at the end of a path; None where the kind of limit is not tried."""
    holder: Any = request
    for name in path:
        holder = getattr(holder, name)
        holder.SetInParent()
    rules = rules_of(field)
    if field.is_repeated:
        return request if too_many(holder, field, rules) else None
    if field.message_type is not None:
        return request if rules.required else None
    value = beyond(rules)
    if value is None:
        return None
    setattr(holder, field.name, value)
    return request


def too_many(holder: Any, field: FieldDescriptor, rules: Any) -> bool:
    """Fill a list with more items than it may have; a map is left to the tests of its package."""
    if not rules.repeated.HasField("max_items"):
        return False
    items = getattr(holder, field.name)
    for _ in range(rules.repeated.max_items + 1):
        if field.message_type is not None:
            items.add()
        else:
            items.append("" if field.cpp_type == FieldDescriptor.CPPTYPE_STRING else 0)
    return True


def beyond(rules: Any) -> Any:
    """Return a value that the rules of a single field forbid."""
    kind = rules.WhichOneof("type")
    if kind is None:
        return None
    of_kind = getattr(rules, kind)
    if kind == "string":
        if of_kind.HasField("max_len"):
            return "x" * (of_kind.max_len + 1)
        if of_kind.WhichOneof("well_known"):
            return "x"
        tried = ("\x01", "x" * 5000)
        return next((each for each in tried if of_kind.pattern and not re.search(of_kind.pattern, each)), None)
    if kind == "bytes":
        return b"x" * (of_kind.max_len + 1) if of_kind.HasField("max_len") else None
    if kind == "bool":
        return not of_kind.const if of_kind.HasField("const") else None
    if kind == "enum":
        return 2**31 - 1 if of_kind.defined_only else None
    match of_kind.WhichOneof("less_than"):
        case "lte":
            return of_kind.lte + 1
        case "lt":
            return of_kind.lt
    return None
