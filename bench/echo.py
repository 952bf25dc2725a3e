"""The one fixed echo that every figure is compared with: what a call costs when there is nothing to it.

`grpc.aio` on uvloop, one process on each side of a Unix socket, a message of three items each way, 32 calls in flight.
It imports nothing of Titan but a generated message. It is never made slower: a figure beside it would look better.

`python -m bench.echo` prints JSON: calls per second, and the CPU seconds that one call takes on each side.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import grpc
import psutil
import uvloop

from titan.cart.v1 import cart_pb2
from titan.type.v1 import money_pb2

METHOD = "/bench.v1.EchoService/Echo"
TRACE = "00-4881e33ac2dfa5bf05ab73b39b746092-3a9666d6e1f3259b-00"
"""Not recorded, as nineteen calls in twenty."""

IN_FLIGHT = 32
WARM_UP_SECONDS = 0.5
START_SECONDS = 30.0
SERVER = (sys.executable, "-m", "bench.echo", "--serve")


def message() -> cart_pb2.Cart:
    """Return what travels: three items, as a cart or an order has them."""
    price = money_pb2.Money(currency_code="GBP", minor_units=1250)
    items = [
        cart_pb2.CartItem(
            sku=f"ECHO-{n}", quantity=n, unit_price=price, line_total=price, title="A thing of the echo", sellable=True
        )
        for n in (1, 2, 3)
    ]
    return cart_pb2.Cart(cart_id="019a9b5e-7c1e-7000-8000-000000000000", items=items, subtotal=price, etag="7")


async def serve(socket: str) -> None:
    """Answer every call with its own message until SIGTERM."""

    async def echo(request: cart_pb2.Cart, context: Any) -> cart_pb2.Cart:
        return request

    handler = grpc.unary_unary_rpc_method_handler(
        echo,
        request_deserializer=cart_pb2.Cart.FromString,
        response_serializer=cart_pb2.Cart.SerializeToString,
    )
    service, _, method = METHOD[1:].partition("/")
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {method: handler}),))
    server.add_insecure_port(f"unix:{socket}")
    await server.start()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()
    await server.stop(None)


@asynccontextmanager
async def calling(socket: str) -> AsyncIterator[Callable[..., Awaitable[cart_pb2.Cart]]]:
    """Yield the method over a channel of its own, once its server answers."""
    async with grpc.aio.insecure_channel(f"unix:{socket}") as channel:
        await asyncio.wait_for(channel.channel_ready(), START_SECONDS)
        yield channel.unary_unary(
            METHOD,
            request_serializer=cart_pb2.Cart.SerializeToString,
            response_deserializer=cart_pb2.Cart.FromString,
        )


async def call(
    socket: str, server_pid: int, *, seconds: float, in_flight: int, metadata: tuple[tuple[str, str], ...] = ()
) -> dict[str, float]:
    """Call for so long, after a warm-up, and return calls per second and the CPU seconds of a call on each side."""
    async with calling(socket) as echo:
        sent = message()

        async def repeat(until: float) -> int:
            done = 0
            while time.perf_counter() < until:
                await echo(sent, metadata=metadata, timeout=5.0)
                done += 1
            return done

        async def window(length: float) -> int:
            until = time.perf_counter() + length
            return sum(await asyncio.gather(*(repeat(until) for _ in range(in_flight))))

        await window(WARM_UP_SECONDS)
        server = psutil.Process(server_pid)
        began, client, before = time.perf_counter(), time.process_time(), server.cpu_times()
        calls = await window(seconds)
        lasted, after = time.perf_counter() - began, server.cpu_times()
        return {
            "per_second": calls / lasted,
            "client_cpu_seconds": (time.process_time() - client) / calls,
            "server_cpu_seconds": (after.user + after.system - before.user - before.system) / calls,
        }


def measure(server_command: Sequence[str], *, seconds: float, in_flight: int, token: str = "") -> dict[str, float]:
    """Start a server, call it from this process, and end it."""
    with served(server_command) as (socket, pid):
        return uvloop.run(call(socket, pid, seconds=seconds, in_flight=in_flight, metadata=metadata_of(token)))


def metadata_of(token: str) -> tuple[tuple[str, str], ...]:
    """Return what goes with a call that the edge passes on: the token, and the trace that the edge began."""
    return (("authorization", f"Bearer {token}"), ("traceparent", TRACE)) if token else ()


@contextmanager
def served(server_command: Sequence[str]) -> Iterator[tuple[str, int]]:
    """Run a server that takes its socket as last argument; yields the socket and the process id."""
    with tempfile.TemporaryDirectory(prefix="titan-echo-") as folder:
        socket = str(Path(folder, "echo.sock"))
        server = subprocess.Popen([*server_command, socket], stdout=subprocess.DEVNULL)
        try:
            yield socket, server.pid
        finally:
            server.terminate()
            server.wait()


def main() -> int:
    """Serve, or measure and print; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.echo", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--serve", metavar="SOCKET", help="be the server")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--in-flight", type=int, default=IN_FLIGHT)
    options = parser.parse_args()
    if options.serve:
        uvloop.run(serve(options.serve))
        return 0
    print(json.dumps(measure(SERVER, seconds=options.seconds, in_flight=options.in_flight)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
