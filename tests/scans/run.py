"""`python -m tests.scans`: run every scanner and print one table; non-zero when anything is found that nobody accepted.

--only bandit     one scanner, or several with commas
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.table import Table

from control.own_mesh import NotStarted, OwnMesh, end_on_sigterm, own_folder
from tests.attacks import aftermath
from tests.attacks.scene import Scene, opened
from tests.doors import identity
from tests.faults.mesh import Mesh
from tests.scans import components, slow, source, tls
from tests.scans.report import Finding, Looked, Report, Unusable, Verdict, judge, read_accepted

PROFILE = "load"
"""What is limited by rate is tried by `make attack`; a scanner that is answered 429 examines nothing."""

LOG = "the edge's log"
LEAST_ANSWERS = 800
INSIDE, CALLER = "svc_order", "developer"


@dataclass(frozen=True)
class Stage:
    """What a scanner may use: a folder for its reports, and the mesh."""

    folder: Path
    scene: Scene

    @property
    def edge(self) -> str:
        """Where the edge is."""
        return str(self.scene.mesh.endpoints["edge"])

    def pair(self, caller: str) -> tuple[Path, Path]:
        """Return files with the certificate of somebody inside, and its key."""
        files = self.folder / f"{caller}.crt", self.folder / f"{caller}.key"
        key, certificate = identity(self.scene.home, caller)
        for file, content in zip(files, (certificate, key), strict=True):
            file.touch(0o600)
            file.write_bytes(content)
        return files


def _tls(stage: Stage) -> Report:
    told = tls.scan(stage.folder, "edge", f"localhost:{stage.scene.home.ports.edge}", "intermediate")
    inside = f"localhost:{stage.scene.inbound(INSIDE)}"
    pair = stage.pair(CALLER)
    try:
        told.add(tls.scan(stage.folder, INSIDE, inside, "modern", pair=pair))
    finally:
        for file in pair:
            file.unlink()  # reports stay, and are handed on
    return told


OF_THE_SOURCE: Mapping[str, Callable[[Path], Report]] = {
    source.SCANNER: source.scan,
    components.SCANNER: components.scan,
}
OF_THE_MESH: Mapping[str, Callable[[Stage], Report]] = {
    tls.SCANNER: _tls,
    slow.SCANNER: lambda stage: slow.scan(stage.folder, stage.edge),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; returns the exit status."""
    names = (*OF_THE_SOURCE, *OF_THE_MESH)
    wanted = set(_parser().parse_args(arguments).only.split(",")) - {""} or set(names)
    if unknown := wanted - set(names):
        print(f"there is no scanner {', '.join(sorted(unknown))}; there are {', '.join(names)}")
        return 2
    try:
        return asyncio.run(examine(wanted))
    except NotStarted as problem:
        print(problem, file=sys.stderr)
        return 2


async def examine(wanted: set[str]) -> int:
    """Run these scanners, and print what came of it."""
    folder = own_folder("scan-reports")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    reports = [await _run(name, partial(scan, folder)) for name, scan in OF_THE_SOURCE.items() if name in wanted]
    if of_mesh := [name for name in OF_THE_MESH if name in wanted]:
        reports += await _on_a_mesh(folder, of_mesh)
    accepted = read_accepted()
    verdicts = {report.scanner: judge(report, accepted) for report in reports}
    console = Console(soft_wrap=False, width=None if sys.stdout.isatty() else 150)
    console.print(table(reports, verdicts))
    for scanner, verdict in verdicts.items():
        for line in verdict.wrong:
            console.print(f"{scanner}: {line}", style="red", markup=False, highlight=False)
    console.print(f"The reports are in {folder}.", highlight=False)
    return 0 if all(verdict.holds for verdict in verdicts.values()) else 1


async def _on_a_mesh(folder: Path, names: Sequence[str]) -> list[Report]:
    own = OwnMesh(own_folder("scan"), profile=PROFILE)
    shutil.rmtree(own.folder, ignore_errors=True)
    end_on_sigterm()
    try:
        own.start()
        scene = await opened(Mesh(own.folder, own.endpoints))
        stage = Stage(folder, scene)
        reports = [await _run(name, partial(OF_THE_MESH[name], stage)) for name in names]
        sizes = aftermath.sizes(own.folder / "log")
        for connection in scene.databases.values():
            await connection.close()
    finally:
        own.stop()
    least = LEAST_ANSWERS if set(names) == set(OF_THE_MESH) else 1
    reports.append(answers(own.folder / "log", sizes, least))
    shutil.rmtree(own.folder, ignore_errors=True)
    return reports


async def _run(name: str, scan: Callable[[], Report]) -> Report:
    began = time.monotonic()
    try:
        report = await asyncio.to_thread(scan)
    except Unusable as problem:
        report = Report(name, problems=[str(problem)])
    report.seconds = time.monotonic() - began
    print(f"{time.strftime('%H:%M:%S')}  {name}: {report.totals()}; {len(report.findings)} findings", flush=True)
    return report


def answers(logs: Path, sizes: Mapping[str, int], least: int) -> Report:
    """Return what the mesh itself says of all this: no answer of 5xx, no error."""
    log = logs / aftermath.EDGE_LOG
    count = len(log.read_bytes().splitlines()) if log.exists() else 0
    failed = [each for each in aftermath.failures(logs, sizes) if not each.due]
    return Report(LOG, [Looked("answers", count, least)], [Finding(each.what) for each in failed])


def table(reports: Sequence[Report], verdicts: Mapping[str, Verdict]) -> Table:
    """Return the one table."""
    rows = Table(title="Scans: what others have made to find holes, and what it found")
    rows.add_column("scanner", no_wrap=True)
    rows.add_column("looked at")
    for heading in ("found", "accepted", "seconds", "all right"):
        rows.add_column(heading, justify="right", no_wrap=True)
    for report in reports:
        verdict = verdicts[report.scanner]
        figures = (f"{len(report.findings)}", f"{verdict.accepted}", f"{report.seconds:.0f}")
        holds = "yes" if verdict.holds else "NO"
        rows.add_row(report.scanner, report.totals(), *figures, holds, style="" if verdict.holds else "bold red")
    held = sum(verdict.holds for verdict in verdicts.values())
    rows.caption = f"{held} of {len(reports)} are all right"
    return rows


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.scans", description="Let scanners look for holes.")
    parser.add_argument("--only", default="", help="names of scanners, with commas")
    return parser
