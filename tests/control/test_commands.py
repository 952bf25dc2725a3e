"""What a person is told by `make up`, `down`, `status`, `logs` and `clean`, whatever is installed and whatever runs."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from control import commands, remote
from control.home import PORT_SPAN, Home, Ports
from control.supervisor import MOST_REPLICAS
from control.topology_file import ROOT, read

RUNNING = {"phase": "ready", "stage": "", "profile": "default", "ready_seconds": 1.0, "started": {}, "processes": {}}


@pytest.fixture
def home(short_path: Path) -> Home:
    """A home in which nothing runs."""
    return Home(short_path / "h", Ports(41_000))


@asynccontextmanager
async def supervisor(home: Home, *progress: dict[str, Any]) -> Any:
    """A supervisor that says this, one after the other and the last one for ever, on the ports of base 42,000."""
    home.create()
    home.endpoints.write_text(json.dumps({"edge": "https://127.0.0.1:42003"}))
    saying: Iterator[dict[str, Any]] = iter(progress)
    said = progress[0]

    async def answer(request: dict[str, Any]) -> dict[str, Any]:
        nonlocal said
        said = next(saying, said)
        return said

    server = await remote.serve(home.supervisor_socket, answer)
    try:
        yield
    finally:
        server.close()


async def up(home: Home, profile: str | None = None) -> int:
    """Run the command beside the supervisor of the test."""
    return await asyncio.to_thread(commands.up, home, profile)


@pytest.mark.parametrize("phase", ["ready", "starting"])
async def test_a_mesh_with_other_limits_is_not_the_one_that_was_asked_for(
    home: Home, phase: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever asked for the load profile and is told "running" would meet the limits of the default one."""
    async with supervisor(home, RUNNING | {"phase": phase}, RUNNING | {"phase": phase}, RUNNING):
        assert 1 == await up(home, "load")
        assert "runs with PROFILE=default already" in (said := capsys.readouterr().err)
        assert "PROFILE=load, stop it first: make down" in said
        assert 0 == await up(home, "default")
        assert 0 == await up(home)


async def test_an_unknown_profile_is_refused_before_anything_else(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    """No folder is made, and a mesh that runs is no excuse."""
    assert 2 == await up(home, "laod")
    assert not home.path.exists()
    async with supervisor(home, RUNNING):
        assert 2 == await up(home, "laod")
    assert 2 == capsys.readouterr().err.count("There is no PROFILE=laod; there is: default, load.")


async def test_the_address_is_that_of_the_mesh_that_runs(
    home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not that of the port base of this shell, which says nothing about a mesh that was started from another."""
    async with supervisor(home, RUNNING):
        monkeypatch.delenv("TITAN_PORT_BASE", raising=False)
        assert 0 == await up(home)
        assert "Shop: https://127.0.0.1:42003 " in (said := capsys.readouterr().out)
        assert "ignored" not in said
        monkeypatch.setenv("TITAN_PORT_BASE", "41000")
        assert 0 == await up(home)
        assert "TITAN_PORT_BASE=41000 is ignored" in (said := capsys.readouterr().out)
        assert "https://127.0.0.1:42003 " in said and "TITAN_HOME of its own" in said


async def test_a_process_is_listed_below_the_stage_that_waits_for_it(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also when the next stage had begun by the time of the next look."""
    starting = RUNNING | {"phase": "starting"}
    looks = [
        starting | {"started": {"services": ["a", "b"]}, "processes": {"a": "running", "b": "starting"}},
        RUNNING | {"started": {"services": ["a", "b"], "edge": ["e"]}, "processes": dict.fromkeys("abe", "running")},
    ]
    async with supervisor(home, looks[0], *looks):
        assert 0 == await up(home)
    listed = [line.strip() for line in capsys.readouterr().out.splitlines() if line.startswith("  ")]
    assert ["services", "a is ready", "b is ready", "edge", "e is ready"] == listed


def test_the_ports_of_a_mesh_lie_within_its_span() -> None:
    """With every package at its most replicas; the README says how far apart two meshes have to be."""
    ports, packages = Ports(0), len(read().packages)
    assert ports.metrics(packages * MOST_REPLICAS - 1) < PORT_SPAN
    assert f"at least {PORT_SPAN} away" in (ROOT / "README.md").read_text()


@pytest.fixture
def half_installed(short_path: Path) -> Path:
    """A tree whose set-up was cut short: a virtual environment without a single package."""
    tree = short_path / "tree"
    for name in ("control", "mesh"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    (tree / "deploy").mkdir()
    for name in ("Makefile", "requirements.lock", "deploy/topology.toml"):
        shutil.copyfile(ROOT / name, tree / name)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tree / ".venv"], check=True)
    return tree


def make(tree: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run make in a tree, with its own default home."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TITAN_", "PYTHON", "MAKE"))}
    return subprocess.run(
        ["make", *arguments], cwd=tree, env=kept, capture_output=True, text=True, timeout=30, check=False
    )


@pytest.mark.parametrize("installed", [True, False])
def test_what_stops_and_shows_a_mesh_needs_nothing_installed(half_installed: Path, installed: bool) -> None:
    """Half a set-up, or none: nothing runs, which is said at once, and `make clean` cleans."""
    if not installed:
        shutil.rmtree(half_installed / ".venv")
    wanted: Sequence[tuple[str, str]] = [
        ("down", f"No mesh is running in {half_installed}/.titan."),
        ("status", f"No mesh is running in {half_installed}/.titan. Start one: make up."),
        ("logs", f"There are no logs in {half_installed}/.titan: no mesh has run there. Start one: make up."),
        ("up PROFILE=laod", "There is no PROFILE=laod; there is: default, load."),
    ]
    for command, said in wanted:
        done = make(half_installed, *command.split())
        assert said == (done.stdout + done.stderr).splitlines()[0], command
        assert "Traceback" not in done.stderr and "Installing" not in done.stdout

    cleaned = make(half_installed, "clean", "TITAN_PORT_BASE=nonsense")
    assert 0 == cleaned.returncode, cleaned.stderr
    assert not (half_installed / ".venv").exists()


def test_every_command_is_told_by_help() -> None:
    """A command that nobody is told of is found by nobody."""
    makefile = (ROOT / "Makefile").read_text()
    (targets,) = re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    told = set(re.findall(r"(?:^| {3})make ([a-z-]+)", make(ROOT, "help").stdout, re.MULTILINE))
    assert set(targets.split()) - told == {"help", "profile"}, "the one is how they are asked, the other a step of up"
    assert told <= set(targets.split())


async def test_a_mesh_is_stopped_from_a_tree_whose_set_up_was_cut_short(half_installed: Path) -> None:
    """The upgrade of a running mesh's tree may fail half way."""
    home = Home(half_installed / ".titan", Ports())
    asked: list[str] = []

    async def answer(request: dict[str, Any]) -> Any:
        asked.append(request["do"])
        if request["do"] == "stop":
            asyncio.get_running_loop().call_later(0.1, server.close)
            asyncio.get_running_loop().call_later(0.1, home.supervisor_socket.unlink)
        return RUNNING

    home.create()
    server = await remote.serve(home.supervisor_socket, answer)
    done = await asyncio.to_thread(make, half_installed, "down")
    assert (0, "Stopped.") == (done.returncode, done.stdout.splitlines()[-1]), done.stderr
    assert "stop" == asked[0]
