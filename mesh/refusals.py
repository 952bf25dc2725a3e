"""Every expected "no" of Titan: a Python exception on both sides of the wire, a `google.rpc.Status` between them.

This module owns the translation between the two and the refusals that the runtime itself gives. It never decides
whether a call is refused, and no other module builds a status (AIP-193: one `ErrorInfo` in every status).
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self, cast

import grpc
from google.protobuf import duration_pb2
from google.rpc import error_details_pb2, status_pb2

DOMAIN = "titan"
STATUS_KEY = "grpc-status-details-bin"
"""The trailing metadata key under which gRPC carries a serialized `google.rpc.Status`."""

TOO_MANY_CALLS = "too many calls; ask again after the delay in retry-after"
"""What the edge says where a bucket is empty, its own or one that svc_limits keeps for all edges."""

_CODES = {code.value[0]: code for code in grpc.StatusCode}
_WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_classes: dict[str, list[type[Refusal]]] = {}
_joined: dict[tuple[type[Refusal], ...], type[Refusal]] = {}


@dataclass(frozen=True)
class FieldViolation:
    """One broken limit of the contract: the path of the field as written in the proto, and what is wrong with it."""

    field: str
    description: str


class Refusal(Exception):
    """An expected "no", with a status code, a reason of the contract, and metadata for programs.

    A subclass is named after its reason: `OrderNotCancellable` is ORDER_NOT_CANCELLABLE. The message is prose for
    people. Metadata values are written as strings.
    """

    code: grpc.StatusCode = grpc.StatusCode.FAILED_PRECONDITION
    reason: str = "REFUSAL"
    violations: tuple[FieldViolation, ...] = ()

    def __init_subclass__(cls, *, joined: bool = False, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if joined:
            return
        if "reason" not in cls.__dict__:
            cls.reason = _WORD.sub("_", cls.__name__).upper()
        _classes.setdefault(cls.reason, []).append(cls)

    def __init__(self, message: str, *, retry_after_seconds: float | None = None, **metadata: object) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after_seconds = retry_after_seconds
        self.metadata: dict[str, str] = {name: str(value) for name, value in metadata.items()}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.code.name}, {self.reason}, {self.message!r})"

    def to_status(self) -> status_pb2.Status:
        """Return the status that travels: one ErrorInfo, then RetryInfo and BadRequest where they apply."""
        status = status_pb2.Status(code=cast(Any, self.code).value[0], message=self.message)
        info = error_details_pb2.ErrorInfo(reason=self.reason, domain=DOMAIN, metadata=self.metadata)
        status.details.add().Pack(info, deterministic=True)
        if self.retry_after_seconds is not None:
            nanos = max(0, round(self.retry_after_seconds * 1e9))
            delay = duration_pb2.Duration(seconds=nanos // 10**9, nanos=nanos % 10**9)
            status.details.add().Pack(error_details_pb2.RetryInfo(retry_delay=delay))
        if self.violations:
            status.details.add().Pack(
                error_details_pb2.BadRequest(
                    field_violations=[
                        error_details_pb2.BadRequest.FieldViolation(field=v.field, description=v.description)
                        for v in self.violations
                    ]
                )
            )
        return status

    def to_header(self) -> str:
        """Return the status as it travels under `STATUS_KEY`: base64 without padding, the same for the same refusal."""
        return base64.b64encode(self.to_status().SerializeToString(deterministic=True)).rstrip(b"=").decode("ascii")

    @staticmethod
    def from_status(status: status_pb2.Status) -> Refusal:
        """Return the refusal that a status carries: of the class that owns the reason, else a plain `Refusal`.

        A status without an ErrorInfo of Titan (from a proxy, or from gRPC itself) is told apart by its code alone.
        """
        info: error_details_pb2.ErrorInfo | None = None
        retry_after: float | None = None
        violations: tuple[FieldViolation, ...] = ()
        for detail in status.details:
            if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
                info = error_details_pb2.ErrorInfo()
                detail.Unpack(info)
            elif detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR):
                retry = error_details_pb2.RetryInfo()
                detail.Unpack(retry)
                retry_after = retry.retry_delay.seconds + retry.retry_delay.nanos / 1e9
            elif detail.Is(error_details_pb2.BadRequest.DESCRIPTOR):
                bad = error_details_pb2.BadRequest()
                detail.Unpack(bad)
                violations = tuple(FieldViolation(v.field, v.description) for v in bad.field_violations)
        code = _CODES.get(status.code, grpc.StatusCode.UNKNOWN)
        if info is None:
            return Refusal.from_code(code, status.message)
        refusal = _revive(_class_of(info.reason), status.message, dict(info.metadata))
        refusal.code = code
        refusal.reason = info.reason
        refusal.retry_after_seconds = retry_after
        refusal.violations = violations
        return refusal

    @staticmethod
    def from_code(code: grpc.StatusCode, message: str) -> Refusal:
        """Return the runtime's own refusal for a bare status code, as proxies and gRPC itself send them."""
        refusal = _revive(_BY_CODE.get(code, InternalError), message or code.name, {})
        refusal.code = code
        return refusal


def refusal_of_call(error: grpc.RpcError) -> Refusal:
    """Return the refusal inside an error that a gRPC call raised (`grpc.aio.AioRpcError` or its synchronous twin)."""
    call = cast(Any, error)
    for key, value in call.trailing_metadata() or ():
        if key == STATUS_KEY:
            return Refusal.from_status(status_pb2.Status.FromString(value))
    return Refusal.from_code(call.code(), call.details() or "")


def known_reasons() -> frozenset[str]:
    """Return every reason that a loaded refusal class owns."""
    return frozenset(_classes)


def _revive(cls: type[Refusal], message: str, metadata: dict[str, str]) -> Refusal:
    refusal = cls.__new__(cls, message)
    Refusal.__init__(refusal, message)
    refusal.metadata = metadata
    return refusal


def _class_of(reason: str) -> type[Refusal]:
    owners = _classes.get(reason)
    if not owners:
        return Refusal
    if len(owners) == 1:
        return owners[0]
    # Two packages of one process may each declare the twin of a reason that both of them handle. A refusal that
    # arrives is then an instance of both, so that either `except` clause finds it.
    key = tuple(cls for cls in owners if not any(other is not cls and issubclass(other, cls) for other in owners))
    if len(key) == 1:
        return key[0]
    if key not in _joined:
        _joined[key] = cast(type[Refusal], _join(key))
    return _joined[key]


def _join(owners: tuple[type[Refusal], ...]) -> type:
    make: Any = type
    return make(owners[0].__name__, owners, {"reason": owners[0].reason}, joined=True)


class InvalidInput(Refusal):
    """The input breaks a limit or a format of the contract; the violations name the fields."""

    code = grpc.StatusCode.INVALID_ARGUMENT

    def __init__(
        self,
        message: str = "the request breaks the contract",
        violations: Iterable[FieldViolation] = (),
        **metadata: object,
    ) -> None:
        super().__init__(message, **metadata)  # type: ignore[arg-type]
        self.violations = tuple(violations)

    @classmethod
    def of(cls, field: str, description: str) -> Self:
        """Return the refusal of one field."""
        return cls(f"{field}: {description}", [FieldViolation(field, description)])


class CardNumberRefused(InvalidInput):
    """A text of the input looks like the number of a card; the violations name the fields."""


class Unauthenticated(Refusal):
    """The call needs a token and brought none."""

    code = grpc.StatusCode.UNAUTHENTICATED


class TokenInvalid(Refusal):
    """The token is malformed, forged or not meant for Titan; one that was good once is `TokenExpired`."""

    code = grpc.StatusCode.UNAUTHENTICATED


class TokenExpired(TokenInvalid):
    """The token was good and is over: whoever sent it refreshes it and asks again."""


class SessionRevoked(Refusal):
    """The session behind the token has ended."""

    code = grpc.StatusCode.UNAUTHENTICATED


class AccessDenied(Refusal):
    """The caller's identity or roles do not admit the method."""

    code = grpc.StatusCode.PERMISSION_DENIED


class SecondFactorRequired(Refusal):
    """The caller has a role for this, and it waits until they sign in with a second factor."""

    code = grpc.StatusCode.PERMISSION_DENIED


class TicketRequired(Refusal):
    """The caller's role does this for customers who asked for it: the call has to name their ticket."""

    code = grpc.StatusCode.PERMISSION_DENIED


class IdempotencyKeyRequired(Refusal):
    """The call moves money or stock and brought no idempotency key."""

    code = grpc.StatusCode.INVALID_ARGUMENT


class IdempotencyKeyReused(Refusal):
    """The idempotency key was used before with another body."""

    code = grpc.StatusCode.ALREADY_EXISTS


class IdempotencyKeyInProgress(Refusal):
    """A first call with this key is still running; ask again."""

    code = grpc.StatusCode.ABORTED


class Overloaded(Refusal):
    """The server runs as many calls as it can; ask again after the delay in the details."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED


class DeadlineExceeded(Refusal):
    """The time of the call was over before an answer was there."""

    code = grpc.StatusCode.DEADLINE_EXCEEDED


class Unavailable(Refusal):
    """Something that the method needs is down for the moment; ask again."""

    code = grpc.StatusCode.UNAVAILABLE


class InternalError(Refusal):
    """Something went wrong inside; it was logged under the trace id, and nothing of it is told."""

    code = grpc.StatusCode.INTERNAL
    reason = "INTERNAL"


class PageTokenInvalid(Refusal):
    """The page token is not one that this method gave for these filters."""

    code = grpc.StatusCode.INVALID_ARGUMENT


class Cancelled(Refusal):
    """The caller left before the answer was there."""

    code = grpc.StatusCode.CANCELLED


class MethodNotImplemented(Refusal):
    """No such method."""

    code = grpc.StatusCode.UNIMPLEMENTED
    reason = "NOT_IMPLEMENTED"


class RouteNotFound(Refusal):
    """Over HTTP: no route answers this path."""

    code = grpc.StatusCode.NOT_FOUND


class MethodNotAllowed(Refusal):
    """Over HTTP: the path is there, with other methods."""

    code = grpc.StatusCode.UNIMPLEMENTED


_BY_CODE: dict[grpc.StatusCode, type[Refusal]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidInput,
    grpc.StatusCode.UNAUTHENTICATED: Unauthenticated,
    grpc.StatusCode.PERMISSION_DENIED: AccessDenied,
    grpc.StatusCode.RESOURCE_EXHAUSTED: Overloaded,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
    grpc.StatusCode.UNAVAILABLE: Unavailable,
    grpc.StatusCode.CANCELLED: Cancelled,
    grpc.StatusCode.UNIMPLEMENTED: MethodNotImplemented,
}
