"""The one interceptor of a server: it runs the stages in order, by a plan made per method when the server is built."""

from __future__ import annotations

import functools
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.message import DecodeError, Message
from grpc_interceptor.server import AsyncServerInterceptor
from opentelemetry.instrumentation.grpc import aio_server_interceptor

from mesh import calls
from mesh.calls import Call
from mesh.contract import Contract, Method
from mesh.identity import TokenVerifier
from mesh.interceptors.access import Access
from mesh.interceptors.admission import Admission
from mesh.interceptors.audit import Accesses, Audit, Denials
from mesh.interceptors.cards import CardNumbers
from mesh.interceptors.deadline import Deadline
from mesh.interceptors.identity import Identity
from mesh.interceptors.refusals import Refusals, refuse
from mesh.interceptors.stage import Stage, Stream, Unary
from mesh.interceptors.telemetry import Telemetry, spans_wanted
from mesh.interceptors.validation import UNREADABLE, Validation
from mesh.policies import Policies
from mesh.refusals import MethodNotImplemented

INFRASTRUCTURE = ("/grpc.health.v1.Health/", "/grpc.reflection.")
"""Services of the runtime itself; Envoy asks them, and they are never shed, logged or authenticated."""

_NO_KEYS: frozenset[str] = frozenset()


@dataclass(frozen=True)
class _Plan:
    method: Method
    unary: Unary | None
    stream: Stream | None


class Chain(AsyncServerInterceptor):
    """Runs `stages`, outermost first, around the handlers of the methods of `contract`.

    Raises:
        ContractProblem: The contract cannot be served, for example because a method has no access rule.
    """

    def __init__(self, contract: Contract, stages: Sequence[Stage]) -> None:
        contract.check()
        self._tracing = aio_server_interceptor()
        self._plans = {path: _plan(method, stages) for path, method in contract.methods.items()}
        self._handlers: dict[str, grpc.RpcMethodHandler] = {}

    async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        """Find the handler of a call: with OpenTelemetry's interceptor in front of it where a span is wanted."""

        if spans_wanted(handler_call_details):
            find = functools.partial(self._handler, continuation)
            return await self._tracing.intercept_service(find, handler_call_details)
        return await self._handler(continuation, handler_call_details)

    async def _handler(self, continuation: Any, handler_call_details: Any) -> Any:
        """Wrap a method's handler at its first call and keep it: wrapping costs more than running most stages."""
        path = handler_call_details.method
        handler = self._handlers.get(path)
        if handler is None:
            if path.startswith(INFRASTRUCTURE):
                return await continuation(handler_call_details)
            if path not in self._plans:
                return _UNKNOWN
            handler = _readable(await super().intercept_service(continuation, handler_call_details) or _UNKNOWN)
            self._handlers[path] = handler
        return handler

    async def intercept(
        self, method: Callable[..., Any], request_or_iterator: Any, context: Any, method_name: str
    ) -> Any:
        """Run one call through the plan of its method; answers a message, or an iterator of messages."""
        plan = self._plans[method_name]
        call = Call(plan.method, context)
        call.handler = method
        call.metadata, call.duplicated = _scan(context.invocation_metadata())
        calls.enter(call)
        if plan.stream is not None:
            return _finish(plan.stream(request_or_iterator, call), call)
        try:
            return await plan.unary(request_or_iterator, call)  # type: ignore[misc]
        finally:
            call.finished = True


def standard_stages(
    *,
    verifier: TokenVerifier | None,
    admission: Admission,
    policies: Policies | None,
    denials: Denials | None = None,
    accesses: Accesses | None = None,
    callers: Mapping[str, frozenset[str]] | None = None,
    trust_domain: str = "titan.local",
) -> tuple[Stage, ...]:
    """Return the stages of every Titan server, outermost first."""
    return (
        Refusals(),
        Telemetry(),
        admission,
        Deadline(),
        Identity(verifier, trust_domain=trust_domain),
        Audit(denials, accesses),
        Access(callers, policies),
        Validation(),
        CardNumbers(),
    )


def _plan(method: Method, stages: Sequence[Stage]) -> _Plan:
    if method.server_streaming:
        stream: Stream = _run_stream
        for stage in reversed(stages):
            stream = stage.stream(method, stream)
        return _Plan(method, None, stream)
    unary: Unary = _run_unary
    for stage in reversed(stages):
        unary = stage.unary(method, unary)
    return _Plan(method, unary, None)


def _run_unary(request: Message, call: Call) -> Any:
    return call.handler(request, call.context)


async def _run_stream(request: Message, call: Call) -> AsyncGenerator[Message, None]:
    messages = call.handler(request, call.context)
    if hasattr(messages, "__aiter__"):
        try:
            async for message in messages:
                yield message
        finally:
            # A handler's `finally` runs now, in this task, and not when the collector finds its generator.
            if hasattr(messages, "aclose"):
                await messages.aclose()
    else:
        await messages


async def _finish(messages: AsyncGenerator[Message, None], call: Call) -> AsyncIterator[Message]:
    try:
        async with aclosing(messages):
            async for message in messages:
                yield message
    finally:
        call.finished = True


def _readable(handler: Any) -> Any:
    """Return a handler that is told of bytes that are no request. By itself gRPC calls them a failure of the server."""
    read = handler.request_deserializer
    if read is None:
        return handler

    def read_or_not(data: bytes) -> Any:
        try:
            return read(data)
        except DecodeError:
            return UNREADABLE

    return handler._replace(request_deserializer=read_or_not)


def _scan(pairs: Any) -> tuple[dict[str, Any], frozenset[str]]:
    """Return the metadata by key, first value first, and the keys that came more than once."""
    metadata: dict[str, Any] = {}
    duplicated: frozenset[str] = _NO_KEYS
    for key, value in pairs or ():
        if key in metadata:
            duplicated |= {key}
        else:
            metadata[key] = value
    return metadata, duplicated


async def _unknown(request: Any, context: Any) -> Any:
    await refuse(MethodNotImplemented("no such method"), Call(None, context))


_UNKNOWN: Any = grpc.unary_unary_rpc_method_handler(_unknown)
