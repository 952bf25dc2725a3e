"""Redis, which may forget, die or hang: nothing that counts is only there."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import redis.asyncio

from tests.faults.faults.processes import kill, stop
from tests.faults.faults.scene import SERVICE_SECONDS, Fault, Scene, within


async def flush(scene: Scene) -> None:
    """Let Redis forget everything at once."""
    async with redis.asyncio.from_url(scene.mesh.endpoints["redis"]) as client:
        await client.flushall()


FAULTS: Mapping[str, Fault] = within(
    SERVICE_SECONDS,
    {
        "kill redis": partial(kill, name="valkey"),
        "stop redis": partial(stop, name="valkey"),
        "redis forgets": flush,
    },
)
"""Those that forget are named in `invariants.REDIS_LOSES` too."""
