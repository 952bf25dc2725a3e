"""Percentiles, spreads and ratios by hand."""

from __future__ import annotations

import pytest

from bench.rig.samples import paired_ratio, percentile, spread


@pytest.mark.parametrize(("share", "value"), [(0.0, 1), (0.5, 50), (0.9, 90), (0.99, 99), (0.991, 100), (1.0, 100)])
def test_a_percentile_is_the_value_that_its_share_does_not_exceed(share, value) -> None:
    assert percentile(list(range(100, 0, -1)), share) == value


def test_the_percentile_of_one_value_is_that_value() -> None:
    assert percentile([7.0], 0.5) == percentile([7.0], 0.99) == 7.0


@pytest.mark.parametrize(("values", "share"), [([], 0.5), ([1.0], 1.1), ([1.0], -0.1)])
def test_of_nothing_there_is_no_percentile(values, share) -> None:
    with pytest.raises(ValueError, match="percentile"):
        percentile(values, share)


def test_the_spread_is_a_share_of_the_median() -> None:
    assert spread([90.0, 100.0, 120.0]) == pytest.approx(0.3)
    assert spread([5.0]) == 0.0
    assert spread([0.0, 0.0]) == 0.0


def test_a_machine_that_slows_down_between_repeats_changes_no_ratio() -> None:
    """Each figure is held against the limit that was measured beside it, not against their mean."""
    assert paired_ratio([25.0, 12.0, 50.0], [100.0, 48.0, 200.0]) == 0.25


@pytest.mark.parametrize(("figures", "limits"), [([1.0], [1.0, 2.0]), ([], []), ([1.0], [0.0])])
def test_a_ratio_needs_pairs(figures, limits) -> None:
    with pytest.raises(ValueError, match="beside"):
        paired_ratio(figures, limits)
