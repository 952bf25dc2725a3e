"""The producer side of a Kafka-protocol broker, for the relay and for dead letters.

It sends, and it makes topics. It knows nothing of events, and it never hides that a broker is away: every message that
was not acknowledged fails with `BrokerAway`, and the producer is then of no more use; open another.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer
from confluent_kafka.admin import AdminClient, NewTopic

PARTITIONS = 6
MESSAGE_TIMEOUT_MS = 10_000
METADATA_TIMEOUT_SECONDS = 3.0
_POLL_SECONDS = 0.1

# librdkafka reports each reconnect; whether a broker is away is told once, by whoever needs it.
quiet = logging.getLogger("mesh.kafka.librdkafka")
quiet.setLevel(logging.CRITICAL)

Headers = Sequence[tuple[str, bytes]]


class BrokerAway(Exception):
    """The broker does not answer, or did not acknowledge."""


class Outgoing(NamedTuple):
    """A message and where it goes."""

    topic: str
    key: bytes
    value: bytes
    headers: Headers


Answers = list[BrokerAway | None]
"""For each message of a set, why it was not acknowledged; None where it was."""


class Sender(Protocol):
    """What sends messages and makes the topics for them: `Publisher`, or a test's own."""

    def send(self, messages: Sequence[Outgoing]) -> asyncio.Future[Answers]:
        """Hand over a set of messages."""
        ...

    async def ensure_topics(self, topics: Iterable[str]) -> None:
        """Make the topics that the broker does not have."""
        ...

    async def close(self) -> None:
        """Let go of the broker."""
        ...


class Publisher:
    """An idempotent producer (acks=all) with the thread that serves it.

    A broker that comes back with nothing in its memory makes a running idempotent producer stall, so the loss of the
    last connection ends this one at once, rather than at the timeout of its messages.
    """

    def __init__(self, bootstrap: str, *, client_id: str) -> None:
        self._settings: dict[str, Any] = {
            "bootstrap.servers": bootstrap,
            "client.id": client_id,
            "reconnect.backoff.max.ms": 1000,
            "allow.auto.create.topics": False,
            "logger": quiet,
        }
        self._loop = asyncio.get_running_loop()
        self._sent: set[_Sent] = set()
        self._stop = threading.Event()
        self.failure: BrokerAway | None = None
        self._producer = Producer(
            {
                **self._settings,
                "enable.idempotence": True,
                "acks": "all",
                "linger.ms": 2,
                "message.timeout.ms": MESSAGE_TIMEOUT_MS,
                "topic.metadata.propagation.max.ms": 2000,
                "error_cb": self._on_error,
            }
        )
        self._thread = threading.Thread(target=self._serve, name=f"kafka {client_id}", daemon=True)
        self._thread.start()

    def send(self, messages: Sequence[Outgoing]) -> asyncio.Future[Answers]:
        """Hand over a set of messages; the future is done when every in-sync replica has them, or never will.

        What was not acknowledged may or may not be in the log.
        """
        sent = _Sent(len(messages), self._loop.create_future(), partial(self._in_loop, self._settle))
        if self.failure is not None or not messages:
            sent.settle(self.failure)
            return sent.future
        self._sent.add(sent)
        for place, message in enumerate(messages):
            told = partial(sent.hear, place)
            try:
                self._producer.produce(
                    message.topic, message.value, message.key, on_delivery=told, headers=list(message.headers)
                )
            except (KafkaException, BufferError) as error:
                told(error, None)
        return sent.future

    async def missing_topics(self, topics: Iterable[str]) -> frozenset[str]:
        """Return those of the topics that the broker does not have.

        Raises:
            BrokerAway: The broker does not answer.
        """
        if self.failure is not None:
            raise self.failure
        return await asyncio.to_thread(missing_topics, self._producer, frozenset(topics))

    async def ensure_topics(self, topics: Iterable[str], *, partitions: int = PARTITIONS) -> None:
        """Make the topics that the broker does not have.

        Raises:
            BrokerAway: The broker does not answer.
        """
        missing = await self.missing_topics(topics)
        if missing:
            await asyncio.to_thread(make_topics, self._settings, missing, partitions)

    async def close(self, *, flush_seconds: float = 0.0) -> None:
        """Wait for what was sent, then drop the rest."""
        if flush_seconds and self._sent:
            await asyncio.wait([sent.future for sent in self._sent], timeout=flush_seconds)
        self._fail(BrokerAway("the producer was closed"))
        self._stop.set()
        await asyncio.to_thread(self._thread.join, 2 * _POLL_SECONDS + 1)

    def _serve(self) -> None:
        while not self._stop.is_set():
            self._producer.poll(_POLL_SECONDS)
        self._producer.purge(in_queue=True, in_flight=True, blocking=False)
        self._producer.poll(0)

    def _on_error(self, error: KafkaError) -> None:
        if error.code() == KafkaError._ALL_BROKERS_DOWN or error.fatal():
            self._in_loop(self._fail, BrokerAway(error.str()))

    def _in_loop(self, call: Any, *arguments: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(call, *arguments)
        except RuntimeError:
            pass  # the loop is closed: nobody waits any more

    def _settle(self, sent: _Sent) -> None:
        self._sent.discard(sent)
        sent.settle(None)

    def _fail(self, failure: BrokerAway) -> None:
        self.failure = self.failure or failure
        for sent in self._sent:
            sent.settle(failure)
        self._sent.clear()


class _Sent:
    """A set of messages on its way. The thread that serves the producer wakes the loop once, for the last answer."""

    def __init__(self, messages: int, future: asyncio.Future[Answers], complete: Callable[[_Sent], None]) -> None:
        self.future = future
        self._complete = complete
        self._heard: dict[int, BrokerAway | None] = {}
        self._messages = messages

    def hear(self, place: int, error: object, _: Message | None) -> None:
        """Note the answer to one of them; called by either thread."""
        self._heard[place] = None if error is None else BrokerAway(str(error))
        if len(self._heard) == self._messages:
            self._complete(self)

    def settle(self, failure: BrokerAway | None) -> None:
        """Tell whoever waits, with a failure for what nobody has heard of."""
        if not self.future.done():
            self.future.set_result([self._heard.get(place, failure) for place in range(self._messages)])


def missing_topics(client: Producer | Consumer, topics: frozenset[str]) -> frozenset[str]:
    """Ask the broker which of the topics it does not have; blocks.

    Raises:
        BrokerAway: The broker does not answer.
    """
    try:
        present = client.list_topics(timeout=METADATA_TIMEOUT_SECONDS).topics
    except KafkaException as error:
        raise BrokerAway(str(error)) from error
    return frozenset(topic for topic in topics if topic not in present or present[topic].error is not None)


def make_topics(settings: dict[str, Any], topics: frozenset[str], partitions: int) -> None:
    """Make topics; blocks. One that somebody else has made meanwhile is good too.

    Raises:
        BrokerAway: The broker does not answer.
    """
    wanted = [NewTopic(topic, num_partitions=partitions, replication_factor=-1) for topic in sorted(topics)]
    try:
        admin = AdminClient(settings)  # its futures fail when it is collected
        for future in admin.create_topics(wanted, request_timeout=METADATA_TIMEOUT_SECONDS).values():
            try:
                future.result(METADATA_TIMEOUT_SECONDS + 1)
            except KafkaException as error:
                if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise
    except (KafkaException, TimeoutError) as error:
        raise BrokerAway(str(error)) from error
