"""The lines of an order, what is counted by line, and the form in which they are stored."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Line:
    """One line of an order, as it was when it was bought; money in minor units with tax."""

    number: int
    sku: str
    product_id: str
    title: str
    seller_id: str
    quantity: int
    unit_price_minor: int
    line_total_minor: int
    tax_minor: int
    tax_rate_basis_points: int
    discount_minor: int = 0


Allocations = Mapping[int, tuple[tuple[str, int], ...]]
"""Line number -> (warehouse, units) pairs."""
Units = Mapping[int, int]
"""Line number -> units."""


def added(before: Units, units: Units) -> Units:
    """Return both together, line by line."""
    return {number: before.get(number, 0) + units.get(number, 0) for number in sorted({*before, *units})}


def units_to_json(units: Units) -> dict[str, int]:
    """Return units by line as they are stored."""
    return {str(number): count for number, count in units.items()}


def units_from_json(stored: Mapping[str, int] | None) -> dict[int, int]:
    """Return stored units by line."""
    return {int(number): count for number, count in (stored or {}).items()}


def lines_to_json(lines: Iterable[Line]) -> list[list[Any]]:
    """Return lines as they are stored: a list of values each, in the order of the fields of `Line`."""
    return [
        [
            line.number,
            line.sku,
            line.product_id,
            line.title,
            line.seller_id,
            line.quantity,
            line.unit_price_minor,
            line.line_total_minor,
            line.tax_minor,
            line.tax_rate_basis_points,
            line.discount_minor,
        ]
        for line in lines
    ]


def lines_from_json(rows: Iterable[list[Any]]) -> tuple[Line, ...]:
    """Return stored lines."""
    return tuple(Line(*row) for row in rows)


def allocations_to_json(allocations: Allocations) -> dict[str, list[list[Any]]]:
    """Return allocations as they are stored."""
    return {str(number): [list(pair) for pair in pairs] for number, pairs in allocations.items()}


def allocations_from_json(stored: Mapping[str, list[list[Any]]] | None) -> Allocations:
    """Return stored allocations."""
    return {int(number): tuple((w, q) for w, q in pairs) for number, pairs in (stored or {}).items()}
