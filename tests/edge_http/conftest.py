"""The edge on a Unix socket in front of a fake service that stands behind the real chain."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from edge_http.asgi import Edge
from edge_http.server import HttpServer
from mesh.clients import Clients
from tests import harness
from tests.edge_http.everything import SERVICE, Everything, everything_contract

UNSAMPLED = TracerProvider(sampler=ALWAYS_OFF).get_tracer("tests")


@pytest.fixture(scope="session")
def service() -> Everything:
    """The fake service."""
    return Everything()


@pytest.fixture(scope="session")
async def edge(service: Everything) -> AsyncIterator[Edge]:
    """The application, whose `socket` it is served at."""
    known = everything_contract()
    async with harness.serve({SERVICE: service}, known=known) as channel:
        clients = Clients(channel.target)
        application = Edge(known, clients, heartbeat_seconds=0.2, tracer=UNSAMPLED)
        with tempfile.TemporaryDirectory(prefix="titan-") as folder:
            application.socket = str(Path(folder, "edge.sock"))
            server = HttpServer(application, f"unix:{application.socket}", drain_seconds=1)
            await server.start()
            try:
                yield application
            finally:
                application.stopping.set()
                await server.stop()
                await clients.close()


@pytest.fixture(scope="session")
async def http(edge: Edge) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the edge."""
    transport = httpx.AsyncHTTPTransport(uds=edge.socket)
    async with httpx.AsyncClient(transport=transport, base_url="http://edge", timeout=10) as client:
        yield client
