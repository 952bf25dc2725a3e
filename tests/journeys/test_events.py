"""What leaves the mesh: events in Kafka, and the receipt in the customer's mailbox."""

from __future__ import annotations

import asyncio
import email
import email.policy
import time
from collections import defaultdict
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, Message, TopicPartition

from tests.journeys.conftest import RunningMesh, until
from titan.order.v1 import events_pb2

pytestmark = pytest.mark.timeout(60)

TOPIC = "titan.order.v1"


def published(mesh: RunningMesh, keys: set[str], count: int, *, seconds: float = 15.0) -> list[Message]:
    """Return the messages of some orders: so many, and whatever more arrives in the next half second."""
    consumer = Consumer({"bootstrap.servers": mesh.endpoints["kafka"], "group.id": uuid4().hex, "logger": Quiet()})
    try:
        partitions = until(lambda: consumer.list_topics(TOPIC, timeout=5).topics[TOPIC].partitions, seconds=seconds)
        consumer.assign([TopicPartition(TOPIC, number, OFFSET_BEGINNING) for number in partitions])
        found: list[Message] = []
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            message = consumer.poll(0.1)
            if message is not None and message.error() is None and message.key().decode() in keys:
                found.append(message)
                if len(found) == count:
                    deadline = time.monotonic() + 0.5
        return found
    finally:
        consumer.close()


class Quiet:
    """A logger for librdkafka, which tells of every lost connection."""

    def log(self, *arguments: object) -> None:
        """Say nothing."""


def headers(message: Message) -> dict[str, str]:
    """Return the headers as text."""
    return {name: value.decode() for name, value in message.headers()}


async def waiting(mesh: RunningMesh) -> int:
    """Return how many events of all packages are not published yet."""
    count = 0
    for url in mesh.endpoints["postgres"].values():
        connection = await asyncpg.connect(url)
        try:
            if await connection.fetchval("SELECT to_regclass('outbox')") is not None:
                count += await connection.fetchval("SELECT count(*) FROM outbox WHERE published_at IS NULL")
        finally:
            await connection.close()
    return count


def mail_about(mesh: RunningMesh, order_id: str) -> list[str]:
    """Return the text of every message that names an order."""
    found = []
    for path in Path(mesh.endpoints["mail_dir"], "new").iterdir():
        message = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
        body = message.get_body(("plain",))
        if body is not None and order_id in body.get_content():
            found.append(f"To: {message['to']}\n{body.get_content()}")
    return found


def test_every_version_of_an_order_is_one_event(mesh: RunningMesh) -> None:
    """Placed, confirmed, cancelled, refunded: CloudEvents in binary mode, keyed by the order, without a gap or a
    repetition."""
    sku = mesh.product(price=300)
    shopper = mesh.guest()
    shopper.top_up(1_000)
    orders = [
        shopper.ok("POST", "/v1/orders", shopper.order_body([(sku, 1)], 300), key=str(uuid4()))["order"]["orderId"]
        for _ in range(2)
    ]
    until(lambda: shopper.order(orders[1])["paymentStatus"] == "CAPTURED")
    shopper.ok("POST", f"/v1/orders/{orders[1]}:cancel", {})

    by_order: dict[str, list[dict[str, str]]] = defaultdict(list)
    for message in published(mesh, set(orders), 6):
        sent = headers(message)
        assert (sent["ce_subject"], sent["ce_cell"]) == (message.key().decode(), "local")
        by_order[message.key().decode()].append(sent)
        if sent["ce_type"] == "titan.order.v1.OrderConfirmed":
            assert events_pb2.OrderConfirmed.FromString(message.value()).total.minor_units == 300
        if sent["ce_type"] == "titan.order.v1.OrderRefunded":
            refunded = events_pb2.OrderRefunded.FromString(message.value())
            assert (refunded.amount.minor_units, refunded.full) == (300, True)

    def story(order_id: str) -> list[tuple[str, str]]:
        return [(sent["ce_aggregateversion"], sent["ce_type"].rpartition(".")[2]) for sent in by_order[order_id]]

    assert story(orders[0]) == [("1", "OrderPlaced"), ("2", "OrderConfirmed")]
    assert story(orders[1]) == [
        ("1", "OrderPlaced"),
        ("2", "OrderConfirmed"),
        ("3", "OrderCancelled"),
        ("4", "OrderRefunded"),
    ]
    assert len({sent["ce_id"] for events in by_order.values() for sent in events}) == 6


def test_a_cancelled_order_shows_its_refund_and_its_buyer_has_one_letter_of_each(mesh: RunningMesh) -> None:
    """A receipt, that it is cancelled, and that the money went back: the order, its journal and the letters agree."""
    sku = mesh.product(price=777)
    shopper = mesh.guest()
    shopper.top_up(1_000)
    order_id = shopper.ok("POST", "/v1/orders", shopper.order_body([(sku, 1)], 777), key="k")["order"]["orderId"]
    until(lambda: shopper.order(order_id)["paymentStatus"] == "CAPTURED")
    shopper.ok("POST", f"/v1/orders/{order_id}:cancel", {})
    until(lambda: shopper.order(order_id)["paymentStatus"] == "REFUNDED")

    order = shopper.order(order_id)
    assert (order["status"], order["refunded"]) == ("CANCELLED", {"currencyCode": "GBP", "minorUnits": "777"})
    assert shopper.ok("GET", "/v1/wallet")["wallet"]["balance"]["minorUnits"] == "1000"
    last = shopper.ok("GET", f"/v1/orders/{order_id}/events")["events"][-1]
    assert (last["type"], last["status"], last["amount"]) == ("OrderRefunded", "CANCELLED", order["refunded"])

    letters = until(lambda: found if len(found := mail_about(mesh, order_id)) >= 3 else None, seconds=20)
    headings = [letter.splitlines()[1] for letter in letters]
    assert sorted(headings) == ["Thank you for your order", "Your order is cancelled", "Your refund"]


def test_the_receipt_reaches_the_mailbox_once(mesh: RunningMesh) -> None:
    """Also when the mailbox was away: the order never waits for it."""
    sku = mesh.product(price=4321)
    shopper = mesh.guest()
    shopper.top_up(10_000)
    with mesh.suspended("mailbox"):
        body = {**shopper.order_body([(sku, 2)], 8642), "contactEmail": "grace@example.com"}
        order_id = shopper.ok("POST", "/v1/orders", body, key="k")["order"]["orderId"]
        assert mail_about(mesh, order_id) == []
    (receipt,) = until(lambda: mail_about(mesh, order_id), seconds=20)
    assert receipt.startswith("To: grace@example.com\n")
    assert sku in receipt and "£86.42" in receipt


async def test_the_outbox_drains_after_the_broker_was_away(mesh: RunningMesh) -> None:
    """Orders go on while the broker hangs and after it lost everything; their events and receipts come later."""
    sku = mesh.product(price=250)
    shopper = mesh.guest()
    shopper.top_up(1_000)

    def order() -> str:
        started = time.monotonic()
        placed = shopper.ok("POST", "/v1/orders", shopper.order_body([(sku, 1)], 250), key=str(uuid4()))["order"]
        assert (placed["status"], time.monotonic() - started < 2.0) == ("CONFIRMED", True)
        return placed["orderId"]

    restarts = mesh.row("kafka")["restarts"]
    assert mesh.control("kill", "kafka", "SIGSTOP").returncode == 0
    hung = order()
    assert await waiting(mesh) >= 2
    assert mesh.control("kill", "kafka", "SIGKILL").returncode == 0
    lost = order()
    until(lambda: (row := mesh.row("kafka"))["healthy"] and row["restarts"] == restarts + 1)

    deadline = time.monotonic() + 20
    while await waiting(mesh):
        assert time.monotonic() < deadline, "the outbox does not drain"
        await asyncio.sleep(0.2)
    for order_id in (hung, lost):
        seen = [headers(message)["ce_aggregateversion"] for message in published(mesh, {order_id}, 2)]
        assert seen == ["1", "2"]
        until(lambda order_id=order_id: len(mail_about(mesh, order_id)) == 1, seconds=20)
