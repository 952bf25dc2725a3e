"""Calls to other packages: a deadline, a trace and a budget for retries on every one, and refusals that come back.

There is one channel per process, to the outbound listener of its own Envoy, which adds the certificate and finds the
service. This module never opens a connection inside a database transaction, and never retries what the contract does
not call idempotent.
"""

from __future__ import annotations

import asyncio
import importlib
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

import grpc
from google.protobuf.message import Message
from opentelemetry import trace
from opentelemetry.instrumentation.grpc import aio_client_interceptors

from mesh import calls, contract, telemetry
from mesh.contract import Method
from mesh.refusals import DeadlineExceeded, Refusal, refusal_of_call

MAX_ATTEMPTS = 4
BACKOFF_SECONDS = 0.025
MAX_BACKOFF_SECONDS = 0.5
LEAST_ATTEMPT_SECONDS = 0.1
"""What must be left for an attempt after its pause; one with less would end at the deadline, not with an answer."""

BUDGET_SHARE = 0.1
BUDGET_RESERVE_RETRIES = 10.0
"""Retries that a service which is called rarely may use at once; the share of 10 % fills it again."""

CHANNEL_OPTIONS: Sequence[tuple[str, Any]] = (
    ("grpc.enable_retries", 0),
    ("grpc.default_authority", "titan.local"),
    ("grpc.max_receive_message_length", 4 * 1024 * 1024),
    ("grpc.max_send_message_length", 4 * 1024 * 1024),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 1_000),
)

Metadata = tuple[tuple[str, str], ...]


class RetryBudget:
    """A tenth of a token for each call, a whole one for each retry: retries never exceed a tenth of the calls."""

    def __init__(self, *, share: float = BUDGET_SHARE, reserve: float = BUDGET_RESERVE_RETRIES) -> None:
        self._share = share
        self._most = reserve
        self._tokens = reserve

    def call(self) -> None:
        """Note a call."""
        self._tokens = min(self._most, self._tokens + self._share)

    def take(self) -> bool:
        """Take the token of one retry; False when the budget is spent."""
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True


class Clients:
    """Stubs by service, over the process's one connection to its Envoy.

    `get(OrderServiceStub)` answers an object with an async method per RPC; a streaming RPC answers an async iterator.
    In tests `target` may be a server itself, `targets` a server per gRPC service, and `metadata` what Envoy would add.
    """

    def __init__(
        self,
        target: str,
        *,
        targets: Mapping[str, str] | None = None,
        metadata: Metadata = (),
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._target = target
        self._targets = dict(targets or {})
        self._metadata = metadata
        self._jitter = jitter
        self._channels: dict[str, tuple[grpc.aio.Channel, grpc.aio.Channel]] = {}
        self._stubs: dict[str, Any] = {}

    def get(self, stub_class: type) -> Any:
        """Return the client of the service that a generated stub class is for; made once, then the same object."""
        return self.of_service(_service_descriptor(stub_class))

    def of_service(self, descriptor: Any) -> Any:
        """Return the client of a service by its descriptor."""
        stub = self._stubs.get(descriptor.full_name)
        if stub is None:
            plain, traced = self._channels_of(self._targets.get(descriptor.full_name, self._target))
            budget = RetryBudget()
            members = {
                method.name: _Remote(method, plain, traced, budget, self._metadata, self._jitter).member
                for method in contract.of_files([descriptor.file]).services[descriptor.full_name].methods
            }
            stub = self._stubs[descriptor.full_name] = type(descriptor.name, (_Stub,), {})(members)
        return stub

    async def close(self) -> None:
        """Close the connection; calls in progress are cancelled."""
        for pair in self._channels.values():
            for channel in pair:
                await channel.close(grace=None)
        self._channels.clear()
        self._stubs.clear()

    def _channels_of(self, target: str) -> tuple[grpc.aio.Channel, grpc.aio.Channel]:
        """Return two views of one connection: bare, and with OpenTelemetry's interceptors for recorded traces.

        Both have the same target and options, so gRPC gives them the same socket; the bare one saves the cost of
        interceptors on the calls that no span is kept of.
        """
        pair = self._channels.get(target)
        if pair is None:
            options = list(CHANNEL_OPTIONS)
            pair = self._channels[target] = (
                grpc.aio.insecure_channel(target, options=options),
                grpc.aio.insecure_channel(
                    target, options=options, interceptors=[*aio_client_interceptors(), _CancelWithCaller()]
                ),
            )
        return pair


class _CancelWithCaller(grpc.aio.UnaryUnaryClientInterceptor):
    """Stands behind OpenTelemetry's interceptor, which lets the call run on when whoever awaited it is cancelled."""

    async def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        call = await continuation(client_call_details, request)
        try:
            await call.code()
        except asyncio.CancelledError:
            call.cancel()
            raise
        return call


class _Stub:
    """One async method per RPC of a service."""

    def __init__(self, members: Mapping[str, Callable[..., Any]]) -> None:
        self.__dict__.update(members)


class _Remote:
    """One RPC of another package."""

    def __init__(
        self,
        method: Method,
        plain: grpc.aio.Channel,
        traced: grpc.aio.Channel,
        budget: RetryBudget,
        metadata: Metadata,
        jitter: Callable[[], float],
    ) -> None:
        self._method = method
        self._plain = _callable(plain, method)
        self._traced = _callable(traced, method)
        self._budget = budget
        self._metadata = metadata
        self._jitter = jitter
        self._ok = telemetry.CLIENT_CALLS.labels(method.full_name, "OK")
        self.member: Callable[..., Any] = self._stream if method.server_streaming else self._unary

    async def _unary(
        self,
        request: Message,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - it travels as the call's deadline
        as_user: str | None = None,
        metadata: Metadata = (),
    ) -> Message:
        """Call, and return the response. `metadata` travels beside what every call of this process carries.

        Raises:
            Refusal: What the other side refused with, or UNAVAILABLE and DEADLINE_EXCEEDED of the way there.
        """
        refuse_in_transaction(self._method)
        seconds = self._seconds(timeout)
        ends = time.monotonic() + seconds
        self._budget.call()
        attempt, away = 1, None
        while True:
            call, carried = self._prepare(as_user, metadata)
            try:
                response = await call(request, timeout=seconds, metadata=carried)
                self._ok.inc()
                return response
            except grpc.aio.AioRpcError as error:
                refusal = refusal_of_call(error)
            telemetry.CLIENT_CALLS.labels(self._method.full_name, refusal.code.name).inc()
            if away is not None and refusal.code is grpc.StatusCode.DEADLINE_EXCEEDED:
                raise away  # that it is away is what was learned; the time went on asking again
            away = refusal
            pause = self._pause(refusal, attempt)
            if pause is None or time.monotonic() + pause + LEAST_ATTEMPT_SECONDS > ends or not self._budget.take():
                raise refusal
            telemetry.CLIENT_RETRIES.labels(self._method.full_name).inc()
            await asyncio.sleep(pause)
            attempt += 1
            seconds = ends - time.monotonic()
            if seconds <= 0:
                raise refusal

    async def _stream(
        self,
        request: Message,
        *,
        timeout: float | None = None,  # noqa: ASYNC109
        as_user: str | None = None,
        metadata: Metadata = (),
    ) -> AsyncIterator[Message]:
        """Call, and yield the messages of the response as they come; never retried."""
        refuse_in_transaction(self._method)
        seconds = self._seconds(timeout)
        call, carried = self._prepare(as_user, metadata)
        messages = call(request, timeout=seconds, metadata=carried)
        try:
            async for message in messages:
                yield message
            self._ok.inc()
        except grpc.aio.AioRpcError as error:
            refusal = refusal_of_call(error)
            telemetry.CLIENT_CALLS.labels(self._method.full_name, refusal.code.name).inc()
            raise refusal from None
        finally:
            if hasattr(messages, "cancel"):
                messages.cancel()

    def _seconds(self, timeout: float | None) -> float:
        seconds = min(self._method.default_seconds if timeout is None else timeout, self._method.cap_seconds)
        left = calls.remaining_for_children()
        if left is not None:
            seconds = min(seconds, left)
        if seconds <= 0:
            raise DeadlineExceeded(f"no time is left to call {self._method.name}")
        return seconds

    def _prepare(self, as_user: str | None, more: Metadata) -> tuple[Any, Metadata]:
        """Return the channel's callable and the metadata for the trace that this task is in."""
        metadata = (*self._metadata, *more) if more else self._metadata
        if as_user is not None:
            metadata = (*metadata, ("authorization", f"Bearer {as_user}"))
        span = trace.get_current_span().get_span_context()
        if span.trace_flags.sampled:
            return self._traced, metadata
        if span.is_valid:
            return self._plain, (*metadata, ("traceparent", telemetry.format_traceparent(span)))
        return self._plain, metadata  # work that belongs to no call; the server begins a trace of its own

    def _pause(self, refusal: Refusal, attempt: int) -> float | None:
        """Return how long to wait before the next attempt, or None where there is none."""
        if refusal.code is not grpc.StatusCode.UNAVAILABLE or not self._method.may_retry or attempt >= MAX_ATTEMPTS:
            return None
        ceiling = min(MAX_BACKOFF_SECONDS, BACKOFF_SECONDS * 2**attempt)
        return max(refusal.retry_after_seconds or 0.0, ceiling * (0.5 + 0.5 * self._jitter()))


def refuse_in_transaction(method: Method) -> None:
    """Fail loudly when a call is about to be made inside a database transaction: it would hold locks for a network.

    Raises:
        RuntimeError: A transaction of this task is open.
    """
    if _in_transaction():
        raise RuntimeError(f"{method.full_name} called inside a database transaction")


def _in_transaction() -> bool:
    global _in_transaction
    try:
        from mesh.database import in_transaction
    except ImportError:
        return False
    _in_transaction = in_transaction
    return in_transaction()


def _callable(channel: grpc.aio.Channel, method: Method) -> Any:
    kind = channel.unary_stream if method.server_streaming else channel.unary_unary
    return kind(
        method.path,
        request_serializer=method.request_class.SerializeToString,
        response_deserializer=method.response_class.FromString,
    )


def _service_descriptor(stub_class: type) -> Any:
    module = importlib.import_module(stub_class.__module__.removesuffix("_grpc"))
    return module.DESCRIPTOR.services_by_name[stub_class.__name__.removesuffix("Stub")]
