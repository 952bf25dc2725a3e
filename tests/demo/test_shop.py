"""How the demo meets answers that it did not expect."""

from __future__ import annotations

import io
import json

import httpx
import pytest
from rich.console import Console

from demo import walk as demo
from demo.seed import CATALOGUE, seed
from demo.shop import Shop, Surprise


def a_shop(answer) -> tuple[Shop, io.StringIO]:
    """Return a shop behind which a function answers, and what it prints, as through a pipe."""
    printed = io.StringIO()
    http = httpx.Client(base_url="https://shop.test", transport=httpx.MockTransport(answer))
    return Shop(http, Console(file=printed, highlight=False, soft_wrap=True)), printed


def test_a_call_is_printed_with_its_milliseconds():
    """One line, readable where there is no terminal."""
    shop, printed = a_shop(lambda request: httpx.Response(200, json={"a": 1}))
    assert {"a": 1} == shop.call("GET", "/v1/cart")
    (line,) = printed.getvalue().splitlines()
    assert line.split()[:3] == ["GET", "/v1/cart", "200"] and line.endswith(" ms") and "\x1b" not in line


@pytest.mark.parametrize(
    "answer", [httpx.Response(503, json={"error": {"message": "away"}}), httpx.Response(200, text="<html>")]
)
def test_another_answer_is_a_surprise_that_names_the_call(answer):
    """The wrong status, or no JSON."""
    shop, _ = a_shop(lambda request: answer)
    with pytest.raises(Surprise, match="GET /v1/cart"):
        shop.call("GET", "/v1/cart")


def test_the_tally_knows_the_lines_of_all_users_of_a_shop():
    """What the last line of the demo says is what stands above it; calls that look again have no line."""
    shop, printed = a_shop(lambda request: httpx.Response(200, json={}))
    guest = shop.as_user("guest")
    guest.call("GET", "/v1/cart")
    guest.as_user("customer").call("GET", "/v1/cart")
    shop.call("GET", "/v1/orders/1", quiet=True)
    shop.show("POST", "http://bank.test/confirm", httpx.Response(200), 1.5)
    assert (3, 1) == (shop.tally.listed, shop.tally.unlisted)
    assert 3 == printed.getvalue().count(" ms\n")


def test_seeding_twice_asks_for_the_same():
    """The categories are made once, and stock is received under one key, whatever was there before."""
    categories: list[dict] = []
    asked: list[tuple[str, str | None]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content or b"{}")
        asked.append((request.url.path, request.headers.get("idempotency-key")))
        if request.url.path == "/v1/categories" and request.method == "GET":
            return httpx.Response(200, json={"categories": categories, "nextPageToken": ""})
        if request.url.path == "/v1/categories":
            made = {"categoryId": f"c{len(categories)}", "parentCategoryId": "", **body["category"]}
            categories.append(made)
            return httpx.Response(200, json={"category": made})
        if request.url.path == "/v1/products:batchCreate":
            return httpx.Response(200, json={"results": [{"product": each} for each in body["products"]]})
        return httpx.Response(200, json={"results": []})

    shop, _ = a_shop(answer)
    assert [12, 12] == [seed(shop), seed(shop)]
    assert 3 == len(categories) == CATALOGUE.read_text().count("[[categories]]")
    assert {"demo-opening-stock"} == {key for path, key in asked if path.endswith(":batchAdjust")}


@pytest.mark.parametrize("endpoints", [None, "{}"])
def test_without_a_mesh_the_demo_says_so_and_fails(tmp_path, monkeypatch, capsys, endpoints):
    """No mesh, or a file of another version: a line for a person, and an exit status."""
    if endpoints is not None:
        (tmp_path / "endpoints.json").write_text(endpoints)
    monkeypatch.setenv("TITAN_HOME", str(tmp_path))
    monkeypatch.setattr(demo, "console", printed := Console(file=io.StringIO(), soft_wrap=True))
    assert 1 == demo.main()
    assert (f"No mesh is running in {tmp_path}" if endpoints is None else "has no 'ca'") in printed.file.getvalue()
