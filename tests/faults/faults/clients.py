"""Clients that are too many, too fast, and press every button over and over."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

from tests.faults.faults.scene import Fault, Scene, within
from tests.faults.shoppers import visit

STORM_GUESTS = 40
STORM_SECONDS, FULL_STORM_SECONDS = 5.0, 60.0
STORM_FACTOR = 10.0
RECOVERY_SECONDS = 10.0
"""How soon the mesh has to be well again after it."""


async def storm(scene: Scene) -> None:
    """Let a crowd come at once, ten times the load, in which everybody presses every button up to ten times."""
    shop = scene.shop
    shop.storms += 1
    shop.factor = STORM_FACTOR
    until = time.monotonic() + (FULL_STORM_SECONDS if scene.full else STORM_SECONDS)

    async def come(number: int) -> None:
        visits = 0
        while time.monotonic() < until:
            visits += 1
            await visit(shop, f"storm{shop.storms}.{number}.{visits}", eager=True, until=until)

    try:
        await asyncio.gather(*(come(number) for number in range(STORM_GUESTS)))
    finally:
        shop.factor = 1.0


FAULTS: Mapping[str, Fault] = within(RECOVERY_SECONDS, {"storm": storm})
