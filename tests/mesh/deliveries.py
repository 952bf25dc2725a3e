"""Events written by hand, for what consumes them, a handler that notes what it sees, and dead letters in a list."""

from __future__ import annotations

import asyncio

import grpc

from mesh.kafka import BrokerAway
from mesh.outbox import event_id
from mesh.refusals import Refusal
from titan.type.v1 import money_pb2

TOPIC = "titan.mesh.v1"


class NotAcceptable(Refusal):
    code = grpc.StatusCode.FAILED_PRECONDITION


class FakeMessage:
    """A message as the client library gives it."""

    def __init__(self, key: str, version: int, value: bytes = b"", *, offset: int = 0, **changes) -> None:
        self._key, self._value, self._offset = key, value, offset
        attributes = {
            "ce_id": str(event_id(TOPIC, key, version)),
            "ce_type": f"{TOPIC}.Changed",
            "ce_time": "2026-05-01T12:00:00.5Z",
            "ce_aggregateversion": str(version),
            "ce_subject": key,
            **changes,
        }
        self._headers = [(name, text.encode()) for name, text in attributes.items() if text is not None]

    def topic(self):
        return TOPIC

    def partition(self):
        return 0

    def offset(self):
        return self._offset

    def key(self):
        return self._key.encode()

    def value(self):
        return self._value or None

    def headers(self):
        return self._headers

    def error(self):
        return None


class Dead:
    """Dead letters in a list; it can be away."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, str, dict]] = []
        self.away = 0
        self.topics: set[str] = set()

    async def ensure_topics(self, topics):
        self.topics |= set(topics)
        return frozenset()

    def send(self, messages):
        future = asyncio.get_running_loop().create_future()
        if self.away:
            self.away -= 1
            future.set_result([BrokerAway("away") for _ in messages])
        else:
            assert {each.topic for each in messages} <= self.topics
            self.messages += [(each.topic, each.key.decode(), dict(each.headers)) for each in messages]
            future.set_result([None for _ in messages])
        return future

    async def close(self):
        pass


class Shelf:
    """A handler that writes what it sees to a table, and fails on demand."""

    def __init__(self) -> None:
        self.failures: dict[tuple[str, int], list[Exception]] = {}
        self.calls = 0

    async def __call__(self, tx, events) -> None:
        for event in events:
            await self._apply(tx, event)

    async def _apply(self, tx, event) -> None:
        self.calls += 1
        await tx.execute(
            "INSERT INTO seen (consumer, key, version) VALUES ('', $1, $2)", event.aggregate_id, event.version
        )
        if event.payload == b"undecodable":
            money_pb2.Money.FromString(b"\xff\xff\xff")
        queue = self.failures.get((event.aggregate_id, event.version))
        if queue:
            raise queue.pop(0) if len(queue) > 1 else queue[0]


async def seen(db) -> list[tuple[str, int]]:
    async with db.hot_read() as connection:
        return [
            (row["key"], row["version"]) for row in await connection.fetch("SELECT key, version FROM seen ORDER BY n")
        ]
