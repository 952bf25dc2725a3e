"""How the supervisor asks a process of the mesh whether it can work."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

from control.supervised import Health

_RECONNECT_MS = 50


def grpc_health(socket: Path) -> Health:
    """Ask the standard gRPC health service on a Unix socket, over one connection that is kept."""
    stubs: list = []

    async def serving() -> bool:
        import grpc
        from grpc_health.v1 import health_pb2, health_pb2_grpc

        if not stubs:
            # A probe that found nobody must not make the next ones wait for grpc's own backoff of seconds.
            names = ("initial_reconnect_backoff_ms", "min_reconnect_backoff_ms", "max_reconnect_backoff_ms")
            options = [(f"grpc.{name}", _RECONNECT_MS) for name in names]
            channel = grpc.aio.insecure_channel(f"unix:{socket}", options=options)
            stubs.append(health_pb2_grpc.HealthStub(channel))
        try:
            answer = await stubs[0].Check(health_pb2.HealthCheckRequest(), timeout=1.0)
        except grpc.aio.AioRpcError:
            return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

    return serving


def http_health(path: str, *, port: int = 0, socket: Path | None = None, trust: Path | None = None) -> Health:
    """Expect 200 from a path: on a Unix socket, or on a port of this machine, over TLS when there is a CA file."""

    async def answers() -> bool:
        try:
            if socket is not None:
                reader, writer = await asyncio.open_unix_connection(socket)
            else:
                context = ssl.create_default_context(cafile=str(trust)) if trust is not None else None
                reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
            try:
                writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
                return (await reader.readline()).startswith((b"HTTP/1.1 200", b"HTTP/1.0 200"))
            finally:
                writer.close()
        except OSError:
            return False

    return answers
