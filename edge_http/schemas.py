"""JSON Schemas (2020-12, as OpenAPI 3.1 has them) of messages and fields, with the limits of `buf.validate`."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor, OneofDescriptor

from buf.validate import validate_pb2
from edge_http.comments import Comments
from edge_http.json_names import enum_names

Schema = dict[str, Any]

COMPONENTS = "#/components/schemas/"
SIGNED_LONG = "^-?(0|[1-9][0-9]*)$"

_INT32 = {"int32": (-(2**31), 2**31 - 1), "uint32": (0, 2**32 - 1)}
_KINDS: Mapping[int, tuple[str, str]] = {
    FieldDescriptor.TYPE_INT32: ("integer", "int32"),
    FieldDescriptor.TYPE_SINT32: ("integer", "int32"),
    FieldDescriptor.TYPE_SFIXED32: ("integer", "int32"),
    FieldDescriptor.TYPE_UINT32: ("integer", "uint32"),
    FieldDescriptor.TYPE_FIXED32: ("integer", "uint32"),
    FieldDescriptor.TYPE_INT64: ("string", "int64"),
    FieldDescriptor.TYPE_SINT64: ("string", "int64"),
    FieldDescriptor.TYPE_SFIXED64: ("string", "int64"),
    FieldDescriptor.TYPE_UINT64: ("string", "uint64"),
    FieldDescriptor.TYPE_FIXED64: ("string", "uint64"),
    FieldDescriptor.TYPE_FLOAT: ("number", "float"),
    FieldDescriptor.TYPE_DOUBLE: ("number", "double"),
    FieldDescriptor.TYPE_BOOL: ("boolean", ""),
    FieldDescriptor.TYPE_STRING: ("string", ""),
    FieldDescriptor.TYPE_BYTES: ("string", "byte"),
}
_WELL_KNOWN: Mapping[str, Schema] = {
    "google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
    "google.protobuf.Duration": {"type": "string", "format": "duration", "pattern": r"^-?[0-9]+(\.[0-9]{1,9})?s$"},
    "google.protobuf.FieldMask": {"type": "string"},
    "google.protobuf.Any": {
        "type": "object",
        "properties": {"@type": {"type": "string"}},
        "required": ["@type"],
    },
    "google.protobuf.Struct": {"type": "object"},
    "google.protobuf.Value": {},
    "google.protobuf.ListValue": {"type": "array"},
}
_FORMATS = ("uuid", "email", "hostname", "ipv4", "ipv6", "uri")


def of_message(
    descriptor: Descriptor, comments: Comments, *, role: str = "both", without: Collection[str] = ()
) -> Schema:
    """Return the schema of a message.

    `role` says where the message travels. One that is only sent (`input`) is closed, since unknown names are refused;
    one that only comes back (`output`) names what is always there. `without` leaves fields out, by their proto names.
    """
    fields = [field for field in descriptor.fields if field.name not in without]
    schema: Schema = {"type": "object"}
    if comments.of(descriptor.full_name):
        schema["description"] = comments.of(descriptor.full_name)
    schema["properties"] = {field.json_name: of_field(field, comments) for field in fields}
    if role == "output":
        required = [field.json_name for field in fields if not field.has_presence]
    else:
        required = [field.json_name for field in fields if must_be_given(field)]
    if required:
        schema["required"] = required
    if role == "input":
        schema["additionalProperties"] = False
    choices = [_choice(oneof) for oneof in descriptor.oneofs if _is_real(oneof)]
    if choices:
        schema["allOf"] = choices
    return schema


def of_field(field: FieldDescriptor, comments: Comments) -> Schema:
    """Return the schema of a field's value, with its comment and its limits."""
    rules = rules_of(field)
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        schema = _map(field.message_type, rules, comments)
    elif field.is_repeated:
        schema = {"type": "array", "items": _single(field, rules.repeated.items if rules else None, comments)}
        if rules is not None:
            _put(schema, rules.repeated, minItems="min_items", maxItems="max_items", uniqueItems="unique")
    else:
        schema = _single(field, rules, comments)
    text = comments.of(field.full_name)
    extra = [rule.message for rule in rules.cel if rule.message] if rules is not None else []
    if extra:
        text = f"{text} It {'; it '.join(extra)}.".strip()
    return {"description": text, **schema} if text else schema


def rules_of(field: FieldDescriptor) -> Any:
    """Return the `buf.validate` rules of a field, or None."""
    options: Any = field.GetOptions()
    return options.Extensions[validate_pb2.field] if options.HasExtension(validate_pb2.field) else None


def must_be_given(field: FieldDescriptor) -> bool:
    """Whether a request without the field is refused: it is required, or its limits exclude the default."""
    rules = rules_of(field)
    if rules is None:
        return False
    if rules.required:
        return True
    if field.has_presence or rules.ignore == validate_pb2.IGNORE_IF_ZERO_VALUE:
        return False
    kind = rules.WhichOneof("type")
    if kind is None:
        return False
    limits = getattr(rules, kind)
    if kind == "repeated":
        return bool(limits.min_items)
    if kind == "map":
        return bool(limits.min_pairs)
    if kind in ("string", "bytes"):
        return _excludes_empty(kind, limits)
    return _excludes_zero(limits)


def references(schema: Any) -> Iterator[str]:
    """Yield the names of the components that a schema refers to."""
    if isinstance(schema, dict):
        found = schema.get("$ref", "")
        if isinstance(found, str) and found.startswith(COMPONENTS):
            yield found.removeprefix(COMPONENTS)
        for inner in schema.values():
            yield from references(inner)
    elif isinstance(schema, list):
        for inner in schema:
            yield from references(inner)


def _single(field: FieldDescriptor, rules: Any, comments: Comments) -> Schema:
    if field.message_type is not None:
        return _message(field.message_type, comments)
    if field.enum_type is not None:
        return _enum(field, rules, comments)
    kind, form = _KINDS[field.type]
    schema: Schema = {"type": kind}
    if form:
        schema["format"] = form
    if form in _INT32:
        schema["minimum"], schema["maximum"] = _INT32[form]
    elif form in ("int64", "uint64"):
        schema["pattern"] = SIGNED_LONG
    type_of_rules = rules.WhichOneof("type") if rules is not None else None
    if type_of_rules == "string":
        _limit_text(schema, rules.string, optional=rules.ignore == validate_pb2.IGNORE_IF_ZERO_VALUE)
    elif type_of_rules is not None:
        limits = getattr(rules, type_of_rules)
        names = limits.DESCRIPTOR.fields_by_name
        if "gte" in names:
            _put(schema, limits, minimum="gte", maximum="lte", exclusiveMinimum="gt", exclusiveMaximum="lt")
    return schema


def _message(descriptor: Descriptor, comments: Comments) -> Schema:
    name = descriptor.full_name
    if name in _WELL_KNOWN:
        return dict(_WELL_KNOWN[name])
    if name.startswith("google.protobuf.") and name.endswith("Value"):
        inner = _single(descriptor.fields_by_name["value"], None, comments)
        return {**inner, "type": [inner["type"], "null"]}
    return {"$ref": f"{COMPONENTS}{name}"}


def _enum(field: FieldDescriptor, rules: Any, comments: Comments) -> Schema:
    assert field.enum_type is not None
    names = enum_names(field.enum_type)
    forbidden = set(rules.enum.not_in) if rules is not None else set()
    words = {number: name for number, name in names.items() if number not in forbidden}
    full = field.enum_type.full_name
    told = {
        words[value.number]: comments.of(f"{full}.{value.name}")
        for value in field.enum_type.values
        if value.number in words
    }
    return {"type": "string", "enum": list(words.values()), "x-titan-values": told}


def _map(entry: Descriptor, rules: Any, comments: Comments) -> Schema:
    limits = rules.map if rules is not None else None
    value = entry.fields_by_name["value"]
    schema: Schema = {
        "type": "object",
        "additionalProperties": _single(value, limits.values if limits is not None else None, comments),
    }
    if limits is not None:
        _put(schema, limits, minProperties="min_pairs", maxProperties="max_pairs")
        if limits.keys.WhichOneof("type") == "string":
            names: Schema = {}
            _limit_text(names, limits.keys.string, optional=False)
            if names:
                schema["propertyNames"] = names
    return schema


def _limit_text(schema: Schema, limits: Any, *, optional: bool) -> None:
    """Add the limits of a text; where `optional`, the empty text passes whatever else is asked."""
    _put(schema, limits, maxLength="max_len")
    if not optional:
        _put(schema, limits, minLength="min_len")
    if limits.HasField("len"):
        schema["minLength"] = 0 if optional else limits.len
        schema["maxLength"] = limits.len
    if limits.HasField("pattern"):
        schema["pattern"] = f"^$|{limits.pattern}" if optional else limits.pattern
    if getattr(limits, "in"):
        schema["enum"] = [*([""] if optional else []), *getattr(limits, "in")]
    if limits.HasField("const"):
        schema["const"] = limits.const
    form = limits.WhichOneof("well_known")
    if form in _FORMATS and not optional:
        schema["format"] = form
    elif form in _FORMATS:
        schema["anyOf"] = [{"const": ""}, {"format": form}]


def _put(schema: Schema, limits: Any, **names: str) -> None:
    for keyword, name in names.items():
        if limits.HasField(name) and (keyword != "uniqueItems" or limits.unique):
            schema[keyword] = getattr(limits, name)


def _excludes_empty(kind: str, limits: Any) -> bool:
    if limits.min_len or limits.len or (limits.HasField("const") and limits.const):
        return True
    if limits.pattern and re.search(limits.pattern, "") is None:
        return True
    if getattr(limits, "in") and "" not in getattr(limits, "in"):
        return True
    return kind == "string" and limits.WhichOneof("well_known") is not None


def _excludes_zero(limits: Any) -> bool:
    names = limits.DESCRIPTOR.fields_by_name

    def says(name: str) -> bool:
        return name in names and limits.HasField(name)

    if says("const"):
        return bool(limits.const)
    if "in" in names and getattr(limits, "in"):
        return 0 not in getattr(limits, "in")
    if "not_in" in names and 0 in limits.not_in:
        return True
    if "gte" not in names:
        return False
    return bool(
        (says("gte") and limits.gte > 0)
        or (says("gt") and limits.gt >= 0)
        or (says("lte") and limits.lte < 0)
        or (says("lt") and limits.lt <= 0)
    )


def _is_real(oneof: OneofDescriptor) -> bool:
    """Whether a oneof stands in the proto; an `optional` field makes one of its own."""
    return not (len(oneof.fields) == 1 and oneof.name == f"_{oneof.fields[0].name}")


def _choice(oneof: OneofDescriptor) -> Schema:
    each: list[Schema] = [{"required": [field.json_name]} for field in oneof.fields]
    options: Any = oneof.GetOptions()
    if options.HasExtension(validate_pb2.oneof) and options.Extensions[validate_pb2.oneof].required:
        return {"oneOf": each}
    return {"oneOf": [*each, {"not": {"anyOf": list(each)}}]}
