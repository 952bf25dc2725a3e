"""The edge for those who buy a lot: the bench's lean client, whose every answer is ok, refused or unknown.

What breaks ends the request on it as unknown; the next request opens another connection.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.rig import wire
from tests.faults.shoppers import CALL_SECONDS, Edge, Reply, reply_of


class Wire(Edge):
    """The edge of a mesh over connections of its own; only the pages of others are visited with the full client."""

    def __init__(self, endpoints: Mapping[str, Any]) -> None:
        """Believe the mesh's own authority alone. Connections are opened when they are needed."""
        super().__init__(Edge.at(endpoints).http)
        self._wire = wire.Wire(endpoints, call_seconds=CALL_SECONDS)

    async def send(self, method: str, path: str, body: Any = None, *, token: str = "", key: str = "") -> Reply:
        """Send one request. Whatever may have happened without our hearing of it is unknown."""
        try:
            reply = await self._wire.ask(self._wire.request(method, path, body, token=token, key=key))
        except wire.Broken as problem:
            return "unknown", {"reason": str(problem)}
        return reply_of(reply.status, reply.body)

    async def aclose(self) -> None:
        """Close every connection."""
        self._wire.close()
        await super().aclose()
