"""One real edge Envoy before a stand-in for the HTTP edge: what reaches it, and what strangers are told instead."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import grpc
import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from control.authority import Authority
from control.envoy_names import EDGE, admin_socket, config_file
from control.home import Home
from control.membership import Membership
from control.servers import envoy
from mesh.refusals import refusal_of_call
from mesh.topology import MAX_BODY_BYTES
from tests.control.small_mesh import SAY, TELL, prepare
from tests.control.stand_ins import Mesh, Request, http_app
from tests.raw_http import connect, trust_in

KEY = ec.generate_private_key(ec.SECP256R1())
STRANGER = ec.generate_private_key(ec.SECP256R1())
REFLECT = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
CURL = shutil.which("curl") or ""
CURL_SPEAKS_HTTP2 = CURL and "HTTP2" in subprocess.run([CURL, "--version"], capture_output=True, text=True).stdout
FORGED = {
    "x-user-id": "root",
    "x-titan-caller": "spiffe://titan.local/svc/svc_root",
    "x-titan-client-ip": "6.6.6.6",
    "x-forwarded-for": "6.6.6.6",
    "x-forwarded-host": "evil.example",
    "x-real-ip": "6.6.6.6",
    "x-envoy-max-retries": "99",
    "traceparent": "00-11111111111111111111111111111111-1111111111111111-01",
    "baggage": "a=b",
}


@dataclass
class Edge:
    """The running edge."""

    home: Home
    authority: Authority
    membership: Membership

    def client(self, address: str) -> httpx.AsyncClient:
        """Return a client that calls from an address of its own, and so has buckets of its own."""
        transport = httpx.AsyncHTTPTransport(verify=trust_in(self.authority.ca_file), local_address=address)
        return httpx.AsyncClient(base_url=f"https://localhost:{self.home.ports.edge}", transport=transport, timeout=5)


def jwks() -> bytes:
    """Return the public key as AuthService publishes it."""
    numbers = KEY.public_key().public_numbers()

    def text(number: int) -> str:
        return base64.urlsafe_b64encode(number.to_bytes(32, "big")).rstrip(b"=").decode()

    point = {"x": text(numbers.x), "y": text(numbers.y)}
    key = {"kty": "EC", "crv": "P-256", "alg": "ES256", "kid": "1", "use": "sig", **point}
    return json.dumps({"keys": [key]}).encode()


def token(
    user: str = "alice", *, key: ec.EllipticCurvePrivateKey = KEY, life: int | None = 600, kid: str = "1", **more: str
) -> str:
    """Return a signed access token; a life of None is one without an end."""
    claims: dict[str, object] = {"iss": "https://titan.local", "aud": "titan", "sub": user, **more}
    if life is not None:
        claims["exp"] = int(time.time()) + life
    return jwt.encode(claims, key, algorithm="ES256", headers={"kid": kid})


def unsigned() -> str:
    """Return a token that asks not to be verified."""
    claims = {"iss": "https://titan.local", "aud": "titan", "sub": "root", "exp": int(time.time()) + 600}
    return jwt.encode(claims, None, algorithm="none", headers={"kid": "1"})


BAD_TOKENS = {
    "of another audience": lambda: token(aud="somebody-else"),
    "of another issuer": lambda: token(iss="https://evil.example"),
    "expired": lambda: token(life=-60),
    "endless": lambda: token(life=None),
    "of too long a life": lambda: token(life=100_000),
    "forged": lambda: token(key=STRANGER),
    "of an unknown key": lambda: token(kid="2"),
    "unsigned": unsigned,
    "cut": lambda: token()[:-20],
    "garbage": lambda: "garbage",
}
"""Every way in which a token can be no good; for all but one that is over there is one answer."""


def answer(request: Request) -> tuple[str, bytes]:
    """Answer with the key set, and for the rest with an echo of what arrived."""
    if request.path == "/.well-known/jwks.json":
        return "200 OK", jwks()
    body = json.dumps(dict(request.headers) | {":path": request.path}).encode() + b" " * 1000
    if request.length > MAX_BODY_BYTES:
        return "413 Payload Too Large", body
    return ("200 OK" if request.path.startswith("/v1/") else "404 Not Found"), body


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    """The files of an edge; the process is stopped at the end."""
    _, home, authority, membership = prepare(tmp_path_factory.mktemp("edge"))
    yield Edge(home, authority, membership)


@pytest.fixture(scope="module")
async def edge(prepared: Edge) -> AsyncIterator[Edge]:
    """The edge of this module."""
    async with running(prepared):
        yield prepared


@contextlib.asynccontextmanager
async def running(prepared: Edge) -> AsyncIterator[None]:
    """Run an edge with its stand-ins."""
    home, app = prepared.home, prepared.home.app_socket("edge_http")
    server = await asyncio.start_unix_server(http_app(answer), app)
    mesh = grpc.aio.server()
    mesh.add_generic_rpc_handlers([Mesh()])
    mesh.add_insecure_port(f"unix:{home.outbound_socket('edge_http')}")
    await mesh.start()
    prepared.membership.join("edge_http", app)
    config, admin = config_file(home, EDGE), admin_socket(home, EDGE)
    process = await asyncio.to_thread(envoy.start, EDGE, config, admin, home.log_file(EDGE))
    yield
    assert envoy.begin_drain(admin)
    assert "LIVE" != envoy.ask(admin, "GET", "/ready")
    envoy.stop(process, admin, drain_seconds=0)
    await mesh.stop(0)
    server.close()


def check_refusal(response: httpx.Response, code: int, status: str, reason: str) -> None:
    """The edge's own refusals have the shape of all others."""
    assert code == response.status_code
    assert "application/json" == response.headers["content-type"]
    error = response.json()["error"]
    assert {"code", "status", "message", "details"} == set(error)
    assert (code, status) == (error["code"], error["status"])
    (info,) = error["details"]
    assert ("titan", reason) == (info["domain"], info["reason"])
    assert "type.googleapis.com/google.rpc.ErrorInfo" == info["@type"]


async def test_nothing_that_a_client_forges_about_itself_gets_in(edge: Edge) -> None:
    """Identity, address and trace come from the edge or not at all."""
    async with edge.client("127.0.1.1") as client:
        seen = (await client.get("/v1/products", headers=FORGED)).json()

    assert "127.0.1.1" == seen.pop("x-titan-client-ip")
    assert not {"x-user-id", "x-titan-caller", "x-forwarded-host", "x-real-ip", "traceparent", "baggage"} & set(seen)
    assert "6.6.6.6" not in seen.get("x-forwarded-for", "")
    assert "99" != seen.get("x-envoy-max-retries")


async def test_a_header_with_an_underscore_is_refused(edge: Edge) -> None:
    """Some servers read x_user_id as x-user-id."""
    async with edge.client("127.0.1.2") as client:
        refused = await client.get("/v1/x", headers={"x_user_id": "root"})
        check_refusal(refused, 400, "INVALID_ARGUMENT", "INVALID_INPUT")


async def test_tokens_are_verified_wherever_they_are_sent(edge: Edge) -> None:
    """A good one passes, and none at all too: who may call a method is decided beside the method."""
    async with edge.client("127.0.1.3") as client:

        async def get(bearer: str) -> httpx.Response:
            return await client.get("/v1/products", headers={"authorization": f"Bearer {bearer}"})

        async with asyncio.timeout(5):
            while (await get(token())).status_code != 200:
                await asyncio.sleep(0.2)
        assert f"Bearer {token()}".split(".")[0] == (await get(token())).json()["authorization"].split(".")[0]
        assert 200 == (await client.get("/v1/products")).status_code


@pytest.mark.parametrize("what", BAD_TOKENS)
async def test_every_bad_token_is_the_same_refusal(edge: Edge, what: str) -> None:
    """401 TOKEN_INVALID, whatever is wrong with it, on any route; TOKEN_EXPIRED where it is over."""
    reason = "TOKEN_EXPIRED" if what == "expired" else "TOKEN_INVALID"
    address = f"127.0.2.{list(BAD_TOKENS).index(what) + 1}"
    async with edge.client(address) as client:
        headers = {"authorization": f"Bearer {BAD_TOKENS[what]()}"}
        for path in ("/v1/products", "/v1/cart", "/nowhere"):
            check_refusal(await client.get(path, headers=headers), 401, "UNAUTHENTICATED", reason)


async def test_an_address_that_is_exhausted_leaves_the_others_alone(edge: Edge) -> None:
    """Twelve at once, then 429 with the time to wait; the neighbour is served."""
    async with edge.client("127.0.1.4") as greedy, edge.client("127.0.1.5") as neighbour:
        answers = [await greedy.get("/v1/products") for _ in range(16)]
        codes = [response.status_code for response in answers]
        assert 200 == (await neighbour.get("/v1/products")).status_code

    assert [200] * 12 == codes[:12]
    refused = next(response for response in answers if response.status_code == 429)
    check_refusal(refused, 429, "RESOURCE_EXHAUSTED", "OVERLOADED")
    assert "1" == refused.headers["retry-after"]


async def test_a_user_has_one_bucket_from_wherever_they_call(edge: Edge) -> None:
    """Six at once for one user over two addresses; another user is served."""
    bob, carol = ({"authorization": f"Bearer {token(user)}"} for user in ("bob", "carol"))
    async with edge.client("127.0.1.6") as home, edge.client("127.0.1.7") as office:
        codes = [(await client.get("/v1/cart", headers=bob)).status_code for _ in range(4) for client in (home, office)]
        assert 200 == (await office.get("/v1/cart", headers=carol)).status_code

    assert [200] * 6 == codes[:6]
    assert 429 in codes[6:]


SENSITIVE = ("/v1/sessions", "/v1/sessions:refresh", "/v1/users", "/v1/sessions:guest")


@pytest.mark.parametrize("path", SENSITIVE)
async def test_a_sensitive_route_has_a_bucket_of_its_own(edge: Edge, path: str) -> None:
    """Four tries at once, not twelve, then 429 with the time to wait; the others are full, and reading goes on."""
    others = [other for other in SENSITIVE if other != path]
    async with edge.client(f"127.0.1.{80 + SENSITIVE.index(path)}") as client:
        tries = [await client.post(path, json={}) for _ in range(6)]
        after = [(await client.post(other, json={})).status_code for other in others]
        assert 200 == (await client.get("/v1/products")).status_code

    assert [200] * 4 == [response.status_code for response in tries[:4]]
    refused = next(response for response in tries[4:] if response.status_code == 429)
    check_refusal(refused, 429, "RESOURCE_EXHAUSTED", "OVERLOADED")
    assert "1" == refused.headers["retry-after"]
    assert [200] * len(others) == after


async def test_what_lies_below_a_sensitive_path_is_not_sensitive(edge: Edge) -> None:
    """To register costs a password hash; a new address of a user does not."""
    async with edge.client("127.0.1.12") as client:
        codes = [(await client.post("/v1/users/me/addresses", json={})).status_code for _ in range(6)]

    assert [200] * 6 == codes


async def test_an_encoded_slash_travels_as_it_is(edge: Edge) -> None:
    """A SKU may hold one, and a cart line of such a SKU has to be reachable; dots still lead nowhere."""
    async with edge.client("127.0.1.13") as client:
        for sku in ("A%2FB", "A%2fB", "A%5CB"):
            assert f"/v1/cart/items/{sku}" == (await client.delete(f"/v1/cart/items/{sku}")).json()[":path"]
        assert "/v1/cart/x" == (await client.get("/v1/products/%2e%2e/cart/x")).json()[":path"]


async def test_a_body_over_a_mebibyte_is_refused(edge: Edge) -> None:
    """By Envoy where the request says no length, else by the app, past whose reading Envoy holds nothing."""

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(11):
            yield b"x" * 100_000

    async with edge.client("127.0.1.9") as client:
        check_refusal(await client.post("/v1/x", content=pieces()), 413, "INVALID_ARGUMENT", "INVALID_INPUT")
        large = await client.post("/v1/x", content=b"x" * 3_000_000)
        assert (413, "3000000") == (large.status_code, large.json()["content-length"])
        assert 200 == (await client.post("/v1/x", content=b"x" * 900_000)).status_code


async def test_large_bodies_that_never_end_take_places_from_each_other_alone(edge: Edge) -> None:
    """Nobody buffers them, so each holds a connection to the app: strangers must not hold them all."""
    trust = trust_in(edge.authority.ca_file)

    async def begin(address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await connect(edge.home.ports.edge, trust, address)
        writer.write(b"POST /v1/x HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2000000\r\n\r\nx")
        await writer.drain()
        return reader, writer

    begun = await asyncio.gather(*(begin(f"127.0.7.{number % 8 + 1}") for number in range(80)))
    answers = {asyncio.ensure_future(reader.readline()) for reader, _ in begun}
    refused, _ = await asyncio.wait(answers, timeout=2, return_when=asyncio.FIRST_COMPLETED)
    async with edge.client("127.0.8.1") as client:
        assert 200 == (await client.get("/v1/x")).status_code

    assert {b"HTTP/1.1 503 Service Unavailable\r\n"} == {answer.result() for answer in refused}
    for answer in answers:
        answer.cancel()
    for _, writer in begun:
        writer.close()


@pytest.mark.skipif(not CURL_SPEAKS_HTTP2, reason="no curl with HTTP/2 on this machine")
@pytest.mark.parametrize("size, expected", [(300_000, "401"), (3_000_000, "413")])
async def test_a_refusal_reaches_a_client_that_still_sends(edge: Edge, size: int, expected: str) -> None:
    """Over HTTP/2 an answer before the end of the body ends in a reset, for which curl 7 drops the answer.

    A bad token on a large body is not even looked at: the app refuses the size whatever the token is.
    """

    async def code(number: int) -> str:
        process = await asyncio.create_subprocess_exec(
            *(CURL, "--silent", "--http2", "--cacert", str(edge.authority.ca_file), "--write-out", "%{http_code}"),
            *("--output", "/dev/null", "--interface", f"127.0.4.{number}", "--data-binary", "@-"),
            *(
                "-H",
                f"authorization: Bearer {BAD_TOKENS['expired']()}",
                f"https://localhost:{edge.home.ports.edge}/v1/x",
            ),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await process.communicate(b"x" * size)
        return out.decode()

    assert [expected] * 20 == [await code(number + 1) for number in range(20)]


def grpc_channel(edge: Edge) -> grpc.aio.Channel:
    """Return a channel to the edge, as a client anywhere in the world would open it."""
    credentials = grpc.ssl_channel_credentials(edge.authority.ca_file.read_bytes())
    return grpc.aio.secure_channel(f"localhost:{edge.home.ports.edge}", credentials)


async def test_what_is_no_grpc_is_answered_by_the_http_edge(edge: Edge) -> None:
    """On a method's path too: the mesh would only reset it."""
    async with edge.client("127.0.1.14") as client:
        for response in (await client.post(SAY, json={}), await client.get(SAY)):
            assert (404, SAY) == (response.status_code, response.json()[":path"])


async def test_grpc_without_a_route_is_unimplemented_at_once(edge: Edge) -> None:
    """A method that the edge doesn't serve, and reflection, whose calls send no end of their own."""

    async def silent() -> AsyncIterator[bytes]:
        # Whatever it sent would race the answer, and this client calls the loser of that race INTERNAL.
        await asyncio.Event().wait()
        yield b""

    async with grpc_channel(edge) as channel:
        for path, word in (
            (TELL, "method"),
            ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", "developers"),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await channel.stream_stream(path)(silent(), timeout=5).read()
            refusal = refusal_of_call(refused.value)
            assert (grpc.StatusCode.UNIMPLEMENTED, "NOT_IMPLEMENTED") == (refusal.code, refusal.reason)
            assert word in refusal.message


async def test_answers_are_compressed_for_those_who_ask(edge: Edge) -> None:
    """JSON shrinks well."""
    async with edge.client("127.0.1.10") as client:
        response = await client.get("/v1/products", headers={"accept-encoding": "gzip"})

    assert "gzip" == response.headers["content-encoding"]
    assert "max-age=31536000; includeSubDomains" == response.headers["strict-transport-security"]


async def test_grpc_reaches_outward_methods_only(edge: Edge) -> None:
    """Over the same port, with the same token check; a method between services has no route."""
    async with grpc_channel(edge) as channel:
        told = json.loads(await channel.unary_unary(SAY)(b"x", timeout=5, metadata=[("x-user-id", "root")]))
        seen = [name for name, _ in told]
        assert "x-titan-client-ip" in seen
        assert "x-user-id" not in seen

        with pytest.raises(grpc.aio.AioRpcError) as hidden:
            await channel.unary_unary(TELL)(b"x", timeout=5)
        assert grpc.StatusCode.UNIMPLEMENTED is hidden.value.code()

        for what in ("of another audience", "of another issuer", "forged", "expired"):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                bearer = [("authorization", f"Bearer {BAD_TOKENS[what]()}")]
                await channel.unary_unary(SAY)(b"x", timeout=5, metadata=bearer)
            refusal = refusal_of_call(refused.value)
            reason = "TOKEN_EXPIRED" if what == "expired" else "TOKEN_INVALID"
            assert (grpc.StatusCode.UNAUTHENTICATED, reason) == (refusal.code, refusal.reason), what
            assert "access token" in refusal.message


async def test_an_http_edge_that_is_down_says_nothing_about_the_inside(edge: Edge) -> None:
    """503 in the usual shape, without Envoy's own words."""
    app = edge.home.app_socket("edge_http")
    edge.membership.leave("edge_http", app)
    await asyncio.sleep(0.3)
    async with edge.client("127.0.1.11") as client:
        response = await client.get("/v1/products")
    edge.membership.join("edge_http", app)

    check_refusal(response, 503, "UNAVAILABLE", "UNAVAILABLE")
    assert "upstream" not in response.text


async def test_what_the_edge_refuses_over_grpc_has_its_reason_too(edge: Edge) -> None:
    """The same table as over HTTP: code, reason, words, and when to ask again. The last test: it empties a bucket."""
    async with grpc_channel(edge) as channel:
        headers = [("authorization", f"Bearer {token('dave')}")]
        refusals = []
        for body in (b"x" * 1_100_000, *[b"x"] * 8):
            try:
                await channel.unary_unary(SAY)(body, timeout=5, metadata=headers)
            except grpc.aio.AioRpcError as error:
                refusals.append(refusal_of_call(error))

    large, *busy = refusals
    assert (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_INPUT") == (large.code, large.reason)
    assert "1 MiB" in large.message
    assert {(grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED", 1.0)} == {
        (refusal.code, refusal.reason, refusal.retry_after_seconds) for refusal in busy
    }
