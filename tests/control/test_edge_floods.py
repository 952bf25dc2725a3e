"""One address that takes all it can get, and a well-behaved client alongside, whom every call succeeds.

The edge is the real one on a machine with less memory and fewer places, so that a small flood is a large one.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx
import pytest

from control import templates
from control.edge_limits import ALL_BODIES
from control.envoy_names import EDGE, admin_socket, config_file
from control.home import Home
from control.servers import envoy
from mesh.topology import MAX_BODY_BYTES
from tests.control.small_mesh import TOPOLOGY, prepare
from tests.control.stand_ins import http_app
from tests.control.test_edge_envoy import answer
from tests.raw_http import Http2, connect, trust_in

HEAP_BYTES = 96 * 1024 * 1024
CONNECTIONS = 120
FLOOD = "127.0.5.1"
MOST_GROWTH_BYTES = 50_000_000
PAUSE_SECONDS = 0.02

# A body without its end: as long as one may be, but for a kilobyte.
HELD = b"x" * (MAX_BODY_BYTES - 1024)
BEGINNINGS = {
    "a body that says its length": b"content-length: %d\r\n\r\n" % MAX_BODY_BYTES,
    "a body in chunks": b"transfer-encoding: chunked\r\n\r\n%x\r\n" % MAX_BODY_BYTES,
}


@dataclass
class Flooded:
    """The running edge."""

    home: Home
    ca_file: str

    def trust(self, *protocols: str) -> ssl.SSLContext:
        """Return what a client believes and offers to speak."""
        return trust_in(self.ca_file, *protocols)

    def memory_bytes(self) -> int:
        """Return what the edge's Envoy has allocated."""
        return int(json.loads(envoy.ask(admin_socket(self.home, EDGE), "GET", "/memory") or "{}")["allocated"])

    async def connect(self, address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a connection from a local address."""
        return await connect(self.home.ports.edge, self.trust(), address)

    @asynccontextmanager
    async def neighbour(self, address: str) -> AsyncIterator[list[int]]:
        """Post small bodies one after the other, and collect their codes."""
        transport = httpx.AsyncHTTPTransport(verify=self.trust(), local_address=address)
        url, codes, done = f"https://localhost:{self.home.ports.edge}", list[int](), asyncio.Event()

        async def shop() -> None:
            async with httpx.AsyncClient(base_url=url, transport=transport, timeout=10) as client:
                while not done.is_set():
                    codes.append((await client.post("/v1/x", json={})).status_code)
                    await asyncio.sleep(PAUSE_SECONDS)

        shopping = asyncio.create_task(shop())
        yield codes
        done.set()
        await shopping


@pytest.fixture
async def edge(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Flooded]:
    """An edge of its own for each flood: it begins with full buckets and empty buffers."""
    many = TOPOLOGY.replace("burst = 12, per_second = 1", "burst = 10000, per_second = 10000")
    _, home, authority, membership = prepare(tmp_path_factory.mktemp("flood"), many)
    config = templates.load(config_file(home, EDGE).read_text())
    heap, connections = config["overload_manager"]["resource_monitors"]
    heap["typed_config"]["max_heap_size_bytes"] = HEAP_BYTES
    connections["typed_config"]["max_active_downstream_connections"] = CONNECTIONS
    config_file(home, EDGE).write_text(templates.dump(config))
    app, admin = home.app_socket("edge_http"), admin_socket(home, EDGE)
    server = await asyncio.start_unix_server(http_app(answer), app)
    membership.join("edge_http", app)
    process = await asyncio.to_thread(envoy.start, EDGE, config_file(home, EDGE), admin, home.log_file(EDGE))
    yield Flooded(home, str(authority.ca_file))
    envoy.stop(process, admin, drain_seconds=0)
    server.close()


@pytest.mark.parametrize("what", BEGINNINGS)
async def test_bodies_without_an_end_take_no_more_than_their_addresss_share(edge: Flooded, what: str) -> None:
    """A hundred of a mebibyte each: a few are kept for their time, the rest is refused with its first byte."""
    at_rest = edge.memory_bytes()

    async def hold() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await edge.connect(FLOOD)
        writer.write(b"POST /v1/x HTTP/1.1\r\nhost: localhost\r\n" + BEGINNINGS[what] + HELD)
        return reader, writer

    async with edge.neighbour("127.0.6.1") as codes:
        held = [await hold() for _ in range(100)]
        firsts = {asyncio.ensure_future(reader.readline()) for reader, _ in held}
        answered, _ = await asyncio.wait(firsts, timeout=2)
        grown = edge.memory_bytes() - at_rest
    for first in firsts:
        first.cancel()
    for _, writer in held:
        writer.close()

    assert {200} == set(codes)
    assert grown < MOST_GROWTH_BYTES
    assert b"HTTP/1.1 429 Too Many Requests\r\n" in {first.result() for first in answered if not first.exception()}


async def test_streams_that_hold_much_are_reset_before_anybody_is_refused(edge: Flooded) -> None:
    """Over HTTP/2 a body need not say how long it is, and one connection carries a hundred."""
    async with edge.neighbour("127.0.6.2") as codes:
        connections = [await Http2.open(edge.home.ports.edge, edge.trust("h2"), FLOOD) for _ in range(2)]
        fields = [(":method", "POST"), (":scheme", "https"), (":authority", "localhost"), (":path", "/v1/x")]
        streams = list[tuple[Http2, int]]()
        async with asyncio.timeout(20):
            # Each begins with its body, or the first have had their fifteen seconds before the last one is here.
            for connection in connections * 60:
                streams.append((connection, connection.begin(fields, end=False)))
                await connection.send(streams[-1][1], HELD, end=False)
                # Envoy looks at its heap four times a second, and this heap is a fifth of the real one.
                await asyncio.sleep(PAUSE_SECONDS)
                if any(opened.ended(stream) == "reset" for opened, stream in streams):
                    break
        await asyncio.sleep(PAUSE_SECONDS * 10)
    ends = [connection.ended(stream) for connection, stream in streams]
    for connection in connections:
        await connection.close()

    assert {200} == set(codes)
    assert "reset" in ends


async def test_all_addresses_together_leave_room_for_small_bodies(edge: Flooded) -> None:
    """Large ones have one bucket more, which is everybody's. Nobody sends a byte here: to say a length is enough."""
    connections = [await Http2.open(edge.home.ports.edge, edge.trust("h2"), f"127.0.7.{n}") for n in range(1, 61)]
    fields = [(":method", "POST"), (":scheme", "https"), (":authority", "localhost"), (":path", "/v1/x")]
    large = [*fields, ("content-length", str(MAX_BODY_BYTES))]
    async with edge.neighbour("127.0.6.3") as codes:
        streams = [(connection, connection.begin(large, end=False)) for connection in connections for _ in range(4)]
        await asyncio.sleep(0.5)
    refused = sum(connection.ended(stream) is not None for connection, stream in streams)
    for connection in connections:
        await connection.close()

    assert {200} == set(codes)
    assert 0 < refused <= len(streams) - ALL_BODIES.burst // MAX_BODY_BYTES


async def test_silent_connections_make_room_for_those_who_ask(edge: Flooded) -> None:
    """All places are taken by one address that says nothing: two seconds later they are free again."""
    silent = [await edge.connect(FLOOD) for _ in range(CONNECTIONS)]
    async with asyncio.timeout(10):
        while True:
            try:
                async with edge.neighbour("127.0.6.4") as codes:
                    await asyncio.sleep(PAUSE_SECONDS)
                break
            except httpx.TransportError:
                await asyncio.sleep(PAUSE_SECONDS * 5)
    for _, writer in silent:
        writer.close()

    assert {200} == set(codes)


async def test_a_body_of_no_length_drains_nothing(edge: Flooded) -> None:
    """Whoever posts nothing says so with a zero."""
    reader, writer = await edge.connect("127.0.6.5")
    for _ in range(20):
        writer.write(b"POST /v1/x HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        length = next(line for line in head.split(b"\r\n") if line.startswith(b"content-length: "))
        await reader.readexactly(int(length.removeprefix(b"content-length: ")))
    writer.close()
