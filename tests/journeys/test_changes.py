"""What changes under a mesh that works: replicas, certificates, and a Redis that forgets."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import httpx
import pytest
import redis

from control.authority import Authority
from control.home import Home
from control.topology_file import TOPOLOGY
from mesh import topology
from tests.journeys.conftest import RunningMesh, reason, until

pytestmark = pytest.mark.timeout(60)


@contextmanager
def orders_placed_meanwhile(mesh: RunningMesh) -> Iterator[list[str]]:
    """Place wallet orders one after the other for as long as the block runs; every one has to be confirmed."""
    sku = mesh.product(price=10, stock=100_000)
    shopper = mesh.guest()
    shopper.top_up(1_000_000)
    answers: list[str] = []
    done = threading.Event()

    def place() -> None:
        while not done.is_set():
            try:
                response = shopper.send("POST", "/v1/orders", shopper.order_body([(sku, 1)], 10), key=str(uuid4()))
                good = response.status_code == 200 and response.json()["order"]["status"] == "CONFIRMED"
                answers.append("CONFIRMED" if good else f"{response.status_code} {response.text}")
            except httpx.HTTPError as error:
                answers.append(repr(error))

    placing = threading.Thread(target=place)
    placing.start()
    try:
        until(lambda: answers)
        yield answers
    finally:
        done.set()
        placing.join()
    assert set(answers) == {"CONFIRMED"}


def test_a_replica_joins_and_leaves_under_orders(mesh: RunningMesh) -> None:
    """No call fails while svc_order has one process, two, and one again; the second takes its share."""
    log = mesh.home / "log" / "svc_order.1.log"
    with orders_placed_meanwhile(mesh) as answers:
        assert mesh.control("scale", "svc_order", "2").returncode == 0
        until(lambda: "CheckoutService.PlaceOrder" in log.read_text())
        assert mesh.control("scale", "svc_order", "1").returncode == 0
        after = len(answers)
        until(lambda: len(answers) > after + 5)


def test_certificates_rotate_under_orders(mesh: RunningMesh) -> None:
    """Every identity gets a new key and certificate, and no call notices."""
    home = Home.from_environment(mesh.environment)
    authority = Authority(topology.load(TOPOLOGY), home)
    files = [home.run / "sds" / f"{name}.json" for name in authority.identities]
    before = [file.read_text() for file in files]
    with orders_placed_meanwhile(mesh) as answers:
        for _ in range(2):
            authority.open()
            time.sleep(0.5)
        after = len(answers)
        until(lambda: len(answers) > after + 5)
    assert not set(before) & {file.read_text() for file in files}
    assert mesh.guest().ok("GET", "/v1/cart")["cart"]["items"] == []


def test_a_cart_comes_back_after_redis_lost_everything(mesh: RunningMesh) -> None:
    """The cart was saved within a second; it comes back with its etag and can be ordered."""
    sku = mesh.product(price=640)
    shopper = mesh.guest()
    shopper.top_up(2_000)
    shopper.ok("POST", "/v1/cart/items", {"sku": sku, "quantity": 3})
    before = shopper.ok("GET", "/v1/cart")["cart"]
    time.sleep(1.2)
    redis.Redis.from_url(mesh.endpoints["redis"]).flushall()
    assert shopper.ok("GET", "/v1/cart")["cart"] == before
    order = shopper.ok("POST", "/v1/orders", shopper.order_body([], 1920), key="k")["order"]
    assert order["status"] == "CONFIRMED"
    assert shopper.ok("GET", "/v1/cart")["cart"]["items"] == []


def test_a_redis_that_hangs_stops_carts_and_nothing_else(mesh: RunningMesh) -> None:
    """The call is tried again within its time, so the refusal may be either that of the cart or that of the clock."""
    sku = mesh.product(price=640)
    shopper = mesh.guest()
    shopper.top_up(2_000)
    with mesh.suspended("valkey"):
        refused = shopper.send("GET", "/v1/cart")
        assert (refused.status_code, reason(refused)) in {(503, "UNAVAILABLE"), (504, "DEADLINE_EXCEEDED")}
        order = shopper.ok("POST", "/v1/orders", shopper.order_body([(sku, 1)], 640), key="k")["order"]
        assert order["status"] == "CONFIRMED"
    until(lambda: shopper.send("GET", "/v1/cart").status_code == 200)
