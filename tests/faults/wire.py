"""The edge for those who buy a lot: HTTP/1.1 over kept connections, at a tenth of what a full client costs.

It speaks to one server only, which it trusts by the mesh's own authority, and sends one request at a time over each
connection. A connection that breaks ends the request on it as unknown; the next request opens another.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import httptools

from tests.faults.shoppers import CALL_SECONDS, Edge, Reply, reply_of


class Broken(Exception):
    """The connection ended before the answer did."""


class Connection(asyncio.Protocol):
    """One connection: a request, its answer, the next request."""

    def __init__(self) -> None:
        """Describe a connection that asyncio opens."""
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._body: list[bytes] = []
        self.is_open = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, error: Exception | None) -> None:
        """Tell whoever waits."""
        self.is_open = False
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(Broken())

    def data_received(self, data: bytes) -> None:
        """Parse what came; what is no HTTP ends the connection."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.close()

    def on_body(self, body: bytes) -> None:
        """Keep a part of the answer."""
        self._body.append(body)

    def on_message_complete(self) -> None:
        """Hand over the answer, and be ready for the next one."""
        status, body = self._parser.get_status_code(), b"".join(self._body)
        self.is_open = self.is_open and self._parser.should_keep_alive()
        self._parser, self._body = httptools.HttpResponseParser(self), []
        if self._answer is not None and not self._answer.done():
            self._answer.set_result((status, body))

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        """Send a request and return status and body of its answer."""
        if self._transport is None or not self.is_open:
            raise Broken
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._answer

    def close(self) -> None:
        """End it now."""
        self.is_open = False
        if self._transport is not None:
            self._transport.abort()


class Wire(Edge):
    """The edge of a mesh over connections of its own; only the pages of others are visited with the full client."""

    def __init__(self, endpoints: Mapping[str, Any]) -> None:
        """Believe the mesh's own authority alone. Connections are opened when they are needed."""
        super().__init__(Edge.at(endpoints).http)
        address = urlsplit(endpoints["edge"])
        assert address.hostname is not None
        self._host, self._port = address.hostname, address.port
        self._trust = ssl.create_default_context(cafile=endpoints["ca"])
        self._idle: list[Connection] = []

    async def send(self, method: str, path: str, body: Any = None, *, token: str = "", key: str = "") -> Reply:
        """Send one request. Whatever may have happened without our hearing of it is unknown."""
        request = self._request(method, path, body, token, key)
        connection: Connection | None = None
        try:
            async with asyncio.timeout(CALL_SECONDS):
                connection = await self._connection()
                status, content = await connection.ask(request)
        except (OSError, Broken, TimeoutError) as problem:
            if connection is not None:
                connection.close()
            return "unknown", {"reason": type(problem).__name__}
        if connection.is_open:
            self._idle.append(connection)
        return reply_of(status, content)

    async def aclose(self) -> None:
        """Close every connection."""
        for connection in self._idle:
            connection.close()
        await super().aclose()

    async def _connection(self) -> Connection:
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open:
                return connection
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(Connection, self._host, self._port, ssl=self._trust)
        return connection

    def _request(self, method: str, path: str, body: Any, token: str, key: str) -> bytes:
        content = b"" if body is None else json.dumps(body).encode()
        lines = [f"{method} {path} HTTP/1.1", f"host: {self._host}:{self._port}", f"content-length: {len(content)}"]
        if content:
            lines.append("content-type: application/json")
        if token:
            lines.append(f"authorization: Bearer {token}")
        if key:
            lines.append(f"idempotency-key: {key}")
        return "\r\n".join((*lines, "", "")).encode() + content
