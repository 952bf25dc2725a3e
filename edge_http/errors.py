"""Turns refusals into HTTP: the status, the headers, and the body of AIP-193.

The one place where the edge decides what a "no" looks like. Reasons come from the services unchanged; messages of
failures that nobody meant to tell (a socket's path, a proxy's remark) are replaced by the runtime's own words.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import grpc
from google.rpc import error_details_pb2

from edge_http import json_writer
from edge_http.json_names import camel_path
from mesh.refusals import (
    Cancelled,
    DeadlineExceeded,
    IdempotencyKeyRequired,
    InternalError,
    InvalidInput,
    MethodNotAllowed,
    MethodNotImplemented,
    Overloaded,
    Refusal,
    Unavailable,
)

Code = grpc.StatusCode

HTTP_STATUS: Mapping[Code, int] = {
    Code.OK: 200,
    Code.CANCELLED: 499,
    Code.UNKNOWN: 500,
    Code.INVALID_ARGUMENT: 400,
    Code.DEADLINE_EXCEEDED: 504,
    Code.NOT_FOUND: 404,
    Code.ALREADY_EXISTS: 409,
    Code.PERMISSION_DENIED: 403,
    Code.UNAUTHENTICATED: 401,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.FAILED_PRECONDITION: 400,
    Code.ABORTED: 409,
    Code.OUT_OF_RANGE: 400,
    Code.UNIMPLEMENTED: 501,
    Code.INTERNAL: 500,
    Code.UNAVAILABLE: 503,
    Code.DATA_LOSS: 500,
}
"""As google/rpc/code.proto maps them."""

RETRY_SECONDS = 1
"""What Retry-After says where a service that is away or overloaded named no delay."""

_TOLD: Mapping[str, str] = {
    InternalError.reason: "something went wrong inside; it was logged under the trace id",
    Unavailable.reason: "the service is not available at the moment; ask again",
    DeadlineExceeded.reason: "the answer did not come in time",
    Cancelled.reason: "the call was cancelled before the answer was there",
    MethodNotImplemented.reason: "there is no such method",
    Refusal.reason: "the call was refused",
}
"""Reasons of the runtime whose messages may come from gRPC or a proxy and name things of the inside."""


# The edge's own refusals share the reasons of the runtime's. They are not registered under them (`joined`): a reason
# that comes from a service is always the runtime's class.


class WrongMethod(MethodNotAllowed, joined=True):
    """The path is there, with other HTTP methods."""

    http_status = 405

    def __init__(self, message: str, *, allowed: str) -> None:
        super().__init__(message, allowed=allowed)


class BodyTooLarge(InvalidInput, joined=True):
    """The body is larger than the edge takes."""

    http_status = 413


class BodyNotJson(InvalidInput, joined=True):
    """The content type is not JSON, or not gRPC on a path of gRPC."""

    http_status = 415


def http_status(refusal: Refusal) -> int:
    """Return the HTTP status of a refusal."""
    return getattr(refusal, "http_status", None) or HTTP_STATUS[refusal.code]


def body(refusal: Refusal) -> dict[str, Any]:
    """Return the AIP-193 body of a refusal."""
    status = refusal.to_status()
    details = []
    for detail in status.details:
        value = json_writer.to_value(detail)
        if detail.Is(error_details_pb2.BadRequest.DESCRIPTOR):
            # Services name fields as the proto does; whoever reads this wrote JSON.
            for violation in value["fieldViolations"]:
                violation["field"] = camel_path(violation["field"])
                if not violation.get("reason"):
                    violation.pop("reason", None)
        details.append(value)
    return {
        "error": {
            "code": http_status(refusal),
            "status": refusal.code.name,
            "message": _TOLD.get(refusal.reason) or _message(refusal),
            "details": details,
        }
    }


def _message(refusal: Refusal) -> str:
    """Return the refusal's message; one that begins with the first broken field names it as the violations do."""
    if refusal.reason == IdempotencyKeyRequired.reason:
        return "the call needs an idempotency key: in the header Idempotency-Key, or as requestId"
    if refusal.violations:
        field = refusal.violations[0].field
        if field and refusal.message.startswith(f"{field}: "):
            return camel_path(field) + refusal.message[len(field) :]
    return refusal.message


def headers(refusal: Refusal) -> list[tuple[bytes, bytes]]:
    """Return the headers that belong to a refusal."""
    found = [(b"cache-control", b"no-store")]
    if refusal.code is Code.UNAUTHENTICATED:
        found.append((b"www-authenticate", b'Bearer realm="titan"'))
    if refusal.retry_after_seconds is not None:
        found.append((b"retry-after", b"%d" % max(1, math.ceil(refusal.retry_after_seconds))))
    elif isinstance(refusal, Unavailable | Overloaded):
        found.append((b"retry-after", b"%d" % RETRY_SECONDS))
    if isinstance(refusal, WrongMethod):
        found.append((b"allow", refusal.metadata["allowed"].encode("ascii")))
    if http_status(refusal) == 413:
        # What is left of the body is not read.
        found.append((b"connection", b"close"))
    return found
