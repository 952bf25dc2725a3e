"""A meter opens on a mesh at rest, and one that does not come to rest has no figure."""

from __future__ import annotations

from typing import Any

import pytest

from bench.rig.cpu import CLIENT
from bench.rig.loads import Window
from bench.rig.meter import SETTLED_CORES, Meter, resting, settled
from bench.rig.result import Unmeasured
from bench.rig.world import MOST_LOAD_CORES, Repeats, World, unlimited

LOOK_SECONDS = 0.005


class Clock:
    """CPU seconds that go on as they are told: so many cores for so many looks, and then at rest."""

    def __init__(self, *cores: float) -> None:
        self.left = list(cores)
        self.looks = 0
        self._spent = 0.0

    def __call__(self) -> float:
        self.looks += 1
        self._spent += (self.left.pop(0) if self.left else 0.0) * 1000
        return self._spent


async def test_what_follows_a_load_is_waited_for() -> None:
    spent = Clock(0, 2, 2, 2)
    await settled(spent, look_seconds=LOOK_SECONDS)
    assert not spent.left
    assert spent.looks == 6


async def test_a_moment_of_rest_between_two_stages_is_not_the_end() -> None:
    spent = Clock(0, 2, 0, 2)
    await settled(spent, look_seconds=LOOK_SECONDS)
    assert not spent.left


async def test_a_mesh_that_does_not_come_to_rest_is_not_measured() -> None:
    with pytest.raises(Unmeasured, match="still spends"):
        await settled(Clock(*[2.0] * 1000), seconds=0.05, look_seconds=LOOK_SECONDS)


def test_what_is_spent_at_rest_is_known_by_process_and_without_the_client() -> None:
    before, after = {"svc_order": 1.0, CLIENT: 0.0}, {"svc_order": 1.2, CLIENT: 9.0}
    assert resting(before, after, 2.0) == {"svc_order": pytest.approx(0.1)}


def test_a_meter_does_not_open_while_something_is_left_to_do() -> None:
    """It would be taken off every window, and what was measured would look the cheaper."""
    busy = SETTLED_CORES * 2 + 0.1
    with pytest.raises(Unmeasured, match="most of it kafka"):
        resting({"svc_order": 0.0, "kafka": 0.0}, {"svc_order": 0.1, "kafka": busy}, 2.0)


async def test_a_world_comes_to_rest_before_it_opens_a_meter() -> None:
    told: list[str] = []

    class Told(World):
        async def settle(self) -> None:
            told.append("settle")

        async def processes(self) -> dict[str, int]:
            told.append("processes")
            return {}

    nothing: Any = None
    assert isinstance(await Told(nothing, nothing, quick=True, scale=1.0).meter(seconds=0.01), Meter)
    assert told == ["settle", "processes"]


def test_a_load_that_limits_has_no_figure() -> None:
    fast = Repeats([Window(1.0, [0.01] * 100)], [1.0], {CLIENT: MOST_LOAD_CORES / 100 * 0.9})
    assert unlimited(fast) is fast
    fast.cpu_seconds = {CLIENT: MOST_LOAD_CORES / 100 * 1.1}
    with pytest.raises(Unmeasured, match="the load itself"):
        unlimited(fast)
