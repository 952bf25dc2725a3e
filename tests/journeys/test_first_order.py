"""The first order: the whole way through both Envoys, and what happens when something dies on it."""

from __future__ import annotations

from uuid import uuid4

import httpx
import pytest

from tests.journeys.conftest import ADDRESS, RunningMesh, gbp, reason, until


@pytest.mark.timeout(120)
def test_a_shopper_goes_from_registration_to_receipt(mesh: RunningMesh) -> None:
    """Guest, cart, registration, wallet, order, events, receipt: nothing moves when a guest registers."""
    sku = mesh.product(price=1250, stock=10)
    shopper = mesh.guest()
    email = f"ada-{uuid4().hex[:8]}@example.com"
    cart = shopper.ok("POST", "/v1/cart/items", {"sku": sku, "quantity": 2})["cart"]
    assert cart["subtotal"] == gbp(2500)

    registered = shopper.ok("POST", "/v1/users", {"email": email, "password": "correct horse battery"})["user"]
    assert registered["userId"] == shopper.user_id
    shopper = mesh.sign_in(email, "correct horse battery")
    assert shopper.user_id == registered["userId"]
    assert shopper.ok("GET", "/v1/cart")["cart"]["items"][0]["sku"] == sku

    shopper.top_up(10_000)
    body = {
        "expectedTotal": gbp(2500),
        "shippingAddress": ADDRESS,
        "contactEmail": email,
        "payment": {"wallet": {}},
    }
    key = str(uuid4())
    first = shopper.send("POST", "/v1/orders", body, key=key)
    again = shopper.send("POST", "/v1/orders", body, key=key)
    assert first.status_code == 200, first.text
    assert first.content == again.content
    order = first.json()["order"]
    assert (order["status"], order["total"]) == ("CONFIRMED", gbp(2500))

    assert shopper.ok("GET", "/v1/cart")["cart"].get("items", []) == []
    assert mesh.stock(sku) == (10, 2, 8)
    assert shopper.balance() == 7500
    events = shopper.ok("GET", f"/v1/orders/{order['orderId']}/events")["events"]
    assert [event["type"] for event in events] == ["OrderPlaced", "OrderConfirmed"]
    until(lambda: shopper.ok("GET", f"/v1/orders/{order['orderId']}")["order"]["paymentStatus"] == "CAPTURED")
    assert mesh.admin().ok("GET", "/v1/ledger:verify")["balanced"] is True


@pytest.mark.timeout(120)
@pytest.mark.parametrize("failpoint", ["order.record.after", "saga.authorize.after", "saga.decide.after"])
def test_a_coordinator_that_is_killed_loses_no_order_and_charges_once(mesh: RunningMesh, failpoint: str) -> None:
    """The process dies in the middle; the shopper asks again with the same key and has exactly one order."""
    sku = mesh.product(price=500, stock=5)
    shopper = mesh.guest()
    shopper.top_up(2_000)
    mesh.restart("svc_order", f"TITAN_FAILPOINTS={failpoint}=exit*1")
    restarts = mesh.row("svc_order")["restarts"]

    shopper.ok("POST", "/v1/cart/items", {"sku": sku, "quantity": 2})
    body, key = shopper.order_body([], 1000), str(uuid4())
    try:
        unknown = shopper.send("POST", "/v1/orders", body, key=key)
        assert unknown.status_code in (200, 500, 503, 504), unknown.text
    except httpx.TransportError:
        pass

    def placed() -> dict | None:
        response = shopper.send("POST", "/v1/orders", body, key=key)
        return response.json()["order"] if response.status_code == 200 else None

    order = until(placed, seconds=20)
    died = mesh.row("svc_order")
    assert (died["restarts"], died["last_end"]) == (restarts + 1, "status 137")
    assert until(lambda: (placed() or {}).get("status") == "CONFIRMED", seconds=20)
    assert len(shopper.ok("GET", "/v1/orders")["orders"]) == 1
    until(lambda: shopper.ok("GET", "/v1/cart")["cart"]["items"] == [])
    until(lambda: shopper.ok("GET", f"/v1/orders/{order['orderId']}")["order"]["paymentStatus"] == "CAPTURED")
    assert shopper.balance() == 1_000
    assert mesh.stock(sku) == (5, 2, 3)
    assert mesh.admin().ok("GET", "/v1/ledger:verify")["balanced"] is True


@pytest.mark.timeout(60)
def test_nobody_reads_somebody_elses_order(mesh: RunningMesh) -> None:
    sku = mesh.product()
    owner, stranger = mesh.guest(), mesh.guest()
    owner.top_up()
    order = owner.ok("POST", "/v1/orders", owner.order_body([(sku, 1)], 1250), key="mine")["order"]
    for method, path in (
        ("GET", f"/v1/orders/{order['orderId']}"),
        ("GET", f"/v1/orders/{order['orderId']}/events"),
        ("POST", f"/v1/orders/{order['orderId']}:cancel"),
    ):
        response = stranger.send(method, path, {} if method == "POST" else None)
        assert (response.status_code, reason(response)) == (404, "ORDER_NOT_FOUND")


@pytest.mark.timeout(60)
def test_a_cancelled_order_gives_money_and_stock_back(mesh: RunningMesh) -> None:
    sku = mesh.product(price=700, stock=3)
    shopper = mesh.guest()
    shopper.top_up(1_000)
    order = shopper.ok("POST", "/v1/orders", shopper.order_body([(sku, 1)], 700), key="k")["order"]
    assert shopper.ok("POST", f"/v1/orders/{order['orderId']}:cancel", {})["order"]["status"] == "CANCELLED"
    until(lambda: shopper.balance() == 1_000)
    until(lambda: mesh.stock(sku) == (3, 0, 3))
