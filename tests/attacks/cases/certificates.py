"""Between packages: who has a certificate calls what the topology names, and nothing by another writing of it.

The matrix tries every method with every certificate at every port; here are forgeries beside a good certificate.
"""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

from tests.attacks import sweep
from tests.attacks.case import Reply, add, case
from tests.attacks.scene import MeshTopology, Scene
from tests.doors import Pair, forged, identity, misissued
from titan.payment.v1 import payment_service_pb2

VOID = "/titan.payment.v1.PaymentService/BatchVoid"
TRUST = f"spiffe://{MeshTopology.trust_domain}"
DENIED = "PERMISSION_DENIED"


def void() -> bytes:
    """Return a request to void a payment that nobody made."""
    return payment_service_pb2.BatchVoidRequest(order_ids=[str(uuid4())]).SerializeToString()


WRONG_METHODS = {
    "svc_order": ("svc_payment", "/titan.payment.v1.PaymentService/HandleWebhook"),
    "svc_cart": ("svc_catalog", "/titan.catalog.v1.ProductService/CreateProduct"),
    "svc_notify": ("svc_order", "/titan.order.v1.OrderService/GetOrder"),
    "svc_catalog": ("svc_auth", "/titan.auth.v1.AuthService/CreateSession"),
    "svc_inventory": ("svc_auth", "/titan.auth.v1.LinkService/BatchGetLinks"),
    "svc_payment": ("svc_inventory", "/titan.inventory.v1.InventoryService/BatchRelease"),
    "svc_auth": ("svc_payment", "/titan.payment.v1.WalletService/TopUpWallet"),
    "edge_http": ("svc_payment", VOID),
    "developer": ("svc_inventory", "/titan.inventory.v1.InventoryService/BatchReserve"),
}


def _wrong_method(who: str) -> None:
    package, path = WRONG_METHODS[who]

    async def attack(scene: Scene) -> Reply:
        return await scene.call(await scene.door(package, identity(scene.home, who)), path)

    add("certificates", f"{who}'s certificate on {path.rpartition('/')[2]} of {package}", DENIED, attack, still=True)


for _who in WRONG_METHODS:
    _wrong_method(_who)

FORGED_METADATA = {
    "x-titan-caller": f"{TRUST}/svc/svc_order",
    "x-forwarded-client-cert": f"URI={TRUST}/svc/svc_order",
    "x-titan-client-ip": "127.0.0.1",
    "titan-target": "svc_payment",
    ":authority": "svc_order.titan.local",
    "x-envoy-original-path": VOID,
}


def _forged_metadata(name: str) -> None:
    async def attack(scene: Scene) -> Reply:
        channel = await scene.door("svc_payment", identity(scene.home, "svc_cart"))
        metadata = ((name, FORGED_METADATA[name]),) if not name.startswith(":") else ()
        return await scene.call(channel, VOID, void(), metadata=metadata)

    add("certificates", f"svc_cart's certificate with {name} of svc_order", DENIED, attack, still=True)


for _name in FORGED_METADATA:
    _forged_metadata(_name)

WRITINGS = {
    "two slashes": f"/{VOID}",
    "a dot": VOID.replace("/Batch", "/./Batch"),
    "a way back": f"/titan.cart.v1.CartService/..{VOID}",
    "small letters": VOID.lower(),
    "a question": f"{VOID}?x",
}


def _writing(what: str) -> None:
    async def attack(scene: Scene) -> Reply:
        return await scene.call(
            await scene.door("svc_payment", identity(scene.home, "svc_cart")), WRITINGS[what], void()
        )

    add("certificates", f"svc_cart's certificate on a path with {what}", DENIED, attack, still=True)


for _what in WRITINGS:
    _writing(_what)


@case("an encoded slash in a path between packages", "INTERNAL")
async def encoded_slash(scene: Scene) -> Reply:
    """Envoy refuses it with 400, which gRPC calls INTERNAL of its own accord."""
    channel = await scene.door("svc_payment", identity(scene.home, "svc_order"))
    return await scene.call(channel, VOID.replace("Service/", "Service%2f"), void())


@case("svc_order's certificate with a user's token where there is no user", "PERMISSION_DENIED ACCESS_DENIED")
async def with_a_token(scene: Scene) -> Reply:
    channel = await scene.door("svc_payment", identity(scene.home, "svc_order"))
    return await scene.call(channel, VOID, void(), token=scene.victims.admin.token)


@case("edge_http's certificate without a user's token", "UNAUTHENTICATED UNAUTHENTICATED")
async def without_a_token(scene: Scene) -> Reply:
    channel = await scene.door("svc_payment", identity(scene.home, "edge_http"))
    return await scene.call(channel, "/titan.payment.v1.WalletService/GetWallet")


@case("edge_http's certificate with a forged token", "UNAUTHENTICATED TOKEN_INVALID")
async def with_a_forged_token(scene: Scene) -> Reply:
    channel = await scene.door("svc_payment", identity(scene.home, "edge_http"))
    return await scene.call(channel, "/titan.payment.v1.WalletService/GetWallet", token="a.b.c")


@case("channelz with the developer's certificate", DENIED)
async def channelz(scene: Scene) -> Reply:
    return await scene.call(await scene.door("svc_order", identity(scene.home, "developer")), sweep.NEVER_SERVED)


@case("reflection with a package's certificate", DENIED)
async def reflection(scene: Scene) -> Reply:
    return await scene.call(await scene.door("svc_order", identity(scene.home, "svc_cart")), sweep.SILENT[1])


def _strangers(scene: Scene) -> dict[str, Pair | None]:
    return {
        "no certificate": None,
        "a stranger's certificate under svc_order's name": forged(f"{TRUST}/svc/svc_order"),
        "a certificate of another trust domain": misissued(scene.home, "spiffe://evil.local/svc/svc_order"),
        "a trust domain that begins alike": misissued(scene.home, f"{TRUST}.evil.example/svc/svc_order"),
        "a certificate that is over": misissued(scene.home, f"{TRUST}/svc/svc_order", life=timedelta(minutes=-5)),
        "a certificate that names a site": misissued(scene.home, "https://titan.local/svc/svc_order"),
    }


def _stranger(what: str) -> None:
    async def attack(scene: Scene) -> str:
        return await sweep.handshake(scene, scene.inbound("svc_payment"), _strangers(scene)[what])

    add("certificates", what, "closed", attack, still=True)


for _what in (
    "no certificate",
    "a stranger's certificate under svc_order's name",
    "a certificate of another trust domain",
    "a trust domain that begins alike",
    "a certificate that is over",
    "a certificate that names a site",
):
    _stranger(_what)


@case("a package that nobody knows, of the right trust domain", DENIED)
async def unknown_package(scene: Scene) -> Reply:
    pair = misissued(scene.home, f"{TRUST}/svc/svc_evil")
    return await scene.call(await scene.door("svc_payment", pair), VOID, void())


@case("a name that begins like a package's", DENIED)
async def alike(scene: Scene) -> Reply:
    pair = misissued(scene.home, f"{TRUST}/svc/svc_order.evil")
    return await scene.call(await scene.door("svc_payment", pair), VOID, void())


@case("plain text at a gRPC port", "closed")
async def plain(scene: Scene) -> str:
    return await sweep.plain_text(scene.inbound("svc_payment"))


@case("a package's certificate at the developers' door", "closed")
async def package_as_developer(scene: Scene) -> str:
    return await sweep.handshake(scene, scene.home.ports.grpc, identity(scene.home, "svc_order"))


@case("the web certificate as a client's", "closed")
async def web_as_client(scene: Scene) -> str:
    return await sweep.handshake(scene, scene.inbound("svc_payment"), identity(scene.home, "web"))
