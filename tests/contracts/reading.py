"""How the contract tests read the contract: its comments, its requests with all that is inside them, its reasons."""

from __future__ import annotations

import importlib
import re
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import grpc_tools
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from grpc_tools import protoc

from buf.validate import validate_pb2
from mesh.contract import Method
from tests.harness import titan_contract

ROOT = Path(__file__).resolve().parents[2]
DOMAINS = ("auth", "catalog", "cart", "inventory", "payment", "order", "notify", "bulk", "limits")


@cache
def comments() -> dict[str, str]:
    """Return the comment of each method, message and field by its full name; generated modules have lost them."""
    wanted = sorted(path.relative_to(ROOT / "protos").as_posix() for path in (ROOT / "protos").rglob("*_service.proto"))
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "all.binpb")
        well_known = Path(grpc_tools.__file__).parent / "_proto"
        folders = (ROOT / "protos", ROOT / "third_party", well_known)
        paths = [f"--proto_path={path}" for path in folders]
        assert 0 == protoc.main(["protoc", *paths, "--include_source_info", f"--descriptor_set_out={out}", *wanted])
        files = descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes()).file
    found = {}
    for file in files:
        for location in file.source_code_info.location:
            path = list(location.path)
            name = _named(file, path)
            if name:
                found[f"{file.package}.{name}"] = " ".join(location.leading_comments.split())
    return found


def _named(file: descriptor_pb2.FileDescriptorProto, path: list[int]) -> str:
    """Return the name of the method, message or field of a message at a source location."""
    match path:
        # The numbers of the fields of FileDescriptorProto and of what stands inside it.
        case [6, service, 2, method]:
            return f"{file.service[service].name}.{file.service[service].method[method].name}"
        case [4, message]:
            return file.message_type[message].name
        case [4, message, 2, field]:
            return f"{file.message_type[message].name}.{file.message_type[message].field[field].name}"
    return ""


def all_that_is_said_of(method: Method) -> str:
    """Return the comments of a method, its request and its response, and of their fields."""
    texts = [comments()[method.full_name]]
    for descriptor in (method.request_class.DESCRIPTOR, method.response_class.DESCRIPTOR):
        names = [descriptor.full_name, *(field.full_name for field in descriptor.fields)]
        texts += [comments().get(name, "") for name in names]
    return " ".join(texts)


@cache
def reasons(domain: str) -> frozenset[str]:
    """Return the reasons of a domain, as they travel; a domain without the file has none."""
    try:
        module = importlib.import_module(f"titan.{domain}.v1.error_reason_pb2")
    except ModuleNotFoundError:
        return frozenset()
    names = [name.removeprefix("ERROR_REASON_") for name in module.ErrorReason.keys()]
    assert names[0] == "UNSPECIFIED"
    return frozenset(names[1:])


def methods() -> list[Method]:
    """Return every method of the contract."""
    return list(titan_contract().methods.values())


def messages_inside(descriptor: Descriptor) -> dict[str, Descriptor]:
    """Return a message and all that can stand inside it, without the well-known types."""
    found: dict[str, Descriptor] = {}

    def walk(message: Descriptor) -> None:
        if message.full_name in found or message.full_name.startswith("google.protobuf."):
            return
        found[message.full_name] = message
        for field in message.fields:
            if field.message_type is not None:
                walk(field.message_type)

    walk(descriptor)
    return found


def unlimited_fields(descriptor: Descriptor) -> Iterator[str]:
    """Yield `message.field` for each text, number or list inside a request that has no limit of its own."""
    for message in messages_inside(descriptor).values():
        if message.GetOptions().map_entry:
            continue  # its limits stand on the map
        for field in message.fields:
            rules: Any = field.GetOptions().Extensions[validate_pb2.field]  # type: ignore[index]
            if not _is_limited(field, rules):
                yield f"{message.full_name}.{field.name}"


def _is_limited(field: FieldDescriptor, rules: Any) -> bool:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        key, value = field.message_type.fields_by_name["key"], field.message_type.fields_by_name["value"]
        both = _value_limited(key, rules.map.keys) and _value_limited(value, rules.map.values)
        return both and rules.map.HasField("max_pairs")
    if field.is_repeated:
        return rules.repeated.HasField("max_items") and _value_limited(field, rules.repeated.items)
    return _value_limited(field, rules)


def _value_limited(field: FieldDescriptor, rules: Any) -> bool:
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        text = rules.bytes if field.type == FieldDescriptor.TYPE_BYTES else rules.string
        if any(text.HasField(name) for name in ("max_len", "len", "const")) or text.WhichOneof("well_known"):
            return True
        return bool(text.pattern) and _is_bounded(text.pattern)
    if field.cpp_type in (
        FieldDescriptor.CPPTYPE_INT32,
        FieldDescriptor.CPPTYPE_INT64,
        FieldDescriptor.CPPTYPE_UINT32,
        FieldDescriptor.CPPTYPE_UINT64,
    ):
        kind = rules.WhichOneof("type")
        number = getattr(rules, kind) if kind else None
        if number is None:
            return False
        return bool(number.WhichOneof("less_than") and (number.WhichOneof("greater_than") or kind.startswith("uint")))
    if field.enum_type is not None:
        return rules.enum.defined_only
    return True


def _is_bounded(pattern: str) -> bool:
    """Say whether a pattern is anchored and repeats nothing without an upper bound."""
    outside = re.sub(r"\[[^\]]*\]", "x", re.sub(r"\\.", "x", pattern))
    return pattern.startswith("^") and pattern.endswith("$") and not re.search(r"[*+]|\{\d+,\}", outside)
