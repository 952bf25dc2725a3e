"""What `python -m control` does for a person: up, down, status, logs, scale, restart, kill.

Standard library only, for the reason that `control.remote` gives.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from control import remote, spawn, topology_file
from control.home import Home
from control.remote import NotRunning, Refused
from control.servers.ports import HOST
from control.topology_file import ROOT
from mesh.topology import TopologyError

DEFAULT_PROFILE = "default"

_POLL_SECONDS = 0.1
_STOP_SECONDS = 40.0
_FAILURE_LINES = 20


def up(home: Home, profile: str | None) -> int:
    """Start the mesh in the background and wait until it is ready; a mesh that runs already is left alone.

    Without a profile any running mesh will do. The exit status is 1 when it runs with another one than was asked for.
    """
    if profile is not None and (unknown := check_profile(profile)):
        return unknown
    progress = _progress(home)
    if progress is None:
        home.create()
        (home.run / "failure").unlink(missing_ok=True)
        profile = profile or DEFAULT_PROFILE
        return _follow_start(home, _start_supervisor(home, profile), profile)
    if progress["phase"] not in ("starting", "ready"):
        print(f"The mesh of {home.path} is being stopped; try again in a moment.")
        return 1
    running = progress["profile"]
    if profile not in (None, running):
        print(
            f"The mesh of {home.path} runs with PROFILE={running} already. "
            f"To run it with PROFILE={profile}, stop it first: make down",
            file=sys.stderr,
        )
        return 1
    if progress["phase"] == "starting":
        print(f"The mesh of {home.path} is being started already.")
        return _follow_start(home, None, running)
    print(f"The mesh of {home.path} is already running (profile {running}).")
    _print_where(home)
    return 0


def check_profile(profile: str) -> int:
    """Say so when the topology has no limits for a profile; the exit status is 0 when it has."""
    try:
        known = topology_file.read().limits
    except TopologyError as problem:
        print(problem, file=sys.stderr)
        return 2
    if profile in known:
        return 0
    print(f"There is no PROFILE={profile}; there is: {', '.join(known)}.", file=sys.stderr)
    return 2


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
        answer = remote.ask(home.supervisor_socket, {"do": "status", "memory": True})
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
        known = ", ".join(sorted(file.stem for file in home.log.glob("*.log")))
        if known:
            print(f"There is no such log in {home.log}; there is: {known}.")
        else:
            print(f"There are no logs in {home.path}: no mesh has run there. Start one: make up.")
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
    told = set[str]()
    while True:
        progress = _progress(home)
        if progress is None and (supervisor is None or supervisor.poll() is not None):
            return _print_failure(home)
        if progress is not None:
            _print_started(progress, told)
            if progress["phase"] == "ready":
                print(f"Ready in {progress['ready_seconds']:.1f} s.")
                _print_where(home)
                return 0
        time.sleep(_POLL_SECONDS)


def _print_started(progress: dict[str, Any], told: set[str]) -> None:
    """Print what is new since the last look: each process below the stage that waits for it."""
    for title, names in progress["started"].items():
        if title not in told:
            print(f"  {title}", flush=True)
        ready = [name for name in names if progress["processes"].get(name) == "running" and name not in told]
        for name in ready:
            print(f"    {name} is ready", flush=True)
        told |= {title, *ready}


def _print_failure(home: Home) -> int:
    try:
        reason = (home.run / "failure").read_text().strip()
    except FileNotFoundError:
        reason = f"the supervisor ended:\n{spawn.log_tail(home.log_file('supervisor'), _FAILURE_LINES)}"
    print(f"The mesh did not start: {reason}", file=sys.stderr)
    return 1


def _print_where(home: Home) -> None:
    """Print where the running mesh is, as it says itself: it may have been started with another TITAN_PORT_BASE."""
    edge = json.loads(home.endpoints.read_text())["edge"]
    print(f"Shop: {edge}   everything else: {home.endpoints}")
    base = os.environ.get("TITAN_PORT_BASE")
    if base and edge != f"https://{HOST}:{home.ports.edge}":
        print(
            f"TITAN_PORT_BASE={base} is ignored, as this mesh runs already. "
            "A mesh beside it needs a TITAN_HOME of its own too."
        )


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
