"""Sizes: of bodies, headers, paths, depth, lists, and of what grows when it is unpacked."""

from __future__ import annotations

import gzip
import json

from tests.attacks.asking import NOBODY, Ask, add_all
from tests.attacks.case import Reply, case
from tests.attacks.scene import Scene
from tests.doors import identity

BAD, LARGE, HEADERS = "400 INVALID_INPUT", "413 INVALID_INPUT", "431 INVALID_INPUT"
MEBIBYTE = 1024 * 1024


def nested(depth: int) -> bytes:
    """Return lists in lists."""
    return b'{"lines": ' + b"[" * depth + b"]" * depth + b"}"


add_all(
    "sizes",
    {
        "a body of a mebibyte and a byte": Ask(LARGE, "POST", "/v1/orders", b"x" * (MEBIBYTE + 1), keyed=True),
        "a body of 8 mebibytes": Ask(LARGE, "POST", "/v1/orders", b"x" * (8 * MEBIBYTE), keyed=True),
        "a body of a mebibyte and a byte, as nobody": Ask(LARGE, "POST", "/v1/users", b"x" * (MEBIBYTE + 1), NOBODY),
        "lists 65 deep": Ask(BAD, "POST", "/v1/orders", nested(65), keyed=True),
        "lists 100,000 deep": Ask(BAD, "POST", "/v1/orders", nested(100_000), keyed=True),
        "an object of 50,000 names": Ask(
            BAD, "POST", "/v1/orders", json.dumps({f"n{n}": 1 for n in range(50_000)}).encode(), keyed=True
        ),
        "a number of 100,000 digits": Ask(
            BAD, "POST", "/v1/orders", b'{"lines": [{"quantity": ' + b"9" * 100_000 + b"}]}", keyed=True
        ),
        "a gzip that grows a thousandfold": Ask(
            "415 INVALID_INPUT",
            "POST",
            "/v1/orders",
            lambda scene: gzip.compress(b"0" * (50 * MEBIBYTE)),
            keyed=True,
            headers={"content-encoding": "gzip"},
        ),
        "a header of 40,000 characters": Ask(HEADERS, "GET", "/v1/products", headers={"x-note": "x" * 40_000}),
        "100 headers": Ask(HEADERS, "GET", "/v1/products", headers={f"x-note-{n}": "x" for n in range(100)}),
        "a cookie of 40,000 characters": Ask(HEADERS, "GET", "/v1/products", headers={"cookie": "x" * 40_000}),
        "a path of 40,000 characters": Ask(HEADERS, "GET", "/v1/products/" + "x" * 40_000),
        "a path of 5,000 segments": Ask("404 ROUTE_NOT_FOUND", "GET", "/v1" + "/x" * 5_000),
        "a query of 2,000 names": Ask(BAD, "GET", "/v1/products?" + "&".join(f"n{n}=1" for n in range(2_000))),
        "a page size 2,000 times": Ask(BAD, "GET", "/v1/products?" + "&".join(["pageSize=1"] * 2_000)),
        "1,001 products at once": Ask(
            BAD, "GET", "/v1/products:batchGet?" + "&".join(["productIds={product_id}"] * 300)
        ),
        "an etag of 5,000 characters": Ask(
            BAD, "PATCH", "/v1/users/me", {"displayName": "x"}, headers={"if-match": '"' + "x" * 5_000 + '"'}
        ),
        "a name of 121 characters": Ask(BAD, "PATCH", "/v1/users/me", {"displayName": "x" * 121}),
        "a range of a thousand parts": Ask(
            "200",
            "GET",
            "/v1/products/{product_id}",
            headers={"range": "bytes=" + ",".join(f"{n}-{n}" for n in range(1_000))},
        ),
    },
)


@case("a message of 5 mebibytes over gRPC", "INVALID_ARGUMENT INVALID_INPUT")
async def large_message(scene: Scene) -> Reply:
    channel = await scene.edge_grpc()
    request = b"\x0a" + b"\x80\x80\xc0\x02" + b"x" * (5 * MEBIBYTE)
    return await scene.call(channel, "/titan.order.v1.CheckoutService/PlaceOrder", request)


@case("a message of 5 mebibytes at a gRPC port, with the right certificate", "RESOURCE_EXHAUSTED")
async def large_message_inside(scene: Scene) -> Reply:
    channel = await scene.door("svc_order", identity(scene.home, "edge_http"))
    request = b"\x0a" + b"\x80\x80\xc0\x02" + b"x" * (5 * MEBIBYTE)
    return await scene.call(channel, "/titan.order.v1.CheckoutService/PlaceOrder", request)


@case("a compressed message at a gRPC port", "UNIMPLEMENTED")
async def compressed_inside(scene: Scene) -> Reply:
    channel = await scene.door("svc_order", identity(scene.home, "edge_http"))
    path = "/titan.order.v1.OrderService/ListOrders"
    return await scene.call(channel, path, b"", metadata=(("grpc-encoding", "gzip"),))


@case("a message that is no protobuf", "UNAUTHENTICATED UNAUTHENTICATED")
async def no_protobuf(scene: Scene) -> Reply:
    channel = await scene.edge_grpc()
    return await scene.call(channel, "/titan.order.v1.OrderService/GetOrder", b"\xff" * 100)
