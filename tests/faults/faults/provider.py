"""The payment provider: away, slow, forgetful, and a bad writer of webhooks."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Any

import httpx

from tests.faults.faults.processes import kill, stop
from tests.faults.faults.scene import SERVICE_SECONDS, Fault, Scene, within

PROVIDER_SECONDS = 4.0
SLOW_SECONDS = 5.0
SLOW_FOR_SECONDS, FULL_SLOW_FOR_SECONDS = 15.0, 60.0
"""In full, so long that the routes which are asked most have answers enough to be judged by."""

LATE_SECONDS = 30.0
"""Later than a checkout waits. That webhooks a day late change nothing, the interleavings prove."""

USUAL: Mapping[str, Any] = {"action_seconds": 12.0}
"""How it behaves where nothing is wrong: a customer has a few seconds to confirm, so that some deadlines pass."""


async def behave(mesh_psp: str, **behaviour: Any) -> None:
    """Let the provider behave as usual, but for what is said here; one that was started again has forgotten it."""
    async with httpx.AsyncClient(base_url=mesh_psp, timeout=5) as control:
        (await control.delete("/control")).raise_for_status()
        (await control.post("/control", json={**USUAL, **behaviour})).raise_for_status()


async def misbehave(scene: Scene, *, seconds: float = PROVIDER_SECONDS, **behaviour: Any) -> None:
    """Let the provider misbehave for a while."""
    psp = scene.mesh.endpoints["psp"]
    await behave(psp, seed=scene.dice.randrange(2**31), **behaviour)
    try:
        await asyncio.sleep(seconds)
    finally:
        await behave(psp)


async def die(scene: Scene) -> None:
    """End the provider without a word. It forgets how it was told to behave, and is told again."""
    await kill(scene, "psp_sim")
    while True:
        try:
            return await behave(scene.mesh.endpoints["psp"])
        except httpx.TransportError:
            await asyncio.sleep(0.05)


async def take_long(scene: Scene) -> None:
    """Let every answer of the provider take as long as a patient customer waits."""
    seconds = FULL_SLOW_FOR_SECONDS if scene.full else SLOW_FOR_SECONDS
    await misbehave(scene, seconds=seconds, latency_seconds=SLOW_SECONDS)


SLOW = "provider takes 5 s"
"""While it lasts, routes that need no provider keep their pace."""

FAULTS: Mapping[str, Fault] = within(
    SERVICE_SECONDS,
    {
        "kill psp_sim": die,
        "stop psp_sim": partial(stop, name="psp_sim"),
        "provider loses replies": partial(misbehave, lose_replies=0.5),
        "provider fails after capture": partial(misbehave, fail_after_capture=0.5),
        "provider is away": partial(misbehave, unavailable=1.0),
        SLOW: take_long,
        "provider answers after the deadline": partial(misbehave, latency_seconds=LATE_SECONDS),
        "webhooks come twice, late and shuffled": partial(
            misbehave, webhooks={"duplicate": 1.0, "shuffle": 1.0, "delay_seconds": 1.0}
        ),
        "webhooks come when all is over": partial(
            misbehave, webhooks={"duplicate": 0.5, "delay_seconds": LATE_SECONDS}
        ),
        "webhooks are wrong": partial(misbehave, webhooks={"wrong_amount": 0.5, "bad_signature": 0.5}),
        "webhooks are lost": partial(misbehave, webhooks={"drop": 1.0}),
    },
)
