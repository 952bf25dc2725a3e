"""A set of messages has an answer for each of them, however it ends."""

from __future__ import annotations

import asyncio

import pytest

from mesh.kafka import Answers, BrokerAway, Outgoing, Publisher, _Sent

NOWHERE = "127.0.0.1:1"


@pytest.fixture
async def completed() -> list[_Sent]:
    """Those sets that every answer has come for."""
    return []


def sent(messages: int, completed: list[_Sent]) -> _Sent:
    """Return a set on its way."""
    future: asyncio.Future[Answers] = asyncio.get_running_loop().create_future()
    return _Sent(messages, future, completed.append)


async def test_the_last_answer_completes_a_set_and_each_is_told_in_its_place(completed: list[_Sent]) -> None:
    three = sent(3, completed)
    three.hear(2, None, None)
    three.hear(0, "refused", None)
    assert not completed
    three.hear(1, None, None)
    assert completed == [three]

    three.settle(None)
    first, *others = three.future.result()
    assert isinstance(first, BrokerAway)
    assert others == [None, None]


async def test_what_nobody_heard_of_failed_and_what_was_acknowledged_did_not(completed: list[_Sent]) -> None:
    """When a producer ends in the middle of a set."""
    two, failure = sent(2, completed), BrokerAway("away")
    two.hear(1, None, None)
    two.settle(failure)
    two.settle(None)

    assert two.future.result() == [failure, None]


async def test_a_producer_that_was_closed_answers_all_and_none_is_nothing(completed: list[_Sent]) -> None:
    publisher = Publisher(NOWHERE, client_id="test")
    assert await publisher.send([]) == []
    waiting = publisher.send([Outgoing("topic", b"k", b"v", ())] * 2)
    await publisher.close()
    late = await publisher.send([Outgoing("topic", b"k", b"v", ())])

    assert [BrokerAway] * 3 == [type(each) for each in (*await waiting, *late)]
    assert not publisher._sent
