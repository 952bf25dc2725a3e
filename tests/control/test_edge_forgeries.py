"""Whatever a client says on the wire: who it is, where its call goes and which bucket it drains stay as they are.

A real edge Envoy before a stand-in that tells what reached it. One row per forgery; a row added here is tried over
HTTP/1.1 and HTTP/2, and as a gRPC call.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass, field
from typing import Any

import grpc
import pytest

from control.envoy_names import EDGE, admin_socket, config_file
from control.servers import envoy
from tests.control.small_mesh import SAY, prepare
from tests.control.stand_ins import Mesh, Request, http_app
from tests.forgeries import FRAMED, HARMLESS_HEADS, HOSTS, PATHS, REFUSED_HEADS, REQUEST_LINES, SMUGGLED, STRIPPED
from tests.raw_http import FURTHER_SECONDS, Http2, speak, trust_in

BUCKET = 12
"""The burst of an address in the small mesh; it is refilled by one each second."""


@dataclass
class Arrivals:
    """The running edge, and every request that passed it, in order."""

    port: int
    ca_file: str
    requests: list[Any] = field(default_factory=list)

    def trust(self, *protocols: str) -> ssl.SSLContext:
        """Return what a client believes and offers to speak."""
        return trust_in(self.ca_file, *protocols)

    async def over_http1(self, address: str, request: bytes) -> list[tuple[int, Any]]:
        """Send bytes, and return every answer."""
        return await speak(self.port, self.trust("http/1.1"), address, request)

    async def over_http2(self, address: str, *more: tuple[str, str], **pseudo: str) -> tuple[str, Any]:
        """Send a GET over HTTP/2, with these fields more and these pseudo-headers otherwise."""
        connection = await Http2.open(self.port, self.trust("h2"), address)
        head = {"method": "GET", "scheme": "https", "authority": "localhost", "path": "/v1/x", **pseudo}
        try:
            return await connection.ask([*((f":{name}", value) for name, value in head.items()), *more])
        finally:
            await connection.close()

    async def over_grpc(self, address: str, *more: tuple[str, str]) -> Any:
        """Call a public method, and return the metadata that arrived."""
        connection = await Http2.open(self.port, self.trust("h2"), address)
        head = [(":method", "POST"), (":scheme", "https"), (":authority", "localhost"), (":path", SAY)]
        stream = connection.begin([*head, ("content-type", "application/grpc"), ("te", "trailers"), *more], end=False)
        await connection.send(stream, b"\0\0\0\0\1x", end=True)
        try:
            _, text = await connection.answer(stream)
            return json.loads(text[5:])
        finally:
            await connection.close()

    def answer(self, request: Request) -> tuple[str, bytes]:
        """Tell what arrived, and keep it."""
        arrived = asdict(request)
        if request.path != "/.well-known/jwks.json":
            self.requests.append(arrived)
        return "200 OK", json.dumps(arrived).encode()


@pytest.fixture(scope="module")
async def edge(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Arrivals]:
    """A running edge with its stand-ins."""
    _, home, authority, membership = prepare(tmp_path_factory.mktemp("forged"))
    arrivals = Arrivals(home.ports.edge, str(authority.ca_file))
    app, admin = home.app_socket("edge_http"), admin_socket(home, EDGE)
    server = await asyncio.start_unix_server(http_app(arrivals.answer), app)
    mesh = grpc.aio.server()
    mesh.add_generic_rpc_handlers([Mesh()])
    mesh.add_insecure_port(f"unix:{home.outbound_socket('edge_http')}")
    await mesh.start()
    membership.join("edge_http", app)
    process = await asyncio.to_thread(envoy.start, EDGE, config_file(home, EDGE), admin, home.log_file(EDGE))
    yield arrivals
    envoy.stop(process, admin, drain_seconds=0)
    await mesh.stop(0)
    server.close()


def address(family: int, rows: Any, row: Any) -> str:
    """Return an address that only this row uses: its buckets are full."""
    return f"127.2.{family}.{list(rows).index(row) + 1}"


def get(*lines: bytes) -> bytes:
    """Return a GET of HTTP/1.1 with these header lines more."""
    return b"GET /v1/x HTTP/1.1\r\nhost: localhost\r\n" + b"".join(lines) + b"\r\n"


def without_ids(arrived: Any) -> Any:
    """Return what arrived without the number that each request gets."""
    assert isinstance(arrived, dict), arrived
    return {**arrived, "headers": [pair for pair in arrived["headers"] if pair[0] != "x-request-id"]}


@pytest.mark.parametrize("name", STRIPPED)
async def test_a_forged_header_changes_nothing_that_arrives(edge: Arrivals, name: str) -> None:
    """Once, twice, in capitals: the app sees what it sees of a call without it, header by header."""
    where, value = address(1, STRIPPED, name), STRIPPED[name]
    line = f"{name}: {value}\r\n".encode()
    ((_, plain),) = await edge.over_http1(where, get())
    _, plain2 = await edge.over_http2(where)
    plain_call = await edge.over_grpc(where)

    for lines in (line, line * 2, line.replace(name.encode(), name.upper().encode())):
        ((status, forged),) = await edge.over_http1(where, get(lines))
        assert (200, without_ids(plain)) == (status, without_ids(forged))
    for fields in ([(name, value)], [(name, value)] * 2):
        assert without_ids(plain2) == without_ids((await edge.over_http2(where, *fields))[1])
    called = await edge.over_grpc(where, (name, value))

    assert ["x-titan-client-ip", where] in plain["headers"]
    assert [pair for pair in plain_call if pair[0] != "x-request-id"] == [
        pair for pair in called if pair[0] != "x-request-id"
    ]
    assert all(value not in pair for pair in called)


async def test_a_hop_by_hop_header_takes_nothing_away(edge: Arrivals) -> None:
    """What `connection` names is dropped between hops; what the edge says about the caller is said after that."""
    names = b"connection: close, x-titan-client-ip, x-titan-caller, authorization\r\n"
    ((status, arrived),) = await edge.over_http1("127.2.2.1", get(names))

    assert 200 == status
    assert ["x-titan-client-ip", "127.2.2.1"] in arrived["headers"]


@pytest.mark.parametrize("what", REFUSED_HEADS)
async def test_a_head_that_can_be_read_in_two_ways_is_refused(edge: Arrivals, what: str) -> None:
    """With 400 and the end of the connection, so that nothing behind it is taken for a request."""
    before = len(edge.requests)
    request = b"POST /v1/x HTTP/1.1\r\nhost: localhost\r\n" + REFUSED_HEADS[what] + b"\r\n" + SMUGGLED
    answers = await edge.over_http1(address(3, REFUSED_HEADS, what), request)

    assert 1 == len(answers)
    assert answers[0][0] in (400, 501)
    assert answers[0][1]["error"]["status"] in ("INVALID_ARGUMENT", "UNIMPLEMENTED")
    assert before == len(edge.requests)


@pytest.mark.parametrize("what", HARMLESS_HEADS)
async def test_a_strange_head_has_one_reading(edge: Arrivals, what: str) -> None:
    """It arrives without a header that the edge would have removed, and whose address it is stays known."""
    where = address(10, HARMLESS_HEADS, what)
    ((status, arrived),) = await edge.over_http1(where, get(HARMLESS_HEADS[what]))
    names = [name for name, _ in arrived["headers"]]

    assert 200 == status
    assert {"x-user-id", "x-titan-caller"}.isdisjoint(names)
    assert ["x-titan-client-ip", where] in arrived["headers"]
    assert 1 == names.count("x-titan-client-ip")
    assert len(names) == len(set(names))


async def test_nobody_tunnels(edge: Arrivals) -> None:
    """CONNECT ends the connection, whatever it names."""
    for host in (b"evil.example:443", b"localhost:443"):
        tunnel = b"CONNECT %s HTTP/1.1\r\nhost: %s\r\n\r\nGET /v1/smuggled HTTP/1.1\r\nhost: a\r\n\r\n" % (host, host)
        answers = await speak(edge.port, edge.trust("http/1.1"), "127.2.2.2", tunnel, answer_seconds=FURTHER_SECONDS)
        assert 200 not in [status for status, _ in answers]
    assert "/v1/smuggled" not in {arrived["path"] for arrived in edge.requests}


@pytest.mark.parametrize("what", REQUEST_LINES)
async def test_a_request_line_that_is_none_is_refused(edge: Arrivals, what: str) -> None:
    """Nothing of it reaches the app."""
    before = len(edge.requests)
    line, expected = REQUEST_LINES[what]
    answers = await edge.over_http1(address(4, REQUEST_LINES, what), line + b"\r\nhost: localhost\r\n\r\n")

    assert [expected] == [status for status, _ in answers]
    assert before == len(edge.requests)


@pytest.mark.parametrize("path", PATHS)
async def test_there_is_one_path(edge: Arrivals, path: str) -> None:
    """Dots and slashes are resolved before anybody routes by them; what is encoded stays within its segment."""
    where = address(5, PATHS, path)
    ((_, arrived),) = await edge.over_http1(where, get().replace(b"/v1/x", path.encode(), 1))
    _, arrived2 = await edge.over_http2(where, path=path)

    assert PATHS[path] == arrived["path"] == arrived2["path"]


@pytest.mark.parametrize("path", ["/v1/users/%2e%2e/sessions", "//v1/sessions", "/v1/x/../sessions", "/v1\\sessions"])
async def test_a_disguised_path_drains_the_bucket_of_what_it_means(edge: Arrivals, path: str) -> None:
    """Four sign-ins at once and no more, whatever the path looks like."""
    request = f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n\r\n".encode()
    started = time.monotonic()
    answers = [answer for _ in range(8) for answer in await edge.over_http1(f"127.2.6.{len(path)}", request)]
    passed = sum(status == 200 for status, _ in answers)

    assert 4 <= passed <= 5 + time.monotonic() - started
    assert 429 in {status for status, _ in answers}


@pytest.mark.parametrize("host", HOSTS)
async def test_a_host_opens_no_other_door(edge: Arrivals, host: str) -> None:
    """There is one virtual host: any name, or the absolute form, reaches the same app in the same way, or nobody."""
    where = address(7, HOSTS, host)
    ((_, plain),) = await edge.over_http1(where, get())
    requests = (
        f"GET /v1/x HTTP/1.1\r\nhost: {host}\r\n\r\n",
        f"GET https://{host}/v1/x HTTP/1.1\r\nhost: localhost\r\n\r\n",
    )
    for request in requests:
        ((status, arrived),) = await edge.over_http1(where, request.encode())
        assert status in (200, 400)
        if status == 200:
            assert plain["path"] == arrived["path"]
            assert _but_host(plain) == _but_host(arrived)
    how, arrived2 = await edge.over_http2(where, ("host", "localhost"), authority=host)
    assert how in ("reset", "closed") or "error" in arrived2 or arrived2["path"] == plain["path"]


def _but_host(arrived: Any) -> list[Any]:
    return [pair for pair in without_ids(arrived)["headers"] if pair[0] != "host"]


@pytest.mark.parametrize("what", FRAMED)
async def test_a_frame_that_would_be_two_lines_is_refused(edge: Arrivals, what: str) -> None:
    """By a reset or a refusal; the app hears nothing of it."""
    before = len(edge.requests)
    more, pseudo = FRAMED[what]
    how, said = await edge.over_http2(address(8, FRAMED, what), *more, **pseudo)

    assert how in ("reset", "closed") or 400 == said["error"]["code"]
    assert before == len(edge.requests)


async def test_no_forgery_finds_a_fresh_bucket(edge: Arrivals) -> None:
    """One address sends every forged header in turn: its bucket runs dry all the same."""
    where, started = "127.2.9.1", time.monotonic()
    requests = [get(f"{name}: {value}\r\n".encode()) for name, value in STRIPPED.items()]
    requests += [b"GET /v1/x HTTP/1.1\r\nhost: %s\r\n\r\n" % host.encode() for host in HOSTS[:4]]
    answers = [answer for request in requests for answer in await edge.over_http1(where, request)]
    passed = sum(status == 200 for status, _ in answers)

    assert len(requests) == len(answers)
    assert BUCKET <= passed <= BUCKET + 1 + time.monotonic() - started
    assert {200, 429} == {status for status, _ in answers}
