"""The arithmetic of a bench: percentiles, medians, spreads, ratios of repeats. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that `share` of the values do not exceed (nearest rank).

    Raises:
        ValueError: There is no value, or the share is not within 0 and 1.
    """
    if not values or not 0 <= share <= 1:
        raise ValueError("a percentile needs values, and a share from 0 to 1")
    return sorted(values)[max(0, math.ceil(len(values) * share) - 1)]


def spread(values: Sequence[float]) -> float:
    """Return how far the repeats lie apart, as a share of their median: (largest - smallest) / median; 0 of a zero."""
    middle = statistics.median(values)
    return (max(values) - min(values)) / middle if middle else 0.0


def paired_ratio(figures: Sequence[float], limits: Sequence[float]) -> float:
    """Return the median of each figure over the limit that was measured beside it.

    Pairs are taken within seconds of each other, so what else the machine does falls on both.

    Raises:
        ValueError: They are not pairs, or a limit is not positive.
    """
    if len(figures) != len(limits) or not figures or min(limits) <= 0:
        raise ValueError(f"{len(figures)} figures beside {len(limits)} limits")
    return statistics.median(figure / limit for figure, limit in zip(figures, limits, strict=True))
