"""A payment that somebody else holds: its neighbours in a set do not wait for it, and it is not forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

import pytest

from mesh.batcher import Batcher
from mesh.refusals import Unavailable
from svc_payment.settlement import held
from svc_payment.settlement.held import Held
from tests.svc_payment.asking import authorized, until
from tests.svc_payment.conftest import by_card
from tests.svc_payment.payment.test_webhooks import notify
from titan.payment.v1 import payment_pb2

IN_PROGRESS = payment_pb2.PAYMENT_STATUS_IN_PROGRESS
PATIENCE_SECONDS = 2.0
"""Less than a lock is waited for."""


@asynccontextmanager
async def held_by_another(db, payment_id: str) -> AsyncIterator[None]:
    """Hold a payment as a transaction does that takes its time."""
    async with db.hot() as tx:
        await tx.execute("SELECT FROM payments WHERE payment_id = $1 FOR UPDATE", UUID(payment_id))
        yield


async def noted(db, payment_id: str) -> int:
    async with db.hot_read() as connection:
        count: int = await connection.fetchval(
            "SELECT count(*) FROM webhook_events WHERE payment_id = $1", UUID(payment_id)
        )
    return count


@pytest.mark.usefixtures("honest")
async def test_a_held_payment_keeps_nobody_elses_answer(till, provider, db):
    """The neighbours are authorized while it is held; its own answer is kept afterwards, and was asked for once."""
    provider.hold["authorize"] = asyncio.Event()
    intents = [by_card(700) for _ in range(4)]
    held_one, *others = await till.authorize(*intents)
    await until(lambda: asyncio.sleep(0, provider.calls["authorize"]), lambda calls: calls >= 4)
    calls = provider.calls["authorize"]

    async with held_by_another(db, held_one.payment_id):
        provider.hold.pop("authorize").set()
        async with asyncio.timeout(PATIENCE_SECONDS):
            for intent in intents[1:]:
                await authorized(till, intent)
        assert [IN_PROGRESS] == [each.status for each in await till.authorize(intents[0])]

    await authorized(till, intents[0])
    assert calls == provider.calls["authorize"]
    assert {each.payment_id for each in others} < provider.payments.keys()


@pytest.mark.usefixtures("honest")
async def test_a_held_payment_keeps_nobody_elses_notice(till, stubs, db):
    """Notices of its neighbours, and of what is not ours, are acknowledged while it is held; its own one afterwards."""
    held_one, other = [await authorized(till, by_card(700)) for _ in range(2)]

    async with held_by_another(db, held_one.payment_id):
        waiting = [asyncio.ensure_future(notify(stubs, "other", held_one.payment_id, 700)) for _ in range(2)]
        async with asyncio.timeout(PATIENCE_SECONDS):
            await asyncio.gather(*(notify(stubs, "other", each, 700) for each in (other.payment_id, uuid4()) * 3))
        assert [False, False] == [each.done() for each in waiting]
        assert 0 == await noted(db, held_one.payment_id)

    await asyncio.gather(*waiting)
    assert 2 == await noted(db, held_one.payment_id)


@pytest.mark.parametrize(("set_seconds", "at_most"), [(0.0, 7), (0.04, 3)])
async def test_what_stays_held_is_given_up(monkeypatch, set_seconds, at_most):
    """UNAVAILABLE in the end, as after any lock that is waited for in vain; the time of its sets counts."""
    asked = 0

    async def run(items: list[str]) -> list[str | Exception]:
        nonlocal asked
        asked += 1
        await asyncio.sleep(set_seconds)
        return [Held()] * len(items)

    monkeypatch.setattr(held, "PATIENCE_SECONDS", 0.1)
    batcher: Batcher[str, str] = Batcher(run, name="held")
    with pytest.raises(Unavailable):
        await held.submit(batcher, "a payment")
    assert asked <= at_most
    await batcher.close()


async def test_what_is_let_go_is_done(monkeypatch):
    """However often it was held."""
    left = 3

    async def run(items: list[str]) -> list[str | Exception]:
        nonlocal left
        left -= 1
        return [Held() if left else item for item in items]

    monkeypatch.setattr(held, "FIRST_PAUSE_SECONDS", 0.0)
    batcher: Batcher[str, str] = Batcher(run, name="held")
    assert "a payment" == await held.submit(batcher, "a payment")
    assert 0 == left
    await batcher.close()
