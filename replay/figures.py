"""What a replay took, kept beside its reconciliation: a figure without its circumstances says nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.rig.result import commit, load_average, machine

NAME = "figures.json"


@dataclass(frozen=True, slots=True)
class ShopSays:
    """What the shop's bulk worker said afterwards: how long its sales report and its own books took, and whether the
    books are those of the replay; None where it was not asked for them."""

    report_seconds: float
    books_seconds: float | None = None
    alike: bool | None = None


@dataclass(frozen=True, slots=True)
class Figures:
    """One whole run of a replay; one that goes on after an interruption took only what was left, and has none."""

    stock: str
    lines: int
    orders_answered: int
    seconds: Mapping[str, float]
    shop: ShopSays
    taken: Mapping[str, Any]

    @classmethod
    def of(cls, stock: str, lines: int, answered: int, seconds: Mapping[str, float], shop: ShopSays) -> Figures:
        """Return the figures of a run that has just ended here."""
        at = datetime.now(UTC).isoformat(timespec="seconds")
        taken = {"date": at, "machine": machine(), "commit": commit(), "load_average": load_average()}
        return cls(stock, lines, answered, dict(seconds), shop, taken)

    @classmethod
    def read(cls, folder: Path) -> Figures:
        """Return the figures that a folder of a replay has.

        Raises:
            FileNotFoundError: It has none.
        """
        kept = json.loads((folder / NAME).read_text())
        return cls(**{**kept, "shop": ShopSays(**kept["shop"])})

    def write(self, folder: Path) -> None:
        """Keep them."""
        (folder / NAME).write_text(json.dumps(asdict(self), indent=1) + "\n")

    @property
    def whole_seconds(self) -> float:
        """From the first line that was read to the last refund that was looked at."""
        return sum(self.seconds.values())
