"""One log line and one observation per call, and the trace that it belongs to.

Spans of recorded traces are made by OpenTelemetry's gRPC interceptor, which the chain puts in front. For a call
whose caller already decided that its trace is not recorded, that interceptor is passed by, and this stage keeps only
the trace id, for the log and for the calls that follow: a twentieth of the cost.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import grpc
from google.protobuf.message import Message
from opentelemetry import context as otel_context
from opentelemetry import trace

from mesh import telemetry
from mesh.calls import Call
from mesh.contract import Method
from mesh.interceptors.stage import Stage, Stream, Unary
from mesh.refusals import Refusal

log = telemetry.get_logger("mesh.calls")


def spans_wanted(details: Any) -> bool:
    """Decide for OpenTelemetry's interceptor whether a call is worth a span: only if its trace may be recorded."""
    if details.method.startswith("/grpc."):
        return False
    for key, value in details.invocation_metadata or ():
        if key == "traceparent":
            return not telemetry.is_unsampled(value)
    return True


class Telemetry(Stage):
    """Describes each call when it ends; `write` is where the line goes."""

    def __init__(self, *, write: Any = None) -> None:
        self._write = write or log.info

    def unary(self, method: Method, inner: Unary) -> Unary:
        """Join the trace, time the call, and write its line when it ends."""
        seconds = telemetry.CALL_SECONDS.labels(method.full_name)
        describe = self._describer(method)

        async def observed(request: Message, call: Call) -> Message:
            join_trace(call)
            try:
                response = await inner(request, call)
            except BaseException as error:
                describe(call, *outcome(error))
                raise
            else:
                describe(call, "OK", "")
                return response
            finally:
                seconds.observe(time.monotonic() - call.started)

        return observed

    def stream(self, method: Method, inner: Stream) -> Stream:
        """Join the trace, and write the line of a stream, with the number of its messages, when it ends."""
        describe = self._describer(method)

        async def observed(request: Message, call: Call) -> AsyncGenerator[Message, None]:
            join_trace(call)
            sent = 0
            try:
                async with aclosing(inner(request, call)) as messages:
                    async for message in messages:
                        yield message
                        sent += 1
            except BaseException as error:
                describe(call, *outcome(error), sent)
                raise
            else:
                describe(call, "OK", "", sent)

        return observed

    def _describer(self, method: Method) -> Any:
        counters = {"OK": telemetry.CALLS.labels(method.full_name, "OK")}
        name, write = method.full_name, self._write

        def describe(call: Call, status: str, reason: str, messages: int | None = None) -> None:
            counter = counters.get(status)
            if counter is None:
                counter = counters[status] = telemetry.CALLS.labels(name, status)
            counter.inc()
            call.reason = reason
            fields: dict[str, Any] = {
                "method": name,
                "status": status,
                "ms": round((time.monotonic() - call.started) * 1000, 2),
                "trace_id": call.trace_id,
            }
            if reason:
                fields["reason"] = reason
            if call.peer:
                fields["caller"] = call.peer
            if call.caller is not None and call.caller.user_id is not None:
                fields["user_id"] = str(call.caller.user_id)
                if call.caller.actor_id is not None:
                    fields["actor_id"] = str(call.caller.actor_id)
            if call.batch_size is not None:
                fields["batch"] = call.batch_size
            if messages is not None:
                fields["messages"] = messages
            write("call", **fields)

        return describe


def join_trace(call: Call) -> None:
    """Give the call its trace id: of the span in front, else of the caller's `traceparent`."""
    span = trace.get_current_span().get_span_context()
    if not span.is_valid:
        value = call.metadata.get("traceparent")
        remote = telemetry.parse_traceparent(value) if isinstance(value, str) else None
        if remote is None:
            return
        # Never detached: gRPC runs each call in a task, and so in a context, of its own.
        otel_context.attach(trace.set_span_in_context(trace.NonRecordingSpan(remote)))
        span = remote
    call.trace_id = f"{span.trace_id:032x}"


def outcome(error: BaseException) -> tuple[str, str]:
    """Return the status and the reason under which an ended call is counted."""
    if isinstance(error, Refusal):
        return error.code.name, error.reason
    if isinstance(error, (asyncio.CancelledError, GeneratorExit)):
        return "CANCELLED", "CANCELLED"
    if isinstance(error, grpc.aio.AbortError):
        return "ABORTED", ""
    return "INTERNAL", "INTERNAL"
