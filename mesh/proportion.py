"""An amount divided in proportion, to the last unit. It knows nothing of what is divided."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate


def apportion(amount: int, weights: Sequence[int]) -> list[int]:
    """Return a part of `amount` for each weight, in their order; the parts are the whole amount.

    Each part ends where the running sum of the weights, rounded down, says: what it takes is at most one unit off its
    proportion, and never more than its weight while the amount is not more than all of them.

    Raises:
        ValueError: Something is less than zero, or an amount has no weight to go to.
    """
    whole = sum(weights)
    if amount < 0 or min(weights, default=0) < 0 or (amount and not whole):
        raise ValueError("an amount and its weights are zero or more, and an amount needs a weight")
    ends = [amount * running // whole for running in accumulate(weights)] if whole else [0] * len(weights)
    return [end - begin for begin, end in zip([0, *ends], ends, strict=False)]
