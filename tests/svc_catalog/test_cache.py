"""The answers kept in the process."""

from __future__ import annotations

import asyncio

import pytest

from svc_catalog.cache import Cache


class Loads:
    """Counts how often it was asked, and can be held up."""

    def __init__(self) -> None:
        self.times = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self) -> int:
        self.times += 1
        times = self.times
        await self.gate.wait()
        return times


async def test_an_answer_is_kept_until_its_time_is_over():
    """Not a moment longer."""
    now, load = [0.0], Loads()
    cache = Cache(items=2, seconds=5.0, now=lambda: now[0])
    assert [1, 1] == [await cache.get("a", load), await cache.get("a", load)]
    now[0] = 5.0
    assert 2 == await cache.get("a", load)


async def test_the_least_recently_used_goes_first():
    """The cache never holds more than it may."""
    cache, load = Cache(items=2, seconds=5.0), Loads()
    for key in ("a", "b", "a", "c", "a"):
        await cache.get(key, load)
    assert (3, 2) == (load.times, len(cache))


async def test_many_large_answers_push_each_other_out():
    """Whoever asks for a thousand different pages fills no memory; what is asked for again counts once."""
    cache, load = Cache(items=100, seconds=5.0, max_bytes=10, size_of=lambda answer: 4), Loads()
    for key in ("a", "b", "a", "c", "a"):
        await cache.get(key, load)
    assert (3, 2) == (load.times, len(cache))
    cache.forget_all()
    for key in ("a", "b"):
        await cache.get(key, load)
    assert 2 == len(cache)


async def test_whoever_asks_for_what_is_being_loaded_waits_for_that_load():
    """A page that many ask for at once is read once; one who leaves does not take the others along."""
    cache, load = Cache(items=2, seconds=5.0), Loads()
    load.gate.clear()
    asking = [asyncio.create_task(cache.get("a", load)) for _ in range(5)]
    await asyncio.sleep(0)
    asking[0].cancel()
    load.gate.set()
    assert [1] * 4 == list(await asyncio.gather(*asking[1:]))


async def test_what_was_read_before_a_change_is_not_kept_after_it():
    """A load that was under way when somebody wrote may have seen the old state."""
    cache, load = Cache(items=2, seconds=5.0), Loads()
    load.gate.clear()
    early = asyncio.create_task(cache.get("a", load))
    await asyncio.sleep(0)
    cache.forget_all()
    late = asyncio.create_task(cache.get("a", load))
    await asyncio.sleep(0)
    load.gate.set()
    assert [1, 2, 2] == [await early, await late, await cache.get("a", load)]


async def test_a_failure_is_not_kept():
    """The next one who asks tries again."""
    cache, load = Cache(items=2, seconds=5.0), Loads()

    async def fail() -> int:
        raise ValueError("no")

    with pytest.raises(ValueError):
        await cache.get("a", fail)
    assert 1 == await cache.get("a", load)
