"""The guard: dearer is dearer, and one slice that something else disturbed decides nothing."""

from __future__ import annotations

from bench.guard import BOUNDS, ORDER, ROUNDS, judge


def rounds(**changed: list[float]) -> dict:
    return {bound: changed.get(bound.name, [bound.most / 2] * ROUNDS) for bound in BOUNDS}


def test_what_stays_within_its_bounds_is_kept() -> None:
    assert all(kept for _, _, kept in judge(rounds()))


def test_an_operation_that_became_dearer_is_named() -> None:
    judged = judge(rounds(order=[ORDER.most * 1.1] * ROUNDS))
    assert [bound for bound, _, kept in judged if not kept] == [ORDER]


def test_one_disturbed_round_decides_nothing() -> None:
    assert all(kept for _, _, kept in judge(rounds(order=[ORDER.most * 5, *[ORDER.most / 2] * (ROUNDS - 1)])))
