"""The ways in which a mesh is disturbed: each a function that begins a fault and returns when it is over.

A fault is over when nothing disturbs the mesh any more; how long the mesh then needs is measured by who injects it.
To add one: write the function, and put it into FAULTS.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial

import httpx
import redis.asyncio

from tests.faults.mesh import Mesh
from tests.faults.shoppers import Shop, visit

SERVICES = ("svc_auth", "svc_catalog", "svc_cart", "svc_inventory", "svc_payment", "svc_order", "svc_notify")
PROXIES = ("envoy_mesh", "envoy_edge")
SHORTEST_STOP_SECONDS, LONGEST_STOP_SECONDS = 2.0, 8.0
STORM_GUESTS = 40
STORM_SECONDS = 5.0
STORM_FACTOR = 10.0
PROVIDER_SECONDS = 5.0


@dataclass(frozen=True)
class Scene:
    """Where a fault happens: the mesh, the shop whose customers it meets, and dice of its own."""

    mesh: Mesh
    shop: Shop
    dice: random.Random


Fault = Callable[[Scene], Awaitable[None]]


async def kill(scene: Scene, name: str, signal: str = "SIGKILL") -> None:
    """End a process without a word; the supervisor starts it again."""
    await scene.mesh.kill(name, signal)


async def stop(scene: Scene, name: str) -> None:
    """Let a process hang, as one does whose machine is lost, and come back late with what it still wants to say."""
    await scene.mesh.kill(name, "SIGSTOP")
    try:
        await asyncio.sleep(scene.dice.uniform(SHORTEST_STOP_SECONDS, LONGEST_STOP_SECONDS))
    finally:
        await scene.mesh.kill(name, "SIGCONT")


async def flush_redis(scene: Scene) -> None:
    """Let Redis forget everything at once."""
    async with redis.asyncio.from_url(scene.mesh.endpoints["redis"]) as client:
        await client.flushall()


async def storm(scene: Scene) -> None:
    """Let a crowd come at once, faster than usual, in which everybody presses every button up to ten times."""
    shop = scene.shop
    shop.storms += 1
    shop.factor, until = STORM_FACTOR, time.monotonic() + STORM_SECONDS
    names = [f"storm{shop.storms}.{number}" for number in range(STORM_GUESTS)]
    try:
        await asyncio.gather(*(visit(shop, name, eager=True, until=until) for name in names))
    finally:
        shop.factor = 1.0


async def provider(scene: Scene, **behaviour: object) -> None:
    """Let the payment provider misbehave for a while."""
    async with httpx.AsyncClient(base_url=scene.mesh.endpoints["psp"], timeout=5) as control:
        seed = {"seed": scene.dice.randrange(2**31)}
        (await control.post("/control", json={**behaviour, **seed})).raise_for_status()
        try:
            await asyncio.sleep(PROVIDER_SECONDS)
        finally:
            (await control.delete("/control")).raise_for_status()


FAULTS: Mapping[str, Fault] = {
    **{f"kill {name}": partial(kill, name=name) for name in (*SERVICES, "edge_http", *PROXIES, "psp_sim")},
    **{f"stop {name}": partial(stop, name=name) for name in (*SERVICES, "edge_http", *PROXIES, "psp_sim")},
    "kill postgres": partial(kill, name="postgres"),
    "postgres stops at once": partial(kill, name="postgres", signal="SIGQUIT"),
    "stop postgres": partial(stop, name="postgres"),
    "kill redis": partial(kill, name="valkey"),
    "stop redis": partial(stop, name="valkey"),
    "redis forgets": flush_redis,
    "stop kafka": partial(stop, name="kafka"),
    "storm": storm,
    "provider loses replies": partial(provider, lose_replies=0.5),
    "provider fails after capture": partial(provider, fail_after_capture=0.5),
    "provider is away": partial(provider, unavailable=1.0),
    "provider is slow": partial(provider, latency_seconds=3.0),
    "webhooks come twice, late and shuffled": partial(
        provider, webhooks={"duplicate": 1.0, "shuffle": 1.0, "delay_seconds": 1.0}
    ),
    "webhooks are wrong": partial(provider, webhooks={"wrong_amount": 0.5, "bad_signature": 0.5}),
    "webhooks are lost": partial(provider, webhooks={"drop": 1.0}),
}

SETS: Mapping[str, tuple[str, ...]] = {
    "none": (),
    "first": ("kill svc_order",),
    "short": (
        "kill svc_order",
        "kill svc_payment",
        "kill svc_inventory",
        "postgres stops at once",
        "stop svc_order",
        "redis forgets",
        "kill envoy_mesh",
        "provider loses replies",
        "kill svc_cart",
        "storm",
    ),
    "all": tuple(FAULTS),
}


def chosen(words: list[str]) -> tuple[str, ...]:
    """Return the faults that names and sets of them stand for.

    Raises:
        KeyError: There is no such fault or set.
    """
    names: list[str] = []
    for word in words:
        names += SETS[word] if word in SETS else [word] if word in FAULTS else []
        if word not in SETS and word not in FAULTS:
            raise KeyError(word)
    return tuple(names)


def order_of(names: tuple[str, ...], dice: random.Random, count: int) -> list[str]:
    """Draw so many faults: every name comes once before one comes twice."""
    drawn: list[str] = []
    while len(drawn) < count and names:
        drawn += dice.sample(names, len(names))
    return drawn[:count]
