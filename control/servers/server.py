"""What the embedded servers share: start, readiness, stop. A server knows its own command and its own probe."""

from __future__ import annotations

import importlib.util
import socket
import subprocess
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import Self

from control import spawn
from control.servers.ports import HOST, free_port, port_is_taken
from control.spawn import Program, StartFailed

READY_SECONDS = 20.0
PROBE_SECONDS = 0.5


def accepts(port: int) -> bool:
    """Say whether something accepts connections on a port."""
    try:
        with socket.create_connection((HOST, port), timeout=PROBE_SECONDS):
            return True
    except OSError:
        return False


def ask(port: int, question: bytes = b"") -> bytes:
    """Connect, say something, and return the first bytes of the answer; empty when nobody answers."""
    try:
        with socket.create_connection((HOST, port), timeout=PROBE_SECONDS) as connection:
            connection.sendall(question)
            return connection.recv(256)
    except OSError:
        return b""


def package_folder(name: str) -> Path:
    """Return the folder of an installed package without importing it.

    Raises:
        StartFailed: It is not installed.
    """
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise StartFailed(f"the package {name} is not installed: run `make setup`")
    return Path(spec.origin).parent


class Server(ABC):
    """One embedded server on 127.0.0.1.

    Two callers: the supervisor runs `prepare` and then `program` itself, so that it can restart it; tests call `start`
    and `stop`, or use it as a context.
    """

    name: str

    def __init__(self, *, data: Path, log: Path, port: int = 0) -> None:
        """Describe a server that keeps its files in `data`; port 0 takes a free one."""
        self.data = data
        self.log = log
        self.port = port or free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    @abstractmethod
    def url(self) -> str:
        """Where clients find it."""

    @property
    def pid(self) -> int | None:
        """The process id, or None when it was not started here or has ended."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    @abstractmethod
    def prepare(self) -> None:
        """Make everything that must exist before the program runs; safe to repeat."""

    @abstractmethod
    def program(self) -> Program:
        """Return what to run."""

    def start(self) -> Self:
        """Start it and wait until it answers.

        Raises:
            StartFailed: Its port is taken, it ended, or it did not answer in time; the message ends with its log.
        """
        if port_is_taken(self.port):
            raise StartFailed(f"{self.name} cannot start: port {self.port} of {HOST} is taken")
        self.prepare()
        self._process = spawn.start_ready(self.program(), seconds=READY_SECONDS)
        return self

    def stop(self) -> None:
        """Stop it in an orderly way; safe to repeat."""
        if self._process is not None:
            spawn.stop(self._process, self.program())
            self._process = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
