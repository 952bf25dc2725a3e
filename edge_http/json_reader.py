"""Reads JSON values into messages, by a plan that is made once per message type from its descriptor.

It takes both spellings of a name, as proto3 JSON does. What it cannot take it tells by field, with the path as the
client wrote it. Unknown names are refused: a misspelled limit must not become no limit.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from edge_http.json_names import fields_by_any_name
from edge_http.json_scalars import Unfit, bool_text, kind_of, scalar_of
from mesh.refusals import FieldViolation, InvalidInput

MAX_VIOLATIONS = 20


class Problems:
    """The violations found so far, at most MAX_VIOLATIONS."""

    def __init__(self) -> None:
        self.found: list[FieldViolation] = []

    @property
    def full(self) -> bool:
        """Whether no further violation is kept, so that reading on is of no use."""
        return len(self.found) >= MAX_VIOLATIONS

    def add(self, path: str, description: str) -> None:
        """Keep a violation of the field at this path, unless there are enough."""
        if not self.full:
            self.found.append(FieldViolation(path, description))

    def refuse(self) -> None:
        """Raise `InvalidInput` if anything was found."""
        if not self.found:
            return
        first = self.found[0]
        more = f" (and {len(self.found) - 1} more)" if len(self.found) > 1 else ""
        subject = f"{first.field}: " if first.field else ""
        raise InvalidInput(f"{subject}{first.description}{more}", self.found)


Read = Callable[[Any, Any, str, Problems], None]
"""Fills a message from a value: (value, message, path, problems)."""


def read(value: Any, message: Message) -> None:
    """Fill a message from a JSON value.

    Raises:
        InvalidInput: The value does not fit; the violations name the fields.
    """
    problems = Problems()
    reader_of(message.DESCRIPTOR)(value, message, "", problems)
    problems.refuse()


@cache
def reader_of(descriptor: Descriptor) -> Read:
    """Return the function that fills a message of this type."""
    special = _SPECIAL.get(descriptor.full_name)
    if special is not None:
        return special
    if descriptor.full_name.startswith("google.protobuf.") and descriptor.full_name.endswith("Value"):
        return _wrapper(descriptor)
    return _Plan(descriptor).read


class _Plan:
    """The plan of one message type; made when first used, so that a message type may contain itself."""

    def __init__(self, descriptor: Descriptor) -> None:
        self._descriptor = descriptor
        self._fields: dict[str, tuple[FieldDescriptor, Read, str | None]] | None = None

    def _prepare(self) -> dict[str, tuple[FieldDescriptor, Read, str | None]]:
        made = {field.number: _field_reader(field) for field in self._descriptor.fields}
        return {
            name: (field, made[field.number], field.containing_oneof.name if field.containing_oneof else None)
            for name, field in fields_by_any_name(self._descriptor).items()
        }

    def read(self, value: Any, message: Any, path: str, problems: Problems) -> None:
        if type(value) is not dict:
            problems.add(path, f"must be an object, not {kind_of(value)}")
            return
        fields = self._fields
        if fields is None:
            fields = self._fields = self._prepare()
        seen: dict[Any, str] = {}
        for name, inner in value.items():
            where = f"{path}.{name}" if path else name
            known = fields.get(name)
            if known is None:
                problems.add(where[:256], "is not a field of this object")
                if problems.full:
                    return
                continue
            field, fill, oneof = known
            other = seen.setdefault(field.number, name)
            if other is not name:
                problems.add(where, f"is the same field as {other}")
                continue
            if inner is None and not _takes_null(field):
                continue
            if oneof is not None:
                rival = seen.setdefault(oneof, name)
                if rival is not name:
                    problems.add(where, f"cannot stand beside {rival}: only one of them may be set")
                    continue
            fill(inner, message, where, problems)
            if problems.full:
                return


def _field_reader(field: FieldDescriptor) -> Read:
    if field.is_repeated:
        return _map(field) if _is_map(field) else _list(field)
    name = field.name
    if field.message_type is not None:
        inner = reader_of(field.message_type)

        def fill_message(value: Any, message: Any, path: str, problems: Problems) -> None:
            child = getattr(message, name)
            child.SetInParent()
            inner(value, child, path, problems)

        return fill_message
    scalar = scalar_of(field)

    def fill_scalar(value: Any, message: Any, path: str, problems: Problems) -> None:
        try:
            setattr(message, name, scalar(value))
        except Unfit as unfit:
            problems.add(path, str(unfit))

    return fill_scalar


def _list(field: FieldDescriptor) -> Read:
    name = field.name
    inner = reader_of(field.message_type) if field.message_type is not None else None
    scalar = scalar_of(field) if field.message_type is None else None
    takes_null = _takes_null(field)

    def fill(value: Any, message: Any, path: str, problems: Problems) -> None:
        if type(value) is not list:
            problems.add(path, f"must be a list, not {kind_of(value)}")
            return
        target = getattr(message, name)
        for index, item in enumerate(value):
            if item is None and not takes_null:
                problems.add(f"{path}[{index}]", "must not be null")
            elif inner is not None:
                inner(item, target.add(), f"{path}[{index}]", problems)
            else:
                try:
                    target.append(scalar(item))  # type: ignore[misc]
                except Unfit as unfit:
                    problems.add(f"{path}[{index}]", str(unfit))
            if problems.full:
                return

    return fill


def _map(field: FieldDescriptor) -> Read:
    name = field.name
    assert field.message_type is not None
    key_field, value_field = (field.message_type.fields_by_name[each] for each in ("key", "value"))
    read_key = bool_text if key_field.type == FieldDescriptor.TYPE_BOOL else scalar_of(key_field)
    inner = reader_of(value_field.message_type) if value_field.message_type is not None else None
    scalar = scalar_of(value_field) if value_field.message_type is None else None
    takes_null = _takes_null(value_field)

    def fill(value: Any, message: Any, path: str, problems: Problems) -> None:
        if type(value) is not dict:
            problems.add(path, f"must be an object, not {kind_of(value)}")
            return
        target = getattr(message, name)
        for text, item in value.items():
            where = f"{path}[{json.dumps(text[:64], ensure_ascii=False)}]"
            try:
                key = read_key(text)
                if item is None and not takes_null:
                    problems.add(where, "must not be null")
                elif inner is not None:
                    target[key].SetInParent()
                    inner(item, target[key], where, problems)
                else:
                    target[key] = scalar(item)  # type: ignore[misc]
            except Unfit as unfit:
                problems.add(where, str(unfit))
            if problems.full:
                return

    return fill


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and bool(field.message_type.GetOptions().map_entry)


def _takes_null(field: FieldDescriptor) -> bool:
    """Whether null is a value of the field, and not the absence of one."""
    if field.message_type is not None:
        return field.message_type.full_name == "google.protobuf.Value"
    return field.enum_type is not None and field.enum_type.full_name == "google.protobuf.NullValue"


# Messages that have a JSON form of their own


def _wrapper(descriptor: Descriptor) -> Read:
    scalar = scalar_of(descriptor.fields_by_name["value"])

    def fill(value: Any, message: Any, path: str, problems: Problems) -> None:
        try:
            message.value = scalar(value)
        except Unfit as unfit:
            problems.add(path, str(unfit))

    return fill


def _from_text(what: str) -> Read:
    def fill(value: Any, message: Any, path: str, problems: Problems) -> None:
        try:
            if type(value) is not str:
                raise ValueError
            message.FromJsonString(value)
        except (ValueError, TypeError, OverflowError):
            problems.add(path, f"must be {what}")

    return fill


def _field_mask(value: Any, message: Any, path: str, problems: Problems) -> None:
    if type(value) is not str:
        problems.add(path, f"must be a text of field names, not {kind_of(value)}")
        return
    for name in value.split(",") if value else ():
        stripped = name.strip()
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*(\.[A-Za-z][A-Za-z0-9_]*)*", stripped):
            problems.add(path, "must be field names with commas between them")
            return
        message.paths.append(re.sub("[A-Z]", lambda found: "_" + found.group().lower(), stripped))


def _by_library(value: Any, message: Any, path: str, problems: Problems) -> None:
    try:
        json_format.ParseDict(value, message)
    except (json_format.Error, ValueError, TypeError):
        problems.add(path, f"is not a {message.DESCRIPTOR.full_name}")


_SPECIAL: Mapping[str, Read] = {
    "google.protobuf.Timestamp": _from_text("a time such as 2026-11-21T10:00:00Z"),
    "google.protobuf.Duration": _from_text("a duration in seconds such as 3.5s"),
    "google.protobuf.FieldMask": _field_mask,
    "google.protobuf.Any": _by_library,
    "google.protobuf.Struct": _by_library,
    "google.protobuf.Value": _by_library,
    "google.protobuf.ListValue": _by_library,
}
