"""Rounds on a mesh of the harness's own: plant, let shoppers buy for seconds, disturb, rest, judge, and clean up.

Mesh and databases serve many rounds. After each the planted service starts anew without its defect, and everything that
a round wrote is taken away, so that what a defect broke is not found once more in the next.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import redis.asyncio

from tests.faults import check, proof, shoppers
from tests.faults import evidence as evidences
from tests.faults.journal import Journal
from tests.faults.mesh import ROOT, Mesh
from tests.faults.planted.defects import DROPPED
from tests.faults.shoppers import Edge, Load, Shop

SITE = Path(__file__).resolve().parent / "site"
BUY_SECONDS = 9.0
SETTLE_SECONDS = 20.0
"""How long a wish is asked again in a round; with a defect, some would ask for ever."""

PATIENCE_SECONDS = 2.0
REST_SECONDS = 20.0
WORK_SECONDS, WORK_EVENTS, CARTS = 20.0, 20, 12
"""Nothing is disturbed before there is something to disturb."""

CLOSING_SECONDS = 40.0
RESTART_SECONDS = 60.0
STOP_SECONDS = 25.0
AFTER_SECONDS = 2.0
"""How long shoppers go on after a disturbance, at least."""


Disturb = Callable[["Round"], Awaitable[None]]

WIPED: Mapping[str, tuple[str, ...]] = {
    "svc_order": ("checkouts", "orders", "order_events", "order_effects", "outbox"),
    "svc_inventory": (
        "reservations",
        "reservation_lines",
        "restocks",
        "stock",
        "stock_movements",
        "skus",
        "idempotency",
        "outbox",
    ),
    "svc_payment": (
        "payments",
        "refunds",
        "provider_work",
        "top_ups",
        "transfers",
        "resolutions",
        "webhook_events",
        "idempotency",
        "outbox",
    ),
    "svc_notify": ("inbox", "inbox_aggregates", "notifications"),
    "svc_auth": ("outbox",),
    "svc_catalog": ("outbox",),
    "svc_cart": ("carts", "closed_carts", "outbox"),
}


@dataclass
class Round:
    """What a disturbance may use."""

    mesh: Mesh
    shop: Shop
    defect: str
    package: str

    async def plant(self, **settings: str) -> None:
        """Start the service of the defect anew, with the defect in it."""
        await self.mesh.restart(self.package, **planted(self.mesh, self.defect), **settings)


def planted(mesh: Mesh, defect: str) -> dict[str, str]:
    """Return what a process is told so that it has a defect."""
    return {
        "TITAN_PLANTED": defect,
        "TITAN_PLANTED_REDIS": mesh.endpoints["redis"],
        "PYTHONPATH": f"{SITE}:{ROOT}:{ROOT / 'gen'}",
    }


async def until_well(mesh: Mesh, name: str, before: int | None) -> None:
    """Wait until a process works that is not the one of before."""
    async with asyncio.timeout(RESTART_SECONDS):
        while True:
            row = (await mesh.rows())[name]
            if row["healthy"] and row["pid"] not in (None, before):
                return
            await asyncio.sleep(0.05)


async def play(
    mesh: Mesh, folder: Path, defect: str, package: str, disturb: Disturb, means: str, seed: int, **settings: str
) -> list[str]:
    """Play one round and return the violations, each with the name of its invariant first."""
    earlier = _prepare(mesh, folder)
    shoppers.SETTLE_SECONDS, shoppers.PATIENCE_SECONDS = SETTLE_SECONDS, PATIENCE_SECONDS
    load = Load(seed, shoppers=10, per_second=30, plain_products=3, hot_products=1)
    edge, journal = Edge.at(mesh.endpoints), Journal(folder / "journal.ndjson")
    scene = Round(mesh, Shop(edge, journal, load), defect, package)
    if defect in DROPPED:
        await _without_constraint(mesh, defect)
    if package:
        await scene.plant(**settings)
    witness = _listen(mesh, folder)
    try:
        fault = await _buy_and_disturb(scene, disturb)
        await _rest(mesh)
    finally:
        await edge.http.aclose()
        journal.close()
        witness.terminate()
        await asyncio.to_thread(witness.wait, STOP_SECONDS)
    _keep(mesh, folder, earlier, {"name": means, **fault})
    judged = check.judge(await evidences.load(folder))
    return [f"{name}: {line}" for name, _, finding in judged for line in finding.violations]


async def _buy_and_disturb(scene: Round, disturb: Disturb) -> dict[str, float]:
    """Let shoppers buy, and return when they were disturbed."""
    await shoppers.open_shop(scene.shop, scene.mesh.endpoints)
    began = time.monotonic()
    buying = asyncio.create_task(shoppers.buy(scene.shop))
    await asyncio.sleep(BUY_SECONDS / 3)
    while scene.shop.counts["cart ok"] < CARTS and time.monotonic() < began + WORK_SECONDS:
        await asyncio.sleep(0.1)
    fault = {"began": time.monotonic(), "began_wall": time.time()}
    await disturb(scene)
    fault |= {"lifted": time.monotonic(), "over_wall": time.time()}
    await asyncio.sleep(max(began + BUY_SECONDS - time.monotonic(), AFTER_SECONDS))
    scene.shop.over.set()
    await asyncio.wait_for(buying, CLOSING_SECONDS)
    return fault


@dataclass(frozen=True)
class Earlier:
    """What earlier rounds left where nothing is taken away: the provider's log, and the broker."""

    log_bytes: int
    aggregates: set[str]


def _prepare(mesh: Mesh, folder: Path) -> Earlier:
    folder.mkdir(parents=True)
    return Earlier(Path(mesh.endpoints["psp_log"]).stat().st_size, _aggregates(folder.parent))


def _keep(mesh: Mesh, folder: Path, earlier: Earlier, fault: dict[str, Any]) -> None:
    """Write down what the checker reads: what belongs to this round alone."""
    _write_lines(folder / "faults.ndjson", [fault])
    _write_lines(folder / "samples.ndjson", [{"name": "none", "checked": 1, "wrong": []}])
    log = folder / "psp.jsonl"
    log.write_bytes(Path(mesh.endpoints["psp_log"]).read_bytes()[earlier.log_bytes :])
    _forget(folder / "events.ndjson", earlier.aggregates)
    run = {
        "rested_at": time.monotonic(),
        "rested_wall": time.time(),
        "psp_log": str(log),
        "postgres_reader": mesh.endpoints["postgres_reader"],
    }
    file = folder / "run.json"
    file.touch(mode=0o600)  # it names passwords
    file.write_text(json.dumps(run))


async def clean(mesh: Mesh, defect: str, package: str) -> None:
    """Take the defect and everything of its round away."""
    async with httpx.AsyncClient(base_url=mesh.endpoints["psp"], timeout=5) as control:
        (await control.delete("/control")).raise_for_status()
    if package:
        await mesh.restart(package)
    async with asyncio.timeout(RESTART_SECONDS):
        while not await mesh.healthy():
            await asyncio.sleep(0.05)
    for name, tables in WIPED.items():
        connection = await asyncpg.connect(mesh.endpoints["postgres"][name])
        try:
            async with connection.transaction():
                await connection.execute("SET LOCAL session_replication_role = replica")
                there = await connection.fetch(
                    "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename = ANY($1)", list(tables)
                )
                await connection.execute("TRUNCATE audit_entries")
                await connection.execute("DELETE FROM audit_blocks WHERE height > 0")
                if there:
                    await connection.execute(f"TRUNCATE {', '.join(row['tablename'] for row in there)} CASCADE")
                if name == "svc_payment":
                    await connection.execute("DELETE FROM blocks WHERE height > 0")
                    await connection.execute(
                        "UPDATE balances SET posted_debits = 0, posted_credits = 0, pending_debits = 0,"
                        " pending_credits = 0, events = 0"
                    )
        finally:
            await connection.close()
    if defect in DROPPED:
        package, table, constraint, content = DROPPED[defect]
        await _execute(mesh, package, f"ALTER TABLE {table} ADD CONSTRAINT {constraint} {content}")
    if package:
        await mesh.restart(package)  # what it remembers of a round that is gone would be work without a row


async def _without_constraint(mesh: Mesh, defect: str) -> None:
    package, table, constraint, _ = DROPPED[defect]
    await _execute(mesh, package, f"ALTER TABLE {table} DROP CONSTRAINT {constraint}")


async def _execute(mesh: Mesh, package: str, statement: str) -> None:
    connection = await asyncpg.connect(mesh.endpoints["postgres"][package])
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


async def _rest(mesh: Mesh) -> None:
    deadline = time.monotonic() + REST_SECONDS
    while await proof.unfinished(mesh) and time.monotonic() < deadline:
        await asyncio.sleep(0.2)
    await asyncio.sleep(1.0)  # the tail of the ledger is sealed within a second


def _listen(mesh: Mesh, folder: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.faults.consumer", mesh.endpoints["kafka"], str(folder / "events.ndjson")]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'gen'}"}
    return subprocess.Popen(command, cwd=ROOT, env=environment)


def _aggregates(home: Path) -> set[str]:
    """Return what the events of earlier rounds were about: each round buys other things, with other customers."""
    return {line["aggregate_id"] for file in home.glob("*/events.ndjson") for line in _lines(file)}


def _forget(file: Path, aggregates: set[str]) -> None:
    _write_lines(file, [line for line in _lines(file) if line["aggregate_id"] not in aggregates])


def _lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def _write_lines(file: Path, lines: list[dict[str, Any]]) -> None:
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))


# What a defect needs to show.


async def nothing(scene: Round) -> None:
    """Shoppers are enough."""


def killing(name: str) -> Disturb:
    """Return a disturbance: a process dies; the one that comes in its place has no defect."""

    async def disturb(scene: Round) -> None:
        before = (await scene.mesh.rows())[name]["pid"]
        await scene.mesh.kill(name)
        await until_well(scene.mesh, name, before)

    return disturb


async def notify_dies_at_work(scene: Round) -> None:
    """The consumer of orders dies while it applies events, not while it joins its group."""
    async with asyncio.timeout(WORK_SECONDS):
        while await _count(scene.mesh, "svc_notify", "inbox") < WORK_EVENTS:
            await asyncio.sleep(0.1)
    await killing("svc_notify")(scene)


async def _count(mesh: Mesh, package: str, table: str) -> int:
    connection = await asyncpg.connect(mesh.endpoints["postgres_reader"][package])
    try:
        return int(await connection.fetchval(f"SELECT count(*) FROM {table}"))
    finally:
        await connection.close()


def provider(**behaviour: object) -> Disturb:
    """Return a disturbance: the payment provider misbehaves until the shop closes."""

    async def disturb(scene: Round) -> None:
        async with httpx.AsyncClient(base_url=scene.mesh.endpoints["psp"], timeout=5) as control:
            settings = {**behaviour, "seed": scene.shop.load.seed}
            (await control.post("/control", json=settings)).raise_for_status()

    return disturb


async def redis_forgets(scene: Round) -> None:
    """Redis is empty from one moment to the next."""
    async with redis.asyncio.from_url(scene.mesh.endpoints["redis"]) as client:
        await client.flushall()


async def crowd(scene: Round) -> None:
    """Everybody presses every button many times."""
    dice = random.Random(scene.shop.load.seed)
    until = time.monotonic() + BUY_SECONDS
    scene.shop.factor = 5.0
    names = [f"crowd{dice.randrange(10**6)}" for _ in range(12)]
    await asyncio.gather(*(shoppers.visit(scene.shop, name, eager=True, until=until) for name in names))
    scene.shop.factor = 1.0


async def publish_again(scene: Round) -> None:
    """Everything that orders have told is told once more, as to a broker that has lost it."""
    again = "UPDATE outbox SET published_at = NULL WHERE published_at IS NOT NULL"
    for _ in range(2):
        await _execute(scene.mesh, "svc_order", again)
        await asyncio.sleep(1.5)


async def two_coordinators(scene: Round) -> None:
    """Two processes place orders at once, and everybody is in a hurry."""
    await scene.mesh.ask(do="scale", package="svc_order", replicas=2)
    try:
        async with asyncio.timeout(RESTART_SECONDS):
            while not await scene.mesh.healthy():
                await asyncio.sleep(0.1)
        await crowd(scene)
    finally:
        await scene.mesh.ask(do="scale", package="svc_order", replicas=1)
