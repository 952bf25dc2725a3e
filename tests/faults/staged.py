"""A copy of the source tree whose processes have a door, through which a proof arms failpoints while they run.

A restart takes seconds, and the crash matrix has hundreds of cells. The product knows nothing of doors: the copy brings
`door.py` as the `sitecustomize.py` that Python itself looks for.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.faults.door import DOORS
from tests.faults.mesh import ROOT

ANSWER_SECONDS = 5.0
NOT_COPIED = ("tests", "docs", "bench", "demo", "replay")
BACKOFF = "LONGEST_BACKOFF_SECONDS = 5.0"
"""The supervisor waits longer after each death of a process. Here a process dies a hundred times, so it must not."""


class NoDoor(Exception):
    """No process of this name has its door open."""


def stage(folder: Path) -> Path:
    """Copy the tree into a folder, give its processes doors, and return it."""
    folder.mkdir()
    (folder / DOORS).mkdir()
    for child in ROOT.iterdir():
        if child.is_dir() and not child.name.startswith(".") and child.name not in NOT_COPIED:
            shutil.copytree(child, folder / child.name)
        elif child.is_file():
            shutil.copy2(child, folder / child.name)
    shutil.copy2(Path(__file__).with_name("door.py"), folder / "sitecustomize.py")
    supervised = folder / "control" / "supervised.py"
    text = supervised.read_text()
    assert BACKOFF in text, f"the supervisor no longer says {BACKOFF}"
    supervised.write_text(text.replace(BACKOFF, BACKOFF.replace("5.0", "0.1")))
    return folder


@dataclass(frozen=True)
class Door:
    """The door of one process."""

    path: Path

    @property
    def process_id(self) -> int:
        """Whose door it is."""
        return int(self.path.suffix[1:])

    async def arm(self, failpoints: Mapping[str, str]) -> None:
        """Arm failpoints.

        Raises:
            NoDoor: The process is gone.
        """
        await self._ask({"arm": dict(failpoints)})

    async def reset(self) -> None:
        """Disarm everything.

        Raises:
            NoDoor: The process is gone.
        """
        await self._ask({"reset": True})

    async def left(self, failpoint: str) -> int | None:
        """Return how often an armed failpoint still acts.

        Raises:
            NoDoor: The process is gone.
        """
        return (await self._ask({}))[failpoint]

    async def _ask(self, request: object) -> dict[str, int | None]:
        return await asyncio.to_thread(self._exchange, request)

    def _exchange(self, request: object) -> dict[str, int | None]:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(ANSWER_SECONDS)
            try:
                client.connect(str(self.path))
                with client.makefile("rw") as lines:
                    lines.write(json.dumps(request) + "\n")
                    lines.flush()
                    answer = lines.readline()
            except OSError as gone:
                raise NoDoor(str(self.path)) from gone
        if not answer:
            raise NoDoor(str(self.path))
        return json.loads(answer)


@dataclass(frozen=True)
class Doors:
    """The doors of a staged mesh."""

    folder: Path

    async def open(self, package: str, *, not_of: int = 0, seconds: float = 20.0) -> Door:
        """Return the door of a package's process, other than that of a process that is gone.

        Raises:
            NoDoor: There is none in time.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for door in self._there(package):
                if door.process_id != not_of:
                    return door
            await asyncio.sleep(0.01)
        raise NoDoor(package)

    def _there(self, package: str) -> list[Door]:
        """Return the doors of processes that live."""
        doors = [Door(path) for path in self.folder.glob(f"{DOORS}/{package}.*")]
        return [door for door in doors if Path(f"/proc/{door.process_id}").exists()]
