"""What a price becomes by a rule: a percentage, and one rounding. Pure and exact: no binary fraction is in it."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction

PERCENT = 100


class Rounding(StrEnum):
    """Which way a price between two is rounded; in `titan.bulk.v1.PriceRounding`, NEAREST is unspecified."""

    NEAREST = "NEAREST"
    UP = "UP"
    DOWN = "DOWN"


@dataclass(frozen=True, slots=True)
class Rule:
    """How prices change: by `percent`, then to a multiple of `step_minor` and `ending_minor` beyond it."""

    percent: Decimal
    step_minor: int = 1
    ending_minor: int = 0
    rounding: Rounding = Rounding.NEAREST

    def price_of(self, price_minor: int) -> int:
        """Return what is to be asked for what costs so much: never less than `ending_minor`; nothing for nothing."""
        if not price_minor:
            return 0
        exact = price_minor * (1 + Fraction(self.percent) / PERCENT)
        steps = (exact - self.ending_minor) / self.step_minor
        down = steps.numerator // steps.denominator
        match self.rounding:
            case Rounding.DOWN:
                whole = down
            case Rounding.UP:
                whole = down + (steps != down)
            case Rounding.NEAREST:
                whole = round(steps)
        return max(0, whole) * self.step_minor + self.ending_minor
