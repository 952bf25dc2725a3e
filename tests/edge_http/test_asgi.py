"""The whole way of a request: HTTP, binding, a call through the real chain, the answer."""

from __future__ import annotations

import asyncio
import json
import socket
from dataclasses import replace
from typing import Any

import httpx
import pytest

from edge_http.asgi import Edge
from mesh.clients import Clients
from mesh.contract import Contract, HttpRule
from tests.edge_http.everything import SERVICE, Everything, everything_contract


def error_of(response: httpx.Response) -> Any:
    body = response.json()
    assert set(body) == {"error"}
    assert body["error"]["code"] == response.status_code
    infos = [d for d in body["error"]["details"] if d["@type"].endswith("/google.rpc.ErrorInfo")]
    assert len(infos) == 1, "exactly one ErrorInfo"
    assert infos[0]["domain"] == "titan"
    return body["error"] | {"reason": infos[0]["reason"], "info": infos[0]}


def fields_of(error: Any) -> set[str]:
    return {
        violation["field"]
        for detail in error["details"]
        if detail["@type"].endswith("/google.rpc.BadRequest")
        for violation in detail["fieldViolations"]
    }


def change_of(response: httpx.Response) -> Any:
    """The request of a change, as the service saw it."""
    return response.json()["seen"]["request"]


async def test_the_path_and_the_query_fill_the_request(http: httpx.AsyncClient) -> None:
    """Nested fields, both spellings, repeated parameters, times, enums and masks arrive where they belong."""
    answer = await http.get(
        "/v1/things/%3Fa%2Fb%20c/parts/7?thing.kind=LARGE&thing.size.weight_grams=12&thing.size.edgesMm=1"
        "&thing.size.edgesMm=2&tags=x+y&tags=%C3%A9&since=2026-11-21T10:00:00Z&deep=true"
        "&kinds=VERY_SMALL&kinds=THING_KIND_LARGE&mask=aField,b"
    )

    assert answer.status_code == 200
    assert answer.json()["seen"] == {
        "thing": {
            "name": "?a/b c",
            "kind": "LARGE",
            "size": {"weightGrams": "12", "edgesMm": [1, 2]},
            "etag": "",
        },
        "number": 7,
        "tags": ["x y", "é"],
        "since": "2026-11-21T10:00:00Z",
        "deep": True,
        "kinds": ["VERY_SMALL", "LARGE"],
        "mask": "aField,b",
        "labels": {},
    }


async def test_a_rest_variable_takes_several_segments(http: httpx.AsyncClient) -> None:
    answer = await http.get("/v1/files/a/b%2Fc/d")

    assert answer.json()["seen"]["thing"]["name"] == "a/b/c/d"


async def test_a_field_of_the_request_can_be_the_body(http: httpx.AsyncClient) -> None:
    """The other fields come from the path and the query."""
    answer = await http.post("/v1/things/3:read?deep=true", json={"name": "n", "kind": "THING_KIND_LARGE"})

    seen = answer.json()["seen"]
    assert (seen["thing"]["name"], seen["thing"]["kind"], seen["number"], seen["deep"]) == ("n", "LARGE", 3, True)


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/v1/things?colour=red", "colour"),
        ("/v1/things?thing=x", "thing"),
        ("/v1/things?thing.name.x=1", "thing.name.x"),
        ("/v1/things?labels=x", "labels"),
        ("/v1/things?number=1&number=2", "number"),
        ("/v1/things?number=1.5", "number"),
        ("/v1/things?number=2147483648", "number"),
        ("/v1/things?number=1001", "number"),
        ("/v1/things?deep=yes", "deep"),
        ("/v1/things?kinds=HUGE", "kinds"),
        ("/v1/things?since=yesterday", "since"),
        ("/v1/things?mask=a%20b", "mask"),
        ("/v1/things?tags=%ff", "tags"),
        ("/v1/things?tags=%zz", "tags"),
        ("/v1/things?tags=%00", "tags"),
        ("/v1/things/x/parts/many", "number"),
        ("/v1/things/%00/parts/1", "thing.name"),
        ("/v1/things/x/parts/1?number=2", "number"),
    ],
)
async def test_what_does_not_fit_is_refused_by_field(http: httpx.AsyncClient, path: str, field: str) -> None:
    answer = await http.get(path)

    error = error_of(answer)
    assert (answer.status_code, error["status"], error["reason"]) == (400, "INVALID_ARGUMENT", "INVALID_INPUT")
    assert fields_of(error) == {field}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"text": "a", "text": "b"}', "twice"),
        (b'{"text": NaN}', "NaN"),
        (b'{"text": -Infinity}', "Infinity"),
        (b'\xef\xbb\xbf{"text": "a"}', "byte order mark"),
        (b'{"text": "\xff"}', "UTF-8"),
        (b'{"text": "\\u0000"}', "NUL"),
        (b'{"\\u0000": 1}', "NUL"),
        (b'{"text": "\\ud800"}', "surrogate"),
        (b'{"text": ', "not JSON"),
        (b"{'text': 1}", "not JSON"),
        (b'{"text": "a"} x', "not JSON"),
        (b'{"text": "a\nb"}', "not JSON"),
        (b"[" * 100_000, "nested"),
        (b'{"a":' * 33 + b"1" + b"}" * 33, "nested"),
        (b'{"text": ' + b"9" * 5000 + b"}", "too long"),
        (b"[]", "an object"),
        (b"null", "an object"),
        (b'{"colour": 1}', "colour"),
        (b'{"text": 5}', "text"),
        (b'{"name": "other"}', "contradicts"),
        (b'{"requestId": "a", "request_id": "a"}', "same field"),
    ],
)
async def test_a_bad_body_is_refused(http: httpx.AsyncClient, body: bytes, words: str) -> None:
    """What parsers disagree about, what is too deep and what the contract does not know changes nothing."""
    answer = await http.patch("/v1/things/x", content=body, headers={"content-type": "application/json"})

    error = error_of(answer)
    assert (answer.status_code, error["reason"]) == (400, "INVALID_INPUT")
    assert words in error["message"]


async def test_brackets_inside_texts_do_not_count_as_depth(http: httpx.AsyncClient) -> None:
    answer = await http.patch("/v1/things/x", json={"text": '[{"' * 50})

    assert change_of(answer)["text"] == '[{"' * 50


async def test_an_empty_body_is_an_empty_object(http: httpx.AsyncClient) -> None:
    answer = await http.patch("/v1/things/x")

    assert change_of(answer)["name"] == "x"


async def test_an_empty_body_is_named_where_one_is_needed(http: httpx.AsyncClient) -> None:
    """Better than a list of the fields that it lacks."""
    answer = await http.post("/v1/things/3:read", content=b"", headers={"content-type": "application/json"})

    assert (answer.status_code, error_of(answer)["reason"]) == (400, "INVALID_INPUT")
    assert "the body is empty" in error_of(answer)["message"]


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=utf-16", ""]
)
async def test_a_body_that_is_not_json_is_415(http: httpx.AsyncClient, content_type: str) -> None:
    answer = await http.patch("/v1/things/x", content=b"{}", headers={"content-type": content_type})

    assert (answer.status_code, error_of(answer)["reason"]) == (415, "INVALID_INPUT")


async def test_a_compressed_body_is_415(http: httpx.AsyncClient) -> None:
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    answer = await http.patch("/v1/things/x", content=b"{}", headers=headers)

    assert answer.status_code == 415


async def test_a_body_above_the_limit_is_413(http: httpx.AsyncClient) -> None:
    """Announced, or counted while it arrives."""

    async def pieces() -> Any:
        for _ in range(20):
            yield b" " * 65_536

    announced = await http.patch(
        "/v1/things/x", content=b" " * (1024 * 1024 + 1), headers={"content-type": "application/json"}
    )
    counted = await http.patch("/v1/things/x", content=pieces(), headers={"content-type": "application/json"})

    assert [announced.status_code, counted.status_code] == [413, 413]
    assert error_of(announced)["status"] == "INVALID_ARGUMENT"


@pytest.mark.parametrize("path", ["/v1/things/x", "/nowhere"])
async def test_a_body_above_the_limit_is_read_away_first(edge: Edge, path: str) -> None:
    """A client that has not sent all of it yet gets no answer that it could lose."""
    size = 3 * 1024 * 1024
    reader, writer = await asyncio.open_unix_connection(edge.socket)
    writer.write(f"PATCH {path} HTTP/1.1\r\nhost: edge\r\ncontent-length: {size}\r\n\r\n".encode())
    writer.write(b" " * (size - 1))
    await writer.drain()
    early = asyncio.create_task(reader.read(12))
    assert not (await asyncio.wait({early}, timeout=0.1))[0]
    writer.write(b" ")
    assert await early == b"HTTP/1.1 413"
    writer.close()


async def test_a_body_far_above_the_limit_is_refused_at_once(edge: Edge) -> None:
    """Nobody makes the edge read without end."""
    reader, writer = await asyncio.open_unix_connection(edge.socket)
    writer.write(b"PATCH /v1/things/x HTTP/1.1\r\nhost: edge\r\ncontent-length: 1000000000\r\n\r\n")
    async with asyncio.timeout(5):
        assert await reader.read(12) == b"HTTP/1.1 413"
    writer.close()


async def test_a_large_body_below_the_limit_is_read(http: httpx.AsyncClient) -> None:
    answer = await http.patch("/v1/things/x", json={"text": "x" * 1_000_000})

    assert len(change_of(answer)["text"]) == 1_000_000


async def test_a_route_without_a_body_takes_none(http: httpx.AsyncClient) -> None:
    answer = await http.request("DELETE", "/v1/things/x", json={"text": "a"})

    assert answer.status_code == 400


async def test_unknown_routes_are_404_and_wrong_methods_405(http: httpx.AsyncClient) -> None:
    unknown = [await http.get(path) for path in ("/", "/v1/nothing", "/v1/things/", "/v1/things/a/b")]
    wrong = await http.put("/v1/things/x")

    assert {answer.status_code for answer in unknown} == {404}
    assert error_of(unknown[0])["status"] == "NOT_FOUND"
    assert wrong.status_code == 405
    assert wrong.headers["allow"] == "DELETE, PATCH"
    assert error_of(unknown[0])["reason"] == "ROUTE_NOT_FOUND"
    assert error_of(wrong)["reason"] == "METHOD_NOT_ALLOWED"


async def test_a_path_of_grpc_says_so(http: httpx.AsyncClient) -> None:
    """Envoy sends here what comes to a method's path without being gRPC."""
    path = f"/{SERVICE}/Change"
    posted, read = await http.post(path, json={}), await http.get(path)

    assert (posted.status_code, read.status_code) == (415, 404)
    assert "application/grpc" in error_of(posted)["message"]
    assert error_of(read)["reason"] == "ROUTE_NOT_FOUND"
    assert (await http.post(f"/{SERVICE}/Hidden", json={})).status_code == 404


async def test_what_only_services_may_call_has_no_route(edge: Edge) -> None:
    """Whatever its annotations say."""
    known = everything_contract()
    service = known.services[SERVICE]
    rule = HttpRule("GET", "/v1/hidden", "", "", ())
    methods = tuple(replace(m, http=(rule,)) if m.name == "Hidden" else m for m in service.methods)
    clients = Clients("unix:/nowhere")

    built = Edge(Contract({SERVICE: replace(service, methods=methods)}), clients)

    assert "GET /v1/hidden" not in {endpoint.name for endpoint in built.endpoints}
    assert len(built.endpoints) == len(edge.endpoints)


async def test_the_idempotency_key_fills_the_request_id(http: httpx.AsyncClient) -> None:
    """From the header or the body; both may say it, but not two things."""
    by_header = await http.patch("/v1/things/x", json={}, headers={"Idempotency-Key": "k1"})
    by_both = await http.patch("/v1/things/x", json={"requestId": "k1"}, headers={"idempotency-key": "k1"})
    contradiction = await http.patch("/v1/things/x", json={"requestId": "k2"}, headers={"idempotency-key": "k1"})

    assert change_of(by_header)["requestId"] == change_of(by_both)["requestId"] == "k1"
    assert contradiction.status_code == 400
    assert fields_of(error_of(contradiction)) == {"idempotency-key"}


async def test_a_header_named_by_the_contract_fills_its_field(http: httpx.AsyncClient) -> None:
    answer = await http.patch("/v1/things/x", json={}, headers={"Titan-Test-Signature": "s"})

    assert change_of(answer)["signature"] == "s"


async def test_if_match_fills_the_etag(http: httpx.AsyncClient) -> None:
    """Weakened by Envoy or not; a list, or an etag without quotes, is refused."""
    strong = await http.patch("/v1/things/x", json={}, headers={"If-Match": '"v3"'})
    weak = await http.patch("/v1/things/x", json={}, headers={"If-Match": 'W/"v3"'})
    anything = await http.patch("/v1/things/x", json={}, headers={"If-Match": "*"})
    refused = [await http.patch("/v1/things/x", headers={"If-Match": value}) for value in ("v3", '"a", "b"')]

    assert [change_of(a)["etag"] for a in (strong, weak, anything)] == ["v3", "v3", ""]
    assert [a.status_code for a in refused] == [400, 400]


async def test_token_and_address_travel_on(http: httpx.AsyncClient, service: Everything) -> None:
    """The service sees what the edge's Envoy sent; a token that is no token never reaches it."""
    from tests.harness import token

    headers = {"Authorization": f"Bearer {token()}", "X-Titan-Client-Ip": "192.0.2.7", "X-User-Id": "forged"}
    answer = await http.get("/v1/things", headers=headers)
    forged = await http.get("/v1/things", headers={"Authorization": "Bearer forged"})

    assert answer.status_code == 200
    seen = service.metadata[-1]
    assert seen["x-titan-client-ip"] == "192.0.2.7"
    assert "x-user-id" not in seen
    assert seen["traceparent"].split("-")[1] == answer.headers["x-titan-trace-id"]
    assert (forged.status_code, error_of(forged)["reason"]) == (401, "TOKEN_INVALID")
    assert forged.headers["www-authenticate"].startswith("Bearer")


async def test_a_token_longer_than_any_is_no_token(http: httpx.AsyncClient, service: Everything) -> None:
    """Its service would never see it: gRPC refuses such metadata as a matter of resources, to be tried again."""
    from tests.harness import token

    before = len(service.metadata)
    for longer in (token(more="x" * 6_000), token(more="x" * 20_000)):
        refused = await http.get("/v1/things", headers={"Authorization": f"Bearer {longer}"})
        assert (refused.status_code, error_of(refused)["reason"]) == (401, "TOKEN_INVALID")
        assert "retry-after" not in refused.headers
    assert before == len(service.metadata)


async def test_a_customer_route_without_a_token_is_401(http: httpx.AsyncClient) -> None:
    answer = await http.get("/v1/names")

    assert (answer.status_code, error_of(answer)["reason"]) == (401, "UNAUTHENTICATED")


async def test_a_part_of_the_response_can_be_the_answer(http: httpx.AsyncClient) -> None:
    from tests.harness import token

    answer = await http.get("/v1/names", headers={"Authorization": f"Bearer {token()}"})

    assert answer.json() == ["a", "b"]
    assert answer.headers["cache-control"] == "no-store"


async def test_raw_bodies_pass_unread(http: httpx.AsyncClient) -> None:
    answer = await http.post("/v1/files/f:convert", content=b"\x00\xffabc", headers={"content-type": "image/x-own"})

    assert answer.content == b"cba\xff\x00"
    assert answer.headers["content-type"] == "image/x-own"


@pytest.mark.parametrize(
    ("path", "content_type", "name"),
    [
        ("/v1/files/f-1:convert", "text/csv; charset=utf-8", "f-1.csv"),
        ("/v1/files/f:convert", "text/html", "f.html"),
        ("/v1/files/%22%0d%0aset-cookie=1%2f..%2f%c3%a9:convert", "image/x-own", "_set-cookie_1_"),
        (f"/v1/files/{'f' * 200}:convert", "image/x-own", "f" * 80),
    ],
)
async def test_a_file_is_for_keeping_and_has_a_name_without_surprises(
    http: httpx.AsyncClient, path: str, content_type: str, name: str
) -> None:
    """A browser stores it, and shows nothing of it as a page of this origin."""
    answer = await http.post(path, content=b"abc", headers={"content-type": content_type})

    assert (200, f'attachment; filename="{name}"') == (answer.status_code, answer.headers["content-disposition"])


async def test_what_is_no_file_is_shown(http: httpx.AsyncClient) -> None:
    """JSON is for programs, and has no name."""
    assert "content-disposition" not in (await http.get("/v1/things?number=1")).headers


async def test_public_reads_are_cacheable_and_conditional(http: httpx.AsyncClient) -> None:
    """The etag is the hash of an answer without a version; a client that has it gets 304."""
    first = await http.get("/v1/things?number=1")
    etag = first.headers["etag"]
    again = await http.get("/v1/things?number=1", headers={"If-None-Match": f'"x", W/{etag}'})
    other = await http.get("/v1/things?number=2", headers={"If-None-Match": etag})

    assert first.headers["cache-control"] == "public, max-age=5"
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
    assert other.status_code == 200


async def test_the_version_of_a_resource_is_its_etag(http: httpx.AsyncClient) -> None:
    """A change is never stored by a cache, and never answered with 304."""
    answer = await http.patch("/v1/things/x", json={}, headers={"If-None-Match": '"v7"'})

    assert (answer.status_code, answer.headers["etag"]) == (200, '"v7"')
    assert answer.headers["cache-control"] == "no-store"


async def test_a_refusal_keeps_its_reason_and_metadata(http: httpx.AsyncClient) -> None:
    answer = await http.patch("/v1/things/locked", json={})

    error = error_of(answer)
    assert (answer.status_code, error["status"]) == (400, "FAILED_PRECONDITION")
    assert error["info"]["reason"] == "THING_LOCKED"
    assert error["info"]["metadata"] == {"name": "locked"}
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(("name", "status"), [("crash", 500), ("away", 503), ("inside", 500)])
async def test_nothing_of_the_inside_is_told(http: httpx.AsyncClient, name: str, status: int) -> None:
    """Neither the text of an unexpected exception nor what gRPC says about its sockets."""
    answer = await http.post(f"/v1/files/{name}:convert", content=b"x")

    assert answer.status_code == status
    assert not any(secret in answer.text for secret in ("swordfish", "secret", "sock"))


async def test_retry_info_becomes_retry_after(http: httpx.AsyncClient) -> None:
    answer = await http.post("/v1/files/away:convert")

    assert answer.headers["retry-after"] == "3"
    assert {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "2.200s"} in answer.json()["error"][
        "details"
    ]


async def test_browsers_land_with_whatever_somebody_else_sent_along(http: httpx.AsyncClient) -> None:
    """A payment provider's page adds parameters or a form of its own; only the path is believed."""
    by_link = await http.get("/v1/things/x:land?name=other&status=AUTHORIZED&text=forged")
    by_form = await http.post("/v1/things/x:land", data={"cres": "abc", "text": "forged"})

    for answer in (by_link, by_form):
        assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
        assert (change_of(answer)["name"], change_of(answer)["text"]) == ("x", "")


async def test_head_is_get_without_the_body(http: httpx.AsyncClient) -> None:
    get, head = await http.get("/v1/things"), await http.head("/v1/things")

    assert (head.status_code, head.content, head.headers["etag"]) == (200, b"", get.headers["etag"])
    assert (await http.head("/v1/things/x:land")).status_code == 405, "what has an effect is never only looked at"


async def test_a_client_that_leaves_cancels_its_call(edge: Edge, service: Everything) -> None:
    service.started.clear()
    service.ended.clear()
    _, writer = await asyncio.open_unix_connection(edge.socket)
    body = b"{}"
    writer.write(
        b"PATCH /v1/things/slow HTTP/1.1\r\nhost: edge\r\ncontent-type: application/json\r\n"
        b"content-length: %d\r\n\r\n%s" % (len(body), body)
    )
    await asyncio.wait_for(service.started.wait(), 2)
    writer.close()

    await asyncio.wait_for(service.ended.wait(), 2)
    await asyncio.sleep(0.05)
    assert edge.running == 0


async def test_above_the_bound_calls_are_refused_at_once(edge: Edge, http: httpx.AsyncClient) -> None:
    edge.running += edge._max_running
    try:
        answer = await http.get("/v1/things")
    finally:
        edge.running -= edge._max_running

    assert (answer.status_code, error_of(answer)["reason"]) == (429, "OVERLOADED")
    assert answer.headers["retry-after"] == "1"


async def test_the_socket_is_for_its_owner_alone(edge: Edge) -> None:
    import os
    import stat

    assert stat.S_IMODE(os.stat(edge.socket).st_mode) == 0o600


async def test_a_malformed_http_request_is_refused(edge: Edge) -> None:
    with socket.socket(socket.AF_UNIX) as raw:
        raw.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(raw, edge.socket)
        await loop.sock_sendall(raw, b"NONSENSE\r\n\r\n")
        assert b"400" in await loop.sock_recv(raw, 100)


async def test_texts_travel_as_they_are(http: httpx.AsyncClient) -> None:
    text = 'é "quoted" \\ \u2028 😀 </script>'
    answer = await http.patch(
        "/v1/things/x", content=json.dumps({"text": text}), headers={"content-type": "application/json"}
    )

    assert change_of(answer)["text"] == text
