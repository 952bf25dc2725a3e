"""Amounts divided in proportion."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.proportion import apportion

WEIGHTS = st.lists(st.integers(0, 10**9), min_size=1, max_size=12).filter(any)


@given(WEIGHTS, st.integers(0, 10**12))
def test_the_parts_are_the_amount_and_each_is_its_proportion(weights: list[int], amount: int) -> None:
    """To less than one unit; a weight of nothing gets nothing."""
    parts = apportion(amount, weights)
    assert amount == sum(parts)
    for part, weight in zip(parts, weights, strict=True):
        assert abs(part * sum(weights) - amount * weight) < sum(weights)
        assert weight or not part


@given(WEIGHTS, st.data())
def test_nobody_gives_more_than_they_have(weights: list[int], data: st.DataObject) -> None:
    amount = data.draw(st.integers(0, sum(weights)))
    assert all(part <= each for part, each in zip(apportion(amount, weights), weights, strict=True))


def test_what_has_nowhere_to_go_is_a_defect() -> None:
    """Nothing is divided among nobody; something is not."""
    assert [] == apportion(0, []) and [0, 0] == apportion(0, [0, 0])
    for amount, weights in ((1, []), (1, [0]), (-1, [1]), (1, [2, -1])):
        with pytest.raises(ValueError):
            apportion(amount, weights)
