"""Holds requests against the limits of the contract (`buf.validate`) before a handler sees them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from itertools import islice
from typing import Any

import protovalidate
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from mesh.calls import Call
from mesh.contract import Method
from mesh.interceptors.stage import Check, Guard
from mesh.refusals import FieldViolation, IdempotencyKeyRequired, InvalidInput

UNREADABLE: Any = object()
"""Stands for bytes that are no request of the method. Who may not call at all hears that first."""

MAX_VIOLATIONS = 20
"""A status travels in headers; the first twenty violations are told."""


@cache
def validator() -> protovalidate.Validator:
    """Return the process's validator: it keeps the compiled rules of every message that it has seen, by full name."""
    return protovalidate.Validator()


class Validation(Guard):
    """Refuses with IDEMPOTENCY_KEY_REQUIRED or INVALID_INPUT and the paths of the fields."""

    def check_of(self, method: Method) -> Check | None:
        """Return the check of the limits that the contract sets for the method's request."""
        collect = validator().collect_violations
        # Rules are compiled here, once: one that does not compile stops the start instead of failing every call.
        collect(method.request_class())
        key_required = method.request_id_required

        def validate(request: Message, call: Call) -> None:
            if request is UNREADABLE:
                raise InvalidInput(f"the bytes are no {method.request_class.DESCRIPTOR.full_name}")
            if key_required and not request.request_id:  # type: ignore[attr-defined]
                raise IdempotencyKeyRequired("the call needs an idempotency key (request_id)")
            violations = collect(request)
            if violations:
                raise invalid_input(violations, request.DESCRIPTOR)
            # Most messages hold no zero byte at all, and then no string does; numbers and bytes may hold some.
            if b"\0" in request.SerializeToString():
                refuse_nul(request)

        return validate


def refuse_nul(message: Message) -> None:
    """Refuse the character NUL, which Postgres stores in no text.

    Raises:
        InvalidInput: It stands in a string, at whatever depth.
    """
    found = [
        FieldViolation(path, "must not contain the character NUL") for path in islice(_nuls(message), MAX_VIOLATIONS)
    ]
    if found:
        raise InvalidInput(f"{found[0].field}: {found[0].description}", found)


def _nuls(message: Message, prefix: str = "") -> Iterator[str]:
    """Find the paths of the strings with a NUL; of a map that has it in a key, the path of the map."""
    for field, value in message.ListFields():
        path = prefix + field.name
        entry = field.message_type
        if entry is not None and entry.GetOptions().map_entry:
            if any("\0" in key for key in value if isinstance(key, str)):
                yield path
            field = entry.fields_by_name["value"]
            each = [(f"{path}[{json.dumps(key)}]", value[key]) for key in value]
        elif field.is_repeated:
            each = [(f"{path}[{index}]", one) for index, one in enumerate(value)]
        else:
            each = [(path, value)]
        if field.type == FieldDescriptor.TYPE_STRING:
            yield from (where for where, text in each if "\0" in text)
        elif field.message_type is not None:
            for where, inner in each:
                yield from _nuls(inner, f"{where}.")


def invalid_input(violations: list[Any], descriptor: Any) -> InvalidInput:
    """Return the refusal for what protovalidate found in a message of this type."""
    found = [violation_of(v, descriptor) for v in violations[:MAX_VIOLATIONS]]
    first = found[0]
    more = f" (and {len(violations) - 1} more)" if len(violations) > 1 else ""
    subject = f"{first.field}: " if first.field else ""
    return InvalidInput(f"{subject}{first.description}{more}", found)


def violation_of(violation: Any, descriptor: Any) -> FieldViolation:
    """Return the path of what is broken, such as `lines[2].quantity`, and what is wrong in the words of the rule.

    A rule of the whole message has no path. A choice that was not made has the path of the message that offers it, and
    says between what: nobody writes the name of a oneof.
    """
    path, holder = "", descriptor
    for element in violation.proto.field.elements if violation.proto.field is not None else ():
        name = element.field_name
        if name in holder.oneofs_by_name and name not in holder.fields_by_name:
            choices = " or ".join(field.name for field in holder.oneofs_by_name[name].fields)
            return FieldViolation(path, f"exactly one must be given: {choices}")
        path += f".{name}" if path else name
        subscript = element.subscript
        if subscript is not None:
            path += f"[{json.dumps(subscript.value)}]"
        field = holder.fields_by_name.get(name)
        inner = field.message_type if field is not None else None
        if inner is not None and inner.GetOptions().map_entry:
            inner = inner.fields_by_name["value"].message_type
        holder = inner or holder
    return FieldViolation(path, violation.proto.message or violation.proto.rule_id)
