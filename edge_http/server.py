"""uvicorn on a Unix socket that only the edge's Envoy reaches, and its end: ready no more, finish, close."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Iterator
from typing import Any

import uvicorn

from mesh.server import AddressTaken

KEEP_ALIVE_SECONDS = 3900
"""Longer than Envoy keeps an idle connection: a server that closes first loses the request that is just being sent."""

BACKLOG_CONNECTIONS = 2048


class _Uvicorn(uvicorn.Server):
    """uvicorn without its own signal handlers: the process has one owner."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class HttpServer:
    """Serves an ASGI application at `unix:/path`."""

    def __init__(self, app: Any, listen: str, *, drain_seconds: float) -> None:
        self._path = listen.removeprefix("unix:")
        self._server = _Uvicorn(
            uvicorn.Config(
                app,
                http="httptools",
                loop="none",
                ws="none",
                lifespan="off",
                interface="asgi3",
                log_config=None,
                access_log=False,
                server_header=False,
                date_header=False,
                proxy_headers=False,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=max(1, round(drain_seconds)),
                # One exchange's trace must not leak into the next one of its connection.
                reset_contextvars=True,
            )
        )
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Listen and serve.

        Raises:
            AddressTaken: Another live process answers on the socket.
        """
        listener = bind(self._path)
        self._task = asyncio.create_task(self._server.serve(sockets=[listener]), name="uvicorn")
        while not self._server.started:
            if self._task.done():
                self._task.result()
            await asyncio.sleep(0.005)

    async def stop(self) -> None:
        """Take no new connections, finish the running exchanges, close."""
        if self._task is None:
            return
        self._server.should_exit = True
        await self._task
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)


def bind(path: str) -> socket.socket:
    """Return a socket that listens at `path`, reachable for this account alone.

    Raises:
        AddressTaken: Another live process answers there.
    """
    os.makedirs(os.path.dirname(path) or ".", mode=0o700, exist_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(0.2)
        if probe.connect_ex(path) == 0:
            raise AddressTaken(f"another process serves {path}")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        listener.bind(path)
    finally:
        os.umask(before)
    listener.listen(BACKLOG_CONNECTIONS)
    listener.setblocking(False)
    return listener
