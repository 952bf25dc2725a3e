"""Orders paid by card: the provider is a process of its own, and its own log is the witness."""

from __future__ import annotations

import json
import time
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.journeys.conftest import RunningMesh, Shopper, gbp, reason, until

pytestmark = pytest.mark.timeout(60)


def place(shopper: Shopper, sku: str, total: int, token: str, key: str = "") -> httpx.Response:
    """Order two units by card."""
    return shopper.send(
        "POST", "/v1/orders", shopper.order_body([(sku, 2)], total, card={"token": token}), key=key or str(uuid4())
    )


def movements(mesh: RunningMesh, payment_id: str) -> list[tuple[str, int]]:
    """Return what the provider did for a payment, as kind and amount, without what had no effect."""
    lines = [json.loads(line) for line in open(mesh.endpoints["psp_log"])]
    return [
        (line["kind"], line["amount_minor"]) for line in lines if line["payment_id"] == payment_id if line["effect"]
    ]


def payment_of(mesh: RunningMesh, amount: int) -> str:
    """Return the provider's latest payment of an amount that no other journey uses."""
    lines = [json.loads(line) for line in open(mesh.endpoints["psp_log"])]
    return [line["payment_id"] for line in lines if line["amount_minor"] == amount][-1]


def test_a_card_is_charged_once_and_refunded_in_parts(mesh: RunningMesh) -> None:
    """Authorized, captured, refunded twice; a penny more than was taken is refused."""
    sku = mesh.product(price=1111, stock=5)
    shopper = mesh.guest()
    key = str(uuid4())
    first, again = place(shopper, sku, 2222, "tok_visa", key), place(shopper, sku, 2222, "tok_visa", key)
    assert first.status_code == 200, first.text
    assert first.content == again.content
    order_id = first.json()["order"]["orderId"]
    assert first.json()["order"]["status"] == "CONFIRMED"
    until(lambda: shopper.order(order_id)["paymentStatus"] == "CAPTURED")
    payment_id = payment_of(mesh, 2222)
    assert movements(mesh, payment_id) == [("authorize", 2222), ("capture", 2222)]

    alone = shopper.send("POST", f"/v1/orders/{order_id}/refunds", {"amount": gbp(2221)}, key="all-but-a-penny")
    assert (alone.status_code, reason(alone)) == (403, "SUPPORT_REQUIRED")
    support = mesh.admin()

    def refund(minor: int, key: str) -> httpx.Response:
        body = {"amount": gbp(minor), "reason": "came broken"}
        return support.send("POST", f"/v1/orders/{order_id}/refunds", body, key=key)

    part = refund(222, "part")
    assert part.status_code == 200, part.text
    assert refund(222, "part").content == part.content
    until(lambda: shopper.order(order_id)["paymentStatus"] == "PARTIALLY_REFUNDED")
    too_much = refund(2001, "more")
    assert (too_much.status_code, reason(too_much)) == (400, "REFUND_EXCEEDS_ORDER")
    assert refund(2000, "rest").status_code == 200
    until(lambda: (order := shopper.order(order_id))["status"] == "REFUNDED" and order["paymentStatus"] == "REFUNDED")

    until(lambda: len(movements(mesh, payment_id)) == 4)
    assert movements(mesh, payment_id)[2:] == [("refund", 222), ("refund", 2000)]
    assert mesh.admin().ok("GET", "/v1/ledger:verify")["balanced"] is True


def test_once_the_parcel_has_left_support_decides_on_refunds(mesh: RunningMesh) -> None:
    """Its buyer is told to ask, and keeps neither goods nor money by themselves; support refunds by the same call."""
    sku = mesh.product(price=1414, stock=2)
    shopper, admin = mesh.guest(), mesh.admin()
    order_id = place(shopper, sku, 2828, "tok_visa").json()["order"]["orderId"]
    until(lambda: shopper.order(order_id)["paymentStatus"] == "CAPTURED")
    path = f"/v1/orders/{order_id}"
    for code in ("", "TRK-1", "TRK-1"):
        admin.ok("POST", f"{path}:ship", {"trackingCode": code})
    other = admin.send("POST", f"{path}:ship", {"trackingCode": "TRK-2"})
    assert (other.status_code, reason(other)) == (409, "TRACKING_CODE_CONFLICT")
    assert shopper.order(order_id)["trackingCode"] == "TRK-1"
    admin.ok("POST", f"{path}:deliver", {})

    refused = shopper.send("POST", f"{path}/refunds", {}, key="back")
    assert (refused.status_code, reason(refused)) == (403, "SUPPORT_REQUIRED")
    assert shopper.order(order_id)["status"] == "DELIVERED"
    admin.ok("POST", f"{path}/refunds", {"reason": "came broken"}, key="back")
    until(lambda: shopper.order(order_id)["paymentStatus"] == "REFUNDED")
    assert shopper.order(order_id)["status"] == "REFUNDED"


def test_a_declined_card_leaves_no_trace_on_the_shelf(mesh: RunningMesh) -> None:
    """The refusal is stored under the key, and the stock is free again."""
    sku = mesh.product(price=1717, stock=2)
    shopper = mesh.guest()
    key = str(uuid4())
    refused = place(shopper, sku, 3434, "tok_declined", key)
    assert (refused.status_code, reason(refused)) == (400, "PAYMENT_DECLINED")
    assert place(shopper, sku, 3434, "tok_declined", key).content == refused.content
    until(lambda: mesh.stock(sku) == (2, 0, 2))
    assert movements(mesh, payment_of(mesh, 3434)) == [("decline", 3434)]
    assert place(shopper, sku, 3434, "tok_visa").json()["order"]["status"] == "CONFIRMED"


def test_an_order_waits_for_its_customer_and_believes_only_signed_notices(mesh: RunningMesh) -> None:
    """A forged notice changes nothing; the customer's confirmation at the provider makes the order."""
    sku = mesh.product(price=1313, stock=2)
    shopper = mesh.guest()
    waiting = place(shopper, sku, 2626, "tok_action").json()["order"]
    assert (waiting["status"], waiting["paymentStatus"]) == ("PENDING", "ACTION_REQUIRED")
    assert mesh.stock(sku) == (2, 2, 0)
    url = waiting["nextAction"]["url"]

    for signature in ({}, {"titan-psp-signature": f"t={int(time.time())},v1={'0' * 64}"}):
        refused = shopper.http.post("/v1/webhooks/psp_sim", json=notice(mesh, 2626), headers=signature)
        assert (refused.status_code, reason(refused)) == (401, "WEBHOOK_SIGNATURE_INVALID")
    assert shopper.order(waiting["orderId"])["status"] == "PENDING"

    assert httpx.post(f"{url}:confirm").json()["status"] == "authorized"
    until(lambda: shopper.order(waiting["orderId"])["status"] == "CONFIRMED")
    until(lambda: shopper.order(waiting["orderId"])["paymentStatus"] == "CAPTURED")
    assert "nextAction" not in shopper.order(waiting["orderId"])
    assert movements(mesh, payment_of(mesh, 2626))[-1] == ("capture", 2626)


def test_a_customer_who_says_no_at_the_provider_cancels_the_order(mesh: RunningMesh) -> None:
    sku = mesh.product(price=1919, stock=2)
    shopper = mesh.guest()
    waiting = place(shopper, sku, 3838, "tok_action").json()["order"]
    assert httpx.post(f"{waiting['nextAction']['url']}:fail").json()["status"] == "declined"
    until(lambda: shopper.order(waiting["orderId"])["status"] == "CANCELLED")
    until(lambda: mesh.stock(sku) == (2, 0, 2))


def test_a_provider_that_hangs_holds_up_no_wallet_and_loses_no_card(mesh: RunningMesh) -> None:
    """Its shopper gives up waiting and asks again with the same key once the provider is back; it is charged once."""
    sku = mesh.product(price=2323, stock=4)
    shopper, other = mesh.guest(), mesh.guest()
    other.top_up(10_000)
    key = str(uuid4())
    with mesh.suspended("psp_sim"):
        body = shopper.order_body([(sku, 2)], 4646, card={"token": "tok_visa"})
        with pytest.raises(httpx.ReadTimeout):
            shopper.send("POST", "/v1/orders", body, key=key, timeout=1.5)
        started = time.monotonic()
        paid = other.ok("POST", "/v1/orders", other.order_body([(sku, 1)], 2323), key="w")["order"]
        assert (paid["status"], time.monotonic() - started < 1.0) == ("CONFIRMED", True)

    def confirmed() -> dict[str, Any] | None:
        order = place(shopper, sku, 4646, "tok_visa", key).json().get("order", {})
        return order if order.get("status") == "CONFIRMED" else None

    order = until(confirmed, seconds=20)
    until(lambda: shopper.order(order["orderId"])["paymentStatus"] == "CAPTURED")
    assert movements(mesh, payment_of(mesh, 4646)) == [("authorize", 4646), ("capture", 4646)]


def notice(mesh: RunningMesh, amount: int) -> dict[str, Any]:
    """Return the notice that a thief would send: the payment was authorized."""
    return {
        "event_id": f"evt_{uuid4().hex}",
        "type": "payment.authorized",
        "payment_id": payment_of(mesh, amount),
        "provider_reference": "psp_forged",
        "operation_id": "",
        "amount_minor": amount,
        "currency": "GBP",
        "sequence": 1,
        "occurred_at": "2026-01-01T00:00:00Z",
        "decline_code": None,
    }
