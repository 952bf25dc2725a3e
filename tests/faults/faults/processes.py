"""Processes that die, hang, restart or get company, and the certificates by which they know each other."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial

from tests.faults.faults.scene import SERVICE_SECONDS, Fault, Scene, within

SERVICES = (
    "svc_auth",
    "svc_catalog",
    "svc_cart",
    "svc_inventory",
    "svc_payment",
    "svc_order",
    "svc_notify",
    "svc_bulk",
    "svc_limits",
)
PACKAGES = (*SERVICES, "edge_http")
PROXIES = ("envoy_mesh", "envoy_edge")
SHORTEST_STOP_SECONDS, LONGEST_STOP_SECONDS, FULL_STOP_SECONDS = 2.0, 8.0, 60.0
COORDINATOR = "svc_order"
"""Of a full proof it sleeps the longest: what it still sends when it wakes up is what others have to refuse."""

ROTATIONS = 3
ROTATION_SECONDS = 1.0


async def kill(scene: Scene, name: str, signal: str = "SIGKILL") -> None:
    """End a process without a word; the supervisor starts it again."""
    await scene.mesh.kill(name, signal)


async def stop(scene: Scene, name: str) -> None:
    """Let a process hang, as one does whose machine is lost, and come back late with what it still wants to say."""
    await scene.mesh.kill(name, "SIGSTOP")
    try:
        full = FULL_STOP_SECONDS if name == COORDINATOR else 0.0
        await asyncio.sleep(scene.seconds(SHORTEST_STOP_SECONDS, LONGEST_STOP_SECONDS, full=full))
    finally:
        await scene.mesh.kill(name, "SIGCONT")


async def restart_all(scene: Scene) -> None:
    """Let everybody leave and come back in turn, as a release does."""
    for name in PACKAGES:
        await scene.mesh.restart(name)


async def two_of(scene: Scene, package: str) -> None:
    """Give a package a second process for a while: two relays, two coordinators, two sweepers on one database."""
    await scene.mesh.ask(do="scale", package=package, replicas=2)
    try:
        await asyncio.sleep(scene.seconds(2, 4))
        await scene.mesh.kill(package)  # the second takes over what the first was at
        await asyncio.sleep(2)
    finally:
        await scene.mesh.ask(do="scale", package=package, replicas=1)


async def rotate(scene: Scene) -> None:
    """Give everybody a new certificate, over and over."""
    for _ in range(ROTATIONS):
        await scene.mesh.ask(do="rotate")
        await asyncio.sleep(ROTATION_SECONDS)


FAULTS: Mapping[str, Fault] = within(
    SERVICE_SECONDS,
    {
        **{f"kill {name}": partial(kill, name=name) for name in (*PACKAGES, *PROXIES)},
        **{f"stop {name}": partial(stop, name=name) for name in (*PACKAGES, *PROXIES)},
        "every package restarts in turn": restart_all,
        "two of svc_order": partial(two_of, package="svc_order"),
        "two of svc_payment": partial(two_of, package="svc_payment"),
        "two of svc_inventory": partial(two_of, package="svc_inventory"),
        "certificates are rotated": rotate,
    },
)
