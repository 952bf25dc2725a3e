"""Keeps the number of running handlers within a bound, and refuses at once what is above it.

gRPC's own `maximum_concurrent_rpcs` stops counting after the first rejections, so the count is kept here. Streams are
counted apart: a thousand idle watchers must not keep one order out, nor orders end watchers.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from google.protobuf.message import Message

from mesh import telemetry
from mesh.calls import Call
from mesh.contract import Method
from mesh.interceptors.stage import Stage, Stream, Unary
from mesh.refusals import Overloaded, Refusal, Unavailable

RETRY_SECONDS = 0.25


class Admission(Stage):
    """At most `max_running_calls` unary handlers and `max_open_streams` streams at a time."""

    def __init__(self, max_running_calls: int, max_open_streams: int | None = None) -> None:
        self._max_calls = max_running_calls
        self._max_streams = max_running_calls if max_open_streams is None else max_open_streams
        self.running = 0
        self._streams: set[Call] = set()
        self._draining = False

    @property
    def open_streams(self) -> int:
        """How many streams are open."""
        return len(self._streams)

    def publish(self) -> None:
        """Show the counts of this server in the process's metrics."""
        telemetry.RUNNING.labels("unary").set_function(lambda: self.running)
        telemetry.RUNNING.labels("stream").set_function(lambda: len(self._streams))

    def drain(self) -> None:
        """End every open stream with UNAVAILABLE, so that its caller finds another server; unary calls finish."""
        self._draining = True
        for call in tuple(self._streams):
            if call.task is not None and not call.drained:
                call.drained = True
                call.task.cancel()

    def unary(self, method: Method, inner: Unary) -> Unary:
        """Refuse with OVERLOADED the call that is one too many."""
        shed = telemetry.SHED.labels(method.full_name)

        async def admitted(request: Message, call: Call) -> Message:
            if self.running >= self._max_calls:
                shed.inc()
                raise overloaded()
            self.running += 1
            try:
                return await inner(request, call)
            finally:
                self.running -= 1

        return admitted

    def stream(self, method: Method, inner: Stream) -> Stream:
        """Refuse with OVERLOADED the stream that is one too many; with UNAVAILABLE all that come during a drain."""
        shed = telemetry.SHED.labels(method.full_name)

        async def admitted(request: Message, call: Call) -> AsyncGenerator[Message, None]:
            if self._draining:
                raise Unavailable("the server is going away", retry_after_seconds=0)
            if len(self._streams) >= self._max_streams:
                shed.inc()
                raise overloaded()
            call.task = asyncio.current_task()
            self._streams.add(call)
            try:
                async with aclosing(inner(request, call)) as messages:
                    async for message in messages:
                        yield message
            finally:
                self._streams.discard(call)

        return admitted


def overloaded() -> Refusal:
    """Return the refusal of a call for which there is no room."""
    return Overloaded("too many calls are running, try again", retry_after_seconds=RETRY_SECONDS)
