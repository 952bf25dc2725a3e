"""Ctrl-C ends a command with one line that says what goes on, and never with a traceback."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import certifi
import pytest

from control.home import Home, Ports
from control.topology_file import ROOT

DAY = """invoice_no,stock_code,description,quantity,invoice_time,unit_price_gbp,customer_id,country
1001,15A,TIN ROBIN,2,2010-12-01 08:26:00,1.25,501,United Kingdom
"""
STILL_RUNNING = "Interrupted; the mesh is still running: make down"


def start(folder: Path, command: list[str], home: Path) -> subprocess.Popen[str]:
    """Start a command that hears Ctrl-C, also where this test run was started in the background and does not."""
    return subprocess.Popen(
        command,
        cwd=folder,
        env={**os.environ, "TITAN_HOME": str(home), "PYTHONPATH": f"{ROOT}:{ROOT / 'gen'}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def interrupt(process: subprocess.Popen[str]) -> tuple[int, list[str]]:
    """Press Ctrl-C; returns the exit status and what was written to standard error."""
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=10)
    return process.returncode, errors.splitlines()


@pytest.mark.parametrize(
    ("arguments", "listener", "last_line"),
    [
        (["demo"], "edge", STILL_RUNNING),
        (
            ["replay", "--csv", "day.csv"],
            "edge",
            "Interrupted; the same command goes on from here. The mesh is still running: make down",
        ),
        (["bench.figures"], "supervisor", STILL_RUNNING),
        (["control", "up"], "supervisor", "Interrupted; the mesh is still starting: make down"),
        (["control", "down"], "supervisor", "Interrupted; the mesh is still stopping: make status"),
        (["control", "status"], "supervisor", None),
    ],
)
def test_a_command_that_waits_ends_with_one_line(
    short_path: Path, arguments: list[str], listener: str, last_line: str | None
) -> None:
    """The mesh has a supervisor and an edge that let everybody wait."""
    home = Home(short_path / "h", Ports())
    home.create()
    (short_path / "day.csv").write_text(DAY)
    with socket.socket() as edge, socket.socket(socket.AF_UNIX) as supervisor:
        edge.bind(("127.0.0.1", 0))
        supervisor.bind(str(home.supervisor_socket))
        for each in (edge, supervisor):
            each.listen()
            each.settimeout(20)
        endpoints = {"edge": f"https://127.0.0.1:{edge.getsockname()[1]}", "ca": certifi.where(), "profile": "load"}
        accounts = {f"{who}_{what}": "x" for who in ("admin", "importer") for what in ("email", "password")}
        home.endpoints.write_text(json.dumps(endpoints | accounts))
        command = start(short_path, [sys.executable, "-m", *arguments], home.path)
        waiting, _ = (edge if listener == "edge" else supervisor).accept()
        with waiting:
            assert (130, [last_line] if last_line else []) == interrupt(command)


def test_a_set_up_that_is_interrupted_leaves_no_installer_behind(tmp_path: Path) -> None:
    """It would go on in the same folder as the set-up that comes next."""
    (tmp_path / "control").mkdir()
    shutil.copyfile(ROOT / "control" / "install.py", tmp_path / "control" / "install.py")
    (tmp_path / "requirements.lock").write_text("some==1\n")
    programs = tmp_path / ".venv" / "bin"
    programs.mkdir(parents=True)
    (programs / "pip").touch()
    pip = "#!/bin/sh\necho $$ > pid\nfor each in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do echo Collecting $each; done\n"
    (programs / "python").write_text(pip + "exec sleep 60\n")
    (programs / "python").chmod(0o755)

    installer = start(tmp_path, [sys.executable, "control/install.py"], tmp_path)
    assert installer.stdout is not None
    assert any("fetched 15" in line for line in installer.stdout)  # the set-up has pip in hand, not only started
    pid = int((tmp_path / "pid").read_text())
    status, said = interrupt(installer)

    assert (130, ["Interrupted; the set-up is not finished: the next make takes it up again."]) == (status, said)
    assert not Path("/proc", str(pid)).exists()
    assert not (tmp_path / ".venv" / ".titan-installed").exists()
