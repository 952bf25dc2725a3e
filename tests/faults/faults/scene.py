"""Where a fault happens, and what it may say of itself."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping
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


SERVICE_SECONDS = 5.0
DATABASE_SECONDS = 10.0
BACKLOG_SECONDS = 60.0
"""How soon the mesh has to be well again: after a process, after the database, and after the broker, whose backlog is
then applied as well."""


@dataclass(frozen=True)
class Fault:
    """A way to disturb a mesh.

    Attributes:
        inject: Begins the fault and returns when nothing disturbs any more, with a word on what it met, if there is
            one.
        limit_seconds: How soon after that the mesh has to be well again.
    """

    inject: Callable[[Scene], Awaitable[str | None]]
    limit_seconds: float = SERVICE_SECONDS


def within(limit_seconds: float, faults: Mapping[str, Callable[[Scene], Awaitable[str | None]]]) -> dict[str, Fault]:
    """Return faults after which the mesh is well again within the same limit."""
    return {name: Fault(inject, limit_seconds) for name, inject in faults.items()}


class Skipped(Exception):
    """This machine cannot have this fault; the message says what it lacks."""


class Wrong(Exception):
    """The mesh did in the fault what it must not do; the message says what."""
