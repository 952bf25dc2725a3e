"""The embedded mailbox: an SMTP server that accepts every message into a Maildir and sends nothing on.

`python -m control.servers.mailbox PORT FOLDER` is the process; `Mailbox` starts it.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from control.servers.server import HOST, Server, ask
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


async def serve(port: int, folder: Path) -> None:
    """Accept mail until SIGTERM."""
    from aiosmtpd.handlers import Mailbox as MaildirHandler
    from aiosmtpd.smtp import SMTP

    loop = asyncio.get_running_loop()
    handler = MaildirHandler(folder)
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
    port, folder = arguments
    asyncio.run(serve(int(port), Path(folder)))


if __name__ == "__main__":
    main(sys.argv[1:])
