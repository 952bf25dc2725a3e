"""What loads count, and that an open loop does not wait for whom it measures."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest

from bench.rig.loads import Window, closed, counted, due_times, open_loop


def test_an_open_loop_keeps_its_rate_exactly_and_no_step() -> None:
    due = due_times(50, 2.0, seed=3)
    assert len(due) == 100
    assert due == sorted(due)
    assert all(number / 50 <= each < (number + 1) / 50 for number, each in enumerate(due))
    assert len({round(later - earlier, 6) for earlier, later in pairwise(due)}) > 90


def test_a_seed_repeats_the_schedule() -> None:
    assert due_times(10, 1.0, seed=1) == due_times(10, 1.0, seed=1) != due_times(10, 1.0, seed=2)


async def test_an_open_loop_counts_what_waited_behind_a_stall() -> None:
    """Every call that was due while the callee stood still shows its waiting: the omission that closed loops have."""
    busy = asyncio.Lock()

    async def act(caller: int) -> None:
        async with busy:
            if caller == 0:
                await asyncio.sleep(0.05)

    window = await open_loop(200, 0.05, act, callers=10)
    assert window.done == 10
    assert sum(latency > 0.02 for latency in window.latencies) >= 5
    assert window.milliseconds(0.5) > 20


async def test_an_open_loop_begins_calls_while_earlier_ones_run() -> None:
    under_way, most = 0, 0

    async def act(caller: int) -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.02)
        under_way -= 1

    await open_loop(500, 0.02, act, callers=3)
    assert most > 3


async def test_a_closed_loop_has_one_call_of_each_caller_under_way() -> None:
    under_way: set[int] = set()

    async def act(caller: int) -> None:
        assert caller not in under_way
        under_way.add(caller)
        await asyncio.sleep(0.001)
        under_way.remove(caller)

    window = await closed(4, 0.02, act)
    assert window.failed == 0
    assert window.done >= 4
    assert window.seconds >= 0.02


async def test_a_failure_is_counted_and_its_first_text_kept() -> None:
    async def act(caller: int) -> None:
        raise ValueError(f"no {caller}")

    window = await counted(1, 3, act)
    assert (window.done, window.failed, window.failure) == (0, 3, "ValueError: no 0")


async def test_a_counted_load_does_as_much_as_it_was_told() -> None:
    callers: list[int] = []

    async def act(caller: int) -> None:
        callers.append(caller)
        await asyncio.sleep(0)

    assert (await counted(4, 10, act)).done == len(callers) == 10
    assert set(callers) == {0, 1, 2, 3}


def test_where_nothing_succeeded_no_percentile_looks_good() -> None:
    assert Window(1.0).milliseconds(0.5) == float("inf")
    assert Window(2.0, [0.1, 0.1]).per_second == pytest.approx(1.0)
