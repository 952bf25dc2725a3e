"""`python -m tests.faults.proof --seed N --seconds S --faults short`: prove it, on a mesh of the proof's own.

It starts a mesh, lets shoppers buy, disturbs the mesh from a seed while they do, waits until everything rests, and has
another process judge what happened. It prints one table of what must be true and one of the faults, writes a JSON
result, and exits non-zero when something is broken. The same seed draws the same shoppers and the same faults.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import asyncpg
from rich.console import Console
from rich.table import Table

from tests.faults import journal as journals
from tests.faults import latencies
from tests.faults import mesh as meshes
from tests.faults.faults import FAULTS, SETS, Scene, Skipped, Wrong, chosen, order_of
from tests.faults.faults.provider import SLOW, behave
from tests.faults.journal import Journal
from tests.faults.latencies import ENOUGH, FEWEST, MOST_RATIO, NEED_PROVIDER, Route
from tests.faults.mesh import ROOT, Mesh, NotStarted
from tests.faults.recovery import recover, too_late
from tests.faults.shoppers import Edge, Load, Shop, Stuck, buy, open_shop

WARM_UP_SECONDS = 3.0
CALM_SECONDS = 2.0
"""Between the end of a recovery and the next fault."""

REST_SECONDS = 90.0
CLOSING_SECONDS = 150.0
WITNESS_SECONDS = 120.0
"""Whoever listened to half a million events needs a while to write them down."""

SAY_SECONDS = 5.0

UNFINISHED = {
    "svc_order": "SELECT (SELECT count(*) FROM checkouts WHERE finished_at IS NULL AND action_url IS NULL)"
    " + (SELECT count(*) FROM order_effects WHERE finished_at IS NULL)",
    "svc_payment": "SELECT count(*) FROM provider_work",
}
EVENTS = {
    "svc_order": "SELECT count(*) FROM outbox",
    "svc_notify": "SELECT count(*) FROM inbox WHERE topic = 'titan.order.v1'",
}
"""What svc_order has told, and what of it svc_notify has applied."""


@dataclass(frozen=True)
class Injected:
    """One fault: when it began, when nothing disturbed any more, and when orders were confirmed again."""

    name: str
    began: float
    lifted: float
    over: float
    began_wall: float
    over_wall: float
    recovered: bool
    note: str = ""
    wrong: str = ""
    """What the mesh did in it that it must not do."""

    @property
    def recovery_seconds(self) -> float:
        """From the end of the disturbance until everything worked."""
        return self.over - self.lifted

    def as_line(self) -> dict[str, Any]:
        """Return all of it for a file."""
        return {**asdict(self), "recovery_seconds": self.recovery_seconds}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one proof; returns the exit status."""
    options = _parser().parse_args(arguments)
    try:
        names = chosen(options.faults)
    except KeyError as unknown:
        print(f"there is no fault {unknown}; there are {', '.join((*SETS, *FAULTS))}", file=sys.stderr)
        return 2
    load = Load(options.seed, shoppers=options.shoppers, per_second=options.per_second)
    return in_folder(
        options.keep,
        lambda folder: prove(
            folder, load, names, options.seconds, options.port_base, full=options.full, once=options.once
        ),
    )


def in_folder(keep: str | None, run: Callable[[Path], Awaitable[int]]) -> int:
    """Run in a folder, which is left behind if that is wished for or something is to be found there."""
    folder = Path(keep or tempfile.mkdtemp(prefix="titan-p"))
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o711)  # the account that Postgres runs as has to pass through
    try:
        status = asyncio.run(_awaited(run(folder)))
    except (NotStarted, Stuck) as problem:
        print(problem, file=sys.stderr)
        status = 2
    if status == 0 and not keep:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        print(f"what there is to look at: {folder}")
    return status


async def _awaited(run: Awaitable[int]) -> int:
    return await run


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.proof", description="Disturb a mesh and check it.")
    parser.add_argument(
        "--seed", type=int, default=random.SystemRandom().randrange(10**6), help="draws all that is drawn"
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="how long shoppers buy")
    parser.add_argument("--faults", nargs="*", default=["short"], help="names, or sets: " + ", ".join(SETS))
    parser.add_argument(
        "--once", action="store_true", help="every fault once and no more; those that did not come count"
    )
    parser.add_argument("--full", action="store_true", help="let faults last as long as they do in the world")
    parser.add_argument("--shoppers", type=int, default=12)
    parser.add_argument("--per-second", type=float, default=25.0, help="how many wishes begin in a second")
    parser.add_argument("--keep", help="a folder for the files of this run, which are kept")
    parser.add_argument("--port-base", type=int, default=int(os.environ.get("TITAN_PORT_BASE", 0)) or None)
    return parser


async def prove(
    folder: Path,
    load: Load,
    names: tuple[str, ...],
    seconds: float,
    port_base: int | None,
    *,
    full: bool = False,
    once: bool = False,
) -> int:
    """Start, disturb, wait, judge; returns the exit status."""
    began = time.monotonic()
    say(f"seed {load.seed}, {seconds:g} s, {len(names)} faults, {load.shoppers} shoppers, {load.per_second:g} wishes/s")
    async with meshes.started(folder / "m", port_base=port_base) as mesh:
        say(f"the mesh runs after {time.monotonic() - began:.0f} s")
        with _witnesses(mesh, folder) as witnesses:
            injected, missing = await _buy_and_disturb(mesh, folder, load, names, seconds, full=full, once=once)
            await _rest(mesh)
            write_run(folder, mesh, load.seed)
            missed = await end(witnesses)
        status = await judged(folder) or missed
    console = Console(width=None if sys.stdout.isatty() else 150)
    console.print(_table(injected))
    routes = latencies.routes(
        journals.read(folder / "journal.ndjson"),
        [(each.began, each.over) for each in injected],
        [(each.began, each.lifted) for each in injected if each.name == SLOW],
    )
    if routes:
        console.print(_routes_table(routes))
    for each in injected:
        if each.wrong:
            print(f"{each.name}: {each.wrong}")
    if missing:
        print(f"{seconds:g} s were not enough for {', '.join(missing)}")
    late = too_late(injected)
    print("\n".join(late), end="\n" if late else "")
    slowed = [f"{each.name}: {each.ratio:.1f} x as slow while the provider was" for each in routes if each.held_up]
    print("\n".join(slowed), end="\n" if slowed else "")
    unjudged = [each.name for each in routes if not each.is_judged and each.name not in NEED_PROVIDER]
    unpaced = once and not any(each.is_judged for each in routes)
    if unjudged:
        print(f"asked too rarely to be judged by their pace: {', '.join(unjudged)}")
    # A short proof runs beside whatever else its machine does: there the limits are told, and not held.
    in_time = not (late or slowed) or not (once or full)
    recovered = not missing and not unpaced and in_time and all(each.recovered and not each.wrong for each in injected)
    _write_result(folder, load, seconds, injected, routes, status)
    outcome = "proven" if status == 0 and recovered else "BROKEN"
    print(f"seed {load.seed}: {outcome}, in {time.monotonic() - began:.0f} s")
    return 0 if status == 0 and recovered else 1


async def _buy_and_disturb(
    mesh: Mesh, folder: Path, load: Load, names: tuple[str, ...], seconds: float, *, full: bool, once: bool
) -> tuple[list[Injected], list[str]]:
    edge, journal = Edge.at(mesh.endpoints), Journal(folder / "journal.ndjson")
    shop = Shop(edge, journal, load)
    try:
        await behave(mesh.endpoints["psp"])
        await open_shop(shop, mesh.endpoints)
        buying = asyncio.create_task(buy(shop))
        talking = asyncio.create_task(_talk(shop))
        scene = Scene(mesh, shop, random.Random(f"{load.seed}/faults"), full)
        injected, missing = await _disturb(scene, folder, names, seconds, once=once)
        shop.over.set()
        say("the shop closes; everybody waits for an answer")
        await asyncio.wait_for(buying, CLOSING_SECONDS)
        talking.cancel()
        say(counts(shop))
        return injected, missing
    finally:
        await edge.aclose()
        journal.close()


async def _disturb(
    scene: Scene, folder: Path, names: tuple[str, ...], seconds: float, *, once: bool
) -> tuple[list[Injected], list[str]]:
    """Inject one fault after the other until the time is over; each is written down when it is over.

    Returns the faults, and the names of those that had to come once and did not.
    """
    deadline = time.monotonic() + seconds
    plan = order_of(names, random.Random(f"{scene.shop.load.seed}/plan"), len(names) if once else 10_000)
    injected: list[Injected] = []
    await asyncio.sleep(WARM_UP_SECONDS)
    with (folder / "faults.ndjson").open("w", buffering=1) as lines:
        skipped: set[str] = set()
        for name in plan:
            if time.monotonic() > deadline or skipped.issuperset(names):
                break
            if name in skipped:
                continue
            try:
                fault = await inject(scene, name)
            except Skipped as why:
                say(f"{name}: skipped, {why}")
                skipped.add(name)
                continue
            lines.write(json.dumps(fault.as_line()) + "\n")
            injected.append(fault)
            note = f" ({fault.note})" if fault.note else ""
            say(f"{name}{note}: well again {fault.recovery_seconds:.1f} s after it{fault.wrong and ', but WRONG'}")
            await asyncio.sleep(CALM_SECONDS)
    if not once:
        await asyncio.sleep(max(0.0, deadline - time.monotonic()))
        return injected, []
    came = skipped | {fault.name for fault in injected}
    return injected, [name for name in names if name not in came]


async def inject(scene: Scene, name: str) -> Injected:
    began, began_wall = time.monotonic(), time.time()
    note = wrong = ""
    try:
        note = await FAULTS[name].inject(scene) or ""
    except Wrong as problem:
        wrong = str(problem)
    lifted = time.monotonic()
    well = await recover(scene, lifted)
    over = time.monotonic() if well is None else well
    return Injected(name, began, lifted, over, began_wall, time.time(), well is not None, note, wrong)


async def _rest(mesh: Mesh) -> None:
    """Wait until nothing is left to do; what is left after a long time is for the checker to find."""
    deadline = time.monotonic() + REST_SECONDS
    while (left := await unfinished(mesh)) and time.monotonic() < deadline:
        await asyncio.sleep(0.2)
    say("the mesh rests" if not left else f"the mesh does not rest: {left} things are left")
    await asyncio.sleep(1.0)  # the tail of the ledger is sealed within a second


async def unfinished(mesh: Mesh) -> int:
    """Count what is left to do: sagas, effects, calls to the provider, events to publish, events to apply."""
    left, events = 0, {}
    for package, url in mesh.endpoints["postgres_reader"].items():
        connection = await asyncpg.connect(url)
        try:
            if package in UNFINISHED:
                left += await connection.fetchval(UNFINISHED[package])
            if await connection.fetchval("SELECT to_regclass('outbox')") is not None:
                left += await connection.fetchval("SELECT count(*) FROM outbox WHERE published_at IS NULL")
            if package in EVENTS:
                events[package] = await connection.fetchval(EVENTS[package])
        finally:
            await connection.close()
    return int(left + max(0, events["svc_order"] - events["svc_notify"]))


@contextmanager
def _witnesses(mesh: Mesh, folder: Path) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Run those who look on from outside; asked to end they write down what they saw, and at last they are killed."""
    listen = ["tests.faults.consumer", mesh.endpoints["kafka"], str(folder / "events.ndjson")]
    watch = ["tests.faults.watch", str(mesh.home / "endpoints.json"), str(folder / "samples.ndjson")]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'gen'}"}
    witnesses = [
        subprocess.Popen([sys.executable, "-m", *command], cwd=ROOT, env=environment) for command in (listen, watch)
    ]
    try:
        yield witnesses
    finally:
        for witness in witnesses:
            witness.kill()
            witness.wait()


def write_run(folder: Path, mesh: Mesh, seed: int) -> None:
    """Write down for the checker when the mesh rested, and where its databases are."""
    run = {"seed": seed, "rested_at": time.monotonic(), "rested_wall": time.time(), **_places(mesh)}
    file = folder / "run.json"
    file.touch(mode=0o600)  # it names passwords
    file.write_text(json.dumps(run, indent=2) + "\n")


async def end(witnesses: Sequence[subprocess.Popen[bytes]]) -> int:
    """Let those who look on write down what they saw; returns 1 if one of them had ended before."""
    gone = [witness for witness in witnesses if witness.poll() is not None]
    for witness in witnesses:
        witness.terminate()
    for witness in witnesses:
        await asyncio.to_thread(witness.wait, WITNESS_SECONDS)
    if gone:
        print(f"{len(gone)} of those who look on ended before the end: what they missed is not proven")
    return 1 if gone else 0


async def judged(folder: Path, *arguments: str) -> int:
    """Have another process judge a run; returns its exit status."""
    judge = [sys.executable, "-m", "tests.faults.check", str(folder), *arguments]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'gen'}"}
    return await asyncio.to_thread(subprocess.call, judge, cwd=ROOT, env=environment)


def _places(mesh: Mesh) -> dict[str, Any]:
    return {name: mesh.endpoints[name] for name in ("postgres_reader", "psp_log")}


async def _talk(shop: Shop) -> None:
    while True:
        await asyncio.sleep(SAY_SECONDS)
        say(counts(shop))


def counts(shop: Shop) -> str:
    counts = shop.counts
    return (
        f"{counts['place']} orders asked for: {counts['place ok']} confirmed, {counts['place refused']} refused,"
        f" {counts['place unknown']} unknown; {counts['asked again']} times asked again"
    )


def _table(injected: list[Injected]) -> Table:
    rows = Table(title="Faults, and how long the mesh then needed until it was well again")
    for heading in ("fault", "times", "median s", "longest s", "at most", "not recovered"):
        rows.add_column(heading, justify="left" if heading == "fault" else "right")
    by_name: dict[str, list[Injected]] = defaultdict(list)
    for fault in injected:
        by_name[fault.name].append(fault)
    for name, faults in sorted(by_name.items()):
        seconds = [fault.recovery_seconds for fault in faults]
        lost = sum(not fault.recovered for fault in faults)
        longest, most = f"{max(seconds):.1f}", f"{FAULTS[name].limit_seconds:g}"
        rows.add_row(name, str(len(faults)), f"{statistics.median(seconds):.1f}", longest, most, str(lost))
    return rows


def _routes_table(routes: list[Route]) -> Table:
    rows = Table(
        title=f"Seconds of an answer, and while the provider took 5 s (at most {MOST_RATIO:g} x, but for cards)"
    )
    for heading in ("route", "answers", "p99 s", "answers then", "p99 s then", "x"):
        rows.add_column(heading, justify="left" if heading == "route" else "right")
    for route in routes:
        ratio = "-" if route.ratio is None else f"{route.ratio:.1f}"
        then = f"{route.disturbed_p99:.3f}" if route.disturbed else "-"
        rows.add_row(route.name, str(route.calm), f"{route.calm_p99:.3f}", str(route.disturbed), then, ratio)
    rows.caption = f"no ratio below {FEWEST} answers, and nobody judged below {ENOUGH}"
    return rows


def _write_result(
    folder: Path, load: Load, seconds: float, injected: list[Injected], routes: list[Route], status: int
) -> None:
    verdict = folder / "verdict.json"
    result = {
        "seed": load.seed,
        "seconds": seconds,
        "load": asdict(load),
        "holds": status == 0,
        "invariants": json.loads(verdict.read_text()) if verdict.exists() else None,
        "routes": [{**asdict(route), "ratio": route.ratio} for route in routes],
        "faults": [fault.as_line() for fault in injected],
    }
    (folder / "result.json").write_text(json.dumps(result, indent=2) + "\n")


def say(what: str) -> None:
    print(f"{time.strftime('%H:%M:%S')}  {what}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
