"""The edge for browsers: pages of the shop may read its answers, others may not, and gRPC-Web is gRPC.

It shares the running edge of `test_edge_envoy`.
"""

from __future__ import annotations

import base64
import json

import httpx
import pytest

from tests.control.small_mesh import SAY, TELL
from tests.control.test_edge_envoy import BAD_TOKENS, Edge, edge, prepared

__all__ = ["edge", "prepared"]

SHOP = "https://shop.titan.local"
STRANGERS = ("https://evil.example", "https://shop.titan.local.evil.example", "http://shop.titan.local", "null")
SAFE = {
    "strict-transport-security": "max-age=31536000; includeSubDomains",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "content-security-policy": "default-src 'none'; base-uri 'none'; frame-ancestors 'none'",
}
TALKATIVE = {"server", "x-powered-by", "x-envoy-upstream-service-time", "x-envoy-decorator-operation", "via"}

# One way to each part that answers: the app, each filter that refuses, the router, and the codec before any filter.
ANSWERS: dict[str, tuple[str, str, dict[str, str], int]] = {
    "the app": ("GET", "/v1/x", {}, 200),
    "the app's refusal": ("GET", "/nowhere", {}, 404),
    "a bad token": ("GET", "/v1/x", {"authorization": "Bearer garbage"}, 401),
    "a preflight": ("OPTIONS", "/v1/x", {"origin": SHOP, "access-control-request-method": "POST"}, 200),
    "an underscore": ("GET", "/v1/x", {"x_user_id": "root"}, 400),
    "too many headers": ("GET", "/v1/x", {f"x-{number}": "1" for number in range(80)}, 431),
    "an upgrade": ("GET", "/v1/x", {"connection": "upgrade", "upgrade": "websocket"}, 403),
    "a null in the path": ("GET", "/v1/x%00", {}, 400),
}


def message(body: bytes, flags: int = 0) -> bytes:
    """Return a frame of gRPC, or of gRPC-Web's trailers."""
    return bytes((flags,)) + len(body).to_bytes(4, "big") + body


def frames(answer: bytes) -> list[tuple[int, bytes]]:
    """Return the frames of an answer: their flags and bodies."""
    found = []
    while answer:
        length = int.from_bytes(answer[1:5], "big")
        found.append((answer[0], answer[5 : 5 + length]))
        answer = answer[5 + length :]
    return found


def from_text(text: bytes) -> bytes:
    """Decode base64 whose pieces were encoded one by one, with padding between them."""
    return b"".join(base64.b64decode(text[start : start + 4]) for start in range(0, len(text), 4))


@pytest.mark.parametrize("what", ANSWERS)
async def test_every_answer_is_safe_to_show(edge: Edge, what: str) -> None:
    """Whoever answers: the app, a filter, or Envoy before it has read the request."""
    method, path, headers, expected = ANSWERS[what]
    async with edge.client(f"127.0.9.{list(ANSWERS).index(what) + 1}") as client:
        response = await client.request(method, path, headers=headers)

    assert expected == response.status_code
    for name, value in SAFE.items():
        assert [value] == response.headers.get_list(name), name
    assert TALKATIVE.isdisjoint(response.headers)


async def test_a_refusal_of_a_flood_is_safe_to_show_and_says_when_to_come_back(edge: Edge) -> None:
    """429 in the form of every other error."""
    async with edge.client("127.0.9.50") as client:
        answers = [await client.get("/v1/x") for _ in range(16)]
    refused = next(response for response in answers if response.status_code == 429)

    assert "1" == refused.headers["retry-after"]
    assert "OVERLOADED" == refused.json()["error"]["details"][0]["reason"]
    assert SAFE.items() <= dict(refused.headers).items()


async def test_the_shops_pages_may_read_answers(edge: Edge) -> None:
    """And send what the API needs; there are no cookies, so nobody sends credentials."""
    preflight = {
        "origin": SHOP,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization, content-type, idempotency-key, x-grpc-web",
    }
    async with edge.client("127.0.9.51") as client:
        asked = await client.options("/v1/orders", headers=preflight)
        read = await client.get("/v1/x", headers={"origin": SHOP})

    assert SHOP == asked.headers["access-control-allow-origin"] == read.headers["access-control-allow-origin"]
    allowed = {name.strip() for name in asked.headers["access-control-allow-headers"].split(",")}
    assert {"authorization", "content-type", "idempotency-key", "x-grpc-web", "x-ticket-id"} <= allowed
    assert {"grpc-status", "retry-after"} <= set(read.headers["access-control-expose-headers"].split(", "))
    for response in (asked, read):
        assert "access-control-allow-credentials" not in response.headers


@pytest.mark.parametrize("origin", STRANGERS)
async def test_other_pages_may_not(edge: Edge, origin: str) -> None:
    """The browser keeps the answer from them; a name that only begins like the shop's is another's."""
    async with edge.client(f"127.0.9.{60 + STRANGERS.index(origin)}") as client:
        asked = await client.options("/v1/x", headers={"origin": origin, "access-control-request-method": "POST"})
        read = await client.get("/v1/x", headers={"origin": origin})

    for response in (asked, read):
        assert not [name for name in response.headers if name.startswith("access-control-allow")]


async def _web(client: httpx.AsyncClient, path: str, body: bytes, **headers: str) -> httpx.Response:
    kind = {"content-type": "application/grpc-web+proto", "x-grpc-web": "1", "origin": SHOP}
    return await client.post(
        path, content=body, headers={**kind, **{k.replace("_", "-"): v for k, v in headers.items()}}
    )


async def test_a_page_calls_a_method_over_grpc_web(edge: Edge) -> None:
    """A message in, a message and the trailers out, in one body; in base64 for a browser that has only text."""
    async with edge.client("127.0.9.70") as client:
        binary = await _web(client, SAY, message(b"x"))
        as_text = {"content_type": "application/grpc-web-text", "accept": "application/grpc-web-text"}
        text = await _web(client, SAY, base64.b64encode(message(b"x")), **as_text)

    for response, body in ((binary, binary.content), (text, from_text(text.content))):
        (flags, answer), (ending, trailers) = frames(body)
        assert (200, 0, 0x80) == (response.status_code, flags, ending)
        assert "x-titan-client-ip" in dict(json.loads(answer))
        assert b"grpc-status:0" in trailers
        assert SHOP == response.headers["access-control-allow-origin"]


async def test_grpc_web_opens_no_other_door(edge: Edge) -> None:
    """A method between services has no route, and a bad token no place, as over gRPC."""
    async with edge.client("127.0.9.71") as client:
        hidden = await _web(client, TELL, message(b"x"))
        forged = await _web(client, SAY, message(b"x"), authorization=f"Bearer {BAD_TOKENS['forged']()}")

    assert "12" == hidden.headers["grpc-status"]
    assert "16" == forged.headers["grpc-status"]
