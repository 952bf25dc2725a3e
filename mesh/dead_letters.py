"""The dead letters: messages that no repetition will make acceptable, kept in `<topic>.dead` with the reason.

It sends them, and does no more: that their keys are parked is the inbox's doing. A broker that is away is the caller's
to wait for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

from confluent_kafka import Message

from mesh.kafka import BrokerAway, Headers
from mesh.received import headers_of


class Producer(Protocol):
    """What dead letters need to be sent; `mesh.kafka.Publisher` is one."""

    def send(self, topic: str, *, key: bytes, value: bytes, headers: Headers) -> asyncio.Future[None]: ...

    async def ensure_topics(self, topics: Sequence[str]) -> None: ...

    async def close(self) -> None: ...


class DeadLetters:
    """The dead letters of one consumer. The producer is opened with the first of them: most days see none."""

    def __init__(self, consumer: str, open_producer: Callable[[], Producer]) -> None:
        self._consumer = consumer
        self._open_producer = open_producer
        self._producer: Producer | None = None
        self._sending = asyncio.Lock()

    async def send(self, message: Message, *, why: str) -> None:
        """Send a message as it came, with headers that say who could not apply it, why, and where it stood.

        Raises:
            BrokerAway: The message was not acknowledged; it may be among the dead letters or not.
        """
        topic = f"{message.topic()}.dead"
        headers = [
            *headers_of(message),
            ("titan_dead_consumer", self._consumer.encode()),
            ("titan_dead_reason", why.encode()),
            ("titan_dead_position", f"{message.partition()}:{message.offset()}".encode()),
        ]
        async with self._sending:
            if self._producer is None:
                self._producer = self._open_producer()
            try:
                await self._producer.ensure_topics([topic])
                await self._producer.send(
                    topic, key=message.key() or b"", value=message.value() or b"", headers=headers
                )
            except BrokerAway:
                await self.close()
                raise

    async def close(self) -> None:
        """Let go of the producer."""
        if self._producer is not None:
            await self._producer.close()
            self._producer = None
