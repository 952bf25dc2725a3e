"""Server-sent events: a server stream of gRPC as `text/event-stream` (the HTML standard, section 9.2).

Each message is an event with its JSON as data and its version as id. A comment is sent where nothing happens, so that
nobody in between thinks the connection dead. A stream that fails ends with an event `error` in the shape of every other
error; one that fails before its first message is an ordinary error answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from edge_http import errors, json_writer
from edge_http.answer import TRACE_HEADER, Receive, Send
from mesh.refusals import InternalError, Refusal
from mesh.telemetry import Logger

HEARTBEAT_SECONDS = 15.0
FIRST_SECONDS = 2.0
"""How long the first message is waited for before the answer starts without it."""

_HEADERS = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]

Messages = AsyncGenerator[tuple[str, bytes], None]


class EventStream:
    """Writes one stream of messages to one client, until it ends, the client leaves, or the process does."""

    def __init__(
        self,
        messages: Messages,
        *,
        receive: Receive,
        send: Send,
        trace_id: str,
        stopping: asyncio.Event,
        log: Logger,
        heartbeat_seconds: float = HEARTBEAT_SECONDS,
    ) -> None:
        self._messages = messages
        self._receive = receive
        self._send = send
        self._trace_id = trace_id
        self._stopping = stopping
        self._log = log
        self._heartbeat = heartbeat_seconds
        self.started = False
        self.sent = 0
        self.reason = ""

    async def run(self) -> None:
        """Serve the stream to its end.

        Raises:
            Refusal: The call was refused before anything was sent; the caller answers it.
        """
        leaving = [asyncio.ensure_future(self._gone()), asyncio.ensure_future(self._stopping.wait())]
        following: asyncio.Task[tuple[str, bytes]] | None = None
        patience = min(FIRST_SECONDS, self._heartbeat)
        try:
            following = asyncio.ensure_future(anext(self._messages))
            while True:
                await asyncio.wait([following, *leaving], timeout=patience, return_when=asyncio.FIRST_COMPLETED)
                if any(task.done() for task in leaving):
                    break
                if not following.done():
                    await (self._write(b": waiting\n\n") if self.started else self._start())
                    patience = self._heartbeat
                    continue
                if not await self._pass_on(following):
                    break
                following = asyncio.ensure_future(anext(self._messages))
        finally:
            for task in (*leaving, following):
                if task is not None:
                    task.cancel()
            await asyncio.gather(*leaving, *([following] if following is not None else []), return_exceptions=True)
            await self._messages.aclose()
        if self.started:
            await self._send({"type": "http.response.body", "body": b""})
        else:
            await self._start(more=False)

    async def _pass_on(self, following: asyncio.Task[tuple[str, bytes]]) -> bool:
        """Send the message that came, or what came in its place; False when it was the last."""
        try:
            version, data = following.result()
        except StopAsyncIteration:
            return False
        except Refusal as refusal:
            if not self.started:
                raise
            await self._fail(refusal)
            return False
        except Exception as error:
            if not self.started:
                raise
            self._log.exception("a stream failed", error)
            await self._fail(InternalError("the stream failed"))
            return False
        head = f"id: {version}\n".encode("ascii") if version else b""
        # JSON has no line breaks of its own: they are escaped inside texts.
        await self._write(head + b"data: " + data + b"\n\n")
        self.sent += 1
        return True

    async def _fail(self, refusal: Refusal) -> None:
        self.reason = refusal.reason
        await self._write(b"event: error\ndata: " + json_writer.encode(errors.body(refusal)) + b"\n\n")

    async def _start(self, *, more: bool = True) -> None:
        headers = [*_HEADERS, (TRACE_HEADER, self._trace_id.encode("ascii"))]
        await self._send({"type": "http.response.start", "status": 200, "headers": headers})
        self.started = True
        await self._send({"type": "http.response.body", "body": b"", "more_body": more})

    async def _write(self, data: bytes) -> None:
        if not self.started:
            await self._start()
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def _gone(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
