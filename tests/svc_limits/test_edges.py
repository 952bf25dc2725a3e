"""Two real edge Envoys before one mesh: what they let through together, and what each does without svc_limits.

The mesh's Envoy, the certificates, svc_limits and Redis are real, from the topology that is shipped; behind the edges
stands a shop that answers everything.
"""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import httpx
import pytest

from control import render
from control.authority import Authority
from control.edge_limits import SHARED_SECONDS
from control.envoy_names import EDGE, MESH, admin_socket, config_file
from control.home import Home, Ports
from control.membership import Membership
from control.render import Options, Surface
from control.secrets import SecretFiles
from control.servers import envoy
from control.servers.ports import claim_block
from control.servers.valkey import REDIS_SECRET, Valkey
from mesh import contract, telemetry, topology
from mesh import settings as mesh_settings
from mesh.refusals import refusal_of_call
from mesh.runtime import Process
from svc_limits.app import build
from tests.control.stand_ins import Request, http_app
from tests.control.test_edge_envoy import check_refusal, jwks, token
from tests.raw_http import trust_in

SHIPPED = Path(__file__).parents[2] / "deploy" / "topology.toml"
AS_SHIPPED = "payments = { burst = 30, per_second = 0.5 }"
BURST = 6
SMALL = f"payments = {{ burst = {BURST}, per_second = 0.001 }}"
"""No token comes back during a test; an edge by itself gives out whole tokens, one a second."""

PATIENCE_SECONDS = 2.0
"""Longer than the shipped edge waits, so that a machine that is busy changes no count here."""

SECOND = "second"
"""What the second edge is called; in another container it would have the same name."""

THIRD = "third"
"""An edge that waits as long as the shipped one. It is started by the test that is about that."""

TOP_UP, TOP_UP_GRPC = "/v1/wallet:topUp", "/titan.payment.v1.WalletService/TopUpWallet"
ASKED = "envoy.service.ratelimit.v3.RateLimitService.ShouldRateLimit"
BOTH, AS_LONG_AS_SHIPPED = (0, 1), 2


@dataclass
class Edges:
    """Two edges, the ports of a third, and what stands behind them."""

    home: Home
    authority: Authority
    ports: list[int]
    valkey: Valkey
    limits: Process
    things: AsyncExitStack
    _clients: dict[tuple[int, str], httpx.AsyncClient] = field(default_factory=dict)
    _addresses: int = 0

    def address(self) -> str:
        """Return an address from which nobody has called."""
        self._addresses += 1
        return f"127.0.9.{self._addresses}"

    async def send(self, which: int, address: str, *, user: str = "", method: str = "POST", path: str = TOP_UP) -> int:
        """Call one of the edges and return the code of its answer."""
        return (await self.answer(which, address, user=user, method=method, path=path)).status_code

    async def answer(
        self, which: int, address: str, *, user: str = "", method: str = "POST", path: str = TOP_UP
    ) -> httpx.Response:
        """Call one of the edges from an address, with a user's token if one is named."""
        client = self._clients.get((which, address))
        if client is None:
            transport = httpx.AsyncHTTPTransport(verify=trust_in(self.authority.ca_file), local_address=address)
            url = f"https://localhost:{self.ports[which]}"
            client = httpx.AsyncClient(base_url=url, transport=transport, timeout=10)
            self._clients[which, address] = await self.things.enter_async_context(client)
        headers = {"authorization": f"Bearer {token(user)}"} if user else {}
        return await client.request(method, path, headers=headers)

    async def drain(self, address: str) -> list[int]:
        """Take what there is for an address, at both edges in turn, and return the codes of the answers."""
        return [await self.send(number % 2, address) for number in range(BURST)]


def shop(request: Request) -> tuple[str, bytes]:
    """Answer everything."""
    return "200 OK", jwks() if request.path == "/.well-known/jwks.json" else b"{}"


@pytest.fixture(scope="module")
async def edges() -> AsyncIterator[Edges]:
    """All of it, running."""
    async with AsyncExitStack() as things:
        folder = Path(things.enter_context(tempfile.TemporaryDirectory(prefix="titan-")))
        text = SHIPPED.read_text()
        assert AS_SHIPPED in text
        file = folder / "topology.toml"
        file.write_text(text.replace(AS_SHIPPED, SMALL))
        mesh, home = topology.load(file), Home(folder, Ports(claim_block()))
        home.create()
        authority, membership = Authority(mesh, home), Membership(home)
        authority.open()
        for package in mesh.packages:
            membership.replace(package, [])
        for package in ("edge_http", "svc_limits"):
            membership.join(package, home.app_socket(package))
        ports = _configure(mesh, home)
        server = await asyncio.start_unix_server(http_app(shop), home.app_socket("edge_http"))
        things.callback(server.close)
        password = SecretFiles(home.secrets).file(REDIS_SECRET)
        valkey = things.enter_context(Valkey(data=folder / "valkey", log=folder / "valkey.log", password=password))
        limits = await _limits(home, file, valkey)
        things.push_async_callback(limits.stop)
        await asyncio.gather(*(_start(things, home, name) for name in (MESH, EDGE, SECOND)))
        running = Edges(home, authority, ports, valkey, limits, things)
        for which in BOTH:
            await _until_tokens_are_known(running, which)
        yield running


def _configure(mesh: topology.Topology, home: Home) -> list[int]:
    """Write the configurations of the mesh and of three edges, and return the ports of those."""
    patient, surface, ports = Options(shared_seconds=PATIENCE_SECONDS), Surface.of(contract.load()), [home.ports.edge]
    for name, text in render.render(mesh, home, surface, patient).items():
        config_file(home, name).write_text(text)
    for name, options in ((SECOND, patient), (THIRD, Options())):
        elsewhere = Home(home.path, Ports(claim_block()))
        text = render.render(mesh, elsewhere, surface, options)[EDGE]
        config_file(home, name).write_text(text.replace(str(admin_socket(home, EDGE)), str(admin_socket(home, name))))
        ports.append(elsewhere.ports.edge)
    return ports


async def _limits(home: Home, file: Path, valkey: Valkey) -> Process:
    environment = {
        "TITAN_HOME": str(home.path),
        "TITAN_TOPOLOGY": str(file),
        "TITAN_REDIS_URL": valkey.address,
        "TITAN_LAME_DUCK_SECONDS": "0",
        "TITAN_LOG_LEVEL": "CRITICAL",
    }
    process = Process("svc_limits", build, settings=mesh_settings.read("svc_limits", environment))
    await process.start()
    return process


async def _start(things: AsyncExitStack, home: Home, name: str) -> None:
    admin = admin_socket(home, name)
    process = await asyncio.to_thread(envoy.start, name, config_file(home, name), admin, home.log_file(name))
    things.callback(envoy.stop, process, admin, drain_seconds=0)


async def _until_tokens_are_known(edges: Edges, which: int) -> None:
    async with asyncio.timeout(10):
        while await edges.send(which, edges.address(), user="nobody", method="GET", path="/v1/products") != 200:
            await asyncio.sleep(0.1)


async def test_both_let_through_together_what_one_would(edges: Edges) -> None:
    """Then each refuses, in the words of the house and with the true time; the neighbour is served."""
    greedy, neighbour = edges.address(), edges.address()

    assert [200] * BURST == await edges.drain(greedy)
    for which in BOTH:
        refused = await edges.answer(which, greedy)
        check_refusal(refused, 429, "RESOURCE_EXHAUSTED", "OVERLOADED")
        assert 900 <= int(refused.headers["retry-after"]) <= 1000
        assert not [name for name in refused.headers if "ratelimit" in name]
        assert 200 == await edges.send(which, neighbour)


async def test_at_once_they_let_through_no_more_than_in_turn(edges: Edges) -> None:
    """Each by itself would let all of its half pass."""
    greedy = edges.address()
    codes = await asyncio.gather(*(edges.send(number % 2, greedy) for number in range(2 * BURST)))

    assert BURST == codes.count(200)
    assert BURST == codes.count(429)


async def test_a_user_has_one_bucket_at_all_edges_and_addresses(edges: Edges) -> None:
    """A stolen session tries no more cards from a hundred machines than from one."""
    codes = [await edges.send(number % 2, edges.address(), user="bob") for number in range(BURST + 2)]

    assert [200] * BURST + [429] * 2 == codes
    assert 200 == await edges.send(0, edges.address(), user="carol")


async def test_over_grpc_the_same_bucket_is_empty_and_the_details_say_how_long(edges: Edges) -> None:
    """What was drained over HTTP is not there over gRPC."""
    await edges.drain("127.0.0.1")
    credentials = grpc.ssl_channel_credentials(edges.authority.ca_file.read_bytes())
    for port in (edges.ports[which] for which in BOTH):
        async with grpc.aio.secure_channel(f"localhost:{port}", credentials) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await channel.unary_unary(TOP_UP_GRPC)(b"", timeout=10)
        refusal = refusal_of_call(error.value)

        assert (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED") == (refusal.code, refusal.reason)
        assert refusal.retry_after_seconds is not None and 900 <= refusal.retry_after_seconds <= 1000
        assert error.value.details() == refusal.message


async def test_what_is_not_counted_for_all_edges_asks_nobody(edges: Edges) -> None:
    """An order, a page and a cart cost no call more."""

    def asked() -> float:
        return telemetry.REGISTRY.get_sample_value("titan_calls_total", {"method": ASKED, "status": "OK"}) or 0

    before, shopper = asked(), edges.address()
    for method, path in (("POST", "/v1/orders"), ("GET", "/v1/products"), ("POST", "/v1/cart/items")):
        assert 200 == await edges.send(0, shopper, user="dan", method=method, path=path)
    without = asked()
    await edges.send(0, shopper, user="dan")

    assert (before, before + 1) == (without, asked())


async def test_without_redis_each_edge_counts_for_itself_and_then_they_count_together_again(edges: Edges) -> None:
    """Nobody is turned away for want of an answer, and nobody gets through without an end."""
    exhausted = edges.address()
    await edges.drain(exhausted)
    assert 429 == await edges.send(0, exhausted)
    assert edges.valkey.pid is not None
    os.kill(edges.valkey.pid, signal.SIGKILL)
    await asyncio.to_thread(edges.valkey.stop)
    try:
        assert 200 == await edges.send(0, exhausted)
        greedy = edges.address()
        for which in BOTH:
            assert [200] * BURST == [await edges.send(which, greedy) for _ in range(BURST)]
            async with asyncio.timeout(10):
                while (refused := await edges.answer(which, greedy)).status_code == 200:
                    pass
            check_refusal(refused, 429, "RESOURCE_EXHAUSTED", "OVERLOADED")
            assert "1" == refused.headers["retry-after"]
    finally:
        await asyncio.to_thread(edges.valkey.start)

    returned = edges.address()
    assert [200] * BURST == await edges.drain(returned)
    assert [429, 429] == [await edges.send(which, returned) for which in BOTH]


async def test_without_svc_limits_nobody_waits_longer_than_the_edge_does(edges: Edges) -> None:
    """Neither while it is gone nor while it hears everything and says nothing. The last test: it stays gone."""
    loop, waits = asyncio.get_running_loop(), []
    exhausted, shopper = edges.address(), edges.address()
    await edges.drain(exhausted)
    await edges.limits.stop()
    assert 200 == await edges.send(0, exhausted)

    await _start(edges.things, edges.home, THIRD)
    silent = await asyncio.start_unix_server(lambda reader, writer: None, edges.home.app_socket("svc_limits"))
    edges.things.callback(silent.close)
    for _ in range(BURST):
        began = loop.time()
        assert 200 == await edges.send(AS_LONG_AS_SHIPPED, shopper)
        waits.append(loop.time() - began)
    assert SHARED_SECONDS <= min(waits) < 3 * SHARED_SECONDS
