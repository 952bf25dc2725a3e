"""`python -m tests.faults.endurance --seed N --seconds S --per-second R`: many orders, and something dies all the time.

A crowd buys as fast as it is told to, a fifth of it by card and a fifth of it the same scarce product, and every ten
seconds something dies without a word: a service, a proxy, Postgres, Redis, the broker. Then another process judges
every order and prints the figures. The seed draws the wishes and the faults.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import resource
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import asyncpg
from confluent_kafka import Consumer, KafkaException

from tests.faults import mesh as meshes
from tests.faults import proof
from tests.faults.consumer import Quiet, is_event_topic, partitions_of
from tests.faults.evidence import Drained
from tests.faults.faults import DEADLY, Scene
from tests.faults.faults.provider import behave
from tests.faults.figures import BROKER, MOST_BACKLOG_SECONDS
from tests.faults.journal import Journal
from tests.faults.mesh import Mesh
from tests.faults.proof import Injected
from tests.faults.shoppers import (
    CartKeeper,
    Guest,
    Load,
    Shop,
    keep_shelves,
    open_shop,
    send_parcels,
    sign_out,
    trespass,
)
from tests.faults.spending import Meter
from tests.faults.watch import ANSWER_SECONDS, AWAY
from tests.faults.wire import Wire

EVERY_SECONDS = 10.0
CALM_SECONDS = 1.0
"""At least so long everything works before the next thing dies."""

BUYERS = 64
HOT_SHARE, CARD_SHARE, LOOK_SHARE, TWICE_SHARE = 0.2, 0.21, 0.02, 0.02
MOST_UNITS = 2
PURSE_MINOR, PURSE_ORDERS = 200_000, 120
"""What a guest pays in, and after how many wishes another one comes. It is enough for nearly all of them."""

LOST_WEBHOOKS = 0.8
"""Of the provider's notices. A card that is accepted needs none, and one costs more than a fifth of an order."""

PER_SECOND, SECONDS = 55.0, 2050.0
"""100,000 acknowledged orders, beside 200 restarts; `Meter.told` says what of the machine is left."""

RETRY_SECONDS = 2.0
"""How long somebody waits before the one retry that counts: a proxy that died needs one to come back."""

BACKLOG_SECONDS = 10.0
SHELF_SECONDS, HOT_UNITS = 2.0, 28
"""Four of five who want the scarce product get it."""

UNPUBLISHED = "SELECT count(*) FROM outbox WHERE published_at IS NULL AND recorded_at < to_timestamp($1)"
CROWD_SECONDS = 60.0
POLL_SECONDS = 0.5
SAY_SECONDS = 15.0
LONGEST_DRAIN_SECONDS = 4 * MOST_BACKLOG_SECONDS


class Buyer(Guest):
    """A guest with a full purse, who buys one thing after the other and is gone."""

    pocket_minor = PURSE_MINOR

    async def live(self, until: float = float("inf")) -> None:
        """Come, pay in, buy, and look into the wallet once more."""
        await self.come()
        for _ in range(PURSE_ORDERS):
            if self._shop.over.is_set() or self._session.is_worn:
                break
            await self._wish()
        await self._look_into_wallet()

    async def _wish(self) -> None:
        """Draw the next wish; all dice are rolled at once, so that no answer changes the sequence."""
        kind, hot, card, twice, place = (self._dice.random() for _ in range(5))
        sku = self._dice.choice(self._shop.hot if hot < HOT_SHARE else self._shop.plain)
        units, at_once = self._dice.randint(1, MOST_UNITS), 2 if twice < TWICE_SHARE else 1
        if kind < LOOK_SHARE:
            await (self._read(place) if kind < LOOK_SHARE / 2 else self._look_into_wallet())
            return
        payment: dict[str, Any] = {"card": {"token": "tok_visa"}} if card < CARD_SHARE else {"wallet": {}}
        await self._order([sku], units, payment, at_once)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; returns the exit status."""
    options = _parser().parse_args(arguments)
    load = Load(
        options.seed,
        shoppers=options.buyers,
        per_second=options.per_second,
        hot_products=1,
        keepers=1,
        hot_units=HOT_UNITS,
        shelf_seconds=SHELF_SECONDS,
        first_pause_seconds=RETRY_SECONDS,
        backlog_seconds=BACKLOG_SECONDS,
    )
    return proof.in_folder(
        options.keep, lambda folder: endure(folder, load, options.seconds, options.every, options.port_base)
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.endurance", description="Many orders, many deaths.")
    drawn = random.SystemRandom().randrange(10**6)
    parser.add_argument("--seed", type=int, default=drawn, help="draws all that is drawn")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="how long everybody buys")
    parser.add_argument("--per-second", type=float, default=PER_SECOND, help="how many wishes begin in a second")
    parser.add_argument("--every", type=float, default=EVERY_SECONDS, help="seconds from one death to the next")
    parser.add_argument("--buyers", type=int, default=BUYERS)
    parser.add_argument("--keep", help="a folder for the files of this run, which are kept")
    parser.add_argument("--port-base", type=int, default=int(os.environ.get("TITAN_PORT_BASE", 0)) or None)
    return parser


async def endure(folder: Path, load: Load, seconds: float, every: float, port_base: int | None) -> int:
    """Start, buy and disturb, wait, judge; returns the exit status."""
    began = time.monotonic()
    proof.say(f"seed {load.seed}, {seconds:g} s, {load.shoppers} buyers, {load.per_second:g} wishes/s")
    async with meshes.started(folder / "m", port_base=port_base) as mesh:
        proof.say(f"the mesh runs after {time.monotonic() - began:.0f} s")
        with proof._witnesses(mesh, folder) as watching:
            injected, meter = await _buy_and_disturb(mesh, folder, load, seconds, every)
            await proof._rest(mesh)
            proof.write_run(folder, mesh, load.seed)
            missed = await proof.end(watching)
        proof.say("judging")
        whole = load.per_second >= PER_SECOND and seconds >= SECONDS and every <= EVERY_SECONDS
        status = await proof.judged(folder, "--figures", *(["--whole"] if whole else []))
    for line in meter.told():
        print(line)
    figures = folder / "figures.json"
    result = {
        "seed": load.seed,
        "seconds": seconds,
        "load": asdict(load),
        "holds": status == 0 and not missed,
        "whole": whole,
        "figures": json.loads(figures.read_text()) if figures.exists() else None,
        "cpu": [asdict(each) for each in meter.spent()],
        "faults": [fault.as_line() for fault in injected],
    }
    (folder / "result.json").write_text(json.dumps(result, indent=2) + "\n")
    status = status or missed
    outcome = "BROKEN" if status else "proven" if whole else "proven of less than was promised"
    print(f"seed {load.seed}: {outcome}, in {time.monotonic() - began:.0f} s")
    return 1 if status else 0


async def _buy_and_disturb(
    mesh: Mesh, folder: Path, load: Load, seconds: float, every: float
) -> tuple[list[Injected], Meter]:
    edge, journal = Wire(mesh.endpoints), Journal(folder / "journal.ndjson")
    shop = Shop(edge, journal, load)
    try:
        await behave(mesh.endpoints["psp"], seed=load.seed, webhooks={"drop": LOST_WEBHOOKS})
        await open_shop(shop, mesh.endpoints)
        meter = Meter(mesh, shop)
        buying = asyncio.create_task(_buy(shop))
        await _crowded(shop)
        beside = [asyncio.create_task(_talk(shop)), asyncio.create_task(meter.run())]
        scene = Scene(mesh, shop, random.Random(f"{load.seed}/faults"))
        injected = await _disturb(scene, folder, seconds, every)
        await meter.look()
        shop.over.set()
        proof.say("the shop closes; everybody waits for an answer")
        await asyncio.wait_for(buying, proof.CLOSING_SECONDS)
        for task in beside:
            task.cancel()
        proof.say(proof.counts(shop))
        return injected, meter
    finally:
        await edge.aclose()
        journal.close()


async def _crowded(shop: Shop) -> None:
    """Wait until everybody is there with a full purse: that a whole crowd comes at once is another fault."""
    deadline = time.monotonic() + CROWD_SECONDS
    while shop.counts["top_up ok"] < shop.load.shoppers and time.monotonic() < deadline:
        await asyncio.sleep(POLL_SECONDS)


async def _buy(shop: Shop) -> None:
    """Let everybody buy until the shop closes and every wish is settled."""

    async def one_after_the_other(number: int) -> None:
        guests = 0
        while not shop.over.is_set():
            guests += 1
            name = f"b{number}.{guests}"
            await Buyer(shop, name, random.Random(f"{shop.load.seed}/{name}")).live()

    buyers = [one_after_the_other(number) for number in range(shop.load.shoppers)]
    keepers = [CartKeeper(shop, f"keeper{number}").live() for number in range(shop.load.keepers)]
    await asyncio.gather(
        keep_shelves(shop), send_parcels(shop), sign_out(shop, "leaver"), trespass(shop), *keepers, *buyers
    )


async def _disturb(scene: Scene, folder: Path, seconds: float, every: float) -> list[Injected]:
    """Let something die every so many seconds until the time is over; each is written down when it is over."""
    began = time.monotonic()
    injected: list[Injected] = []
    draining: list[asyncio.Task[Drained]] = []
    plan = plan_of(scene.shop.load.seed)
    await asyncio.sleep(proof.WARM_UP_SECONDS)
    with (folder / "faults.ndjson").open("w", buffering=1) as lines:
        while (at := _next_at(began, every, len(injected), time.monotonic())) < began + seconds:
            await asyncio.sleep(max(0.0, at - time.monotonic()))
            name = next(plan)
            if name in BROKER:
                draining.append(asyncio.create_task(_drained(scene.mesh, await _broker(scene.mesh))))
            fault = await proof.inject(scene, name)
            lines.write(json.dumps(fault.as_line()) + "\n")
            injected.append(fault)
            if fault.recovery_seconds > CALM_SECONDS or not fault.recovered:
                proof.say(f"{name}: well again {fault.recovery_seconds:.1f} s after it")
    await asyncio.sleep(max(0.0, began + seconds - time.monotonic()))
    with (folder / "drained.ndjson").open("w") as lines:
        for each in await asyncio.gather(*draining):
            lines.write(json.dumps(asdict(each)) + "\n")
    return injected


def _next_at(began: float, every: float, number: int, now: float) -> float:
    """Return when the next thing dies: in its turn, and when the last one has been well again for a while."""
    return max(began + every * (number + 0.5), now + CALM_SECONDS if number else now)


def plan_of(seed: int) -> Iterator[str]:
    """Draw what dies: everything once before anything twice, and the broker in the first such round alone.

    The embedded broker loses all it has when it dies, and gets it again from the outboxes: the later, the more. What is
    measured after that is not the death of a broker, but the sending of half a million events.
    """
    dice, number = random.Random(f"{seed}/plan"), 0
    while True:
        names = [name for name in DEADLY if name not in BROKER or number == 0]
        yield from dice.sample(names, len(names))
        number += 1


@dataclass(frozen=True)
class Broker:
    """The broker before its death: its process, its topics, and the moment."""

    pid: int
    topics: frozenset[str]
    at: float
    wall: float


async def _broker(mesh: Mesh) -> Broker:
    topics = await asyncio.to_thread(_topics, mesh)
    return Broker((await mesh.rows())["kafka"]["pid"], topics, time.monotonic(), time.time())


async def _drained(mesh: Mesh, before: Broker) -> Drained:
    """Wait until the next broker has all topics again, which are made last, and every event from before the death."""
    most = 0
    while (seconds := time.monotonic() - before.at) < LONGEST_DRAIN_SECONDS:
        await asyncio.sleep(POLL_SECONDS)
        row = (await mesh.rows())["kafka"]
        is_next = row["healthy"] and row["pid"] != before.pid
        is_whole = is_next and before.topics <= await asyncio.to_thread(_topics, mesh)
        left = await _unpublished(mesh, before.wall)
        most = max(most, left or 0)
        if is_whole and left == 0:
            break
    done = seconds < LONGEST_DRAIN_SECONDS
    proof.say(f"the broker has {most} events again {seconds:.1f} s after its death{'' if done else ', and not all'}")
    return Drained(round(seconds, 2), most, done)


async def _unpublished(mesh: Mesh, before: float) -> int | None:
    """Count what was written before a moment and is not at the broker; None where a database is away."""
    left = 0
    try:
        for url in mesh.endpoints["postgres_reader"].values():
            connection = await asyncpg.connect(url, timeout=ANSWER_SECONDS)
            try:
                if await connection.fetchval("SELECT to_regclass('outbox')") is not None:
                    left += await connection.fetchval(
                        UNPUBLISHED,
                        before,
                    )
            finally:
                connection.terminate()
    except AWAY:
        return None
    return left


def _topics(mesh: Mesh) -> frozenset[str]:
    consumer = Consumer({"bootstrap.servers": mesh.endpoints["kafka"], "group.id": "endurance", "logger": Quiet()})
    try:
        return frozenset(topic for topic, _ in partitions_of(consumer, is_event_topic))
    except KafkaException:
        return frozenset()
    finally:
        consumer.close()


async def _talk(shop: Shop) -> None:
    while True:
        await asyncio.sleep(SAY_SECONDS)
        megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        proof.say(f"{proof.counts(shop)}; {megabytes} MB here")


if __name__ == "__main__":
    sys.exit(main())
