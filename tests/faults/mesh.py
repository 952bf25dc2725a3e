"""A mesh of the proof's own: started, asked, disturbed and stopped through the commands that everybody has."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from control import remote
from control.own_mesh import NotStarted, OwnMesh, end_on_sigterm
from control.topology_file import ROOT

__all__ = ["ROOT", "Mesh", "NotStarted", "started"]

RESTART_SECONDS = 60.0


@dataclass(frozen=True)
class Mesh:
    """A running mesh."""

    home: Path
    endpoints: dict[str, Any]

    async def ask(self, **request: Any) -> Any:
        """Have the supervisor do something."""
        return await asyncio.to_thread(remote.ask, self.home / "run" / "supervisor.sock", request)

    async def kill(self, name: str, signal_name: str = "SIGKILL") -> None:
        """Send a process a signal."""
        await self.ask(do="kill", name=name, signal=signal_name)

    @asynccontextmanager
    async def without(self, name: str, signal_name: str = "SIGKILL") -> AsyncIterator[None]:
        """End a process with a signal, and keep it down for as long as the context lives."""
        await self.ask(do="hold", name=name, signal=signal_name)
        try:
            yield
        finally:
            await self.ask(do="release", name=name)

    async def restart(self, name: str, **environment: str) -> None:
        """End a process in an orderly way and wait until it works again, this once with more in its environment."""
        before = (await self.rows())[name]["pid"]
        await self.ask(do="restart", name=name, environment=environment)
        async with asyncio.timeout(RESTART_SECONDS):
            while True:
                row = (await self.rows())[name]
                if row["healthy"] and row["pid"] not in (None, before):
                    return
                await asyncio.sleep(0.05)

    async def rows(self) -> dict[str, dict[str, Any]]:
        """Return what the supervisor says of each process, asked now."""
        status = await self.ask(do="status")
        return {row["name"]: row for row in status["processes"]}

    async def healthy(self) -> bool:
        """Return whether every process can work."""
        return all(row["healthy"] for row in (await self.rows()).values())


@asynccontextmanager
async def started(
    home: Path, *, port_base: int | None = None, root: Path = ROOT, profile: str = "load", **settings: str
) -> AsyncIterator[Mesh]:
    """Start a mesh, and stop it at the end, whatever happens.

    Args:
        profile: The limits of its edge; those of a load test unless told otherwise.
        root: The source tree that it runs.

    Raises:
        NotStarted: It did not come up.
    """
    own = OwnMesh(home, port_base=port_base, root=root, profile=profile, **settings)
    end_on_sigterm()
    try:
        await asyncio.to_thread(own.start)
        yield Mesh(home, own.endpoints)
    finally:
        await asyncio.to_thread(own.stop)
