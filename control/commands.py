"""What `python -m control` does for a person: up, down, status, logs, scale, restart, kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from control import remote, spawn
from control.home import Home
from control.remote import NotRunning
from control.supervisor import Refused

ROOT = Path(__file__).resolve().parent.parent

_POLL_SECONDS = 0.1
_STOP_SECONDS = 40.0
_FAILURE_LINES = 20


def up(home: Home, profile: str) -> int:
    """Start the mesh in the background and wait until it is ready; a mesh that runs already is left alone."""
    progress = _progress(home)
    if progress is None:
        home.create()
        (home.run / "failure").unlink(missing_ok=True)
        return _follow_start(home, _start_supervisor(home, profile), profile)
    if progress["phase"] == "ready":
        print(f"The mesh of {home.path} is already running (profile {progress['profile']}).")
        if progress["profile"] != profile:
            print(f"To run it with the profile {profile}, stop it first: make down.")
        _print_where(home)
        return 0
    if progress["phase"] == "starting":
        print(f"The mesh of {home.path} is being started already.")
        return _follow_start(home, None, progress["profile"])
    print(f"The mesh of {home.path} is being stopped; try again in a moment.")
    return 1


def down(home: Home) -> int:
    """Stop the mesh and wait until nothing of it is left."""
    pid = _supervisor_pid(home)
    try:
        remote.ask(home.supervisor_socket, {"do": "stop"})
    except (NotRunning, Refused):
        if pid is None:
            home.endpoints.unlink(missing_ok=True)  # a supervisor that was killed left it behind
            print(f"No mesh is running in {home.path}.")
            return 0
        os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + _STOP_SECONDS
    stage = ""
    while (pid is not None and _alive(pid)) or _progress(home) is not None:
        if time.monotonic() > deadline:
            print(f"The supervisor (pid {pid}) does not end; killing it, and with it all its processes.")
            if pid is not None and _alive(pid):
                os.kill(pid, signal.SIGKILL)
            return 1
        progress = _progress(home)
        if progress is not None and progress["stage"] != stage:
            stage = progress["stage"]
            print(f"  {stage}", flush=True)
        time.sleep(_POLL_SECONDS / 4)
    print("Stopped.")
    return 0


def status(home: Home, *, as_json: bool = False) -> int:
    """Print what runs; the exit status is 0 when everything is ready and healthy."""
    try:
        answer = remote.ask(home.supervisor_socket, {"do": "status"})
    except NotRunning:
        print(f"No mesh is running in {home.path}. Start one: make up.")
        return 3
    if as_json:
        print(json.dumps(answer, indent=2))
    else:
        _print_status(answer)
    return 0 if answer["phase"] == "ready" and all(row["healthy"] for row in answer["processes"]) else 1


def logs(home: Home, name: str | None, *, lines: int, follow: bool) -> int:
    """Print the end of one process's log, or of all; `follow` keeps printing what is added."""
    files = sorted(home.log.glob("*.log")) if name is None else [home.log_file(name)]
    files = [file for file in files if file.exists()]
    if not files:
        known = ", ".join(sorted(file.stem for file in home.log.glob("*.log"))) or "none yet"
        print(f"There is no such log in {home.log}; there is: {known}.")
        return 1
    if follow:
        return subprocess.call(["tail", f"--lines={lines}", "--follow=name", "--retry", *map(str, files)])
    for file in files:
        if len(files) > 1:
            print(f"==> {file} <==")
        print(spawn.log_tail(file, lines))
    return 0


def ask(home: Home, request: dict[str, Any], done: str) -> int:
    """Have the supervisor do something and say that it is done."""
    try:
        remote.ask(home.supervisor_socket, request)
    except NotRunning:
        print(f"No mesh is running in {home.path}. Start one: make up.")
        return 3
    print(done)
    return 0


def _start_supervisor(home: Home, profile: str) -> subprocess.Popen[bytes]:
    with home.log_file("supervisor").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "control", "serve", "--profile", profile],
            cwd=ROOT,
            env={**os.environ, "TITAN_HOME": str(home.path), "PYTHONPATH": f"{ROOT}:{ROOT / 'gen'}"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _follow_start(home: Home, supervisor: subprocess.Popen[bytes] | None, profile: str) -> int:
    """Print what starts until everything is ready or nothing is left."""
    print(f"Starting the mesh in {home.path} (profile {profile}).", flush=True)
    stage, running = "", set[str]()
    while True:
        progress = _progress(home)
        if progress is None and (supervisor is None or supervisor.poll() is not None):
            return _print_failure(home)
        if progress is not None:
            if progress["stage"] and progress["stage"] != stage:
                stage = progress["stage"]
                print(f"  {stage}", flush=True)
            for name, state in progress["processes"].items():
                if state == "running" and name not in running:
                    running.add(name)
                    print(f"    {name} is ready", flush=True)
            if progress["phase"] == "ready":
                print(f"Ready in {progress['ready_seconds']:.1f} s.")
                _print_where(home)
                return 0
        time.sleep(_POLL_SECONDS)


def _print_failure(home: Home) -> int:
    try:
        reason = (home.run / "failure").read_text().strip()
    except FileNotFoundError:
        reason = f"the supervisor ended:\n{spawn.log_tail(home.log_file('supervisor'), _FAILURE_LINES)}"
    print(f"The mesh did not start: {reason}", file=sys.stderr)
    return 1


def _print_where(home: Home) -> None:
    print(f"Shop: https://127.0.0.1:{home.ports.edge}   everything else: {home.endpoints}")


def _print_status(answer: dict[str, Any]) -> None:
    heading = ("PROCESS", "HOSTS", "HEALTH", "PID", "MB", "RESTARTS", "ADDRESS")
    rows = [
        (
            row["name"],
            ", ".join(row["hosts"]),
            _health(row),
            str(row["pid"] or "-"),
            f"{row['memory_bytes'] / 1e6:.0f}",
            f"{row['restarts']}" + (f" (last: {row['last_end']})" if row["last_end"] else ""),
            row["address"],
        )
        for row in answer["processes"]
    ]
    total = sum(row["memory_bytes"] for row in answer["processes"]) / 1e6
    widths = [max(len(row[column]) for row in (heading, *rows)) for column in range(len(heading))]
    for row in (heading, *rows):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    print(f"\n{_verdict(answer)}, profile {answer['profile']}, {len(rows)} processes, {total:.0f} MB resident")


def _verdict(answer: dict[str, Any]) -> str:
    """Return the phase; of a mesh that has started and is not well, which processes are to blame."""
    ill = [row["name"] for row in answer["processes"] if not row["healthy"]]
    if answer["phase"] != "ready" or not ill:
        return str(answer["phase"])
    return f"degraded: {' and '.join(ill)}"


def _health(row: dict[str, Any]) -> str:
    if row["state"] != "running":
        return str(row["state"])
    return "healthy" if row["healthy"] else "NOT HEALTHY"


def _progress(home: Home) -> dict[str, Any] | None:
    try:
        answer: dict[str, Any] = remote.ask(home.supervisor_socket, {"do": "progress"}, timeout_seconds=5.0)
    except (NotRunning, Refused):
        return None
    return answer


def _supervisor_pid(home: Home) -> int | None:
    try:
        pid = int(home.supervisor_pid.read_text())
    except (OSError, ValueError):
        return None
    return pid if _alive(pid) else None


def _alive(pid: int) -> bool:
    """Say whether a process lives and is a supervisor: its number may have gone to another program."""
    try:
        command = Path("/proc", str(pid), "cmdline").read_bytes()
    except OSError:
        return False
    return b"control\0serve" in command
