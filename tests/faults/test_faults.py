"""Every fault of the issue's list can be named, and a clock that is off is off for everybody who asks Python."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time

import pytest

from tests.faults.faults import FAULTS, SETS, chosen, order_of
from tests.faults.faults.clocks import SKEWED
from tests.faults.finding import REDIS_LOSES
from tests.faults.mesh import ROOT

ASK = (
    "import time, datetime; from datetime import datetime as d, UTC; from mesh.seams import SystemClock, SystemIds;"
    "print(time.time(), d.now(UTC).timestamp(), SystemClock().now().timestamp(),"
    " (SystemIds().new().int >> 80) / 1000, time.monotonic(), isinstance(d.fromtimestamp(0, UTC), datetime.datetime),"
    " type(d.now(UTC)) is type(d.fromtimestamp(0, UTC)))"
)

CALL = """
import asyncio, grpc

async def left(request, context):
    return str(context.time_remaining()).encode()

async def main():
    handler = grpc.unary_unary_rpc_method_handler(left)
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("clocks.Clocks", {"Left": handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        print((await channel.unary_unary("/clocks.Clocks/Left")(b"", timeout=20)).decode())
    await server.stop(0)

asyncio.run(main())
"""


def test_sets_name_faults_that_there_are() -> None:
    for names in SETS.values():
        assert set(names) <= set(FAULTS)
    assert REDIS_LOSES <= set(FAULTS)
    assert chosen(["redis", "storm"]) == (*SETS["redis"], "storm")
    with pytest.raises(KeyError):
        chosen(["rain"])


def test_every_fault_comes_once_before_one_comes_twice() -> None:
    names = SETS["all"]
    drawn = order_of(names, random.Random(1), 2 * len(names))
    assert sorted(drawn[: len(names)]) == sorted(drawn[len(names) :]) == sorted(names)


@pytest.mark.parametrize("seconds", [-600, 600])
def test_a_clock_that_is_off_is_off_everywhere_but_in_the_monotonic_one(seconds: int) -> None:
    *times, monotonic, is_moment, is_true_class = run_skewed(seconds, ASK).split()
    for told in times:
        assert abs(float(told) - time.time() - seconds) < 60
    assert abs(float(monotonic) - time.monotonic()) < 60
    assert (is_moment, is_true_class) == ("True", "True")


@pytest.mark.parametrize("seconds", [-600, 600])
def test_a_clock_that_is_off_leaves_calls_their_time(seconds: int) -> None:
    """A deadline is a span for whoever sets it, and on a machine whose clock is wrong for the library as well."""
    assert 0 < float(run_skewed(seconds, CALL)) <= 20


def run_skewed(seconds: int, program: str) -> str:
    """Return what a program prints in a process whose clock is off."""
    environment = {
        **os.environ,
        "PYTHONPATH": f"{SKEWED}:{ROOT}:{ROOT / 'gen'}",
        "TITAN_PROOF_CLOCK_SKEW_SECONDS": str(seconds),
    }
    run = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    return run.stdout
