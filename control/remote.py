"""How a command speaks to the running supervisor: one JSON line each way over a private Unix socket.

Standard library only, as all that `make down`, `make status` and `make logs` need: they work where nothing, or half of
it, is installed.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from control.spawn import StartFailed

ANSWER_SECONDS = 120.0
_LONGEST_LINE_BYTES = 1_000_000

Handler = Callable[[dict[str, Any]], Awaitable[Any]]


class NotRunning(Exception):
    """No supervisor answers on this home."""


class Refused(Exception):
    """The supervisor cannot do what it was asked; the message is for the person who asked."""


async def serve(path: Path, handle: Handler) -> asyncio.Server:
    """Answer requests on a socket; its folder keeps other accounts out. A stale socket is replaced."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                try:
                    reply = {"answer": await handle(json.loads(line))}
                except (Refused, StartFailed) as problem:
                    reply = {"problem": str(problem)}
                writer.write(json.dumps(reply).encode() + b"\n")
                await writer.drain()
        except (ConnectionError, ValueError):
            pass  # whoever asked has gone, or sent what is no request
        finally:
            writer.close()

    return await asyncio.start_unix_server(answer, path, limit=_LONGEST_LINE_BYTES)


def ask(path: Path, request: dict[str, Any], *, timeout_seconds: float = ANSWER_SECONDS) -> Any:
    """Send a request and return the answer.

    Raises:
        NotRunning: Nobody listens, or the supervisor ended while it was asked.
        Refused: It said no.
    """
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(timeout_seconds)
            connection.connect(str(path))
            connection.sendall(json.dumps(request).encode() + b"\n")
            line = connection.makefile("rb").readline(_LONGEST_LINE_BYTES)
    except TimeoutError as problem:
        raise Refused(f"the supervisor did not answer within {timeout_seconds:.0f} s") from problem
    except OSError as problem:
        raise NotRunning(str(problem)) from problem
    if not line:
        raise NotRunning("the supervisor ended")
    reply = json.loads(line)
    if "problem" in reply:
        raise Refused(reply["problem"])
    return reply["answer"]
