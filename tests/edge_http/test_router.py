"""Paths find their routes: literals before variables, verbs before colons in values."""

from __future__ import annotations

import pytest

from edge_http.router import Match, Router, TemplateProblem, parse

ROUTES = [
    ("GET", "/v1/products"),
    ("POST", "/v1/products"),
    ("GET", "/v1/products:search"),
    ("GET", "/v1/products/{product_id}"),
    ("PATCH", "/v1/products/{product.product_id}"),
    ("GET", "/v1/users/me"),
    ("PATCH", "/v1/users/{user_id}"),
    ("GET", "/v1/orders/{order_id}"),
    ("POST", "/v1/orders/{order_id}:cancel"),
    ("GET", "/v1/orders/{order_id}/events"),
    ("GET", "/v1/orders/latest/{what}"),
    ("GET", "/v1/inventory/{sku}"),
    ("POST", "/v1/inventory/{sku}:adjust"),
    ("GET", "/v1/{name=shelves/*}/books/{book}"),
    ("GET", "/v1/files/{path=**}"),
    ("GET", "/v1/files/{path=**}:raw"),
]
ROUTER = Router((method, template, template) for method, template in ROUTES)


@pytest.mark.parametrize(
    ("method", "path", "template", "captured"),
    [
        ("GET", "/v1/products", "/v1/products", {}),
        ("GET", "/v1/products:search", "/v1/products:search", {}),
        ("GET", "/v1/products/p1", "/v1/products/{product_id}", {"product_id": "p1"}),
        ("PATCH", "/v1/products/p1", "/v1/products/{product.product_id}", {"product.product_id": "p1"}),
        ("GET", "/v1/users/me", "/v1/users/me", {}),
        ("PATCH", "/v1/users/me", "/v1/users/{user_id}", {"user_id": "me"}),
        ("POST", "/v1/orders/o1:cancel", "/v1/orders/{order_id}:cancel", {"order_id": "o1"}),
        ("GET", "/v1/orders/o1/events", "/v1/orders/{order_id}/events", {"order_id": "o1"}),
        ("GET", "/v1/orders/latest/events", "/v1/orders/latest/{what}", {"what": "events"}),
        ("GET", "/v1/inventory/A:B", "/v1/inventory/{sku}", {"sku": "A:B"}),
        ("POST", "/v1/inventory/A:B:adjust", "/v1/inventory/{sku}:adjust", {"sku": "A:B"}),
        ("POST", "/v1/inventory/A%3Aadjust:adjust", "/v1/inventory/{sku}:adjust", {"sku": "A%3Aadjust"}),
        ("GET", "/v1/inventory/A%3Aadjust", "/v1/inventory/{sku}", {"sku": "A%3Aadjust"}),
        ("GET", "/v1/inventory/A%2FB", "/v1/inventory/{sku}", {"sku": "A%2FB"}),
        ("GET", "/v1/inventory/:", "/v1/inventory/{sku}", {"sku": ":"}),
        ("GET", "/v1/shelves/s/books/b", "/v1/{name=shelves/*}/books/{book}", {"name": "shelves/s", "book": "b"}),
        ("GET", "/v1/files/a/b/c", "/v1/files/{path=**}", {"path": "a/b/c"}),
        ("GET", "/v1/files/a/b:raw", "/v1/files/{path=**}:raw", {"path": "a/b"}),
    ],
)
def test_a_path_finds_the_most_literal_route(method: str, path: str, template: str, captured: dict[str, str]) -> None:
    found = ROUTER.find(method, path)

    assert isinstance(found, Match)
    assert (found.value, dict(found.captured)) == (template, captured)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/v1/products", {"GET", "POST"}),
        ("DELETE", "/v1/products/p1", {"GET", "PATCH"}),
        ("GET", "/v1/orders/o1:cancel", {"POST"}),
        ("POST", "/v1/products:search", {"GET"}),
        ("GET", "/v1/nothing", set()),
        ("GET", "/v1/products:find", set()),
        ("GET", "/v1/products/", set()),
        ("GET", "/v1/products//", set()),
        ("GET", "/v1", set()),
        ("GET", "/", set()),
        ("GET", "", set()),
        ("GET", "*", set()),
        ("GET", "/v1/inventory/:adjust/x", set()),
        ("GET", "/" + "a/" * 1000, set()),
    ],
)
def test_a_path_without_the_method_names_those_it_has(method: str, path: str, allowed: set[str]) -> None:
    assert ROUTER.find(method, path) == allowed


@pytest.mark.parametrize("template", ["", "v1", "/", "/v1//x", "/v1/", "/v1/{a}{b}", "/v1/{a", "/v1/**/x", "/v1/x}"])
def test_a_template_that_cannot_be_served_stops_the_start(template: str) -> None:
    with pytest.raises(TemplateProblem):
        parse(template)


def test_two_routes_of_one_shape_stop_the_start() -> None:
    with pytest.raises(TemplateProblem):
        Router([("GET", "/v1/{a}", 1), ("GET", "/v1/{b}", 2)])
