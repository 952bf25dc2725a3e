"""The embedded mailbox: an SMTP server that accepts every message into a Maildir and sends nothing on.

`python -m control.servers.mailbox PORT FOLDER` is the process; `Mailbox` starts it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from control.servers.ports import HOST
from control.servers.server import Server, ask
from control.spawn import Program

_LARGEST_MESSAGE_BYTES = 1_000_000


class Mailbox(Server):
    """One mailbox; its data folder is the Maildir."""

    name = "mailbox"

    @property
    def url(self) -> str:
        """The address as host:port."""
        return f"{HOST}:{self.port}"

    def prepare(self) -> None:
        """Make the Maildir's folders."""
        for folder in ("new", "cur", "tmp"):
            (self.data / folder).mkdir(mode=0o700, parents=True, exist_ok=True)

    def program(self) -> Program:
        """Return the server's command."""
        return Program(
            name=self.name,
            command=[sys.executable, "-m", "control.servers.mailbox", str(self.port), str(self.data)],
            log=self.log,
            ready=lambda: ask(self.port).startswith(b"220"),
            environment={"PYTHONPATH": str(Path(__file__).resolve().parents[2])},
            stop_seconds=3.0,
        )


class _Maildir:
    """Keeps each message as it came, as a file of a Maildir.

    The library's own handler parses every message, writes it anew and has it flushed to the disk, for which the
    database next door would wait; this is a mailbox to look into, not one to keep.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0

    async def handle_EHLO(
        self, _server: Any, session: Any, _envelope: Any, hostname: str, offers: list[str]
    ) -> list[str]:
        """Offer what the library does without saying so: it reads a command when it has answered the last one."""
        session.host_name = hostname
        return [offers[0], "250-PIPELINING", *offers[1:]]

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:
        """Accept one message; called by the library."""
        self._count += 1
        name = f"{time.time_ns()}.{os.getpid()}_{self._count}.titan"
        written = self._folder / "tmp" / name
        written.write_bytes(envelope.content.replace(b"\r\n", b"\n"))
        written.rename(self._folder / "new" / name)
        return "250 OK"


async def serve(port: int, folder: Path) -> None:
    """Accept mail until SIGTERM."""
    from aiosmtpd.smtp import SMTP

    loop = asyncio.get_running_loop()
    handler = _Maildir(folder)
    server = await loop.create_server(
        lambda: SMTP(handler, hostname="mailbox.titan.local", data_size_limit=_LARGEST_MESSAGE_BYTES, loop=loop),
        HOST,
        port,
    )
    stopped = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stopped.set)
    await stopped.wait()
    server.close()


def main(arguments: Sequence[str]) -> None:
    """Run the process; the arguments are the port and the folder."""
    import uvloop

    port, folder = arguments
    uvloop.run(serve(int(port), Path(folder)))


if __name__ == "__main__":
    main(sys.argv[1:])
