"""The guard: dearer is dearer, one slice that something else disturbed decides nothing, and no bound sees nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bench.guard import BOUNDS, KEPT, ORDER, ORDER_ALONE, ROUNDS, Bound, judge, standing

MOST_OVER, LEAST_OVER = 2.5, 1.5
"""How far a bound is above what stands: enough for another machine, and little enough to see what grew dearer."""

TIMER_MS = 100.0


def rounds(**changed: list[float]) -> dict:
    return {bound: changed.get(bound.name, [bound.most / 2] * ROUNDS) for bound in BOUNDS}


def kept() -> Any:
    """Return what stands."""
    return json.loads(KEPT.read_text())


def test_what_stays_within_its_bounds_is_kept() -> None:
    assert all(within for _, _, within in judge(rounds()))


def test_an_operation_that_became_dearer_is_named() -> None:
    judged = judge(rounds(order=[ORDER.most * 1.1] * ROUNDS))
    assert [bound for bound, _, within in judged if not within] == [ORDER]


def test_one_disturbed_round_decides_nothing() -> None:
    assert all(within for _, _, within in judge(rounds(order=[ORDER.most * 5, *[ORDER.most / 2] * (ROUNDS - 1)])))


@pytest.mark.parametrize("bound", BOUNDS, ids=lambda bound: bound.name)
def test_a_bound_is_about_twice_what_stands(bound: Bound) -> None:
    """One that is five times as far sees nothing; whoever moves a bound measures, and writes down what stands."""
    assert LEAST_OVER <= bound.most / kept()["ratios"][bound.name] <= MOST_OVER


def test_a_timer_of_a_tenth_of_a_second_in_the_order_path_is_seen() -> None:
    found = kept()
    delayed = found["ratios"][ORDER_ALONE.name] + TIMER_MS / found["alone_unit_ms"]
    judged = judge({**rounds(), ORDER_ALONE: [delayed] * ROUNDS})
    assert [bound for bound, _, within in judged if not within] == [ORDER_ALONE]


def test_what_is_kept_says_of_what_and_where() -> None:
    found = standing(judge(rounds()), 1.25)
    assert set(found["ratios"]) == {bound.name for bound in BOUNDS}
    assert found["alone_unit_ms"] == 1.25
    assert {"commit", "date", "machine"} <= set(found["taken"])
