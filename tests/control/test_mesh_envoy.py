"""One real Envoy between packages: who gets through, as whom, and what a change of certificates or replicas costs."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from control import render, templates
from control.authority import Authority
from control.envoy_names import MESH, access_log, admin_socket, config_file, secret_file
from control.home import Home, Ports
from control.membership import LEAVE_SECONDS, Membership
from control.servers import envoy
from tests.control.small_mesh import OPTIONS, SAY, SURFACE, TELL, TOPOLOGY, WATCH, prepare, read_topology

SVC_B = "spiffe://titan.local/svc/svc_b"
DEVELOPER = "spiffe://titan.local/dev/developer"


class Echo(grpc.GenericRpcHandler):
    """Answers with the metadata that arrived and the name of the replica."""

    def __init__(self, name: str) -> None:
        self.name = name

    def service(self, call: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        if call.method == WATCH:
            return grpc.unary_stream_rpc_method_handler(self.watch)
        return grpc.unary_unary_rpc_method_handler(self.say) if call.method in (SAY, TELL) else None

    async def say(self, request: bytes, context: grpc.aio.ServicerContext) -> bytes:
        await asyncio.sleep(0.01)
        metadata = {key: value for key, value in context.invocation_metadata() if isinstance(value, str)}
        return json.dumps({**metadata, "replica": self.name}).encode()

    async def watch(self, request: bytes, context: grpc.aio.ServicerContext) -> AsyncIterator[bytes]:
        for number in range(3):
            yield str(number).encode()
            await asyncio.sleep(0.02)


@dataclass
class Mesh:
    """What a test needs to call and to change the running mesh."""

    home: Home
    authority: Authority
    membership: Membership
    channels: list[grpc.aio.Channel] = field(default_factory=list)

    async def serve(self, replica: int) -> grpc.aio.Server:
        server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        server.add_generic_rpc_handlers([Echo(str(replica))])
        servicer = health.aio.HealthServicer()
        await servicer.set("", health_pb2.HealthCheckResponse.SERVING)
        health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
        server.add_insecure_port(f"unix:{self.socket(replica)}")
        await server.start()
        return server

    def socket(self, replica: int) -> Path:
        return self.home.app_socket("svc_a", replica)

    def outbound(self, package: str) -> grpc.aio.Channel:
        return self._keep(grpc.aio.insecure_channel(f"unix:{self.home.outbound_socket(package)}"))

    def developer(self) -> grpc.aio.Channel:
        pki = self.authority
        credentials = grpc.ssl_channel_credentials(
            pki.ca_file.read_bytes(), pki.developer_key_file.read_bytes(), pki.developer_certificate_file.read_bytes()
        )
        return self._keep(grpc.aio.secure_channel(f"localhost:{self.home.ports.grpc}", credentials))

    def plain_inbound(self) -> grpc.aio.Channel:
        return self._keep(grpc.aio.insecure_channel(f"127.0.0.1:{self.home.ports.inbound(0)}"))

    def at_the_door(self, counter: str) -> int:
        """Read a counter of the inbound listener."""
        name = f"listener.127.0.0.1_{self.home.ports.inbound(0)}.{counter}"
        stats = envoy.ask(admin_socket(self.home, MESH), "GET", f"/stats?filter=^{name}$")
        assert stats is not None
        return int(stats.rpartition(": ")[2])

    def _keep(self, channel: grpc.aio.Channel) -> grpc.aio.Channel:
        self.channels.append(channel)
        return channel


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    """A mesh Envoy in which svc_c ignores its own outbound rules and svc_d has a certificate of a foreign authority."""
    folder = tmp_path_factory.mktemp("mesh")
    _, home, authority, membership = prepare(folder)
    _let_loose(home, "svc_c", "svc_d")
    _foreign_certificate(folder, home, "svc_d")
    membership.join("svc_a", home.app_socket("svc_a"))
    process = envoy.start(MESH, config_file(home, MESH), admin_socket(home, MESH), home.log_file(MESH))
    yield Mesh(home, authority, membership)
    envoy.stop(process, admin_socket(home, MESH), drain_seconds=0)


@pytest.fixture
async def mesh(running: Mesh) -> AsyncIterator[Mesh]:
    """The running mesh with one replica of svc_a."""
    server = await running.serve(0)
    yield running
    for channel in running.channels:
        await channel.close()
    running.channels.clear()
    await server.stop(0)


def _let_loose(home: Home, *packages: str) -> None:
    """Give packages the outbound listener of a topology that lets them call; the doors of others stay as they are."""
    lax_folder = home.path / "lax"
    lax_folder.mkdir()
    callers = ", ".join(f'"{package}"' for package in packages)
    lax = read_topology(lax_folder, TOPOLOGY.replace('["svc_b"', f'[{callers}, "svc_b"'))
    loose = templates.load(render.render(lax, home, SURFACE, OPTIONS)[MESH])["static_resources"]
    config = templates.load(config_file(home, MESH).read_text())
    wanted = {f"out_{package}" for package in packages}
    kept = [listener for listener in config["static_resources"]["listeners"] if listener["name"] not in wanted]
    taken = [listener for listener in loose["listeners"] if listener["name"] in wanted]
    config["static_resources"]["listeners"] = kept + taken
    config["static_resources"]["clusters"] += [
        cluster for cluster in loose["clusters"] if cluster["name"].endswith(tuple(f"_for_{p}" for p in packages))
    ]
    config_file(home, MESH).write_text(templates.dump(config))


def _foreign_certificate(folder: Path, home: Home, package: str) -> None:
    """Give a package a certificate with the right name, signed by an authority that nobody here trusts."""
    elsewhere = Home(folder / "elsewhere", Ports())
    elsewhere.create()
    Authority(read_topology(folder), elsewhere).open()
    secret_file(home, package).write_text(secret_file(elsewhere, package).read_text())


async def say(channel: grpc.aio.Channel, path: str = SAY, **metadata: str) -> dict[str, str]:
    """Call once, and return what the server saw."""
    headers = [(key.replace("_", "-"), value) for key, value in metadata.items()]
    return json.loads(await channel.unary_unary(path)(b"x", timeout=5, metadata=headers))


async def refusal(channel: grpc.aio.Channel, path: str = SAY) -> grpc.aio.AioRpcError:
    """Call once, and return how it was refused."""
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await say(channel, path)
    return refused.value


class Traffic:
    """Calls without a pause, so that a change in their midst would show."""

    def __init__(self, channel: grpc.aio.Channel, callers: int = 4) -> None:
        self.answers: list[dict[str, str]] = []
        self._channel = channel
        self._stop = asyncio.Event()
        self._tasks = [asyncio.create_task(self._call()) for _ in range(callers)]

    async def _call(self) -> None:
        while not self._stop.is_set():
            self.answers.append(await say(self._channel))

    async def end(self) -> list[dict[str, str]]:
        """Stop and return all answers; a failed call is raised here."""
        self._stop.set()
        await asyncio.gather(*self._tasks)
        return self.answers


async def test_an_allowed_caller_arrives_under_its_own_name(mesh: Mesh) -> None:
    """The name in the certificate replaces whatever name the call brought."""
    seen = await say(mesh.outbound("svc_b"), x_titan_caller="spiffe://titan.local/svc/svc_root", x_trace="1")

    assert SVC_B == seen["x-titan-caller"]
    assert "1" == seen["x-trace"]


async def test_a_stream_passes_unbuffered_and_whole(mesh: Mesh) -> None:
    """Server streaming has its own route."""
    received = [part async for part in mesh.outbound("svc_b").unary_stream(WATCH)(b"x", timeout=5)]

    assert [b"0", b"1", b"2"] == received


async def test_a_caller_that_the_topology_does_not_name_is_refused_before_it_leaves(mesh: Mesh) -> None:
    """svc_a may not even call itself unless the topology says so."""
    refused = await refusal(mesh.outbound("svc_a"))

    assert grpc.StatusCode.PERMISSION_DENIED is refused.code()
    assert "the topology does not let svc_a call" in refused.details()


async def test_the_door_refuses_a_caller_that_ignores_its_own_rules(mesh: Mesh) -> None:
    """svc_c holds a good certificate and goes straight to the inbound listener; its name is not on the list."""
    refused = await refusal(mesh.outbound("svc_c"))

    assert grpc.StatusCode.PERMISSION_DENIED is refused.code()
    assert "RBAC" in refused.details()


async def test_access_is_granted_service_by_service(mesh: Mesh) -> None:
    """The HTTP edge may call the one service and not the other of the same package."""
    assert "x-titan-caller" in await say(mesh.outbound("edge_http"))

    refused = await refusal(mesh.outbound("edge_http"), TELL)

    assert grpc.StatusCode.PERMISSION_DENIED is refused.code()
    assert SVC_B == (await say(mesh.outbound("svc_b"), TELL))["x-titan-caller"]


async def test_compressed_messages_are_refused_inside(mesh: Mesh) -> None:
    """Whatever they would grow to; the same call passes as it is, and a caller without a grant hears of that first."""
    for name, expected in (("svc_b", grpc.StatusCode.UNIMPLEMENTED), ("svc_c", grpc.StatusCode.PERMISSION_DENIED)):
        call = mesh.outbound(name).unary_unary(SAY)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call(b"x" * 1000, timeout=5, compression=grpc.Compression.Gzip)
        assert expected is refused.value.code()
    assert "x-titan-caller" in await say(mesh.outbound("svc_b"))


async def test_a_certificate_of_another_trust_domain_is_refused(mesh: Mesh, tmp_path: Path) -> None:
    """Our own authority signed it, and still the name is not of this domain."""
    elsewhere = Home(tmp_path / "elsewhere", Ports())
    elsewhere.create()
    shutil.copy(mesh.home.pki / "authority.pem", elsewhere.pki)
    Authority(read_topology(tmp_path, TOPOLOGY.replace("titan.local", "elsewhere.local")), elsewhere).open()
    (secret,) = json.loads(secret_file(elsewhere, "svc_b").read_text())["resources"]
    pair = tmp_path / "pair.pem"
    pair.write_text(
        "".join(secret["tls_certificate"][key]["inline_string"] for key in ("private_key", "certificate_chain"))
    )
    before = mesh.at_the_door("ssl.fail_verify_san")

    with pytest.raises((ssl.SSLError, ConnectionError)):
        await asyncio.to_thread(knock, mesh, pair)
    assert before < mesh.at_the_door("ssl.fail_verify_san")


async def test_a_certificate_of_a_foreign_authority_is_refused(mesh: Mesh) -> None:
    """The right name is worth nothing without the right signature."""
    before = mesh.at_the_door("ssl.fail_verify_error")

    assert grpc.StatusCode.UNAVAILABLE is (await refusal(mesh.outbound("svc_d"))).code()
    assert before < mesh.at_the_door("ssl.fail_verify_error")


async def test_plain_text_is_refused(mesh: Mesh) -> None:
    """The inbound listener speaks TLS and nothing else."""
    assert grpc.StatusCode.UNAVAILABLE is (await refusal(mesh.plain_inbound())).code()


async def test_a_caller_without_a_certificate_is_refused(mesh: Mesh) -> None:
    """Encryption alone opens no door."""
    with pytest.raises(ssl.SSLError, match=r"(?i)certificate.required"):
        await asyncio.to_thread(knock, mesh)


async def test_a_handshake_that_fails_leaves_a_line_and_a_good_one_none(mesh: Mesh) -> None:
    """With its reason and the network that it came from, beside the calls that failed."""
    await say(mesh.outbound("svc_b"))
    before = _handshakes(mesh)
    with pytest.raises(ssl.SSLError):
        await asyncio.to_thread(knock, mesh)
    with socket.create_connection(("127.0.0.1", mesh.home.ports.inbound(0)), timeout=5) as plain:
        plain.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        plain.recv(1)

    await _until(lambda: len(_handshakes(mesh)) >= len(before) + 2)  # Envoy writes once a second
    found = _handshakes(mesh)[len(before) :]
    assert {("in_svc_a", "127.0.0.0/24")} == {(line["listener"], line["network"]) for line in found}
    reasons = " ".join(line["handshake"] for line in found)
    assert "PEER_DID_NOT_RETURN_A_CERTIFICATE" in reasons and "WRONG_VERSION_NUMBER" in reasons


def _handshakes(mesh: Mesh) -> list[dict[str, str]]:
    """Return the lines of handshakes that failed."""
    path = access_log(mesh.home, MESH)
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return [line for line in lines if "handshake" in line]


def knock(mesh: Mesh, pair: Path | None = None) -> bytes:
    """Shake hands at the door with this key and certificate, and wait for its first byte."""
    context = ssl.create_default_context(cafile=str(mesh.authority.ca_file))
    context.check_hostname = False
    context.set_alpn_protocols(["h2"])
    if pair is not None:
        context.load_cert_chain(pair)
    with socket.create_connection(("127.0.0.1", mesh.home.ports.inbound(0)), timeout=5) as plain:
        with context.wrap_socket(plain) as wrapped:
            return wrapped.recv(1)


async def test_a_developer_reaches_what_is_public_under_a_name_of_their_own(mesh: Mesh) -> None:
    """The developer's door opens to outward methods, never to those between services."""
    channel = mesh.developer()

    assert DEVELOPER == (await say(channel))["x-titan-caller"]
    assert grpc.StatusCode.UNIMPLEMENTED is (await refusal(channel, TELL)).code()
    status = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5)
    assert health_pb2.HealthCheckResponse.SERVING == status.status


async def test_new_certificates_and_a_new_authority_fail_no_call(mesh: Mesh) -> None:
    """Files are renamed under running calls; fresh connections show the new certificate."""
    before, handshakes = _serial_at_the_door(mesh), mesh.at_the_door("ssl.handshake")
    traffic = Traffic(mesh.outbound("svc_b"))
    for _ in range(3):
        mesh.authority.rotate_leaf("svc_a")
        mesh.authority.rotate_leaf("svc_b")
        await asyncio.sleep(0.3)
    await mesh.authority.rotate_ca(notice_seconds=0.6)
    await asyncio.sleep(1.2)  # a connection made after the old authority lost all trust

    assert len(await traffic.end()) > 100
    assert handshakes + 3 <= mesh.at_the_door("ssl.handshake")
    assert before != _serial_at_the_door(mesh)
    assert DEVELOPER == (await say(mesh.developer()))["x-titan-caller"]


async def test_a_second_replica_joins_and_leaves_without_a_failed_call(mesh: Mesh) -> None:
    """It takes calls when its file names it, and none once it has left."""
    traffic = Traffic(mesh.outbound("svc_b"))
    second = await mesh.serve(1)
    mesh.membership.join("svc_a", mesh.socket(1))
    await _until(lambda: any(answer["replica"] == "1" for answer in traffic.answers))
    mesh.membership.leave("svc_a", mesh.socket(1))
    await asyncio.sleep(LEAVE_SECONDS)
    await second.stop(0)
    served = len(traffic.answers)
    await asyncio.sleep(0.2)
    answers = await traffic.end()

    assert {"0", "1"} == {answer["replica"] for answer in answers}
    assert {"0"} == {answer["replica"] for answer in answers[served:]}


async def test_a_replica_that_restarts_is_waited_for(mesh: Mesh) -> None:
    """A call that meets a missing socket reached nobody, so Envoy tries again."""
    gone = await mesh.serve(2)
    mesh.membership.replace("svc_a", [mesh.socket(2)])
    await asyncio.sleep(LEAVE_SECONDS)
    await gone.stop(0)
    mesh.socket(2).unlink(missing_ok=True)
    call = asyncio.create_task(say(mesh.outbound("svc_b")))
    await asyncio.sleep(0.05)
    back = await mesh.serve(2)

    assert "2" == (await call)["replica"]
    mesh.membership.replace("svc_a", [mesh.socket(0)])
    await asyncio.sleep(LEAVE_SECONDS)
    await back.stop(0)


def _serial_at_the_door(mesh: Mesh) -> int:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    with socket.create_connection(("127.0.0.1", mesh.home.ports.inbound(0)), timeout=5) as plain:
        with context.wrap_socket(plain) as wrapped:
            return x509.load_der_x509_certificate(wrapped.getpeercert(binary_form=True) or b"").serial_number


async def _until(condition, seconds: float = 5.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)
