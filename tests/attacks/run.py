"""`python -m tests.attacks`: attack a mesh of its own and print one table; non-zero when anything is not as it is due.

--short           what fits into two minutes: what only asks is tried side by side, each port for its own methods alone,
                  and no case that takes long
--only 37         one case, or several with commas; a group's name for all of its cases
--no-matrix       the cases alone
--home FOLDER     a mesh that runs already; what is judged at its end is left out
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.attacks import aftermath, memory, neighbour
from tests.attacks.case import GROUPS, Case, every_case
from tests.attacks.cases import leaks
from tests.attacks.neighbour import Served
from tests.attacks.scene import Scene, opened
from tests.attacks.sweep import Part, revoked_session, sweep
from tests.attacks.trying import Result, Trials, evenly
from tests.attacks.untouched import Digester, changed
from tests.faults.mesh import ROOT, Mesh, NotStarted, started

CALM_SECONDS, SHORT_CALM_SECONDS = 20.0, 6.0
WARM_UP_SECONDS = 2.0
MOST_RATIO = 2.0
FEWEST_CALLS = 100
"""Calls of the neighbour without which a 99th percentile says nothing."""

LEAST_P99_SECONDS = 0.05
"""A shorter time says more about a machine that attacker and mesh share than about the mesh."""

RIGHTFUL = {"svc_auth.signing_keys", "svc_auth.passkey_challenges"}
"""What the sweep changes: to rotate the signing key, or to begin with a passkey, asks for nothing that has a limit."""

LOWEST_PRIORITY = 19
FEW = 3
POSTGRES = "postgres"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; returns the exit status."""
    options = _parser().parse_args(arguments)
    cases = chosen(every_case(), options.only, short=options.short)
    if not cases:
        print(f"there is no case {options.only}; there are {', '.join(GROUPS)}, and 1 to {len(every_case())}")
        return 2
    with_matrix = not options.no_matrix and not options.only
    try:
        return asyncio.run(attack(cases, options, with_matrix=with_matrix))
    except NotStarted as problem:
        print(problem, file=sys.stderr)
        return 2


def chosen(cases: Sequence[Case], only: str, *, short: bool) -> list[Case]:
    """Return the cases that are wanted, by number."""
    wanted = {word for word in only.split(",") if word}
    if wanted:
        return [case for case in cases if str(case.number) in wanted or case.group in wanted]
    return [case for case in cases if not (short and case.long)]


async def attack(cases: Sequence[Case], options: argparse.Namespace, *, with_matrix: bool) -> int:
    """Attack a mesh with these cases, and print what came of it."""
    calm_seconds = SHORT_CALM_SECONDS if options.short else CALM_SECONDS
    _say("a mesh starts")
    async with _mesh(options.home, options.port_base) as mesh, AsyncExitStack() as leaving:
        scene = await opened(mesh)
        _say("it is up, and those who have something to lose are there")
        watched = mesh.home / "neighbour.jsonl"
        process = _neighbour(scene, watched)
        leaving.callback(process.kill)  # it does not outlive an attack that breaks off
        await asyncio.sleep(WARM_UP_SECONDS)
        pids = {name: row["pid"] for name, row in (await mesh.rows()).items()}
        calm_from = time.monotonic()
        await asyncio.sleep(calm_seconds)
        calm_until = time.monotonic()
        digester = Digester(scene.databases, scene.cache)
        await digester.open()
        # The matrix asks every method of every process, so that what they take once is taken when the cases begin.
        parts = [part async for part in _swept(scene, digester, short=options.short)] if with_matrix else []
        os.nice(LOWEST_PRIORITY)  # an attacker has a machine of their own, and takes no time from this one
        attacked_from, before = time.monotonic(), memory.of(pids)
        results = await _tried(Trials(scene, digester), cases, scene, short=options.short)
        attacked_until, after = time.monotonic(), memory.of(pids)
        still = {name: row["pid"] for name, row in (await mesh.rows()).items()}
        died = sorted(name for name, pid in pids.items() if still.get(name) != pid)
        process.terminate()
        await asyncio.to_thread(process.wait)
        calls = neighbour.read(watched)
        logs = aftermath.sizes(mesh.home / "log")
        home = mesh.home
        await _close(scene)
        _say("all was tried")
    lasting = [] if options.home else aftermath.failures(home / "log", logs)
    for result in results:
        result.problems += aftermath.of_case(lasting, result.case)
    verdicts = [
        *_neighbours_verdicts(calls, (calm_from, calm_until), (attacked_from, attacked_until)),
        *([] if options.short else _by_group(calls, (calm_from, calm_until), results)),
        *_memory_verdicts(before, after),
        Verdict("processes that ended", ", ".join(died) or "none", "none", not died),
        _failures_verdict(lasting, judged=not options.home),
    ]
    console = Console(soft_wrap=False, width=None if sys.stdout.isatty() else 150)
    console.print(table(parts, results, verdicts))
    if options.short:
        console.print(f"Left out of the short form: {left_out(every_case(), matrix=with_matrix)}.", highlight=False)
    _tell(console, parts, results, lasting)
    _write(Path(options.result) if options.result else None, parts, results, verdicts)
    if not options.home:
        shutil.rmtree(home, ignore_errors=True)
    held = all(r.holds for r in results) and not any(p.wrong or not p.cells for p in parts)
    return 0 if held and all(verdict.holds for verdict in verdicts) else 1


@asynccontextmanager
async def _mesh(home: str, port_base: int | None) -> AsyncIterator[Mesh]:
    if home:
        yield Mesh(Path(home), _endpoints(home))
        return
    folder = _folder()
    traced = {"TITAN_TRACE_FILE": str(folder / "log" / aftermath.SPANS), "TITAN_TRACE_SAMPLE": "1"}
    async with started(folder, port_base=port_base, profile="default", **traced) as mesh:
        yield mesh


def _endpoints(home: str) -> dict[str, Any]:
    return dict(json.loads(Path(home, "endpoints.json").read_text()))


def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="titan-a"))
    folder.chmod(0o711)  # the account that Postgres runs as has to pass through
    return folder


def shopping_of(scene: Scene) -> list[str]:
    """Return as whom the neighbour asks, and for what."""
    token = scene.signer.token(sub=scene.bystander.user_id, exp=int(time.time()) + 3500)
    return [token, scene.bystander.order_id, scene.victims.sku]


def _neighbour(scene: Scene, file: Path) -> subprocess.Popen[bytes]:
    arguments = [str(scene.mesh.home / "endpoints.json"), *shopping_of(scene), str(file)]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'gen'}"}
    return subprocess.Popen([sys.executable, "-m", "tests.attacks.neighbour", *arguments], cwd=ROOT, env=environment)


async def _close(scene: Scene) -> None:
    for connection in scene.databases.values():
        await connection.close()


async def _swept(scene: Scene, digester: Digester, *, short: bool) -> AsyncIterator[Part]:
    await scene.begin(0)
    await revoked_session(scene)
    await scene.at_rest()
    before = await digester.take()
    async for part in sweep(scene, wrong_ports=not short):
        await scene.at_rest()
        after = await digester.take()
        found = changed(before, after) - RIGHTFUL
        part.wrong += [f"{name} changed" for name in sorted(found.difference(part.changes))]
        part.wrong += [f"{name} did not change" for name in sorted(set(part.changes) - found)]
        before = after
        _say("; ".join((f"{part.name}: {part.cells} cells, {len(part.wrong)} wrong", *part.wrong[:FEW])))
        yield part
    await scene.end()


async def _tried(trials: Trials, cases: Sequence[Case], scene: Scene, *, short: bool) -> list[Result]:
    """Try all cases; in the short form those that only ask side by side, just before the leaks are looked for."""
    still = evenly([case for case in cases if case.still]) if short else []
    last = [case for case in cases if case.group == leaks.GROUP] if still else []
    results = [_told(await trials.alone(case)) for case in cases if case not in still and case not in last]
    if still:
        _say(f"{len(results)} cases were tried one by one, {len(still)} are tried side by side")
    if last:
        await scene.begin(last[0].number)
        await leaks.plant(scene)  # what it leaves is written down meanwhile
        await scene.end()
        trials.forget()
    results += [_told(result) for result in await trials.beside(still)]
    results += [_told(await trials.alone(case)) for case in last]
    return sorted(results, key=lambda result: result.case.number)


def _told(result: Result) -> Result:
    if not result.holds:
        _say(f"{result.case.number} {result.case.name}: {'; '.join(result.problems)}")
    return result


# Verdicts


@dataclass(frozen=True)
class Verdict:
    """What holds over all cases together."""

    what: str
    value: str
    wanted: str
    holds: bool


def _neighbours_verdicts(
    calls: list[Served], calm: tuple[float, float], attacked: tuple[float, float]
) -> list[Verdict]:
    """Return how the neighbour fared over all."""
    alone, beside = neighbour.between(calls, *calm), neighbour.between(calls, *attacked)
    return [
        _success("the neighbour's calls", beside),
        Verdict("the neighbour's p99 alone", _ms(alone), f"{len(alone)} calls", bool(alone)),
        _ratio("the neighbour's p99 beside all", beside, _usual(alone)),
    ]


def _by_group(calls: list[Served], calm: tuple[float, float], results: list[Result]) -> list[Verdict]:
    """Return how the neighbour fared beside each family that lasted long enough to tell."""
    usual, verdicts = _usual(neighbour.between(calls, *calm)), []
    for group in dict.fromkeys(result.case.group for result in results):
        of_group = [result for result in results if result.case.group == group]
        under = neighbour.between(calls, of_group[0].began, of_group[-1].ended)
        if len(under) >= FEWEST_CALLS:
            verdicts.append(_ratio(f"  beside {group}", under, usual))
    return verdicts


def _usual(alone: list[Served]) -> float:
    return max(neighbour.p99_of(alone), LEAST_P99_SECONDS) if alone else 0.0


def _success(what: str, calls: list[Served]) -> Verdict:
    failed = [each for each in calls if not each.well]
    first = f"; first {failed[0].what} {failed[0].status} {failed[0].problem}" if failed else ""
    return Verdict(what, f"{len(calls) - len(failed)} of {len(calls)}{first}", "all", bool(calls) and not failed)


def _ratio(what: str, calls: list[Served], usual: float) -> Verdict:
    slow = neighbour.p99_of(calls) if calls else 0.0
    wanted = f"{MOST_RATIO * usual * 1000:.0f} ms at most"
    return Verdict(what, f"{_ms(calls)} of {len(calls)}", wanted, bool(calls) and slow <= MOST_RATIO * usual)


def _ms(calls: list[Served]) -> str:
    return f"{neighbour.p99_of(calls) * 1000:.0f} ms" if calls else "-"


def _memory_verdicts(before: dict[str, int], after: dict[str, int]) -> list[Verdict]:
    """Return how much the mesh has grown. Postgres takes memory by connection, and the pools say how many there are."""
    own = [{name: count for name, count in each.items() if name != POSTGRES} for each in (before, after)]
    grown = memory.growth(*own)
    value = f"{grown / 1e6:+.1f} MB ({memory.told(*own)})"
    of_postgres = after.get(POSTGRES, 0) - before.get(POSTGRES, 0)
    return [
        Verdict("memory of services and Envoys", value, "+50 MB at most", grown < memory.MOST_GROWTH_BYTES),
        Verdict("  of Postgres's connections", f"{of_postgres / 1e6:+.1f} MB", "told, not judged", True),
    ]


def _failures_verdict(lasting: list[aftermath.Failure], *, judged: bool) -> Verdict:
    value = str(len(lasting)) if judged else "not read: the mesh goes on"
    return Verdict("answers of 5xx, and errors in logs", value, "0 but those due", all(f.due for f in lasting))


def table(parts: Sequence[Part], results: Sequence[Result], verdicts: Sequence[Verdict]) -> Table:
    """Return the one table."""
    rows = Table(title="Attacks: what was tried, and what came of it")
    rows.add_column("attack", no_wrap=True)
    rows.add_column("numbers", justify="right", no_wrap=True)
    for heading in ("tried", "exact"):
        rows.add_column(heading, justify="right", no_wrap=True)
    rows.add_column("seconds", justify="right", no_wrap=True)
    for part in parts:
        style = "bold red" if part.wrong or not part.cells else ""
        rows.add_row(part.name, "matrix", f"{part.cells:,}", f"{part.cells - len(part.wrong):,}", "", style=style)
    for group in dict.fromkeys(result.case.group for result in results):
        of_group = [result for result in results if result.case.group == group]
        held = sum(result.holds for result in of_group)
        numbers = f"{of_group[0].case.number}-{of_group[-1].case.number}"
        seconds = f"{sum(result.ended - result.began for result in of_group):.1f}"
        style = "bold red" if held < len(of_group) else ""
        rows.add_row(group.replace("_", " "), numbers, f"{len(of_group):,}", f"{held:,}", seconds, style=style)
    rows.add_section()
    for verdict in verdicts:
        style = "" if verdict.holds else "bold red"
        rows.add_row(verdict.what, verdict.value, verdict.wanted, "yes" if verdict.holds else "NO", "", style=style)
    held, count = sum(result.holds for result in results), len(results)
    cells, wrong = sum(part.cells for part in parts), sum(len(part.wrong) for part in parts)
    rows.caption = f"{held} of {count} cases exact, {cells - wrong:,} of {cells:,} cells of the matrix"
    return rows


def left_out(cases: Sequence[Case], *, matrix: bool) -> str:
    """Return what the short form does without."""
    long = Counter(case.group.replace("_", " ") for case in cases if case.long)
    told = ", ".join(f"{count} of {group}" for group, count in long.items())
    ports = ", and at each gRPC port the methods of other packages" if matrix else ""
    return f"{long.total()} cases that take long ({told}){ports}"


def _tell(
    console: Console, parts: Sequence[Part], results: Sequence[Result], lasting: Sequence[aftermath.Failure]
) -> None:
    for failure in lasting:
        if not failure.due:
            line = f"{failure.network or 'inside'}: {failure.what}"
            console.print(line, style="red", markup=False, highlight=False)
    for part in parts:
        for line in part.wrong[:20]:
            console.print(f"{part.name}: {line}", style="red", markup=False, highlight=False)
    for result in results:
        if not result.holds:
            line = f"{result.case.number} {result.case.name}: {'; '.join(result.problems)}"
            console.print(line, style="red", markup=False, highlight=False)


def _write(file: Path | None, parts: Sequence[Part], results: Sequence[Result], verdicts: Sequence[Verdict]) -> None:
    if file is None:
        return
    cases = [
        {
            "number": result.case.number,
            "name": result.case.name,
            "due": result.case.due,
            "got": result.got,
            "problems": result.problems,
            "began": result.began,
            "ended": result.ended,
        }
        for result in results
    ]
    said = {"matrix": [asdict(p) for p in parts], "cases": cases, "verdicts": [asdict(v) for v in verdicts]}
    file.write_text(json.dumps(said, indent=2) + "\n")


def _say(what: str) -> None:
    print(f"{time.strftime('%H:%M:%S')}  {what}", flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.attacks", description="Attack a mesh.")
    parser.add_argument("--short", action="store_true", help="what fits into two minutes")
    parser.add_argument("--only", default="", help="numbers or groups of cases, with commas")
    parser.add_argument("--no-matrix", action="store_true", help="the cases alone")
    parser.add_argument("--home", default="", help="the folder of a mesh that runs already")
    parser.add_argument("--port-base", type=int, default=None, help="where the ports of the mesh begin")
    parser.add_argument("--result", default="", help="a file for everything, as JSON")
    return parser
