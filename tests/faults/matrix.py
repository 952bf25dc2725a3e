"""`python -m tests.faults.matrix`: let a process exit, hang and raise at every place, and see that it all comes right.

A cell is a failpoint and an action. Somebody walks to the place, the process dies there, hangs until it is killed, or
raises; then everything has to be done, once, within seconds of the restart. It prints one table, and exits non-zero
when a cell is broken. The mesh is one of its own, from a staged tree: see `tests.faults.staged`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import asyncpg
from rich.console import Console
from rich.table import Table

from control.home import Home, Ports
from control.probes import grpc_health
from control.supervised import Health
from tests.faults import evidence as evidences
from tests.faults import mesh as meshes
from tests.faults.check import table as judged_table
from tests.faults.invariants import INVARIANTS, shown
from tests.faults.mesh import Mesh, NotStarted
from tests.faults.places import CONVERGE_SECONDS, MOMENTS, PLACES, Place
from tests.faults.proof import _places, _rest, _witnesses, end
from tests.faults.shoppers import Edge
from tests.faults.staged import Door, Doors, NoDoor, stage
from tests.faults.walks import SETTLE_SECONDS, WALKS, NoAnswer, Stage, Walk

ACTIONS = ("exit", "hang", "raise")
CONSUMER = "svc_notify"
REACH_SECONDS = 4.0
"""How long somebody may need to the place; a walk that another one's hang holds up is sent again, alone."""

EVENT_SECONDS = 30.0
"""The same for a place that an event comes to: its consumer may have to wait for the end of a dead one's session."""

HANG_SECONDS = 1.0
"""How long a process hangs before it is killed, at least."""

TURN_SECONDS = 0.05
SIDE_BY_SIDE = 12
"""How many come side by side, and hang or break off in one turn."""

CHECKED = ("I2", "I3", "I4", "I5", "I6", "I7", "I8", "each s")
"""Of the invariants, those that need no journal of what shoppers heard: each walk has looked after that."""


@dataclass(frozen=True)
class Cell:
    """A place and what happens there."""

    place: Place
    action: str


@dataclass
class Outcome:
    """What became of a cell: how long after the restart it was over, and what is wrong."""

    cell: Cell
    seconds: float = 0.0
    problem: str = ""

    @property
    def holds(self) -> bool:
        """Whether it converged in time, to what it should."""
        return not self.problem and self.seconds <= CONVERGE_SECONDS


@dataclass
class Sent:
    """Somebody on the way to a place."""

    cell: Cell
    walk: Walk
    going: asyncio.Task[None] | None = None
    reached_at: float = 0.0


class Matrix:
    """The running of cells on one mesh."""

    def __init__(self, mesh: Mesh, doors: Doors, shop: Stage) -> None:
        """Take a mesh whose processes have doors."""
        self._mesh = mesh
        self._doors = doors
        self._shop = shop
        self._probes: dict[str, Health] = {}
        self.outcomes: list[Outcome] = []
        self.starts: list[float] = []
        """How long each new process needed until it served, from the death of the one before."""

    async def run(self, cells: Sequence[Cell]) -> None:
        """Run all: one death at a time, hangs of one process and exceptions side by side where they can be."""
        deaths = [cell for cell in cells if cell.action == "exit"]
        for start in range(0, len(deaths), SIDE_BY_SIDE):
            for each in await self._prepared(deaths[start : start + SIDE_BY_SIDE]):
                await self._turn([each], last=True)
        for action in ("hang", "raise"):
            for turn in turns([cell for cell in cells if cell.action == action]):
                for late in await self._turn(await self._prepared(turn)):
                    await self._turn(await self._prepared([late]), last=True)

    async def _prepared(self, cells: Sequence[Cell]) -> list[Sent]:
        """Let somebody come for each cell, side by side, as near as they can before anything is disturbed."""
        sent = [Sent(cell, WALKS[cell.place.walk](self._shop)) for cell in cells]
        try:
            await self._shop.open()
            await asyncio.gather(*(each.walk.prepare() for each in sent))
        except NoAnswer as problem:
            for cell in cells:
                self._note(Outcome(cell, problem=f"not prepared: {problem}"))
            return []
        return sent

    async def _turn(self, sent: Sequence[Sent], *, last: bool = False) -> list[Cell]:
        """Disturb one process at the places of cells; returns those that nobody reached, unless told to judge."""
        if not sent:
            return []
        alone, action, package = last or len(sent) == 1, sent[0].cell.action, sent[0].cell.place.package
        door = await self._doors.open(package)
        judging = []
        for each in sent:
            await self._send(each, door)
            if each.reached_at and action == "raise":  # over at once, whatever is still to be sent
                judging.append(asyncio.create_task(self._judge(each, each.reached_at)))
        reached = [each for each in sent if each.reached_at]
        if action == "hang" and reached:
            await asyncio.sleep(max(0.0, reached[-1].reached_at + HANG_SECONDS - time.monotonic()))
        restarted = await self._restarted(package, door, action) if reached and action != "raise" else 0.0
        if not restarted:
            await door.reset()
        if restarted:
            judging += [asyncio.create_task(self._judge(each, restarted)) for each in reached]
        await asyncio.gather(*judging)
        lost = [each for each in sent if not each.reached_at]
        for each in lost:
            await asyncio.wait([each.going], timeout=SETTLE_SECONDS)  # type: ignore[list-item]
            if alone:
                self._note(Outcome(each.cell, problem="nobody came by"))
        return [] if alone else [each.cell for each in lost]

    async def _send(self, each: Sent, door: Door) -> None:
        """Arm the place, send somebody, and wait until they are there."""
        name = each.cell.place.name
        await door.arm({name: f"{each.cell.action}*1"})
        each.going = asyncio.create_task(each.walk.go())
        deadline = time.monotonic() + (EVENT_SECONDS if each.cell.place.package == CONSUMER else REACH_SECONDS)
        while time.monotonic() < deadline:
            try:
                if await door.left(name) == 0:
                    break
            except NoDoor:
                break
            await asyncio.sleep(TURN_SECONDS / 5)
        else:
            await door.arm({name: "raise*0"})  # nobody is to come by any more
            return
        each.reached_at = time.monotonic()

    async def _restarted(self, package: str, door: Door, action: str) -> float:
        """Kill what hangs, wait until the next process serves, and return when that was, on the monotonic clock."""
        if action == "hang":
            await self._mesh.kill(package)
        died = time.monotonic()
        await self._doors.open(package, not_of=door.process_id)
        if package not in self._probes:
            self._probes[package] = grpc_health(Home(self._mesh.home, Ports()).app_socket(package))
        while not await self._probes[package]():
            if time.monotonic() > died + SETTLE_SECONDS:
                raise NotStarted(f"{package} does not come back")
            await asyncio.sleep(TURN_SECONDS / 5)
        self.starts.append(time.monotonic() - died)
        return time.monotonic()

    async def _judge(self, each: Sent, since: float) -> None:
        assert each.going is not None
        outcome, left = Outcome(each.cell), "the answer"
        try:
            await asyncio.wait_for(each.going, SETTLE_SECONDS)
            deadline = time.monotonic() + SETTLE_SECONDS
            while left := await each.walk.missing():
                if time.monotonic() > deadline:
                    raise TimeoutError
                await asyncio.sleep(TURN_SECONDS)
            outcome.seconds = max(0.0, time.monotonic() - since)
            outcome.problem = "; ".join(await each.walk.wrong())
        except TimeoutError:
            outcome.problem = f"never ended: {left}"
        except (NoAnswer, LookupError, OSError) as problem:
            outcome.problem = f"{type(problem).__name__}: {problem}"
        self._note(outcome)

    def _note(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)
        cell = outcome.cell
        what = outcome.problem or f"{outcome.seconds:.1f} s"
        mark = "" if outcome.holds else "   <-- BROKEN"
        _say(f"{cell.action:5} {cell.place.name} ({cell.place.walk}): {what}{mark}")


def turns(cells: Sequence[Cell]) -> list[list[Cell]]:
    """Put cells that can be side by side together.

    One process hangs at a time, at one place of each step: what comes later in an order's way hangs first, so that the
    next order can still come to its own place.
    """
    by_step: dict[str, dict[tuple[str, str], list[Cell]]] = defaultdict(lambda: defaultdict(list))
    for cell in cells:
        by_step[cell.place.package][cell.place.step, cell.place.walk].append(cell)
    found: list[list[Cell]] = []
    for steps in by_step.values():
        for number in range(max(len(each) for each in steps.values())):
            turn = [each[number] for each in reversed(steps.values()) if number < len(each)]
            found += [turn[start : start + SIDE_BY_SIDE] for start in range(0, len(turn), SIDE_BY_SIDE)]
    return found


def chosen(only: Sequence[str], actions: Sequence[str], sample: int, seed: int) -> list[Cell]:
    """Return the cells to run: all, those of named places, or so many drawn from a seed."""
    cells = [
        Cell(place, action)
        for place in PLACES
        for action in actions
        if place.walk and (not only or any(word in (place.name, place.package, place.step) for word in only))
    ]
    if sample and sample < len(cells):
        drawn = set(random.Random(seed).sample(range(len(cells)), sample))
        cells = [cell for number, cell in enumerate(cells) if number in drawn]
    return cells


def table(outcomes: Sequence[Outcome]) -> Table:
    """Return the matrix: a row for each place, a column for each action, and in a cell the seconds or the problem."""
    rows = Table(title=f"Seconds from the restart until everything was done, once: at most {CONVERGE_SECONDS:g}")
    for heading in ("process", "step", "moment", "failpoint"):
        rows.add_column(heading, no_wrap=heading == "failpoint")
    for action in ACTIONS:
        rows.add_column(action, justify="right", no_wrap=True)
    by_cell = {(each.cell.place.name, each.cell.action): each for each in outcomes}
    for place in PLACES:
        cells = [by_cell.get((place.name, action)) for action in ACTIONS]
        if place.walk and any(cells):
            rows.add_row(place.package, place.step, MOMENTS[place.moment], place.name, *map(_cell, cells))
    return rows


def _cell(outcome: Outcome | None) -> str:
    if outcome is None:
        return ""
    if outcome.problem:
        return "[bold red]broken[/]"
    return f"{outcome.seconds:.1f}" if outcome.holds else f"[bold red]{outcome.seconds:.1f}[/]"


async def prove(folder: Path, cells: Sequence[Cell], port_base: int | None) -> int:
    """Start, run, judge; returns the exit status."""
    began = time.monotonic()
    root = await asyncio.to_thread(stage, folder / "tree")
    async with AsyncExitStack() as stack:
        mesh = await stack.enter_async_context(meshes.started(folder / "m", port_base=port_base, root=root))
        _say(f"the mesh runs after {time.monotonic() - began:.0f} s; {len(cells)} cells")
        edge = Edge.at(mesh.endpoints)
        stack.push_async_callback(edge.http.aclose)
        databases: dict[str, asyncpg.Pool] = {}
        for package, url in mesh.endpoints["postgres_reader"].items():
            databases[package] = await stack.enter_async_context(asyncpg.create_pool(url, min_size=1, max_size=4))
        shop = Stage(edge, mesh.endpoints, databases, f"MX-{os.urandom(3).hex()}")
        witnesses = stack.enter_context(_witnesses(mesh, folder))
        matrix = Matrix(mesh, Doors(root), shop)
        ran = time.monotonic()
        await matrix.run(cells)
        seconds = time.monotonic() - ran
        await _rest(mesh)
        missed = await end(witnesses)
        broken = await _invariants(mesh, folder, whole=len(cells) == len(chosen([], ACTIONS, 0, 0)))
    outcomes = matrix.outcomes
    console = Console(width=None if sys.stdout.isatty() else 150)
    console.print(table(outcomes))
    for outcome in outcomes:
        if outcome.problem:
            print(f"{outcome.cell.place.name}, {outcome.cell.action}: {outcome.problem}")
    for place in PLACES:
        if place.why:
            print(f"nobody walks through {place.name}: {place.why}")
    held = sum(each.holds for each in outcomes)
    rows = [{**asdict(each), "holds": each.holds} for each in outcomes]
    (folder / "matrix.json").write_text(json.dumps({"seconds": seconds, "cells": rows}, indent=2) + "\n")
    if starts := matrix.starts:
        print(
            f"{len(starts)} restarts: a new process served {statistics.median(starts):.1f} s after the death of the one"
            f" before (median), {max(starts):.1f} s at most"
        )
    print(f"{held} of {len(outcomes)} cells converged in {seconds:.0f} s; {broken} violations of the invariants")
    return 0 if held == len(cells) and not broken and not missed else 1


async def _invariants(mesh: Mesh, folder: Path, *, whole: bool) -> int:
    """Judge all walks together, from outside; returns the number of violations. Of all cells, each has something."""
    run: Mapping[str, object] = {"rested_at": time.monotonic(), "rested_wall": time.time(), **_places(mesh)}
    file = folder / "run.json"
    file.touch(mode=0o600)  # it names passwords
    file.write_text(json.dumps(run) + "\n")
    (folder / "journal.ndjson").touch()
    evidence = await evidences.load(folder)
    judged = []
    for name in CHECKED:
        sentence = (INVARIANTS[name].__doc__ or "").partition("\n")[0].partition(": ")[2].rstrip(".")
        judged.append((name, sentence, INVARIANTS[name](evidence)))
    Console(width=None if sys.stdout.isatty() else 150).print(judged_table(judged))
    for name, _, finding in judged:
        for line in shown(finding.violations):
            print(f"{name}: {line}")
    unchecked = [name for name, _, finding in judged if whole and not finding.checked]
    for name in unchecked:
        print(f"{name}: nothing was checked, so nothing is proven")
    return len(unchecked) + sum(len(finding.violations) for _, _, finding in judged)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the matrix, or a part of it; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.matrix", description="Break every step of an order.")
    parser.add_argument("--only", nargs="*", default=[], help="failpoints, steps or packages")
    parser.add_argument("--actions", nargs="*", default=ACTIONS, choices=ACTIONS)
    parser.add_argument("--sample", type=int, default=0, help="run so many cells, drawn from the seed")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--keep", help="a folder for the files of this run, which are kept")
    parser.add_argument("--port-base", type=int, default=int(os.environ.get("TITAN_PORT_BASE", 0)) or None)
    options = parser.parse_args(arguments)
    cells = chosen(options.only, options.actions, options.sample, options.seed)
    if not cells:
        print(f"nothing is called {' or '.join(options.only)}", file=sys.stderr)
        return 2
    if options.sample:
        print(f"seed {options.seed}")
    folder = Path(options.keep or tempfile.mkdtemp(prefix="titan-x"))
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o711)  # the account that Postgres runs as has to pass through
    try:
        status = asyncio.run(prove(folder, cells, options.port_base))
    except NotStarted as problem:
        print(problem, file=sys.stderr)
        status = 2
    if status == 0 and not options.keep:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        print(f"what there is to look at: {folder}")
    return status


def _say(what: str) -> None:
    print(f"{time.strftime('%H:%M:%S')}  {what}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
