"""`python -m control.migrate PACKAGE ...`: bring packages' databases to their newest schema, side by side, and end."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence

from mesh.migrations import upgrade

from control.home import Home
from control.processes import postgres_of


async def migrate(home: Home, packages: Sequence[str]) -> None:
    """Upgrade each package's database as the package's own role."""
    postgres = postgres_of(home)
    async with asyncio.TaskGroup() as together:
        for package in packages:
            together.create_task(upgrade(package, postgres.package_url(package)), name=package)


if __name__ == "__main__":
    asyncio.run(migrate(Home.from_environment(), sys.argv[1:]))
