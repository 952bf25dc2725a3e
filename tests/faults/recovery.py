"""When a mesh is well again after a fault, and whether that was soon enough.

It is well when every process is healthy, an order that was asked for after the fault is confirmed, and every event that
waited at the end of the fault is published and, if it is one of an order, applied by the service that writes letters.
Whoever shopped before may still wait for an answer that was asked for in the fault; so somebody new comes and orders.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID

import asyncpg

from tests.faults.faults import FAULTS, Scene
from tests.faults.latencies import p99
from tests.faults.mesh import Mesh
from tests.faults.shoppers import visit
from tests.faults.watch import AWAY

LONGEST_SECONDS = 90.0
"""After this a mesh counts as one that does not recover."""

LOOK_SECONDS = 0.05
ORDERS, LETTERS = "svc_order", "svc_notify"
OUTBOXES = ("svc_catalog", "svc_inventory", "svc_payment", ORDERS)
"""Of svc_auth nobody may read anything."""

RECENT_MINUTES = 2
"""No event is looked for that was published earlier: no fault lasts so long, and a crowd is told of by thousands."""

_WAITING = "SELECT event_id FROM outbox WHERE published_at IS NULL"
_TOLD = f"{_WAITING} OR published_at > now() - interval '{RECENT_MINUTES} minutes'"
_APPLIED = "SELECT event_id FROM inbox WHERE event_id = ANY($1::uuid[])"


class Recovered(Protocol):
    """A fault that was injected, and how long the mesh then needed."""

    @property
    def name(self) -> str:
        """Which fault."""
        ...

    @property
    def recovery_seconds(self) -> float:
        """From the end of the disturbance until everything worked."""
        ...


@dataclass
class Backlog:
    """The events that waited at one moment, by the package that has told them, and those that have to be applied."""

    unpublished: dict[str, set[UUID]] = field(default_factory=dict)
    unapplied: set[UUID] = field(default_factory=set)

    @classmethod
    async def of(cls, mesh: Mesh) -> Backlog:
        """Return what waits now."""
        backlog = cls()
        for package in OUTBOXES:
            rows = await _ask(mesh, package, _TOLD if package == ORDERS else _WAITING)
            if package == ORDERS:
                backlog.unapplied = rows
            else:
                backlog.unpublished[package] = rows
        await backlog.is_left(mesh)
        return backlog

    async def is_left(self, mesh: Mesh) -> bool:
        """Ask again for what still waited at the last look; returns whether some of it does."""
        if self.unapplied:
            self.unapplied -= await _ask(mesh, LETTERS, _APPLIED, list(self.unapplied))
        for package, waiting in self.unpublished.items():
            if waiting:
                waiting &= await _ask(mesh, package, _WAITING)
        return bool(self.unapplied) or any(self.unpublished.values())


async def recover(scene: Scene, lifted: float) -> float | None:
    """Wait until the mesh is well after a fault that ended at `lifted`, and return when it was; None if it never was.

    Both times are on the monotonic clock.
    """
    scene.shop.counts["came after"] += 1
    name = f"after{scene.shop.counts['came after']}"
    coming = asyncio.create_task(visit(scene.shop, name, eager=True, until=lifted))  # eager ones order at once
    try:
        return await _well(scene, lifted)
    finally:
        await coming


async def _well(scene: Scene, lifted: float) -> float | None:
    deadline, backlog = lifted + LONGEST_SECONDS, None
    while time.monotonic() < deadline:
        try:
            backlog = backlog or await Backlog.of(scene.mesh)
            well = await scene.mesh.healthy() and scene.shop.confirmed_at > lifted
            if well and not await backlog.is_left(scene.mesh):
                return time.monotonic()
        except AWAY:
            pass  # the database is not back yet
        await asyncio.sleep(LOOK_SECONDS)
    return None


def too_late(recoveries: Iterable[Recovered]) -> list[str]:
    """Say after which faults the mesh was not well soon enough.

    The 99th percentile counts, over all faults with the same limit: below a hundred of them, that is the longest.
    """
    by_limit: dict[float, list[Recovered]] = defaultdict(list)
    for each in recoveries:
        by_limit[FAULTS[each.name].limit_seconds].append(each)
    return [
        f"{each.name}: well again {each.recovery_seconds:.1f} s after it, {limit:g} s allowed"
        for limit, group in sorted(by_limit.items())
        if p99([each.recovery_seconds for each in group]) > limit
        for each in group
        if each.recovery_seconds > limit
    ]


async def _ask(mesh: Mesh, package: str, statement: str, *arguments: object) -> set[UUID]:
    connection = await asyncpg.connect(mesh.endpoints["postgres_reader"][package], timeout=5, command_timeout=5)
    try:
        return {row["event_id"] for row in await connection.fetch(statement, *arguments)}
    finally:
        connection.terminate()
