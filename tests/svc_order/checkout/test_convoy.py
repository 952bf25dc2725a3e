"""Who sets out when, without a server and without a database."""

from __future__ import annotations

import asyncio

import pytest

from svc_order.checkout import convoy
from svc_order.checkout.convoy import AT_ONCE_ORDERS, Convoy, Ride


async def settle() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


@pytest.fixture
async def full() -> tuple[Convoy, list[Ride]]:
    """A convoy with so many under way that whoever comes has to wait."""
    some = Convoy()
    return some, [await some.join() for _ in range(AT_ONCE_ORDERS)]


async def test_the_first_set_out_at_once():
    """An idle process makes nobody wait."""
    some = Convoy()
    async with asyncio.timeout(0.05):
        for _ in range(AT_ONCE_ORDERS):
            await some.join()


async def test_who_waits_sets_out_together(full):
    """When one of those under way has its answer, all who came meanwhile go."""
    some, under_way = full
    waiting = [asyncio.create_task(some.join()) for _ in range(10)]
    await settle()
    assert not any(task.done() for task in waiting)

    under_way[0].leave()
    await settle()
    assert all(task.done() for task in waiting)


async def test_the_next_wait_for_almost_all_of_them(full):
    """A large group keeps those who follow together, too."""
    some, under_way = full
    group = [asyncio.create_task(some.join()) for _ in range(10)]
    await settle()
    under_way[0].leave()
    rides = await asyncio.gather(*group)
    late = asyncio.create_task(some.join())

    for ride in (*under_way[1:], *rides[AT_ONCE_ORDERS:]):
        ride.leave()
    await settle()
    assert not late.done()
    rides[0].leave()
    await settle()
    assert late.done()


async def test_leaving_twice_counts_once(full):
    """A ride is left where its order waits for a provider, and again at the end of its call."""
    some, under_way = full
    under_way[0].leave()
    under_way[0].leave()
    await some.join()
    late = asyncio.create_task(some.join())
    await settle()
    assert not late.done()
    late.cancel()


async def test_who_is_slow_keeps_nobody_waiting(full, monkeypatch):
    """After its patience a ride counts no longer."""
    monkeypatch.setattr(convoy, "PATIENCE_SECONDS", 0.02)
    some, under_way = full
    under_way.pop().leave()
    await some.join()
    async with asyncio.timeout(1):
        await some.join()


async def test_a_caller_who_leaves_while_waiting_takes_no_place(full):
    """Before its turn, and in the very moment of it."""
    some, under_way = full
    gone = asyncio.create_task(some.join())
    called = asyncio.create_task(some.join())
    await settle()
    gone.cancel()
    await settle()
    under_way[0].leave()  # gives `called` its turn, which it has not noticed yet
    called.cancel()
    await asyncio.gather(gone, called, return_exceptions=True)

    async with asyncio.timeout(0.05):
        await some.join()


async def test_a_group_is_no_larger_than_a_batch(full):
    """The others set out when it is nearly through."""
    some, under_way = full
    waiting = [asyncio.create_task(some.join()) for _ in range(convoy.MAX_TOGETHER_ORDERS + 1)]
    await settle()
    under_way[0].leave()
    await settle()
    assert [False] == [task.done() for task in waiting if not task.done()]
    waiting[-1].cancel()
