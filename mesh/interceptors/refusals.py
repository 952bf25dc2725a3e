"""Turns refusals into statuses, and everything unexpected into INTERNAL without a word of its text."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import NoReturn

import grpc
from google.protobuf.message import Message

from mesh.calls import Call
from mesh.contract import Method
from mesh.interceptors.stage import Stage, Stream, Unary
from mesh.refusals import STATUS_KEY, InternalError, MethodNotImplemented, Refusal, Unavailable
from mesh.telemetry import get_logger

MAX_MESSAGE_CHARACTERS = 1024
"""Status messages travel in headers, which are limited; a longer message is cut."""

log = get_logger("mesh.calls")


class Refusals(Stage):
    """The outermost stage."""

    def unary(self, method: Method, inner: Unary) -> Unary:
        """Answer with the status of whatever is raised further in."""

        async def translated(request: Message, call: Call) -> Message:
            try:
                return await inner(request, call)
            except (Exception, asyncio.CancelledError) as error:
                refusal = refusal_for(error, call)
            await refuse(refusal, call)

        return translated

    def stream(self, method: Method, inner: Stream) -> Stream:
        """End the stream with the status of whatever is raised further in."""

        async def translated(request: Message, call: Call) -> AsyncGenerator[Message, None]:
            try:
                async with aclosing(inner(request, call)) as messages:
                    async for message in messages:
                        yield message
                return
            except (Exception, asyncio.CancelledError) as error:
                refusal = refusal_for(error, call)
            await refuse(refusal, call)

        return translated


def refusal_for(error: BaseException, call: Call) -> Refusal:
    """Return what the caller reads instead of `error`; the unexpected is logged here, once.

    Raises:
        CancelledError: The caller left, so nobody reads anything.
        AbortError: gRPC was already told what to answer.
    """
    if isinstance(error, Refusal):
        return error
    if isinstance(error, asyncio.CancelledError):
        if not call.drained or call.task is None:
            raise error
        # The server is leaving and ended this stream itself: the caller is told to come back elsewhere.
        call.task.uncancel()
        return Unavailable("the server is going away", retry_after_seconds=0)
    if isinstance(error, grpc.aio.AbortError):
        raise error
    name = call.method.full_name if call.method else ""
    if isinstance(error, NotImplementedError) and call.context.code() == grpc.StatusCode.UNIMPLEMENTED:
        return MethodNotImplemented(f"{name} is not implemented")
    log.exception("unexpected exception", error, method=name, trace_id=call.trace_id)
    return InternalError("internal error")


async def refuse(refusal: Refusal, call: Call) -> NoReturn:
    """End the call with the status of a refusal.

    The status is written by `abort`, not `abort_with_status`: the tracing interceptor in front only sees the former.
    """
    status = refusal.to_status()
    status.message = status.message[:MAX_MESSAGE_CHARACTERS]
    await call.context.abort(refusal.code, status.message, ((STATUS_KEY, status.SerializeToString()),))
    raise AssertionError("abort returned")
