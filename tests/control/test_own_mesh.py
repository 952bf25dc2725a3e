"""A mesh of one's own is taken down however its owner ends. A stand-in writes down which commands it was given."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from control.own_mesh import NotStarted, OwnMesh, control, environment_of
from control.topology_file import ROOT

STAND_IN = """
import os, sys, time
with open("commands", "a") as log:
    print(*sys.argv[1:], os.environ["TITAN_HOME"], file=log)
if sys.argv[1] == "up":
    os.mkdir(os.environ["TITAN_HOME"])
    if os.path.exists("broken"):
        sys.exit("no such luck")
    if os.path.exists("slow"):
        open("starts", "w").close()
        time.sleep(60)
"""
OWNER = """
import asyncio, sys, uvloop
from pathlib import Path
from control.own_mesh import OwnMesh
async def work():
    print("works", flush=True)
    await asyncio.sleep(60)
try:
    with OwnMesh(Path(sys.argv[1]), root=Path(sys.argv[2])):
        uvloop.run(work())
except KeyboardInterrupt:
    print("interrupted", flush=True)
    sys.exit(130)
"""
SECONDS = 10


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A source tree whose control does nothing but say so."""
    (tmp_path / "tree" / "control").mkdir(parents=True)
    (tmp_path / "tree" / "control" / "__main__.py").write_text(STAND_IN)
    return tmp_path / "tree"


def commands(tree: Path) -> list[str]:
    """Return which commands were given."""
    return [line.partition(" ")[0] for line in (tree / "commands").read_text().splitlines()]


def test_a_mesh_is_started_on_an_empty_folder_and_leaves_nothing(tree: Path, short_path: Path) -> None:
    folder = short_path / "m"
    folder.mkdir()
    (folder / "of an earlier run").touch()
    with OwnMesh(folder, root=tree) as mesh:
        assert not list(folder.iterdir())
        assert len(mesh.ready_seconds) == 1
    assert not folder.exists()
    assert commands(tree) == ["up", "down"]


def test_one_that_does_not_start_is_taken_down_and_says_why(tree: Path, short_path: Path) -> None:
    (tree / "broken").touch()
    with pytest.raises(NotStarted, match="no such luck"), OwnMesh(short_path / "m", root=tree):
        pass
    assert (short_path / "m").exists(), "its logs may say more"
    assert commands(tree) == ["up", "down"]


def test_a_problem_inside_takes_it_down(tree: Path, short_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), OwnMesh(short_path / "m", root=tree):
        raise ZeroDivisionError
    assert commands(tree) == ["up", "down"]


def owner_of(tree: Path, folder: Path) -> subprocess.Popen[str]:
    """Start a process that has a mesh of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", OWNER, str(folder), str(tree)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


@pytest.mark.parametrize("told", [signal.SIGTERM, signal.SIGINT])
def test_an_owner_that_is_told_to_end_takes_its_mesh_down(tree: Path, short_path: Path, told: signal.Signals) -> None:
    """Continuous integration ends with SIGTERM what is out of time; its mesh would stay for the next one to find."""
    with owner_of(tree, short_path / "m") as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "works\n"
        owner.send_signal(told)
        assert owner.stdout.readline() == "interrupted\n"
        assert owner.wait(SECONDS) == 130
    assert commands(tree) == ["up", "down"]


@pytest.mark.parametrize("told", [signal.SIGTERM, signal.SIGINT])
def test_an_owner_that_is_told_to_end_while_its_mesh_starts_leaves_nothing(
    tree: Path, short_path: Path, told: signal.Signals
) -> None:
    (tree / "slow").touch()
    with owner_of(tree, short_path / "m") as owner:
        deadline = time.monotonic() + SECONDS
        while not (tree / "starts").exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        owner.send_signal(told)
        assert owner.wait(SECONDS) == 130
    assert not (short_path / "m").exists()
    assert commands(tree) == ["up", "down"]


def test_an_environment_has_nothing_of_another_mesh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TITAN_HOME", "/elsewhere")
    monkeypatch.setenv("TITAN_TOPOLOGY", "/elsewhere/topology.toml")
    found = environment_of(tmp_path, port_base=19_300, TITAN_TRACE="1")
    assert {name: value for name, value in found.items() if name.startswith("TITAN_")} == {
        "TITAN_HOME": str(tmp_path),
        "TITAN_PORT_BASE": "19300",
        "TITAN_TRACE": "1",
    }


def test_a_command_that_hangs_is_ended(tree: Path, tmp_path: Path) -> None:
    (tree / "control" / "__main__.py").write_text("import time; time.sleep(60)")
    began = time.monotonic()
    with pytest.raises(subprocess.TimeoutExpired):
        control(environment_of(tmp_path, root=tree), "up", root=tree, timeout_seconds=0.2)
    assert time.monotonic() - began < SECONDS
