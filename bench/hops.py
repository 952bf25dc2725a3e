"""What the mesh adds to a call: the same empty RPC through two Envoys with mTLS between them, beside straight."""

from __future__ import annotations

import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import grpc

from bench.echo import IN_FLIGHT
from bench.rig.loads import Act, closed
from bench.rig.picture import Lines, Series
from bench.rig.result import Condition, Goal, Outcome, Terms
from bench.rig.world import World, sound
from control.home import Home
from titan.auth.v1 import auth_service_pb2, auth_service_pb2_grpc

CALLER, CALLEE = "edge_http", "svc_auth"
SECONDS = 3.0
ALONE_CALLS = 200
SWEEP = (1, 4, 16, 32, 64)
SWEEP_SECONDS = 1.0
CALL_SECONDS = 5.0
MOST_ADDED_MS = 0.6
ADDED = Goal(1.0, 0.4 / MOST_ADDED_MS, less_is_better=True)

TERMS = Terms(
    "mesh",
    "What is left of a call through two Envoys with mTLS between them?",
    f"""AuthService.GetJwks, which answers from memory behind the whole chain, asked by {CALLER} of {CALLEE} through
    both Envoys, {IN_FLIGHT} in flight, windows of {SECONDS:g} s, each right after the same on the service's own
    socket. Alone: the difference of the medians of {ALONE_CALLS} calls one after the other on each way, in turns.""",
    "calls/s",
    "the same straight, calls/s",
    Goal(0.9, 0.97),
)


async def measure(world: World) -> Outcome:
    """Answer, with the picture of calls a second against calls in flight."""
    home = world.mesh.home
    name = f"By=spiffe://titan.local/svc/{CALLEE};URI=spiffe://titan.local/svc/{CALLER}"
    straight = _calls(home.app_socket(CALLEE), (("x-forwarded-client-cert", name),))
    async with straight as direct, through(home) as meshed:
        found = await world.repeat(IN_FLIGHT, SECONDS, meshed, limit=_window(world, direct))
        alone: dict[str, list[float]] = {"straight": [], "meshed": []}
        for _ in range(ALONE_CALLS):
            for kind, act in (("straight", direct), ("meshed", meshed)):
                began = time.perf_counter()
                await act(0)
                alone[kind].append((time.perf_counter() - began) * 1000)
        series = []
        for kind, act in (("straight", direct), ("through two Envoys", meshed)):
            windows = await world.sweep(SWEEP, SWEEP_SECONDS, act)
            series.append(Series(kind, tuple((float(n), window.per_second) for n, window in windows)))
    medians = {kind: statistics.median(times) for kind, times in alone.items()}
    more: dict[str, float | str] = {"ms of a call alone, straight": medians["straight"]}
    added = medians["meshed"] - medians["straight"]
    alone_too = Condition("ms that the mesh adds to a call alone", added, MOST_ADDED_MS, ADDED)
    picture = Lines("A call straight and through the mesh", "calls in flight", "calls a second", tuple(series))
    return Outcome(found.per_second, tuple(found.limits), found.cpu_seconds, more, picture, (alone_too,))


def through(home: Home) -> AbstractAsyncContextManager[Act]:
    """Yield the operation: one call through both Envoys."""
    return _calls(home.run / "out" / f"{CALLER}.sock", ())


def _window(world: World, act: Act) -> Callable[[], Awaitable[float]]:
    async def limit() -> float:
        await world.warm(IN_FLIGHT, SECONDS, act)
        return sound(await closed(IN_FLIGHT, world.seconds(SECONDS), act)).per_second

    return limit


@asynccontextmanager
async def _calls(socket: Path, metadata: tuple[tuple[str, str], ...]) -> AsyncIterator[Act]:
    options = [("grpc.default_authority", CALLEE)]
    async with grpc.aio.insecure_channel(f"unix:{socket}", options=options) as channel:
        stub = auth_service_pb2_grpc.AuthServiceStub(channel)
        request = auth_service_pb2.GetJwksRequest()

        async def act(caller: int) -> None:
            await stub.GetJwks(request, metadata=metadata, timeout=CALL_SECONDS)

        yield act
