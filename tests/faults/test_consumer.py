"""The proof's own consumer meets every event once, and begins anew at a broker that has forgotten."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from confluent_kafka import Producer

from control.servers.broker import Broker
from tests.faults.consumer import Listener

pytestmark = pytest.mark.timeout(60)


def publish(broker: Broker, topic: str, versions: range) -> None:
    """Publish some versions of one aggregate, each twice."""
    producer = Producer({"bootstrap.servers": broker.url, "acks": "all"})
    for version in versions:
        for _ in range(2):
            headers = {"ce_subject": "a", "ce_aggregateversion": str(version), "ce_id": f"id-{version}"}
            producer.produce(topic, b"", b"a", headers=headers)
    assert producer.flush(10) == 0


def until(condition: Callable[[], bool], *, seconds: float = 25.0) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:g} s"
        time.sleep(0.05)


def test_every_event_is_met_also_when_the_broker_begins_again(titan_home: Path) -> None:
    """What it met before stays met, and what the new broker numbers from zero again is not skipped."""
    broker = Broker(data=titan_home / "data" / "kafka-proof", log=titan_home / "log" / "kafka-proof.log").start()
    listener, stopped = Listener(broker.url), list[float]()
    listening = threading.Thread(target=listener.listen, args=(stopped,))
    listening.start()
    try:
        publish(broker, "titan.proof.v1", range(1, 11))
        until(lambda: len(listener.met) == 10)
        broker.stop()
        broker.start()
        publish(broker, "titan.proof.v1", range(11, 16))
        until(lambda: len(listener.met) == 15)
    finally:
        stopped.append(time.monotonic())
        listening.join()
        broker.stop()
    assert sorted(key[:4] for key in listener.met) == [
        ("titan.proof.v1", "a", version, f"id-{version}") for version in range(1, 16)
    ]
