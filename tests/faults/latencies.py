"""How long each route took, from the journal: on calm days, and while one of the things behind it was slow."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tests.faults.journal import Operation

CALM_AFTER_SECONDS = 1.0
"""What was asked so soon after a fault may still have waited for its end."""

FEWEST = 20
"""Answers without which a 99th percentile says nothing."""

ENOUGH = 100
"""Answers from which on a route is judged: of fewer, the 99th percentile is the one slowest."""

MOST_RATIO = 2.0
"""What the 99th percentile of a route may grow to while something that it does not need is slow."""

NEED_PROVIDER = ("place, card", "top_up")
"""Routes that wait for the card provider: orders by card, and money for a wallet."""


@dataclass(frozen=True)
class Route:
    """One route: how many answers it gave, and the 99th percentile of their seconds, calm and disturbed."""

    name: str
    calm: int
    calm_p99: float
    disturbed: int
    disturbed_p99: float

    @property
    def ratio(self) -> float | None:
        """How much slower it was; None where too little was measured."""
        if min(self.calm, self.disturbed) < FEWEST or not self.calm_p99:
            return None
        return self.disturbed_p99 / self.calm_p99

    @property
    def is_judged(self) -> bool:
        """Whether it had better kept its pace: it does not need the provider, and was asked often enough."""
        return self.name not in NEED_PROVIDER and min(self.calm, self.disturbed) >= ENOUGH

    @property
    def held_up(self) -> bool:
        """Whether it was slowed down by something that it does not need."""
        return self.is_judged and self.ratio is not None and self.ratio > MOST_RATIO


def routes(
    operations: Iterable[Operation],
    faults: Sequence[tuple[float, float]],
    slow: Sequence[tuple[float, float]],
) -> list[Route]:
    """Return the routes by name.

    Args:
        faults: When anything was disturbed, from and until.
        slow: When something behind some of the routes was slow, which is a part of it.
    """
    calm: dict[str, list[float]] = defaultdict(list)
    disturbed: dict[str, list[float]] = defaultdict(list)
    for op in operations:
        name = route_of(op)
        for answer in op.answers:
            seconds = answer.told_at - answer.asked_at
            if any(began <= answer.asked_at <= over for began, over in slow):
                disturbed[name].append(seconds)
            elif not any(
                began <= answer.told_at and answer.asked_at <= over + CALM_AFTER_SECONDS for began, over in faults
            ):
                calm[name].append(seconds)
    return [
        Route(name, len(calm[name]), p99(calm[name]), len(disturbed[name]), p99(disturbed[name]))
        for name in sorted({*calm, *disturbed})
    ]


def p99(values: Sequence[float]) -> float:
    """Return the 99th percentile, the value that one in a hundred exceeds; 0 of nothing."""
    return sorted(values)[min(len(values) - 1, int(len(values) * 0.99))] if values else 0.0


def route_of(op: Operation) -> str:
    """Return the route of a wish. Orders stand apart by what they are paid with: not all need the provider."""
    if op.kind != "place":
        return op.kind
    return "place, wallet" if op.arguments["by"] == "wallet" else "place, card"
