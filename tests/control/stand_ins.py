"""What stands behind an edge under test: in place of the HTTP app, and of the mesh's outbound listener."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import grpc


@dataclass(frozen=True)
class Request:
    """A request as it arrived; every header, in order."""

    verb: str
    path: str
    headers: list[list[str]]

    @property
    def length(self) -> int:
        """How many bytes its body has."""
        return int(dict(self.headers).get("content-length", "0"))


def http_app(
    answer: Callable[[Request], tuple[str, bytes]],
) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    """Return what serves a connection of HTTP/1.1: `answer` gives the status and the JSON for each request."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").strip().split("\r\n")
                verb, path, _ = first.split(" ")
                request = Request(verb, path, [line.split(": ", 1) for line in lines])
                await reader.readexactly(request.length)
                status, body = answer(request)
                fields = f"content-type: application/json\r\ncontent-length: {len(body)}"
                writer.write(f"HTTP/1.1 {status}\r\n{fields}\r\n\r\n".encode() + body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    return serve


class Mesh(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Serves every method alike: it tells the metadata that arrived."""

    def service(self, call: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        """Serve it."""
        return grpc.unary_unary_rpc_method_handler(self._tell)

    async def _tell(self, request: bytes, context: Any) -> bytes:
        metadata: Sequence[tuple[str, Any]] = context.invocation_metadata() or ()
        return json.dumps(list(metadata)).encode()
