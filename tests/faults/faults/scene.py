"""Where a fault happens, and what it may say of itself."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.faults.mesh import Mesh
    from tests.faults.shoppers import Shop


@dataclass(frozen=True)
class Scene:
    """The mesh, the shop whose customers a fault meets, and dice of its own. Faults of a full proof take their time."""

    mesh: Mesh
    shop: Shop
    dice: random.Random
    full: bool = False

    def seconds(self, least: float, most: float, *, full: float = 0.0) -> float:
        """Roll how long a fault lasts: between the two, up to `full` where there is time for it."""
        return self.dice.uniform(least, max(most, full) if self.full else most)


Fault = Callable[[Scene], Awaitable[str | None]]
"""Begins a fault and returns when nothing disturbs any more, with a word on what it met, if there is one."""


class Skipped(Exception):
    """This machine cannot have this fault; the message says what it lacks."""


class Wrong(Exception):
    """The mesh did in the fault what it must not do; the message says what."""
