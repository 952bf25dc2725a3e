"""The dead letters: messages that no repetition will make acceptable, kept in `<topic>.dead` with the reason.

It sends them, and does no more: that their keys are parked is the inbox's doing. A broker that is away is the caller's
to wait for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from confluent_kafka import Message

from mesh.kafka import BrokerAway, Outgoing, Sender
from mesh.received import headers_of


class DeadLetters:
    """The dead letters of one consumer. The sender is opened with the first of them."""

    def __init__(self, consumer: str, open_sender: Callable[[], Sender]) -> None:
        self._consumer = consumer
        self._open_sender = open_sender
        self._sender: Sender | None = None
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
            if self._sender is None:
                self._sender = self._open_sender()
            try:
                await self._sender.ensure_topics([topic])
                (refused,) = await self._sender.send(
                    [Outgoing(topic, message.key() or b"", message.value() or b"", headers)]
                )
                if refused is not None:
                    raise refused
            except BrokerAway:
                await self.close()
                raise

    async def close(self) -> None:
        """Let go of the sender."""
        if self._sender is not None:
            await self._sender.close()
            self._sender = None
