"""What the mesh says no to: bad input, bad tokens, and callers without the right certificate."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import grpc
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from control.home import Home
from control.topology_file import TOPOLOGY
from mesh import topology
from svc_auth.keys import MasterKey
from tests.doors import Pair, entered, forged, identity
from tests.journeys.conftest import RunningMesh, Shopper, gbp, reason
from titan.order.v1 import order_service_pb2, order_service_pb2_grpc
from titan.payment.v1 import ledger_service_pb2, ledger_service_pb2_grpc, payment_service_pb2, payment_service_pb2_grpc

pytestmark = pytest.mark.timeout(60)

Change = Callable[[dict[str, Any]], object]


def lines(sku: str, quantity: int) -> Change:
    """Return the change of an order to this line; `{sku}` is the product of the test."""
    return lambda body: body.update(lines=[{"sku": sku or body["lines"][0]["sku"], "quantity": quantity}])


BAD_ORDERS: dict[str, tuple[Change, int, str]] = {
    "an unknown SKU": (lines("NOBODY-SELLS-THIS", 1), 400, "SKU_NOT_SOLD"),
    "quantity zero": (lines("", 0), 400, "INVALID_INPUT"),
    "a negative quantity": (lines("", -1), 400, "INVALID_INPUT"),
    "a huge quantity": (lines("", 100_001), 400, "INVALID_INPUT"),
    "a quantity of more than 32 bits": (lines("", 2**40), 400, "INVALID_INPUT"),
    "more than there is": (
        lambda body: (lines("", 11)(body), body.update(expectedTotal=gbp(11_000))),
        400,
        "OUT_OF_STOCK",
    ),
    "more than 1,000 lines": (lambda body: body.update(lines=body["lines"] * 1001), 400, "INVALID_INPUT"),
    "a stale total": (lambda body: body.update(expectedTotal=gbp(999)), 400, "PRICE_CHANGED"),
    "no total": (lambda body: body.pop("expectedTotal"), 400, "INVALID_INPUT"),
    "an empty cart": (lambda body: body.pop("lines"), 400, "CART_EMPTY"),
    "no address": (lambda body: body.pop("shippingAddress"), 400, "INVALID_INPUT"),
    "no e-mail address": (lambda body: body.update(contactEmail="nobody"), 400, "INVALID_INPUT"),
    "no way to pay": (lambda body: body.update(payment={}), 400, "INVALID_INPUT"),
    "two ways to pay": (lambda body: body["payment"].update(card={"token": "tok_visa"}), 400, "INVALID_INPUT"),
    "an unknown provider": (
        lambda body: body.update(payment={"card": {"token": "tok_visa", "provider": "nobody"}}),
        404,
        "PROVIDER_UNKNOWN",
    ),
    "an unknown field": (lambda body: body.update(discount=50), 400, "INVALID_INPUT"),
    "a price of one's own": (lambda body: body["lines"][0].update(agreedPrice=gbp(1)), 403, "IMPORTER_REQUIRED"),
    "a time of one's own": (lambda body: body.update(effectiveTime="2020-01-01T00:00:00Z"), 403, "IMPORTER_REQUIRED"),
    "more than the wallet holds": (
        lambda body: (lines("", 6)(body), body.update(expectedTotal=gbp(6000))),
        400,
        "INSUFFICIENT_FUNDS",
    ),
}

BAD_BODIES: dict[str, tuple[bytes, int]] = {
    "malformed JSON": (b'{"lines": [', 400),
    "nothing": (b"", 400),
    "a list": (b"[]", 400),
    "not a number": (b'{"expectedTotal": NaN}', 400),
    "a name twice": (b'{"lines": [], "lines": []}', 400),
    "not UTF-8": (b'{"contactEmail": "\xff"}', 400),
    "too deep": (b'{"lines": ' + b"[" * 200 + b"]" * 200 + b"}", 400),
    "too large": (b'{"contactEmail": "' + b"x" * 1_100_000 + b'"}', 413),
}


@pytest.fixture(scope="module")
def shelf(mesh: RunningMesh) -> tuple[Shopper, str]:
    """A shopper with GBP 50 and a product at GBP 10, of which there are ten."""
    shopper = mesh.guest()
    shopper.top_up(5_000)
    return shopper, mesh.product(price=1000, stock=10)


def test_bad_orders_have_a_reason_and_change_nothing(mesh: RunningMesh, shelf: tuple[Shopper, str]) -> None:
    shopper, sku = shelf
    for what, (change, status, why) in BAD_ORDERS.items():
        body = shopper.order_body([(sku, 1)], 1000)
        change(body)
        refused = shopper.send("POST", "/v1/orders", body, key=str(uuid4()))
        assert (refused.status_code, reason(refused)) == (status, why), what
    unkeyed = shopper.send("POST", "/v1/orders", shopper.order_body([(sku, 1)], 1000))
    assert (unkeyed.status_code, reason(unkeyed)) == (400, "IDEMPOTENCY_KEY_REQUIRED")

    live = [order for order in shopper.ok("GET", "/v1/orders")["orders"] if order["status"] != "CANCELLED"]
    assert (live, shopper.balance(), mesh.stock(sku)) == ([], 5_000, (10, 0, 10))


def test_bad_bodies_are_refused_before_anybody_reads_them(shelf: tuple[Shopper, str]) -> None:
    shopper, _ = shelf
    headers = {"authorization": f"Bearer {shopper.token}", "content-type": "application/json", "idempotency-key": "k"}
    for what, (body, status) in BAD_BODIES.items():
        refused = shopper.http.post("/v1/orders", content=body, headers=headers)
        assert (refused.status_code, reason(refused)) == (status, "INVALID_INPUT"), what
    form = {**headers, "content-type": "application/x-www-form-urlencoded"}
    assert shopper.http.post("/v1/orders", content=b"a=b", headers=form).status_code == 415


def test_a_key_stands_for_one_body(mesh: RunningMesh) -> None:
    sku = mesh.product(price=10)
    shopper = mesh.guest()
    shopper.top_up(100)
    shopper.ok("POST", "/v1/orders", shopper.order_body([(sku, 1)], 10), key="k")
    reused = shopper.send("POST", "/v1/orders", shopper.order_body([(sku, 2)], 20), key="k")
    assert (reused.status_code, reason(reused)) == (409, "IDEMPOTENCY_KEY_REUSED")


def test_a_shopper_is_no_administrator(mesh: RunningMesh) -> None:
    shopper = mesh.guest()
    product = {"product": {"title": "Mine", "variants": [{"sku": "MINE", "price": gbp(1)}]}}
    adjustment = {"delta": 1, "reason": "mine", "requestId": "mine"}
    for method, path, body in (
        ("POST", "/v1/products", product),
        ("POST", "/v1/inventory/MINE:adjust", adjustment),
        ("GET", "/v1/inventory/MINE", None),
        ("GET", "/v1/ledger:verify", None),
        ("POST", f"/v1/orders/{uuid4()}:ship", {}),
    ):
        refused = shopper.send(method, path, body)
        assert (refused.status_code, reason(refused)) == (403, "ACCESS_DENIED"), path


def test_a_wrong_password_tells_nothing(mesh: RunningMesh) -> None:
    """An address that exists is answered like one that does not."""
    http = mesh.http()
    answers = [
        http.post("/v1/sessions", json={"email": email, "password": "not the password"})
        for email in (mesh.endpoints["admin_email"], "nobody@example.com")
    ]
    assert [(answer.status_code, reason(answer)) for answer in answers] == [(401, "CREDENTIALS_INVALID")] * 2
    assert answers[0].json() == answers[1].json()


async def test_only_tokens_that_the_mesh_signed_count_and_only_for_their_time(mesh: RunningMesh) -> None:
    """Expired, early, signed by a stranger, unsigned, for somebody else: all are 401, at the edge and behind it."""
    shopper = mesh.guest()
    claims = jwt.decode(shopper.token, options={"verify_signature": False})
    kid = jwt.get_unverified_header(shopper.token)["kid"]
    connection = await asyncpg.connect(mesh.endpoints["postgres"]["svc_auth"])
    sealed = await connection.fetchval("SELECT private_key FROM signing_keys WHERE kid = $1", kid)
    await connection.close()
    own, stranger = (
        MasterKey.of_folder(mesh.home / "secrets").open(kid, sealed),
        ec.generate_private_key(ec.SECP256R1()),
    )

    def token(key: ec.EllipticCurvePrivateKey, **changes: Any) -> str:
        return jwt.encode({**claims, **changes}, key, algorithm="ES256", headers={**header, "kid": kid})

    header = {name: value for name, value in jwt.get_unverified_header(shopper.token).items() if name == "typ"}
    now = int(time.time())
    past = {"iat": now - 1200, "nbf": now - 1200, "exp": now - 600}
    bad = {
        "expired": token(own, **past),
        "signed by a stranger": token(stranger),
        "unsigned": jwt.encode(claims, None, algorithm="none", headers={"kid": kid}),
        "of another issuer": token(own, iss="https://elsewhere.example"),
        "without an end": token(own, exp=None),
        "garbage": "garbage",
    }
    channel = developer(mesh)
    stub = order_service_pb2_grpc.OrderServiceStub(channel)
    request = order_service_pb2.ListOrdersRequest()
    assert mesh.http().get("/v1/cart", headers={"authorization": f"Bearer {token(own)}"}).status_code == 200
    await stub.ListOrders(request, metadata=[("authorization", f"Bearer {token(own)}")], timeout=5)
    for what, text in bad.items():
        refused = mesh.http().get("/v1/cart", headers={"authorization": f"Bearer {text}"})
        expected = "TOKEN_EXPIRED" if what == "expired" else "TOKEN_INVALID"
        assert (refused.status_code, reason(refused)) == (401, expected), what
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await stub.ListOrders(request, metadata=[("authorization", f"Bearer {text}")], timeout=5)
        assert error.value.code() is grpc.StatusCode.UNAUTHENTICATED, what
    nobody = mesh.http().get("/v1/cart")
    assert (nobody.status_code, reason(nobody)) == (401, "UNAUTHENTICATED")
    await channel.close()


def test_a_session_that_was_ended_is_refused_everywhere(mesh: RunningMesh) -> None:
    shopper = mesh.guest()
    assert shopper.send("GET", "/v1/cart").status_code == 200
    shopper.ok("POST", "/v1/sessions:revoke", {"refreshToken": shopper.refresh_token})
    deadline = time.monotonic() + 5
    while (refused := shopper.send("GET", "/v1/cart")).status_code == 200:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert (refused.status_code, reason(refused)) == (401, "SESSION_REVOKED")


# Between packages


def developer(mesh: RunningMesh) -> grpc.aio.Channel:
    """Return a channel to the developers' door."""
    pem = [Path(mesh.endpoints[name]).read_bytes() for name in ("ca", "client_key", "client_cert")]
    return grpc.aio.secure_channel(mesh.endpoints["grpc"], grpc.ssl_channel_credentials(*pem))


def home_of(mesh: RunningMesh) -> Home:
    """Return where a mesh has its files and ports."""
    return Home.from_environment(mesh.environment)


def door(mesh: RunningMesh, package: str) -> int:
    """Return the port of a package's inbound listener."""
    return home_of(mesh).ports.inbound(topology.load(TOPOLOGY).packages[package].index)


def inbound(
    mesh: RunningMesh, package: str, pair: Pair | None
) -> contextlib.AbstractAsyncContextManager[grpc.aio.Channel]:
    """Return a channel to a package's inbound listener, with this certificate or without one."""
    return entered(home_of(mesh), door(mesh, package), pair)


async def verdict(channel: grpc.aio.Channel) -> str:
    """Ask svc_payment to void a payment that it never saw, as svc_order may, and return the status."""
    stub = payment_service_pb2_grpc.PaymentServiceStub(channel)
    try:
        await stub.BatchVoid(payment_service_pb2.BatchVoidRequest(order_ids=[str(uuid4())]), timeout=5)
    except grpc.aio.AioRpcError as error:
        return error.code().name
    return "OK"


async def test_a_package_is_called_by_those_whom_the_topology_names(mesh: RunningMesh) -> None:
    """By certificate alone: svc_order may void a payment; svc_cart, a developer and strangers may not."""
    home = home_of(mesh)
    callers = {
        "svc_order": (identity(home, "svc_order"), "OK"),
        "svc_cart": (identity(home, "svc_cart"), "PERMISSION_DENIED"),
        "developer": (identity(home, "developer"), "PERMISSION_DENIED"),
        "a stranger under svc_order's name": (forged("spiffe://titan.local/svc/svc_order"), "UNAVAILABLE"),
        "nobody": (None, "UNAVAILABLE"),
    }
    for who, (pair, wanted) in callers.items():
        async with inbound(mesh, "svc_payment", pair) as channel:
            assert await verdict(channel) == wanted, who


WRONG_METHODS = {
    "svc_order": ("svc_payment", "/titan.payment.v1.PaymentService/HandleWebhook"),
    "svc_cart": ("svc_catalog", "/titan.catalog.v1.ProductService/CreateProduct"),
    "svc_notify": ("svc_order", "/titan.order.v1.OrderService/GetOrder"),
    "svc_bulk": ("svc_catalog", "/titan.catalog.v1.ProductService/CreateProduct"),
    "svc_catalog": ("svc_auth", "/titan.auth.v1.AuthService/CreateSession"),
    "edge_http": ("svc_payment", "/titan.payment.v1.PaymentService/BatchVoid"),
    "developer": ("svc_inventory", "/titan.inventory.v1.InventoryService/BatchReserve"),
}
"""Who holds the right certificate for a door, and a method behind it that they never call."""


async def test_the_right_certificate_opens_the_right_methods(mesh: RunningMesh) -> None:
    """A stolen certificate calls what its package calls and nothing else of the same service."""
    for who, (package, path) in WRONG_METHODS.items():
        async with inbound(mesh, package, identity(home_of(mesh), who)) as channel:
            assert await status_of(channel, path) == "PERMISSION_DENIED", who


async def test_reflection_health_and_channelz_answer_developers_alone(mesh: RunningMesh) -> None:
    """Health tells a developer that the package serves; channelz is served to nobody."""
    health, channelz = "/grpc.health.v1.Health/Check", "/grpc.channelz.v1.Channelz/GetServers"
    reflection = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
    for package in ("svc_order", "svc_payment"):
        async with inbound(mesh, package, identity(home_of(mesh), "developer")) as channel:
            assert await status_of(channel, health) == "OK"
            assert await status_of(channel, reflection) == "OK"
            assert await status_of(channel, channelz) == "PERMISSION_DENIED"
        for other in ("svc_order", "svc_cart", "edge_http"):
            async with inbound(mesh, package, identity(home_of(mesh), other)) as channel:
                for path in (health, reflection, channelz):
                    assert await status_of(channel, path) == "PERMISSION_DENIED", (other, path)


async def status_of(channel: grpc.aio.Channel, path: str) -> str:
    """Send an empty message to a method, whatever it is, and return how the call ended.

    Message and end of the request leave together: a client that writes to a call that was refused meanwhile says
    INTERNAL of its own.
    """
    try:
        async for _ in channel.unary_stream(path)(b"", timeout=5):
            pass
    except grpc.aio.AioRpcError as error:
        return error.code().name
    return "OK"


async def test_plain_text_is_not_answered_between_packages(mesh: RunningMesh) -> None:
    for package in topology.load(TOPOLOGY).packages.values():
        if not package.services:
            continue
        reader, writer = await asyncio.open_connection("127.0.0.1", door(mesh, package.name))
        writer.write(b"POST /titan.payment.v1.PaymentService/BatchVoid HTTP/1.1\r\nhost: titan\r\n\r\n")
        try:
            assert await asyncio.wait_for(reader.read(100), 5) == b"", package.name
        except ConnectionError:
            pass
        writer.close()


async def test_a_developer_calls_what_a_user_may_and_no_more(mesh: RunningMesh) -> None:
    """The developers' door opens on no service method and gives nobody a role."""
    channel = developer(mesh)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await ledger_service_pb2_grpc.LedgerServiceStub(channel).VerifyLedger(
            ledger_service_pb2.VerifyLedgerRequest(),
            metadata=[("authorization", f"Bearer {mesh.guest().token}")],
            timeout=5,
        )
    assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert await verdict(channel) in ("PERMISSION_DENIED", "UNIMPLEMENTED")
    await channel.close()
