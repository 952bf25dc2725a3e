"""`python -m control.migrate PACKAGE ...`: bring packages' databases to their newest schema, one by one, and end."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence

from control.home import Home
from control.processes import postgres_of
from mesh.migrations import upgrade


async def migrate(home: Home, packages: Sequence[str]) -> None:
    """Upgrade each package's database as the package's own role.

    Never two at once in one process: alembic's `op` is one global name, so two migrations that take turns on an event
    loop write into each other's databases.
    """
    postgres = postgres_of(home)
    for package in packages:
        await upgrade(package, postgres.package_address(package), postgres.password_of(package))


if __name__ == "__main__":
    asyncio.run(migrate(Home.from_environment(), sys.argv[1:]))
