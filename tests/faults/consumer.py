"""`python -m tests.faults.consumer BROKER FILE`: listen to all events of a mesh from outside, until it is told to stop.

It keeps a table of its own of what it met, so that a repetition counts once, and writes the table when it ends. A
broker that was killed has forgotten its messages and counts from zero again: then everything is read anew.
"""

from __future__ import annotations

import hashlib
import json
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

LOOK_SECONDS = 1.0
LAST_SECONDS = 20.0
"""How long it goes on after it was told to stop, at a broker that does not answer."""

SILENT_LOOKS = 5
PROOF_SOURCE = "/proof"
"""Whoever tests the services with events of his own names himself; they are no events of the mesh."""


class Quiet:
    """A logger for librdkafka, which tells of every lost connection."""

    def log(self, *arguments: object) -> None:
        """Say nothing."""


Key = tuple[str, str, int, str, str]


class Listener:
    """What was met: topic, aggregate, version, event id and digest of the content; and how often, readings anew
    included."""

    def __init__(self, broker: str) -> None:
        """Describe a listener at a broker that may not be there yet."""
        self.met: Counter[Key] = Counter()
        self._settings = {
            "bootstrap.servers": broker,
            "group.id": "proof",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "error_cb": self._hear,
            "logger": Quiet(),
        }
        self._lost = False

    def listen(self, stopped: list[float]) -> None:
        """Read until told to stop, and then what is there still."""
        while not stopped or time.monotonic() < stopped[0] + LAST_SECONDS:
            self._lost = False
            consumer = Consumer(self._settings)
            try:
                if self._read(consumer, stopped):
                    return
            except KafkaException:
                time.sleep(LOOK_SECONDS / 2)
            finally:
                consumer.close()

    def _read(self, consumer: Consumer, stopped: list[float]) -> bool:
        """Read all topics; returns whether it is over. False asks for a new beginning: the broker was away."""
        assigned: set[tuple[str, int]] = set()
        look_at, silent = 0.0, 0
        while not self._lost:
            if time.monotonic() > look_at:
                look_at = time.monotonic() + LOOK_SECONDS
                new = partitions_of(consumer, is_event_topic) - assigned
                consumer.incremental_assign([TopicPartition(*each, OFFSET_BEGINNING) for each in new])
                assigned |= new
            messages = consumer.consume(500, timeout=0.2)
            for message in messages:
                if message.error() is None:
                    self._note(message)
            silent = 0 if messages else silent + 1
            if stopped and silent > SILENT_LOOKS:
                return True
        return False

    def _hear(self, problem: KafkaError) -> None:
        if problem.code() in (KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN):
            self._lost = True

    def _note(self, message: Message) -> None:
        headers = {name: value.decode() for name, value in message.headers() or ()}
        if headers.get("ce_source") == PROOF_SOURCE:
            return
        aggregate = message.key().decode()
        digest = hashlib.sha256(message.value() or b"").hexdigest()
        self.met[message.topic(), aggregate, int(headers["ce_aggregateversion"]), headers["ce_id"], digest] += 1


def is_event_topic(topic: str) -> bool:
    """Return whether events of the mesh are in a topic, and not what was laid aside."""
    return topic.startswith("titan.") and not topic.endswith(".dead")


def partitions_of(consumer: Consumer, wanted: Callable[[str], bool]) -> set[tuple[str, int]]:
    """Return the partitions of the topics that are wanted, of those that there are."""
    topics = consumer.list_topics(timeout=5).topics.values()
    return {(topic.topic, partition) for topic in topics if wanted(topic.topic) for partition in topic.partitions}


def main(broker: str, file: Path) -> int:
    """Listen, then write what was met."""
    stopped: list[float] = []
    signal.signal(signal.SIGTERM, lambda *_: stopped.append(time.monotonic()))
    listener = Listener(broker)
    listener.listen(stopped)
    with file.open("w") as lines:
        for (topic, aggregate_id, version, event_id, digest), times in sorted(listener.met.items()):
            row = {"topic": topic, "aggregate_id": aggregate_id, "version": version, "event_id": event_id}
            lines.write(json.dumps({**row, "digest": digest, "times": times}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
