"""Replacing a password under running processes: none is restarted, and no call fails.

The password that comes is put below the one that goes, the server learns it, the one that goes is taken away, and the
server forgets it. Whoever signs in tries the passwords of the file in their order, so at each moment one of them is
right; who is signed in stays so. Broken off anywhere, it leaves a file that opens the door, and the next run goes on;
the start of a mesh is one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import asyncpg

from control.remote import Refused
from control.secrets import SecretFiles
from mesh.secret_files import SecretUnusable

Learn = Callable[[], Awaitable[None]]


class Rotation:
    """The passwords that can be replaced: by the name of the file, what makes the server learn what the file says.

    `hand_out` is told whenever a file has changed, for those who have copies.
    """

    def __init__(
        self,
        secrets: SecretFiles,
        servers: Mapping[str, Learn],
        *,
        hand_out: Callable[[str], None] = lambda name: None,
    ) -> None:
        self._secrets = secrets
        self._servers = servers
        self._hand_out = hand_out
        self._one_at_a_time = asyncio.Lock()

    async def finish(self) -> None:
        """End what was broken off: wherever a successor stands in the file, it is the password afterwards.

        Raises:
            Refused: A server does not answer.
        """
        for name in self._servers:
            if len(self._secrets.read_all(name)) > 1:
                await self.replace(name)

    async def replace(self, name: str) -> None:
        """Replace one password.

        Raises:
            Refused: There is no such password, its server does not answer, or another process replaces one.
        """
        learn = self._servers.get(name)
        if learn is None:
            raise Refused(f"there is no password {name}; there are {', '.join(self._servers)}")
        async with self._one_at_a_time:
            try:
                with self._secrets.held():
                    for change in (self._secrets.add_successor, self._secrets.drop_predecessor):
                        change(name)
                        self._hand_out(name)
                        await learn()
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, SecretUnusable) as problem:
                raise Refused(f"{name} is not replaced yet, run it again: {problem}") from problem
