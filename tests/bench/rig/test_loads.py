"""What loads count, and that an open loop does not wait for whom it measures."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest

from bench.rig.loads import GROWING_LOOKS, Window, closed, counted, due_times, is_growing, open_loop, together


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


def test_what_failed_is_slower_than_anything() -> None:
    """An average over those that were answered would look the better, the more were not."""
    window = Window(1.0, [0.01] * 98, failed=2)
    assert window.milliseconds(0.5) == pytest.approx(10.0)
    assert window.milliseconds(0.98) == pytest.approx(10.0)
    assert window.milliseconds(0.99) == float("inf")
    assert window.failed_share == pytest.approx(0.02)
    assert Window(1.0).failed_share == 1.0


def test_windows_together_keep_their_failures() -> None:
    whole = together([Window(1.0, [0.1]), Window(2.0, [0.2, 0.3], 1, "no")])
    assert (whole.seconds, whole.done, whole.failed, whole.failure) == (3.0, 3, 1, "no")


@pytest.mark.parametrize(
    ("looks", "grows"),
    [
        ([10, 20, 30, 40, 50, 60], True),
        ([99, 10, 20, 30, 40, 50, 60], True),
        ([20, 30, 40, 50, 60], False),
        ([10, 20, 30, 30, 50, 60], False),
        ([1, 2, 3, 4, 5, 6], False),
        ([], False),
    ],
)
def test_a_queue_grows_that_is_longer_each_time_and_long(looks, grows) -> None:
    assert is_growing(looks, 50) == grows


async def test_an_open_loop_gives_up_where_its_queue_only_grows() -> None:
    async def act(caller: int) -> None:
        await asyncio.sleep(0.5)

    look_seconds = 0.02
    window = await open_loop(1000, 2.0, act, callers=10_000, gives_up=True, look_seconds=look_seconds)
    assert window.done + window.failed == 2000
    assert window.failed > 1000
    assert "more each second" in window.failure
    assert window.done >= 1000 * look_seconds * GROWING_LOOKS


async def test_an_open_loop_that_keeps_up_begins_everything() -> None:
    async def act(caller: int) -> None:
        await asyncio.sleep(0.001)

    window = await open_loop(500, 0.3, act, callers=10, gives_up=True, look_seconds=0.02)
    assert (window.done, window.failed) == (150, 0)
