"""The gRPC server of a process: its socket, its health, its reflection, its limits, and how it leaves.

It hosts servicers behind a chain of interceptors and knows nothing of what they do. It never listens on a network: only
the process's own Envoy reaches its Unix socket.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1._async import HealthServicer
from grpc_reflection.v1alpha import reflection

from mesh.contract import Contract
from mesh.interceptors.admission import Admission
from mesh.interceptors.chain import Chain
from mesh.interceptors.stage import Stage
from mesh.telemetry import get_logger

MAX_MESSAGE_BYTES = 4 * 1024 * 1024
"""Large messages hold up the event loop while they are parsed; a page or a batch of the contract stays far below."""

MAX_METADATA_BYTES = 16 * 1024
HEALTH_SECONDS = 1.0
RETURN_SECONDS = 0.2
"""How often it is asked while it is not healthy: calls wait at the door for the first good answer."""
FAILURES_UNTIL_UNHEALTHY = 2

SERVER_OPTIONS: Sequence[tuple[str, Any]] = (
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_metadata_size", MAX_METADATA_BYTES // 2),
    ("grpc.absolute_max_metadata_size", MAX_METADATA_BYTES),
    ("grpc.max_concurrent_streams", 4096),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 5_000),
    ("grpc.http2.max_ping_strikes", 4),
)

HealthCheck = Callable[[], Awaitable[bool]]
log = get_logger("mesh.server")


class AddressTaken(Exception):
    """Another live server answers on the socket."""


class _Health(HealthServicer):
    """The health service of grpcio, whose watchers can be sent home: they would hold a drain until its very end."""

    def __init__(self) -> None:
        super().__init__()
        self._watchers: set[asyncio.Task[Any]] = set()
        self._closed = False

    async def Watch(self, request: Any, context: Any) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._watchers.add(task)
        try:
            await super().Watch(request, context)
        except asyncio.CancelledError:
            if not self._closed:
                raise
            task.uncancel()
        finally:
            self._watchers.discard(task)

    def close(self) -> None:
        """End every watch; each was told NOT_SERVING before."""
        self._closed = True
        for task in tuple(self._watchers):
            task.cancel()


class Server:
    """One gRPC server. `services` maps full gRPC service names to servicer objects.

    `check` says every second whether the process can serve: only its own database (or Redis) may make it unable to.
    """

    def __init__(
        self,
        *,
        listen: str,
        contract: Contract,
        services: Mapping[str, object],
        stages: Sequence[Stage],
        check: HealthCheck | None = None,
        reflected: Contract | None = None,
    ) -> None:
        self._listen = listen
        self._admissions = [stage for stage in stages if isinstance(stage, Admission)]
        self._check = check
        self._names = ("", *services)
        self._health = _Health()
        self._healthy = True
        self._watch: asyncio.Task[None] | None = None
        self._stopped = False
        chain = Chain(contract.only(services), stages)
        self._server = grpc.aio.server(interceptors=[chain], options=list(SERVER_OPTIONS))
        for name, servicer in services.items():
            _register(contract, name, servicer, self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        shown = [*(reflected or contract).services, health_pb2.DESCRIPTOR.services_by_name["Health"].full_name]
        reflection.enable_server_reflection([*shown, reflection.SERVICE_NAME], self._server)

    async def start(self) -> None:
        """Listen, and answer health questions.

        Raises:
            AddressTaken: Another live server answers on the socket.
        """
        path = self._listen.removeprefix("unix:")
        if self._listen.startswith("unix:"):
            os.makedirs(os.path.dirname(path) or ".", mode=0o700, exist_ok=True)
            if _answers(path):
                # Binding would silently take the socket over and leave the other server deaf.
                raise AddressTaken(f"another process serves {path}")
            before = os.umask(0o177)
            try:
                self._server.add_insecure_port(self._listen)
            finally:
                os.umask(before)
            os.chmod(path, 0o600)
        else:
            self._server.add_insecure_port(self._listen)
        if self._check is not None:
            self._healthy = await self._ask(self._check)
        await self._tell(self._healthy)
        await self._server.start()
        if self._check is not None:
            self._watch = asyncio.create_task(self._watch_health(self._check))

    async def drain(self, *, lame_duck_seconds: float = 0.0, grace_seconds: float = 10.0) -> None:
        """Leave: NOT_SERVING, a moment for Envoy to notice, GOAWAY, then wait for running calls and end streams."""
        if self._stopped:
            return
        self._stopped = True
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
        await self._health.enter_graceful_shutdown()
        await asyncio.sleep(lame_duck_seconds)
        stopping = asyncio.create_task(self._server.stop(grace_seconds))
        await asyncio.sleep(0)
        for admission in self._admissions:
            admission.drain()
        self._health.close()
        await stopping

    async def wait(self) -> None:
        """Return when the server has stopped."""
        await self._server.wait_for_termination()

    async def _watch_health(self, check: HealthCheck) -> None:
        failures = 0
        while True:
            await asyncio.sleep(HEALTH_SECONDS if self._healthy else RETURN_SECONDS)
            # One slow answer of a busy database is no reason to take the load to the other replicas.
            failures = 0 if await self._ask(check) else failures + 1
            healthy = failures == 0 or (self._healthy and failures < FAILURES_UNTIL_UNHEALTHY)
            if healthy != self._healthy:
                self._healthy = healthy
                log.warning("health changed", serving=healthy)
                await self._tell(healthy)

    async def _ask(self, check: HealthCheck) -> bool:
        try:
            async with asyncio.timeout(HEALTH_SECONDS):
                return await check()
        except Exception as error:
            log.warning("health check failed", error=type(error).__name__)
            return False

    async def _tell(self, healthy: bool) -> None:
        status = health_pb2.HealthCheckResponse.SERVING if healthy else health_pb2.HealthCheckResponse.NOT_SERVING
        for name in self._names:
            await self._health.set(name, status)


def _register(contract: Contract, name: str, servicer: object, server: grpc.aio.Server) -> None:
    """Add every method of the service; what the servicer lacks is refused by the chain as not implemented."""
    handlers: dict[str, grpc.RpcMethodHandler] = {}
    for method in contract.services[name].methods:
        behaviour = getattr(servicer, method.name, None)
        if behaviour is None:
            continue
        factory = (
            grpc.unary_stream_rpc_method_handler if method.server_streaming else grpc.unary_unary_rpc_method_handler
        )
        handlers[method.name] = factory(
            behaviour,
            request_deserializer=method.request_class.FromString,
            response_serializer=method.response_class.SerializeToString,
        )
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, handlers),))


def _answers(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(0.2)
        try:
            probe.connect(path)
        except OSError:
            return False
        return True
