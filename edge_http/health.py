"""Whether the process lives, and whether it is of use: what a supervisor and a load balancer ask."""

from __future__ import annotations

import asyncio
import time

from edge_http import json_writer
from edge_http.answer import Answer
from edge_http.binding import Headers
from mesh.auth_feed import AUTH_SERVICE
from mesh.clients import Clients
from mesh.contract import Contract
from mesh.refusals import Refusal

PROBE_SECONDS = 1.0
KEPT_SECONDS = 1.0
"""How long an answer is kept: whoever asks often must not make the mesh answer often."""

_HEADERS = [(b"cache-control", b"no-store")]


async def alive(headers: Headers) -> Answer:
    """Answer that the process runs and its loop turns."""
    return Answer(200, json_writer.encode({"status": "ALIVE"}), headers=[*_HEADERS])


class Readiness:
    """Ready while the mesh behind the edge answers: AuthService, without which nobody could sign in."""

    def __init__(self, contract: Contract, clients: Clients, stopping: asyncio.Event) -> None:
        service = contract.services[AUTH_SERVICE]
        method = next(each for each in service.methods if each.name == "GetJwks")
        self._ask = getattr(clients.of_service(service.descriptor), method.name)
        self._request = method.request_class()
        self._stopping = stopping
        self._known_until = 0.0
        self._answer = ""
        self._turn = asyncio.Lock()

    async def ready(self, headers: Headers) -> Answer:
        """Answer 200 READY, or 503 and why."""
        if self._stopping.is_set():
            return self._unready("STOPPING")
        async with self._turn:
            if time.monotonic() >= self._known_until:
                self._answer = await self._probe()
                self._known_until = time.monotonic() + KEPT_SECONDS
        return self._unready(self._answer) if self._answer else Answer(200, b'{"status":"READY"}', headers=[*_HEADERS])

    async def _probe(self) -> str:
        try:
            await self._ask(self._request, timeout=PROBE_SECONDS)
        except Refusal as refusal:
            return refusal.reason
        return ""

    @staticmethod
    def _unready(why: str) -> Answer:
        body = json_writer.encode({"status": "NOT_READY", "reason": why})
        return Answer(503, body, headers=[*_HEADERS, (b"retry-after", b"1")], reason=why)
