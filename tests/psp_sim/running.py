"""Runs the real simulator inside a test, and a merchant that receives its webhooks."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from psp_sim.app import listen, server
from psp_sim.settings import Settings

API_KEY = "key-for-tests"
SECRETS = (b"secret-of-today", b"secret-of-tomorrow")


@dataclass
class Simulator:
    """A running simulator and a client that holds its key."""

    url: str
    log_path: Path
    http: httpx.AsyncClient

    async def control(self, **wanted: Any) -> None:
        (await self.http.post("/control", json=wanted)).raise_for_status()

    async def authorize(
        self, payment_id: str, token: str = "tok_visa", amount_minor: int = 1000, **more: Any
    ) -> httpx.Response:
        body = {"payment_id": payment_id, "amount_minor": amount_minor, "currency": "GBP", "token": token, **more}
        return await self.http.post("/v1/payments", json=body)

    async def capture(self, payment_id: str, amount_minor: int = 1000, capture_id: str = "c1") -> httpx.Response:
        body = {"capture_id": capture_id, "amount_minor": amount_minor}
        return await self.http.post(f"/v1/payments/{payment_id}/capture", json=body)

    async def refund(self, payment_id: str, amount_minor: int = 1000, refund_id: str = "r1") -> httpx.Response:
        body = {"refund_id": refund_id, "amount_minor": amount_minor}
        return await self.http.post(f"/v1/payments/{payment_id}/refund", json=body)

    async def void(self, payment_id: str) -> httpx.Response:
        return await self.http.post(f"/v1/payments/{payment_id}/void", json={})

    def log(self, payment_id: str | None = None) -> list[dict[str, Any]]:
        """List the lines of one payment, or all of them."""
        lines = [json.loads(line) for line in self.log_path.read_text().splitlines()]
        return [line for line in lines if payment_id in (None, line["payment_id"])]

    def moved_minor(self, kind: str, payment_id: str) -> int:
        return sum(line["amount_minor"] for line in self.log(payment_id) if line["kind"] == kind and line["effect"])


@dataclass
class Merchant:
    """Receives webhooks; ``answers`` are the statuses of the next replies, then 200."""

    url: str = ""
    received: list[tuple[str, bytes]] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)

    async def receive(self, request: Request) -> Response:
        self.received.append((request.headers["titan-psp-signature"], await request.body()))
        return Response(status_code=self.answers.pop(0) if self.answers else 200)

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, body in self.received]


def settings_for(folder: Path, **changes: Any) -> Settings:
    settings = Settings(
        host="127.0.0.1",
        port=0,
        log_path=folder / "psp.jsonl",
        api_key=API_KEY,
        webhook_secrets=SECRETS,
        webhook_attempts=5,
        webhook_backoff_seconds=0.02,
    )
    return replace(settings, **changes)


@contextlib.asynccontextmanager
async def serve(running: uvicorn.Server, bound: Any) -> AsyncIterator[None]:
    task = asyncio.create_task(running.serve(sockets=[bound]))
    while not running.started:
        assert not task.done(), "the server did not start"
        await asyncio.sleep(0.005)
    try:
        yield
    finally:
        running.should_exit = True
        await task


@contextlib.asynccontextmanager
async def simulator(settings: Settings) -> AsyncIterator[Simulator]:
    """Run a simulator on a free port until the block ends."""
    bound = listen(settings.host, settings.port)
    settings = replace(settings, port=bound.getsockname()[1])
    url = f"http://127.0.0.1:{settings.port}"
    headers = {"authorization": f"Bearer {API_KEY}"}
    async with (
        httpx.AsyncClient(base_url=url, headers=headers, timeout=5.0, trust_env=False) as http,
        serve(server(settings), bound),
    ):
        yield Simulator(url, settings.log_path, http)


@contextlib.asynccontextmanager
async def merchant() -> AsyncIterator[Merchant]:
    """Run a receiver of webhooks on a free port until the block ends."""
    receiver = Merchant()
    app = Starlette(routes=[Route("/hook", receiver.receive, methods=["POST"])])
    bound = listen("127.0.0.1", 0)
    receiver.url = f"http://127.0.0.1:{bound.getsockname()[1]}/hook"
    async with serve(uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False)), bound):
        yield receiver


async def until(condition: Callable[[], bool], *, seconds: float = 3.0) -> None:
    """Wait for the condition, checking often.

    Raises:
        AssertionError: It did not come true in time.
    """
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        await asyncio.sleep(0.01)
