"""What prices become by a rule."""

from __future__ import annotations

from decimal import Decimal

import pytest

from svc_bulk.repricing.rules import Rounding, Rule

NEAREST, UP, DOWN = Rounding.NEAREST, Rounding.UP, Rounding.DOWN


@pytest.mark.parametrize(
    ("percent", "rounding", "costs", "becomes"),
    [
        ("0", NEAREST, 999, 999),
        ("10", NEAREST, 1000, 1100),
        ("-12.5", NEAREST, 1000, 875),
        ("50", NEAREST, 1, 2),  # 1.5, to the even one
        ("50", NEAREST, 3, 4),  # 4.5, to the even one
        ("50", DOWN, 3, 4),
        ("50", UP, 3, 5),
        ("0.0001", UP, 1, 2),
        ("0.0001", NEAREST, 10**12, 10**12 + 10**6),
        ("-99.9999", NEAREST, 100, 0),
        ("-99.9999", UP, 100, 1),
        ("1000", NEAREST, 7, 77),
        ("33.3333", DOWN, 3 * 10**15, 3999999 * 10**9),
        ("20", UP, 0, 0),
    ],
)
def test_a_percentage_is_taken_exactly_and_rounded_once(percent: str, rounding: Rounding, costs: int, becomes: int):
    """Also where a binary fraction would be a penny off."""
    assert becomes == Rule(Decimal(percent), rounding=rounding).price_of(costs)


@pytest.mark.parametrize(
    ("step", "ending", "rounding", "costs", "becomes"),
    [
        (5, 0, NEAREST, 1002, 1000),
        (5, 0, NEAREST, 1003, 1005),
        (5, 0, UP, 1001, 1005),
        (5, 0, DOWN, 1004, 1000),
        (100, 99, NEAREST, 1048, 999),
        (100, 99, NEAREST, 1049, 1099),  # from the middle to ten whole ones, not to nine
        (100, 99, NEAREST, 1050, 1099),
        (100, 99, UP, 1000, 1099),
        (100, 99, DOWN, 1098, 999),
        (100, 99, DOWN, 999, 999),
        (100, 99, DOWN, 5, 99),
        (100, 0, DOWN, 99, 0),
        (100, 99, UP, 0, 0),
    ],
)
def test_a_price_is_a_multiple_and_an_ending(step: int, ending: int, rounding: Rounding, costs: int, becomes: int):
    """Never below the ending; and what costs nothing goes on costing nothing."""
    assert becomes == Rule(Decimal(0), step, ending, rounding).price_of(costs)


def test_prices_keep_their_order():
    """What cost more never costs less afterwards."""
    for rounding in Rounding:
        rule = Rule(Decimal("-7.77"), 10, 9, rounding)
        prices = [rule.price_of(costs) for costs in range(1, 2000)]
        assert prices == sorted(prices)
