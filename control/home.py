"""Where a local mesh keeps its files and which ports it listens on. It decides names and modes, never contents."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

DEFAULT_PORT_BASE = 18440
PORT_SPAN = 150
"""Every port of a mesh, those of its most replicas too, lies less than this above its base."""

LONGEST_SOCKET_PATH_BYTES = 103
"""Linux keeps a Unix socket's path in 108 bytes, other systems in 104, each with a closing zero."""

_LONGEST_SOCKET_NAME = "run/app/svc_inventory.10.sock"


class HomeUnusable(Exception):
    """The folder that TITAN_HOME names cannot hold a mesh."""


@dataclass(frozen=True)
class Ports:
    """The ports of one mesh on 127.0.0.1, all counted from one base."""

    base: int = DEFAULT_PORT_BASE

    @property
    def edge(self) -> int:
        """HTTPS for shoppers."""
        return self.base + 3

    @property
    def grpc(self) -> int:
        """gRPC over mTLS for developers."""
        return self.base + 4

    @property
    def postgres(self) -> int:
        """The embedded Postgres."""
        return self.base + 5

    @property
    def redis(self) -> int:
        """The embedded Valkey."""
        return self.base + 6

    @property
    def kafka(self) -> int:
        """The embedded broker."""
        return self.base + 7

    @property
    def psp(self) -> int:
        """The payment provider simulator."""
        return self.base + 8

    @property
    def smtp(self) -> int:
        """The embedded mailbox."""
        return self.base + 9

    def inbound(self, index: int) -> int:
        """The inbound mTLS listener of the package at `index` in the topology."""
        return self.base + 20 + index

    def metrics(self, index: int) -> int:
        """The Prometheus port of the process at `index`."""
        return self.base + 40 + index


@dataclass(frozen=True)
class Home:
    """The folder of one mesh, as an absolute path, and its ports."""

    path: Path
    ports: Ports

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Home:
        """Read TITAN_HOME (`.titan`) and TITAN_PORT_BASE (18440).

        Raises:
            HomeUnusable: The path is too long for Unix sockets, or the port base is not a usable number.
        """
        path = Path(environment.get("TITAN_HOME") or ".titan").expanduser().absolute()
        base = environment.get("TITAN_PORT_BASE") or str(DEFAULT_PORT_BASE)
        if not base.isdecimal() or not 1024 <= int(base) <= 65_400:
            raise HomeUnusable(f"TITAN_PORT_BASE is {base!r}; it must be a number from 1024 to 65400")
        length = len(os.fsencode(path / _LONGEST_SOCKET_NAME))
        if length > LONGEST_SOCKET_PATH_BYTES:
            raise HomeUnusable(
                f"{path} is {length - LONGEST_SOCKET_PATH_BYTES} characters too long to hold Unix sockets: "
                "set TITAN_HOME to a shorter path, for example TITAN_HOME=/tmp/titan"
            )
        return cls(path, Ports(int(base)))

    @property
    def run(self) -> Path:
        """Sockets and process ids; gone after a stop."""
        return self.path / "run"

    @property
    def secrets(self) -> Path:
        """One file per secret, readable by this account alone."""
        return self.path / "secrets"

    @property
    def log(self) -> Path:
        """One log file per process."""
        return self.path / "log"

    @property
    def data(self) -> Path:
        """What the embedded servers keep."""
        return self.path / "data"

    @property
    def pki(self) -> Path:
        """The local certificate authority and what it issued."""
        return self.path / "pki"

    @property
    def mail(self) -> Path:
        """The Maildir of everything that was sent."""
        return self.path / "mail"

    @property
    def psp_log(self) -> Path:
        """What the payment provider says happened."""
        return self.path / "psp" / "psp.jsonl"

    @property
    def endpoints(self) -> Path:
        """Where the running mesh says how to reach it."""
        return self.path / "endpoints.json"

    @property
    def supervisor_socket(self) -> Path:
        """The supervisor's own control socket."""
        return self.run / "supervisor.sock"

    @property
    def supervisor_pid(self) -> Path:
        """The supervisor's process id."""
        return self.run / "supervisor.pid"

    @property
    def shelter(self) -> Path:
        """A folder outside the home for what another account must reach, when the home is closed to it."""
        digest = hashlib.sha256(os.fsencode(self.path)).hexdigest()[:12]
        return Path("/var/tmp") / f"titan-{digest}"  # noqa: S108 - its owner is checked before it is used

    def app_socket(self, package: str, replica: int = 0) -> Path:
        """The socket that a replica's gRPC server listens on."""
        return self.run / "app" / f"{package}.{replica}.sock"

    def outbound_socket(self, package: str) -> Path:
        """The socket through which a package calls the others."""
        return self.run / "out" / f"{package}.sock"

    def log_file(self, process: str) -> Path:
        """The log of a process."""
        return self.log / f"{process}.log"

    def create(self) -> None:
        """Make the folders, all private but two: the account that Postgres runs as passes through home and data."""
        for folder, mode in (
            (self.path, 0o711),
            (self.data, 0o711),
            (self.run, 0o700),
            (self.run / "app", 0o700),
            (self.run / "out", 0o700),
            (self.run / "xds", 0o700),
            (self.run / "sds", 0o700),
            (self.secrets, 0o700),
            (self.pki, 0o700),
            (self.log, 0o700),
            (self.mail, 0o700),
            (self.psp_log.parent, 0o700),
        ):
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(mode)
