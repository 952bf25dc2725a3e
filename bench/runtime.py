"""What the runtime adds to a call: an empty RPC behind the whole chain of interceptors, beside the bare echo.

The server is the one that every service runs (`mesh.server`), with every stage: telemetry with its line in the log,
admission, deadline, a verified user token, audit, access, validation. The client is the echo's own.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4

import jwt
import uvloop
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from google.protobuf import descriptor_pb2, descriptor_pool

from bench import echo
from bench.rig.picture import Lines, Series
from bench.rig.result import Goal, Outcome, Terms
from bench.rig.world import World
from mesh import contract, telemetry
from mesh.identity import AUDIENCE, ISSUER, TOKEN_TYPE, KeySet, TokenVerifier, VerifyingKey
from mesh.interceptors.admission import Admission
from mesh.interceptors.chain import standard_stages
from mesh.server import Server
from titan.cart.v1 import cart_pb2
from titan.options.v1 import options_pb2

KID = "bench"
MAX_RUNNING_CALLS = 512
TOKEN_SECONDS = 600
SECONDS = 2.5
SWEEP = (1, 8, 32, 128)
SWEEP_SECONDS = 1.0

TERMS = Terms(
    "runtime",
    "What is left of the echo behind the whole chain of interceptors?",
    f"""The echo's message, answered by `mesh.server` behind all stages with a user's token (verified once, then known
    by its hash) and a trace that the edge began (one call in twenty is recorded, these are not), one process on each
    side, {echo.IN_FLIGHT} in flight, {SECONDS:g} s, each right after the bare echo.""",
    "calls/s",
    "bare echo, calls/s",
    Goal(0.7, 0.85),
)


@dataclass(frozen=True)
class Quiet:
    """Telemetry as a service has it, but for the port that shows metrics."""

    package: str = "bench"
    replica: int = 0
    log_level: str = "INFO"
    trace_sample: float = 0.05
    trace_file: str = ""
    otlp_endpoint: str = ""
    metrics_port: int = 0


class Echo:
    """Answers with what it was sent."""

    async def Echo(self, request: cart_pb2.Cart, context: Any) -> cart_pb2.Cart:
        """Refuses nothing."""
        return request


@cache
def echo_contract() -> contract.Contract:
    """Return a contract with the echo's method in it, open to customers; it is of the bench alone."""
    service, _, method = echo.METHOD[1:].partition("/")
    package, _, name = service.rpartition(".")
    file = descriptor_pb2.FileDescriptorProto(
        name="bench/v1/echo_service.proto",
        package=package,
        syntax="proto3",
        dependency=[cart_pb2.DESCRIPTOR.name, options_pb2.DESCRIPTOR.name],
    )
    made = file.service.add(name=name).method.add(name=method, input_type=".titan.cart.v1.Cart")
    made.output_type = made.input_type
    made.options.idempotency_level = descriptor_pb2.MethodOptions.NO_SIDE_EFFECTS
    options: Any = made.options
    options.Extensions[options_pb2.access].customer = True
    pool = descriptor_pool.Default()
    pool.AddSerializedFile(file.SerializeToString())
    return contract.of_files([pool.FindFileByName(file.name)])


async def serve(public_key: bytes, socket: str) -> None:
    """Serve the echo behind the chain until SIGTERM."""
    telemetry.setup(Quiet())
    known = echo_contract()
    key = serialization.load_pem_public_key(public_key)
    stages = standard_stages(
        verifier=TokenVerifier(KeySet([VerifyingKey(KID, "ES256", key)])),
        admission=Admission(MAX_RUNNING_CALLS),
        policies=None,
    )
    services = {name: Echo() for name in known.services}
    answering = Server(listen=f"unix:{socket}", contract=known, services=services, stages=stages)
    await answering.start()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()
    await answering.drain(grace_seconds=0.0)


def token(key: ec.EllipticCurvePrivateKey) -> str:
    """Return a customer's access token, as svc_auth would sign it."""
    now = int(time.time())
    about = {"iss": ISSUER, "aud": AUDIENCE, "iat": now, "nbf": now, "exp": now + TOKEN_SECONDS, "cell": "local"}
    caller = {"sub": str(uuid4()), "sid": str(uuid4()), "roles": ["customer"], "guest": False}
    return jwt.encode({**about, **caller}, key, algorithm="ES256", headers={"kid": KID, "typ": TOKEN_TYPE})


@contextmanager
def server() -> Iterator[tuple[list[str], str]]:
    """Yield the command of a server that lacks only its socket, and a token that it believes."""
    signing = ec.generate_private_key(ec.SECP256R1())
    with tempfile.NamedTemporaryFile() as public:
        pem, info = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        public.write(signing.public_key().public_bytes(pem, info))
        public.flush()
        yield [sys.executable, "-m", "bench.runtime", "--serve", public.name], token(signing)


async def measure(world: World) -> Outcome:
    """Answer, with the picture of calls a second against calls in flight."""
    found, limits = [], []
    for _ in range(world.repeats):
        limits.append(await world.echo())
        found.append(await world.calls("bench.runtime", SECONDS))
    series = []
    for name, module in (("bare echo", "bench.echo"), ("whole chain", "bench.runtime")):
        swept = [(n, await world.calls(module, SWEEP_SECONDS, n)) for n in SWEEP]
        series.append(Series(name, tuple((float(n), each["per_second"]) for n, each in swept)))
    middle = sorted(found, key=lambda each: each["per_second"])[len(found) // 2]
    picture = Lines("An empty call, bare and behind the chain", "calls in flight", "calls a second", tuple(series))
    return Outcome(
        tuple(each["per_second"] for each in found),
        tuple(limits),
        {"server": middle["server_cpu_seconds"], "this client": middle["client_cpu_seconds"]},
        {"echo's server, ms of CPU a call": world.echoes[-1]["server_cpu_seconds"] * 1000},
        picture,
    )


def main() -> int:
    """Serve, or measure and print as the echo does; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.runtime", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--serve", nargs=2, metavar=("KEY", "SOCKET"), help="be the server")
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--in-flight", type=int, default=echo.IN_FLIGHT)
    options = parser.parse_args()
    if options.serve:
        uvloop.run(serve(Path(options.serve[0]).read_bytes(), options.serve[1]))
        return 0
    with server() as (command, signed):
        found = echo.measure(command, seconds=options.seconds, in_flight=options.in_flight, token=signed)
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
