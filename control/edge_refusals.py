"""What the edge Envoy answers by itself, before anybody behind it is asked: in JSON over HTTP, in headers over gRPC.

Owns the table of refusals, whose reasons are the contract's, and its Envoy parts; `control.render` uses them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import grpc

from control.templates import part
from mesh.refusals import TOO_MANY_CALLS, Refusal
from mesh.topology import MAX_BODY_BYTES

REFLECTION_PREFIX = "/grpc.reflection."

# What the edge answers by itself: HTTP code -> status, reason, message.
EDGE_REFUSALS: Mapping[int, tuple[str, str, str]] = {
    400: ("INVALID_ARGUMENT", "INVALID_INPUT", "the request is malformed"),
    401: ("UNAUTHENTICATED", "TOKEN_INVALID", "the access token is malformed, forged or not meant for Titan"),
    403: ("PERMISSION_DENIED", "ACCESS_DENIED", "the request is not allowed"),
    404: ("NOT_FOUND", "ROUTE_NOT_FOUND", "there is no such route"),
    408: ("DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED", "the request did not arrive in time"),
    413: ("INVALID_ARGUMENT", "INVALID_INPUT", f"the body is larger than {MAX_BODY_BYTES // 1024**2} MiB"),
    426: ("FAILED_PRECONDITION", "NOT_IMPLEMENTED", "HTTP/1.1 or HTTP/2 is needed"),
    429: ("RESOURCE_EXHAUSTED", "OVERLOADED", TOO_MANY_CALLS),
    431: ("INVALID_ARGUMENT", "INVALID_INPUT", "the headers are too large or too many"),
    501: ("UNIMPLEMENTED", "NOT_IMPLEMENTED", "the transfer coding is none that the edge knows"),
    502: ("UNAVAILABLE", "UNAVAILABLE", "the service is not reachable; ask again"),
    503: ("UNAVAILABLE", "UNAVAILABLE", "the service is not reachable; ask again"),
    504: ("DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED", "the answer did not come in time"),
}
EXPIRED = ("UNAUTHENTICATED", "TOKEN_EXPIRED", "the access token has expired: refresh it")
EDGE_FAILURE = ("UNKNOWN", "INTERNAL", "the edge could not serve the request")
# What it says differently over gRPC, where a route is a method.
NO_METHOD = ("UNIMPLEMENTED", "NOT_IMPLEMENTED", "the edge serves no such method")
NO_REFLECTION = (
    "UNIMPLEMENTED",
    "NOT_IMPLEMENTED",
    "reflection is served at the developers' door, not at the edge: endpoints.json has its address as grpc",
)
RETRY_SECONDS = 1  # what the limits say in retry-after


def failure() -> Any:
    """Return the answer for every code that has none of its own."""
    return _local_reply(*EDGE_FAILURE)


def local_replies() -> list[Any]:
    """Return what the edge says by itself; the first that fits counts, so gRPC and the special cases come first."""
    is_grpc, is_token, is_expired = part("is_grpc"), part("is_token"), part("is_expired")
    is_reflection = part("is_reflection", prefix=REFLECTION_PREFIX)
    over_grpc = [
        (is_reflection, NO_REFLECTION),
        (is_expired, EXPIRED),
        (is_token, EDGE_REFUSALS[401]),
        *((part("is_code", code=code), refusal) for code, refusal in {**EDGE_REFUSALS, 404: NO_METHOD}.items()),
    ]
    over_http = [
        (is_expired, 401, EXPIRED),
        (is_token, 401, EDGE_REFUSALS[401]),
        *((part("is_code", code=code), code, refusal) for code, refusal in EDGE_REFUSALS.items()),
    ]
    safe = safe_headers()
    return [
        *(part("grpc_reply_mapper", is_grpc=is_grpc, when=when, **_grpc_status(*no)) for when, no in over_grpc),
        *(
            part(
                "local_reply_mapper",
                when=when,
                code=code,
                body=_local_reply(*refusal),
                safe_headers=safe,
            )
            for when, code, refusal in over_http
        ),
        part("any_local_reply_mapper", safe_headers=safe),
    ]


def safe_headers() -> Any:
    """Return the headers that every answer has, whoever gives it."""
    return part("safe_headers")


def _local_reply(status: str, reason: str, message: str) -> Any:
    return part("local_reply", status=status, reason=reason, message=message)


def _grpc_status(code: str, reason: str, message: str) -> dict[str, str]:
    """Return a refusal as the headers of a gRPC answer that is nothing but headers."""
    refusal = Refusal(message, retry_after_seconds=RETRY_SECONDS if code == "RESOURCE_EXHAUSTED" else None)
    refusal.code, refusal.reason = grpc.StatusCode[code], reason
    return {"status": str(refusal.to_status().code), "details": refusal.to_header(), "message": message}
