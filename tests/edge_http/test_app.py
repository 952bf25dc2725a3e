"""The whole edge as it is built for a process: Titan's contract, its pages, its start and its end."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from edge_http import app, errors
from edge_http.server import HttpServer, bind
from mesh.clients import Clients
from mesh.refusals import FieldViolation, IdempotencyKeyRequired, InvalidInput, Refusal
from mesh.server import AddressTaken
from tests import harness
from titan.catalog.v1 import product_pb2, product_service_pb2

PRODUCT = product_pb2.Product(
    product_id="0192f0c1-7a5b-7c3d-8e4f-5a6b7c8d9e0f",
    title="Tea",
    variants=[product_pb2.Variant(sku="TEA/1 %", price={"currency_code": "GBP", "minor_units": 425})],
    etag="e1",
)


class Products:
    """Has one product."""

    async def GetProduct(self, request: Any, context: Any) -> Any:
        if request.product_id != PRODUCT.product_id:
            raise NotThere("no such product")
        return product_service_pb2.GetProductResponse(product=PRODUCT)


class NotThere(Refusal):
    """There is no such product."""

    import grpc

    code = grpc.StatusCode.NOT_FOUND


class Keys:
    """Publishes no key at all."""

    async def GetJwks(self, request: Any, context: Any) -> Any:
        from titan.auth.v1 import auth_service_pb2

        return auth_service_pb2.GetJwksResponse()


@pytest.fixture(scope="module")
async def titan(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an edge in front of a catalogue and AuthService."""
    services = {"titan.catalog.v1.ProductService": Products(), "titan.auth.v1.AuthService": Keys()}
    async with harness.serve(services) as channel:
        clients = Clients(channel.target)
        path = str(tmp_path_factory.mktemp("e") / "e.sock")
        server = HttpServer(app.build(harness.titan_contract(), clients), f"unix:{path}", drain_seconds=1)
        await server.start()
        async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=path), base_url="http://edge") as client:
            yield client
        await server.stop()
        await clients.close()


async def test_a_product_is_read_and_kept_by_caches(titan: httpx.AsyncClient) -> None:
    answer = await titan.get(f"/v1/products/{PRODUCT.product_id}")
    again = await titan.get(f"/v1/products/{PRODUCT.product_id}", headers={"If-None-Match": answer.headers["etag"]})

    assert answer.json()["product"]["variants"] == [
        {
            "sku": "TEA/1 %",
            "price": {"currencyCode": "GBP", "minorUnits": "425"},
            "attributes": {},
        }
    ]
    assert (answer.headers["etag"], answer.headers["cache-control"]) == ('"e1"', "public, max-age=5")
    assert again.status_code == 304


async def test_limits_of_the_contract_are_told_in_the_names_of_json(titan: httpx.AsyncClient) -> None:
    """The services name fields as the proto does."""
    answer = await titan.get("/v1/products/not-a-uuid")

    error = answer.json()["error"]
    violations = error["details"][1]["fieldViolations"]
    assert (answer.status_code, [v["field"] for v in violations]) == (400, ["productId"])
    assert error["message"] == f"productId: {violations[0]['description']}"


def test_a_message_names_the_broken_field_as_json_does() -> None:
    """Where it stands at its beginning, however deep the field; the rest, and other messages, are told as they are."""
    broken = [
        FieldViolation('unit_prices["my_key"].minor_units', "must be more than 0"),
        FieldViolation("order_id", "must be a valid UUID"),
    ]
    first = f"{broken[0].field}: {broken[0].description}"

    messages = [
        errors.body(refusal)["error"]["message"]
        for refusal in (
            InvalidInput(f"{first} (and 1 more)", broken),
            InvalidInput("the order_id does not fit", broken),
            InvalidInput("the body is not JSON"),
        )
    ]

    assert messages == [
        'unitPrices["my_key"].minorUnits: must be more than 0 (and 1 more)',
        "the order_id does not fit",
        "the body is not JSON",
    ]


async def test_a_violation_holds_nothing_that_is_empty(titan: httpx.AsyncClient) -> None:
    """The field and what is wrong with it."""
    answer = await titan.get("/v1/products/not-a-uuid")

    (violation,) = answer.json()["error"]["details"][1]["fieldViolations"]
    assert {"field", "description"} == set(violation)


def test_a_missing_key_is_named_as_http_has_it() -> None:
    """The services know it as the field request_id."""
    refusal = IdempotencyKeyRequired("the call needs an idempotency key (request_id)")

    message = errors.body(refusal)["error"]["message"]

    assert "Idempotency-Key" in message
    assert "requestId" in message


async def test_the_root_leads_to_the_page(titan: httpx.AsyncClient) -> None:
    """It is what a person tries first."""
    answer = await titan.get("/")

    assert (307, "/docs") == (answer.status_code, answer.headers["location"])


async def test_health_description_and_page_are_served(titan: httpx.AsyncClient) -> None:
    answers = [await titan.get(path) for path in ("/healthz", "/readyz", "/openapi.json", "/docs")]
    known = await titan.get("/openapi.json", headers={"If-None-Match": answers[2].headers["etag"]})
    posted = await titan.post("/docs")

    assert [answer.status_code for answer in answers] == [200] * 4
    assert answers[2].json()["openapi"] == "3.1.0"
    assert answers[3].headers["content-type"] == "text/html; charset=utf-8"
    assert (known.status_code, posted.status_code) == (304, 405)


async def test_without_the_mesh_the_edge_lives_but_is_not_ready(tmp_path: Path) -> None:
    clients = Clients(f"unix:{tmp_path}/nobody.sock")
    edge = app.build(harness.titan_contract(), clients)
    transport = httpx.ASGITransport(edge)
    async with httpx.AsyncClient(transport=transport, base_url="http://edge") as client:
        alive, ready = await client.get("/healthz"), await client.get("/readyz")
    await clients.close()

    assert (alive.status_code, ready.status_code) == (200, 503)
    assert ready.json() == {"status": "NOT_READY", "reason": "UNAVAILABLE"}


async def test_a_socket_that_somebody_serves_is_not_taken_over(tmp_path: Path) -> None:
    """One that a killed process left behind is."""
    path = str(tmp_path / "e.sock")
    first = bind(path)
    with pytest.raises(AddressTaken):
        bind(path)
    first.close()

    bind(path).close()


async def test_the_process_starts_and_leaves_when_told(tmp_path: Path) -> None:
    """Within seconds, with exit status 0, and its socket is gone."""
    environment = {
        **os.environ,
        "TITAN_HOME": str(tmp_path),
        "TITAN_LAME_DUCK_SECONDS": "0",
        "PYTHONPATH": ".:gen",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "edge_http",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=environment,
    )
    assert process.stdout is not None
    line = await asyncio.wait_for(process.stdout.readline(), 20)
    socket = tmp_path / "run" / "app" / "edge_http.0.sock"
    assert b'"serving"' in line and socket.exists()

    process.send_signal(signal.SIGTERM)

    assert await asyncio.wait_for(process.wait(), 10) == 0
    assert not socket.exists()
