"""A mesh for one purpose: in a folder and on ports of its own, started and taken down by whoever wants it.

The bench, the proof, the attacks and the journeys each have one. What is done to it goes through the commands that
everybody has.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from control import remote
from control.home import Home, HomeUnusable
from control.servers.ports import claim_block
from control.topology_file import ROOT

PROFILE = "load"
CONTROL_SECONDS = 180.0


class NotStarted(Exception):
    """The mesh did not start; the message is what it said."""


def own_folder(purpose: str) -> Path:
    """Return the folder of a mesh of this purpose, beside that of the usual mesh."""
    return Path(f"{os.environ.get('TITAN_HOME') or '.titan'}-{purpose}").expanduser().absolute()


def environment_of(folder: Path, *, port_base: int | None = None, root: Path = ROOT, **settings: str) -> dict[str, str]:
    """Return the environment of a mesh in this folder: nothing of another mesh, and ports that nobody else has."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TITAN_")}
    own = {"TITAN_HOME": str(folder), "TITAN_PORT_BASE": str(port_base or claim_block())}
    return {**kept, **own, "PYTHONPATH": f"{root}:{root / 'gen'}", **settings}


def control(
    environment: Mapping[str, str], *arguments: str, root: Path = ROOT, timeout_seconds: float = CONTROL_SECONDS
) -> subprocess.CompletedProcess[str]:
    """Run `python -m control ...` of a source tree on the mesh of this environment.

    Raises:
        subprocess.TimeoutExpired: It took too long.
    """
    return subprocess.run(
        [sys.executable, "-m", "control", *arguments],
        cwd=root,
        env=dict(environment),
        capture_output=True,
        text=True,
        timeout=timeout_seconds,
        check=False,
    )


class OwnMesh:
    """A mesh that nobody else uses.

    `with OwnMesh(...) as mesh` starts it on an empty folder and leaves nothing behind, however the block ends: also
    when the process is told to end (SIGTERM), which is as Ctrl-C from then on. `start` and `stop` leave the folder be.
    """

    def __init__(
        self, folder: Path, *, port_base: int | None = None, root: Path = ROOT, profile: str = PROFILE, **settings: str
    ) -> None:
        """Describe it: the limits of its edge, the source tree that it runs, and settings of its processes.

        Raises:
            NotStarted: The folder cannot hold a mesh.
        """
        self.folder = folder
        self.environment = environment_of(folder, port_base=port_base, root=root, **settings)
        self.ready_seconds: list[float] = []
        self._root = root
        self._profile = profile
        try:
            self.home = Home.from_environment(self.environment)
        except HomeUnusable as problem:
            raise NotStarted(str(problem)) from problem

    def __enter__(self) -> OwnMesh:
        """Start it.

        Raises:
            NotStarted: It did not come up, or another one runs there.
        """
        end_on_sigterm()
        if self._is_running():
            raise NotStarted(f"another run has a mesh in {self.folder}: TITAN_HOME={self.folder} make down")
        shutil.rmtree(self.folder, ignore_errors=True)
        try:
            self.start()
        except NotStarted:
            self.stop()  # the folder stays: its logs may say more
            raise
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *problem: object) -> None:
        """Take it down; what it stored goes too, since a million orders would stay otherwise."""
        self.stop()
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
        try:
            up = control(self.environment, "up", "--profile", self._profile, root=self._root)
        except subprocess.TimeoutExpired as late:
            raise NotStarted(f"the mesh did not start within {CONTROL_SECONDS:.0f} s") from late
        if up.returncode:
            raise NotStarted(up.stdout + up.stderr)
        self.ready_seconds.append(time.monotonic() - began)

    def stop(self) -> None:
        """Stop it, and leave what it stored."""
        control(self.environment, "down", root=self._root)

    def ask(self, **request: Any) -> Any:
        """Have the supervisor do something."""
        return remote.ask(self.home.supervisor_socket, request)

    def _is_running(self) -> bool:
        try:
            self.ask(do="status")
        except remote.NotRunning:
            return False
        return True


def end_on_sigterm() -> None:
    """Be interrupted by SIGTERM as by Ctrl-C from now on: whoever is out of time takes what it started down too."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
