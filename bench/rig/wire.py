"""HTTP/1.1 over kept TLS connections, at a tenth of what a full client costs: the load shares the machine.

It speaks to one server only, which it trusts by the mesh's own authority, and sends one request at a time over each
connection. Requests are written once and sent many times.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import urlsplit

import httptools

CALL_SECONDS = 20.0


class Broken(Exception):
    """The connection ended before the answer did, or the answer did not come in time; the message names which."""


class Unwanted(Exception):
    """The answer is not the one that was wanted."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What was answered."""

    status: int
    etag: str
    body: bytes


class Connection(asyncio.Protocol):
    """One connection: a request, its answer, the next request."""

    def __init__(self) -> None:
        """Describe a connection that asyncio opens."""
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[Reply] | None = None
        self._begin()
        self.is_open = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport, which uvloop's is without inheriting from asyncio's."""
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, error: Exception | None) -> None:
        """Tell whoever waits."""
        self.is_open = False
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(Broken("Broken"))

    def data_received(self, data: bytes) -> None:
        """Parse what came; what is no HTTP ends the connection."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.close()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep the version of what is answered."""
        if name == b"etag":
            self._etag = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        """Keep a part of the answer."""
        self._body.append(body)

    def on_message_complete(self) -> None:
        """Hand over the answer, and be ready for the next one."""
        reply = Reply(self._parser.get_status_code(), self._etag, b"".join(self._body))
        self.is_open = self.is_open and self._parser.should_keep_alive()
        self._begin()
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(reply)

    async def ask(self, request: bytes) -> Reply:
        """Send a request and return its answer."""
        if self._transport is None or not self.is_open:
            raise Broken("Broken")
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._answer

    def close(self) -> None:
        """End it now."""
        self.is_open = False
        if self._transport is not None:
            self._transport.abort()

    def _begin(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._body: list[bytes] = []
        self._etag = ""


class Wire:
    """The edge of a mesh, over as many connections as there are calls at once."""

    def __init__(self, endpoints: Mapping[str, Any], *, call_seconds: float = CALL_SECONDS) -> None:
        """Believe the mesh's own authority alone. Connections are opened when they are needed, and kept."""
        address = urlsplit(endpoints["edge"])
        assert address.hostname is not None and address.port is not None
        self._host, self._port = address.hostname, address.port
        self._trust = ssl.create_default_context(cafile=endpoints["ca"])
        self._call_seconds = call_seconds
        self._idle: list[Connection] = []

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str = "",
        key: str = "",
        if_none_match: str = "",
        content_type: str = "application/json",
    ) -> bytes:
        """Return a request as it travels; a body of bytes is written as it is."""
        content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        lines = [f"{method} {path} HTTP/1.1", f"host: {self._host}:{self._port}", f"content-length: {len(content)}"]
        if content:
            lines.append(f"content-type: {content_type}")
        if token:
            lines.append(f"authorization: Bearer {token}")
        if key:
            lines.append(f"idempotency-key: {key}")
        if if_none_match:
            lines.append(f"if-none-match: {if_none_match}")
        return "\r\n".join((*lines, "", "")).encode() + content

    async def ask(self, request: bytes) -> Reply:
        """Send a request and return its answer, whatever that is.

        Raises:
            Broken: The connection ended, or nothing came in time.
        """
        connection: Connection | None = None
        try:
            async with asyncio.timeout(self._call_seconds):
                connection = await self._connection()
                reply = await connection.ask(request)
        except (OSError, TimeoutError) as problem:
            if connection is not None:
                connection.close()
            raise Broken(type(problem).__name__) from problem
        if connection.is_open:
            self._idle.append(connection)
        return reply

    async def send(self, request: bytes, *, wanted: int = 200) -> Reply:
        """Send a request and return its answer.

        Raises:
            Unwanted: It has another status.
            Broken: The connection ended, or nothing came in time.
        """
        reply = await self.ask(request)
        if reply.status != wanted:
            raise Unwanted(f"{request[:60]!r} was answered {reply.status}: {reply.body[:300]!r}")
        return reply

    async def post(self, path: str, body: Any, *, token: str = "", key: str = "") -> Any:
        """Post JSON and return the JSON of the answer, which has to be a success."""
        return json.loads((await self.send(self.request("POST", path, body, token=token, key=key))).body)

    async def get(self, path: str, *, token: str = "") -> Any:
        """Return the JSON at a path, which has to be a success."""
        return json.loads((await self.send(self.request("GET", path, token=token))).body)

    def close(self) -> None:
        """Close every connection."""
        for connection in self._idle:
            connection.close()
        self._idle.clear()

    async def _connection(self) -> Connection:
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open:
                return connection
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(Connection, self._host, self._port, ssl=self._trust)
        return connection
