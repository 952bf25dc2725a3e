"""Gives every call an end: the caller's deadline, or the method's default, and never more than the method's cap."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing

from google.protobuf.message import Message

from mesh.calls import Call
from mesh.contract import Method
from mesh.interceptors.stage import Stage, Stream, Unary
from mesh.refusals import DeadlineExceeded

ROUNDING_SHARE = 0.01
ROUNDING_SECONDS = 0.2
"""gRPC sends a deadline in few digits and rounds it up: a server that believes it answers when its caller has left.
A hundredth of it, at most this, is taken off again."""


class Deadline(Stage):
    """Sets `call.deadline`, which children inherit less a margin, and stops a handler that reaches it."""

    def unary(self, method: Method, inner: Unary) -> Unary:
        """Cancel a handler that is not done in time, and refuse with DEADLINE_EXCEEDED."""

        async def limited(request: Message, call: Call) -> Message:
            seconds = _seconds(method, call)
            scope = asyncio.timeout(seconds)
            try:
                async with scope:
                    return await inner(request, call)
            except TimeoutError:
                if scope.expired():
                    raise _exceeded(seconds) from None
                raise

        return limited

    def stream(self, method: Method, inner: Stream) -> Stream:
        """End a stream at its deadline with DEADLINE_EXCEEDED, but never in the middle of writing a message."""

        async def limited(request: Message, call: Call) -> AsyncGenerator[Message, None]:
            seconds = _seconds(method, call)
            ends = asyncio.get_running_loop().time() + seconds
            async with aclosing(inner(request, call)) as messages:
                while True:
                    # The scope is closed while the message is being written: a slow reader is the transport's matter.
                    scope = asyncio.timeout_at(ends)
                    try:
                        async with scope:
                            message = await anext(messages)
                    except StopAsyncIteration:
                        return
                    except TimeoutError:
                        if scope.expired():
                            raise _exceeded(seconds) from None
                        raise
                    yield message

        return limited


def _seconds(method: Method, call: Call) -> float:
    left = call.context.time_remaining()
    if left is not None:
        left -= min(ROUNDING_SECONDS, left * ROUNDING_SHARE)
    seconds = min(method.default_seconds if left is None else left, method.cap_seconds)
    call.deadline = time.monotonic() + seconds
    if seconds <= 0:
        raise _exceeded(seconds)
    return seconds


def _exceeded(seconds: float) -> DeadlineExceeded:
    return DeadlineExceeded(f"no answer within {max(seconds, 0):.3f} s")
