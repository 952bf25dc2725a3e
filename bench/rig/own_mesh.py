"""A mesh of the bench's own: on ports and in a folder that nobody else has, and always taken down."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from bench.rig.result import ROOT
from control import remote
from control.home import Home, HomeUnusable
from control.servers.ports import claim_block

PROFILE = "load"
CONTROL_SECONDS = 180.0


class NotStarted(Exception):
    """The mesh did not start; the message is what it said."""


def own_folder(purpose: str) -> Path:
    """Return the folder of a mesh of this purpose, beside that of the usual mesh."""
    return Path(f"{os.environ.get('TITAN_HOME') or '.titan'}-{purpose}").expanduser().absolute()


class OwnMesh:
    """A mesh in a fresh folder beside the usual one; `with OwnMesh(...) as mesh` starts and stops it."""

    def __init__(self, folder: Path) -> None:
        """Describe it; what an earlier run left in the folder goes.

        Raises:
            NotStarted: The folder cannot hold a mesh.
        """
        self.folder = folder
        self._environment = {name: value for name, value in os.environ.items() if not name.startswith("TITAN_")}
        self._environment |= {
            "TITAN_HOME": str(folder),
            "TITAN_PORT_BASE": str(claim_block()),
            "PYTHONPATH": f"{ROOT}:{ROOT / 'gen'}",
        }
        try:
            self.home = Home.from_environment(self._environment)
        except HomeUnusable as problem:
            raise NotStarted(str(problem)) from problem
        self.ready_seconds: list[float] = []

    def __enter__(self) -> OwnMesh:
        """Start it on an empty folder.

        Raises:
            NotStarted: It did not come up, or another one runs there.
        """
        if self._is_running():
            raise NotStarted(f"another run has a mesh in {self.folder}: TITAN_HOME={self.folder} make down")
        shutil.rmtree(self.folder, ignore_errors=True)
        try:
            self.start()
        except BaseException:
            self._control("down")
            raise
        return self

    def __exit__(self, *problem: object) -> None:
        """Take it down; what it stored goes too, since a million orders would stay otherwise."""
        self._control("down")
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def endpoints(self) -> dict[str, Any]:
        """Where it is."""
        found: dict[str, Any] = json.loads(self.home.endpoints.read_text())
        return found

    def start(self) -> None:
        """Start it, and note how long the command took.

        Raises:
            NotStarted: It did not come up.
        """
        began = time.monotonic()
        up = self._control("up", "--profile", PROFILE)
        if up.returncode:
            raise NotStarted(up.stdout + up.stderr)
        self.ready_seconds.append(time.monotonic() - began)

    def stop(self) -> None:
        """Stop it, and leave what it stored."""
        self._control("down")

    def ask(self, **request: Any) -> Any:
        """Have the supervisor do something."""
        return remote.ask(self.home.supervisor_socket, request)

    def _is_running(self) -> bool:
        try:
            self.ask(do="status")
        except remote.NotRunning:
            return False
        return True

    def _control(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "control", *arguments],
            cwd=ROOT,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=CONTROL_SECONDS,
            check=False,
        )
