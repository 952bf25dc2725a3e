"""`python -m tests.faults.planted [--only NAME ...]`: plant known defects, and say whether the proof finds each.

The same runs without a defect find nothing, or the status is not zero either.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table as Rows

from tests.faults import mesh as meshes
from tests.faults.mesh import ROOT, Mesh, NotStarted
from tests.faults.planted import rounds
from tests.faults.planted.defects import CHANGES
from tests.faults.planted.finders import FINDERS, Shopping, Table
from tests.faults.planted.rounds import SITE

CLEAN = "none"
"""The name of the run without a defect."""

TABLE_SECONDS = 150.0
SHOWN_CHARACTERS = 110


@dataclass(frozen=True)
class Result:
    """What became of one defect."""

    defect: str
    means: str
    invariants: str
    right: bool
    seen: str
    seconds: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Plant, look, print; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.planted", description="Does the proof find defects?")
    parser.add_argument("--only", nargs="*", help=f"defects, or {CLEAN}")
    parser.add_argument("--list", action="store_true", help="say which defects there are")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--port-base", type=int, default=int(os.environ.get("TITAN_PORT_BASE", 0)) or None)
    options = parser.parse_args(arguments)
    assert FINDERS.keys() == CHANGES.keys(), FINDERS.keys() ^ CHANGES.keys()
    names = options.only or [CLEAN, *FINDERS]
    if options.list or not {*names} <= {CLEAN, *FINDERS}:
        for name, finder in FINDERS.items():
            print(f"{name}: {finder.means}; {', '.join(finder.invariants)}")
        return 0 if options.list else 2
    began = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="titan-d"))
    folder.chmod(0o711)  # the account that Postgres runs as has to pass through
    try:
        results = asyncio.run(_look(folder, names, options.seed, options.port_base))
    except NotStarted as problem:
        print(problem, file=sys.stderr)
        return 2
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    planted = [each for each in results if not each.defect.startswith(CLEAN)]
    found, clean = [each for each in planted if each.right], all(each.right for each in results if each not in planted)
    Console(width=None if sys.stdout.isatty() else 160).print(_rows(results))
    print(f"{len(found)} of {len(planted)} defects found, clean without one: {'yes' if clean else 'NO'},", end=" ")
    print(f"seed {options.seed}, {time.monotonic() - began:.0f} s")
    return 0 if clean and len(found) == len(planted) else 1


async def _look(folder: Path, names: Sequence[str], seed: int, port_base: int | None) -> list[Result]:
    """Look for the defects, on a mesh and in one loop side by side."""
    tables = [name for name in names if name == CLEAN or isinstance(FINDERS[name], Table)]
    shoppings = [name for name in names if name == CLEAN or isinstance(FINDERS[name], Shopping)]
    sides = await asyncio.gather(_look_in_tables(tables), _look_on_mesh(folder, shoppings, seed, port_base))
    return [result for side in sides for result in side]


async def _look_in_tables(names: Iterable[str]) -> list[Result]:
    return [_say(await _look_in_table(name)) for name in names]


async def _look_in_table(name: str) -> Result:
    began = time.monotonic()
    every = {stage: None for each in FINDERS.values() if isinstance(each, Table) for stage in each.stages}
    finder = FINDERS[name] if name != CLEAN else Table(tuple(every), (), ())
    assert isinstance(finder, Table)
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("TITAN_")},
        "PYTHONPATH": f"{SITE}:{ROOT}:{ROOT / 'gen'}",
        "TITAN_PLANTED": "" if name == CLEAN else name,
        "TITAN_STAGES": ";".join(finder.stages),
    }
    test = "tests/faults/test_interleavings.py::test_every_pair_in_every_order_of_arrival"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pytest", "-q", "--tb=short", "-rN", test),
        cwd=ROOT,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), TABLE_SECONDS)
    finally:
        if process.returncode is None:
            process.kill()
    wrong = [line[1:].strip() for line in output.decode().splitlines() if line.startswith("E ")]
    said = [line for line in wrong if any(words in line for words in finder.says)]
    right = process.returncode == 0 if name == CLEAN else process.returncode == 1 and bool(said)
    invariants = ", ".join(finder.invariants)
    return Result(
        f"{name}, in one loop" if name == CLEAN else name,
        "interleavings" if name == CLEAN else finder.means,
        invariants,
        right,
        (said or wrong or [""])[0],
        time.monotonic() - began,
    )


async def _look_on_mesh(folder: Path, names: Sequence[str], seed: int, port_base: int | None) -> list[Result]:
    if not names:
        return []
    async with meshes.started(folder / "m", port_base=port_base) as mesh:
        results = []
        for number, name in enumerate(names):
            if name != CLEAN:
                results.append(_say(await _look_while_shopping(mesh, folder / f"r{number}", name, seed + number)))
                continue
            for place, (means, disturb) in enumerate(_disturbances().items()):
                at = folder / f"c{place}"
                results.append(_say(await _look_while_clean(mesh, at, means, disturb, 1000 * (1 + place) + seed)))
        return results


def _disturbances() -> dict[str, rounds.Disturb]:
    """Return each disturbance that some defect needs."""
    return {each.means: each.disturb for each in FINDERS.values() if isinstance(each, Shopping)}


async def _look_while_clean(mesh: Mesh, folder: Path, means: str, disturb: rounds.Disturb, seed: int) -> Result:
    began = time.monotonic()
    violations = await rounds.play(mesh, folder, "", "", disturb, means, seed)
    await rounds.clean(mesh, "", "")
    return Result(f"{CLEAN}, {means}", means, "", not violations, (violations or [""])[0], time.monotonic() - began)


async def _look_while_shopping(mesh: Mesh, folder: Path, name: str, seed: int) -> Result:
    began, finder = time.monotonic(), FINDERS[name]
    assert isinstance(finder, Shopping)
    package = finder.package
    violations = await rounds.play(mesh, folder, name, package, finder.disturb, finder.means, seed, **finder.settings)
    await rounds.clean(mesh, name, package)
    told = [line for line in violations if line.partition(": ")[0] in finder.invariants]
    seen = (told or violations or [""])[0]
    return Result(name, finder.means, ", ".join(finder.invariants), bool(told), seen, time.monotonic() - began)


def _say(result: Result) -> Result:
    outcome = "right" if result.right else "WRONG"
    seen = result.seen[:SHOWN_CHARACTERS]
    print(f"{time.strftime('%H:%M:%S')}  {result.defect}: {outcome}, {result.seconds:.0f} s  {seen}", flush=True)
    return result


def _rows(results: list[Result]) -> Rows:
    rows = Rows(title="Planted defects, and what found them")
    for heading in ("defect", "looked for by", "invariants", "found", "s", "what was seen"):
        rows.add_column(heading, justify="right" if heading == "s" else "left")
    for each in results:
        is_clean = each.defect.startswith(CLEAN)
        outcome = ("nothing" if each.right else "SOMETHING") if is_clean else ("yes" if each.right else "MISSED")
        style = "" if each.right else "bold red"
        seen = each.seen[:SHOWN_CHARACTERS]
        rows.add_row(each.defect, each.means, each.invariants, outcome, f"{each.seconds:.0f}", seen, style=style)
    return rows


if __name__ == "__main__":
    sys.exit(main())
