"""Holds requests against the limits of the contract (`buf.validate`) before a handler sees them."""

from __future__ import annotations

import json
from typing import Any

import protovalidate
from google.protobuf.message import Message

from mesh.calls import Call
from mesh.contract import Method
from mesh.interceptors.stage import Check, Guard
from mesh.refusals import FieldViolation, IdempotencyKeyRequired, InvalidInput

MAX_VIOLATIONS = 20
"""A status travels in headers; the first twenty violations are told."""


class Validation(Guard):
    """Refuses with IDEMPOTENCY_KEY_REQUIRED or INVALID_INPUT and the paths of the fields."""

    def __init__(self) -> None:
        self._validator = protovalidate.Validator()

    def check_of(self, method: Method) -> Check | None:
        collect = self._validator.collect_violations
        # Rules are compiled here, once: one that does not compile stops the start instead of failing every call.
        collect(method.request_class())
        key_required = method.request_id_required

        def validate(request: Message, call: Call) -> None:
            if key_required and not request.request_id:  # type: ignore[attr-defined]
                raise IdempotencyKeyRequired("the call needs an idempotency key (request_id)")
            violations = collect(request)
            if violations:
                raise invalid_input(violations)

        return validate


def invalid_input(violations: list[Any]) -> InvalidInput:
    """Return the refusal for what protovalidate found."""
    found = [FieldViolation(path_of(v), describe(v)) for v in violations[:MAX_VIOLATIONS]]
    first = found[0]
    more = f" (and {len(violations) - 1} more)" if len(violations) > 1 else ""
    subject = f"{first.field}: " if first.field else ""
    return InvalidInput(f"{subject}{first.description}{more}", found)


def path_of(violation: Any) -> str:
    """Return the path of a broken field, such as `lines[2].quantity`; nothing for a rule of the whole message."""
    path = ""
    for element in violation.proto.field.elements if violation.proto.field is not None else ():
        path += f".{element.field_name}" if path else element.field_name
        subscript = element.subscript
        if subscript is not None:
            path += f"[{json.dumps(subscript.value)}]"
    return path


def describe(violation: Any) -> str:
    """Return what is wrong, in the words of the rule."""
    return violation.proto.message or violation.proto.rule_id
