"""The names under which fields and enum values travel in JSON, the same for reading, writing and describing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

_WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_SNAKE = re.compile(r"_([a-z0-9])")


@cache
def enum_names(descriptor: EnumDescriptor) -> Mapping[int, str]:
    """Return what is written for each number: the value's name without the prefix that repeats the enum's name."""
    values = list(descriptor.values)
    prefix = _WORD.sub("_", descriptor.name).upper() + "_"
    strippable = all(v.name.startswith(prefix) and v.name[len(prefix) :][:1].isalpha() for v in values)
    names: dict[int, str] = {}
    for value in values:
        # Of several names for one number, the first is written, as in protobuf itself.
        names.setdefault(value.number, value.name[len(prefix) :] if strippable else value.name)
    return names


@cache
def enum_numbers(descriptor: EnumDescriptor) -> Mapping[str, int]:
    """Return the number behind every name that is read: with the prefix and without it."""
    numbers = {value.name: value.number for value in descriptor.values}
    for number, short in enum_names(descriptor).items():
        numbers.setdefault(short, number)
    return numbers


@cache
def fields_by_any_name(descriptor: Descriptor) -> Mapping[str, FieldDescriptor]:
    """Return a message's fields under both names that are read: camelCase and as written in the proto."""
    names = {field.name: field for field in descriptor.fields}
    return {**names, **{field.json_name: field for field in descriptor.fields}}


def camel_path(path: str) -> str:
    """Return a field path of the proto, such as `expected_total.minor_units`, as JSON has it.

    Keys of maps stand in brackets and quotes and are left as they are.
    """
    pieces = re.split(r'(\["(?:[^"\\]|\\.)*"\])', path)
    return "".join(piece if piece.startswith('["') else _SNAKE.sub(_upper, piece) for piece in pieces)


def _upper(found: re.Match[str]) -> str:
    return found.group(1).upper()
