"""Starting a child process: its account, its log file, and its promise to die with its parent.

Linux sends a child its parent-death signal when the *thread* that started it ends, so children are started from a
thread that lives as long as they should: the main one.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_TAIL_BYTES = 65_536
_POLL_SECONDS = 0.01


class StartFailed(Exception):
    """A process could not be started, or ended before it was ready."""


@dataclass(frozen=True)
class Account:
    """An account of the operating system to run a child as."""

    uid: int
    gid: int


@dataclass(frozen=True)
class Program:
    """What to run, and how to tell whether it is ready.

    Attributes:
        folder: The working directory; ours when None.
        ready: Asked often and answers at once; true when the process can do its work.
        stop_signal: What asks it to end in an orderly way.
        death_signal: What it gets when its parent is gone.
        stop_seconds: How long an orderly end may take before it is killed.
    """

    name: str
    command: Sequence[str]
    log: Path
    ready: Callable[[], bool]
    environment: Mapping[str, str] = field(default_factory=dict)
    folder: Path | None = None
    account: Account | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    death_signal: signal.Signals = signal.SIGKILL
    stop_seconds: float = 10.0


def unprivileged_account() -> Account | None:
    """Return the account for servers that refuse to run as root, or None when we are not root.

    Raises:
        StartFailed: We are root and the system has neither a `postgres` nor a `nobody` account.
    """
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_uid, entry.pw_gid)
    raise StartFailed("running as root, and there is no `postgres` or `nobody` account to run Postgres as")


def start(program: Program) -> subprocess.Popen[bytes]:
    """Start a program in a process group of its own, its output appended to its log.

    Raises:
        StartFailed: The program is not there or may not be executed.
    """
    program.log.parent.mkdir(parents=True, exist_ok=True)
    with program.log.open("ab") as log:
        try:
            return subprocess.Popen(
                [*_launcher(program), *program.command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**_inherited(), **program.environment},
                cwd=program.folder,
                process_group=0,
            )
        except OSError as problem:
            raise StartFailed(f"{program.name} could not be started: {problem}") from problem


def start_ready(program: Program, *, seconds: float) -> subprocess.Popen[bytes]:
    """Start a program and wait until it is ready; one that is not in time is stopped again.

    Raises:
        StartFailed: It could not be started, it ended, or it was not ready in time; the message ends with its log.
    """
    process = start(program)
    deadline = time.monotonic() + seconds
    try:
        while not program.ready():
            if process.poll() is not None or time.monotonic() > deadline:
                late = process.returncode is None
                why = too_late(seconds) if late else f"ended with status {process.returncode}"
                stop(process, program)
                raise StartFailed(f"{program.name} {why}. {last_words(program.log)}")
            time.sleep(_POLL_SECONDS)
    except BaseException:
        stop(process, program)
        raise
    return process


def stop(process: subprocess.Popen[bytes], program: Program) -> None:
    """Ask a process to end, wait, and kill it if it does not; returns when it is gone."""
    if process.poll() is None:
        process.send_signal(program.stop_signal)
        try:
            process.wait(program.stop_seconds)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()


def too_late(seconds: float) -> str:
    """Return what to say of a process that lives and is not ready in time; a busy machine is the usual cause."""
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    busy = f", on a busy machine: load {load:.0f} on {cores} cores" if load > 2 * cores else ""
    return f"was not ready within {seconds:.0f} s{busy}"


def last_words(log: Path) -> str:
    """Return how a log ends, for a message; read it after the process was stopped."""
    tail = log_tail(log)
    return f"The end of {log}:\n{tail}" if tail else f"It had written nothing into {log}."


def log_tail(log: Path, lines: int = 20) -> str:
    """Return the last lines of a log, or an empty text when there is none."""
    try:
        with log.open("rb") as stream:
            stream.seek(0, os.SEEK_END)
            stream.seek(max(0, stream.tell() - _TAIL_BYTES))
            return "\n".join(deque(stream.read().decode(errors="replace").splitlines(), lines))
    except FileNotFoundError:
        return ""


def _launcher(program: Program) -> list[str]:
    """Return the words before the command that set its account and its parent-death signal.

    setpriv(1) does both between fork and exec; Python's preexec_fn would run code in a fork of a threaded process.
    """
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise StartFailed("setpriv (package util-linux) is not installed: it ties the servers' lives to ours")
    words = [setpriv, "--pdeathsig", program.death_signal.name.removeprefix("SIG")]
    if program.account is not None:
        words += ["--reuid", str(program.account.uid), "--regid", str(program.account.gid), "--clear-groups"]
    return [*words, "--"]


def _inherited() -> dict[str, str]:
    """Return our environment without the settings of the mesh that we may ourselves run in."""
    return {name: value for name, value in os.environ.items() if not name.startswith("TITAN_")}
