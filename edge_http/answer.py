"""What the edge sends back: a status, headers and a body, written to ASGI in one place."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from edge_http import errors, json_writer
from mesh.refusals import Refusal

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
HeaderList = list[tuple[bytes, bytes]]

JSON = b"application/json"
TRACE_HEADER = b"x-titan-trace-id"


@dataclass
class Answer:
    """A whole answer. `reason` is the refusal's, for the log; `etag` is among the headers too."""

    status: int
    body: bytes = b""
    content_type: bytes = JSON
    headers: HeaderList = field(default_factory=list)
    reason: str = ""
    etag: str = ""

    async def send(self, send: Send, trace_id: str) -> None:
        """Write the answer."""
        headers = [*self.headers]
        if self.status != 304 and self.status != 204:
            headers.append((b"content-type", self.content_type))
            headers.append((b"content-length", b"%d" % len(self.body)))
        if trace_id:
            headers.append((TRACE_HEADER, trace_id.encode("ascii")))
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self.body})


def refused(refusal: Refusal) -> Answer:
    """Return the answer that a refusal becomes."""
    return Answer(
        status=errors.http_status(refusal),
        body=json_writer.encode(errors.body(refusal)),
        headers=errors.headers(refusal),
        reason=refusal.reason,
    )
