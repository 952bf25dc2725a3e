"""The proof's own consumer meets every event once, and begins anew at a broker that has forgotten."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from confluent_kafka import Producer

from control.servers.broker import Broker
from tests.faults.mesh import ROOT

pytestmark = pytest.mark.timeout(60)


def publish(broker: Broker, topic: str, versions: range) -> None:
    """Publish some versions of one aggregate, each twice."""
    producer = Producer({"bootstrap.servers": broker.url, "acks": "all"})
    for version in versions:
        for _ in range(2):
            headers = {"ce_subject": "a", "ce_aggregateversion": str(version), "ce_id": f"id-{version}"}
            producer.produce(topic, b"", b"a", headers=headers)
    assert producer.flush(10) == 0


def test_events_are_counted_also_when_the_broker_begins_again(titan_home: Path, tmp_path: Path) -> None:
    broker = Broker(data=titan_home / "data" / "kafka-proof", log=titan_home / "log" / "kafka-proof.log").start()
    file = tmp_path / "events.ndjson"
    listener = subprocess.Popen(
        [sys.executable, "-m", "tests.faults.consumer", broker.url, str(file)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'gen'}"},
    )
    try:
        publish(broker, "titan.proof.v1", range(1, 11))
        time.sleep(3)  # as long as the first half is kept
        broker.stop()
        broker.start()
        publish(broker, "titan.proof.v1", range(11, 16))
        listener.send_signal(signal.SIGTERM)
        assert listener.wait(20) == 0
    finally:
        listener.kill()
        listener.wait()
        broker.stop()
    met = [json.loads(line) for line in file.read_text().splitlines()]
    assert [(each["version"], each["event_id"], each["times"]) for each in met] == [
        (version, f"id-{version}", 2) for version in range(1, 16)
    ]
