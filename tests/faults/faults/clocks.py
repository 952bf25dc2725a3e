"""Clocks: one service believes that it is ten minutes earlier or later than it is.

The service is started again with a module on its path that bends what Python tells of the time of day (see
`skewed/sitecustomize.py`); the product has no switch for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from tests.faults.faults.processes import PACKAGES
from tests.faults.faults.provider import behave
from tests.faults.faults.scene import SERVICE_SECONDS, Fault, Scene, within
from tests.faults.mesh import ROOT

SKEW_SECONDS = 600
PROVIDER = "psp_sim"
SKEWED = Path(__file__).with_name("skewed")


async def skew(scene: Scene, name: str) -> str:
    """Let a service live in another time for a while."""
    seconds = scene.dice.choice((-SKEW_SECONDS, SKEW_SECONDS))
    path = f"{SKEWED}:{ROOT}:{ROOT / 'gen'}"
    await scene.mesh.restart(name, PYTHONPATH=path, TITAN_PROOF_CLOCK_SKEW_SECONDS=str(seconds))
    try:
        await asyncio.sleep(scene.seconds(3, 4))
    finally:
        await scene.mesh.restart(name)
        if name == PROVIDER:
            await behave(scene.mesh.endpoints["psp"])
    return f"{seconds:+} s"


FAULTS: Mapping[str, Fault] = within(
    SERVICE_SECONDS,
    {f"clock of {name} is ten minutes off": partial(skew, name=name) for name in (*PACKAGES, PROVIDER)},
)
