"""Databases in the mesh's own Postgres, with its settings: one to play in, and those of packages to load many rows."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import asyncpg

from bench.rig.world import World

NAME = "bench"


@asynccontextmanager
async def inside(world: World, package: str) -> AsyncIterator[asyncpg.Connection]:
    """Yield a superuser's connection to a package's database."""
    connection = await asyncpg.connect(world.mesh.endpoints["postgres"][package])
    try:
        yield connection
    finally:
        await connection.close()


@asynccontextmanager
async def database(world: World) -> AsyncIterator[str]:
    """Yield the DSN of an empty database that is gone afterwards."""
    async with inside(world, "svc_order") as connection:
        await connection.execute(f"DROP DATABASE IF EXISTS {NAME} WITH (FORCE)")
        await connection.execute(f"CREATE DATABASE {NAME}")
        try:
            yield urlsplit(world.mesh.endpoints["postgres"]["svc_order"])._replace(path=f"/{NAME}").geturl()
        finally:
            await connection.execute(f"DROP DATABASE IF EXISTS {NAME} WITH (FORCE)")
