"""The broker: away, without memory, repeating itself out of order, and with a message that nobody can read."""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections.abc import Callable, Mapping
from functools import partial

from confluent_kafka import OFFSET_BEGINNING, Consumer, Message, Producer, TopicPartition

from tests.faults.consumer import PROOF_SOURCE, Quiet, is_event_topic, partitions_of
from tests.faults.faults.processes import kill, stop
from tests.faults.faults.scene import BACKLOG_SECONDS, Fault, Scene, Wrong, within

AWAY_SECONDS, FULL_AWAY_SECONDS = 10.0, 45.0
"""The latter stands for five minutes: by then whoever waits for the broker waits longest between two tries, so that a
longer absence adds events to publish, and nothing else."""

MOST_REPEATED = 2_000
READ_SECONDS = 10.0
POISONED = "titan.order.v1"
"""A topic that a service consumes; what it cannot read goes to the dead letters within three tries."""

DEAD_SECONDS = 30.0


async def away(scene: Scene) -> None:
    """Keep the broker down. When it comes back it has forgotten everything."""
    async with scene.mesh.without("kafka"):
        await asyncio.sleep(FULL_AWAY_SECONDS if scene.full else AWAY_SECONDS)


async def repeat(scene: Scene) -> str:
    """Deliver what was delivered once more, out of order, to whoever listens."""
    seed = scene.dice.randrange(2**31)
    count = await asyncio.to_thread(_repeat, scene.mesh.endpoints["kafka"], random.Random(seed))
    return f"{count} events again"


def _repeat(broker: str, dice: random.Random) -> int:
    messages = [each for each in _read(broker, is_event_topic) if each.value() is not None]
    again = dice.sample(messages, min(len(messages), MOST_REPEATED))
    producer = Producer({"bootstrap.servers": broker, "logger": Quiet()})
    for message in again:
        producer.produce(message.topic(), message.value(), message.key(), headers=message.headers())
        producer.poll(0)
    if producer.flush(READ_SECONDS):
        raise Wrong("the broker did not take the events again")
    return len(again)


async def poison(scene: Scene) -> str:
    """Publish an event that cannot be decoded. It has to end among the dead letters, and hold up nobody.

    Raises:
        Wrong: It did not get there.
    """
    broker, aggregate_id = scene.mesh.endpoints["kafka"], str(uuid.UUID(int=scene.dice.getrandbits(128), version=4))
    await asyncio.to_thread(_poison, broker, aggregate_id)
    deadline = time.monotonic() + DEAD_SECONDS
    while time.monotonic() < deadline:
        dead = await asyncio.to_thread(_read, broker, lambda topic: topic == f"{POISONED}.dead")
        if any(message.key() == aggregate_id.encode() for message in dead):
            return "among the dead letters"
        await asyncio.sleep(0.5)
    raise Wrong(f"a poison event was not among the dead letters after {DEAD_SECONDS:.0f} s")


def _poison(broker: str, aggregate_id: str) -> None:
    headers = [
        ("ce_specversion", b"1.0"),
        ("ce_id", str(uuid.uuid4()).encode()),
        ("ce_source", PROOF_SOURCE.encode()),
        ("ce_type", b"titan.order.v1.OrderConfirmed"),
        ("ce_time", b"2026-01-01T00:00:00Z"),
        ("ce_subject", aggregate_id.encode()),
        ("ce_cell", b"local"),
        ("ce_aggregateversion", b"1"),
        ("content-type", b"application/protobuf"),
    ]
    producer = Producer({"bootstrap.servers": broker, "logger": Quiet()})
    producer.produce(POISONED, b"\xff\xff\xff\xff no protobuf", aggregate_id.encode(), headers=headers)
    if producer.flush(READ_SECONDS):
        raise Wrong("the broker did not take the poison event")


def _read(broker: str, wanted: Callable[[str], bool]) -> list[Message]:
    """Return every message of the topics that are wanted, as far as they go now."""
    consumer = Consumer(
        {
            "bootstrap.servers": broker,
            "group.id": f"proof-{uuid.uuid4()}",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "logger": Quiet(),
        }
    )
    try:
        places = partitions_of(consumer, wanted)
        consumer.assign([TopicPartition(*place, OFFSET_BEGINNING) for place in places])
        found: list[Message] = []
        deadline, silent = time.monotonic() + READ_SECONDS, 0
        while places and silent < 3 and time.monotonic() < deadline:
            messages = consumer.consume(500, timeout=0.3)
            found += [message for message in messages if message.error() is None]
            silent = 0 if messages else silent + 1
        return found
    finally:
        consumer.close()


FAULTS: Mapping[str, Fault] = within(
    BACKLOG_SECONDS,
    {
        "stop kafka": partial(stop, name="kafka"),
        "kill kafka": partial(kill, name="kafka"),
        "kafka is away": away,
        "events come again, out of order": repeat,
        "a poison event": poison,
    },
)
