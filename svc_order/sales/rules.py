"""What orders come to by what they have in common: pure sums, small enough to be sent instead of the orders."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime


@dataclass(frozen=True, slots=True)
class Sold:
    """What a report sees of an order; money in minor units with tax."""

    user_id: str
    effective_at: datetime
    country_code: str
    currency: str
    units: int
    total_minor: int
    refunded_minor: int


@dataclass(slots=True)
class Sums:
    """What the orders of a group come to."""

    orders: int = 0
    units: int = 0
    total_minor: int = 0
    refunded_minor: int = 0


Groups = defaultdict[tuple[str, str], Sums]
"""Sums by what orders have in common, and their currency."""


def _groups() -> Groups:
    return defaultdict(Sums)


@dataclass
class Grouped:
    """Orders, summed three ways."""

    orders: int = 0
    days: Groups = field(default_factory=_groups)
    countries: Groups = field(default_factory=_groups)
    customers: Groups = field(default_factory=_groups)

    def add(self, sold: Sold) -> None:
        """Add one order."""
        self.orders += 1
        for groups, name in (
            (self.days, sold.effective_at.astimezone(UTC).date().isoformat()),
            (self.countries, sold.country_code),
            (self.customers, sold.user_id),
        ):
            sums = groups[name, sold.currency]
            sums.orders += 1
            sums.units += sold.units
            sums.total_minor += sold.total_minor
            sums.refunded_minor += sold.refunded_minor
