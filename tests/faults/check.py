"""`python -m tests.faults.check FOLDER`: judge a run by its files and databases alone; non-zero if anything broke.

It is a process of its own, which nobody who took part in the run can talk to. With `--figures` it prints the figures of
a long run in place of the table of invariants; what breaks an invariant is printed all the same.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import sys
import time
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.faults import evidence as evidences
from tests.faults import figures, histories
from tests.faults.invariants import INVARIANTS, Finding, shown

Judged = list[tuple[str, str, Finding]]


def judge(evidence: evidences.Evidence) -> Judged:
    """Return name, sentence and finding of everything that is checked."""
    judged: Judged = []
    for name, invariant in INVARIANTS.items():
        sentence = (invariant.__doc__ or "").partition("\n")[0].partition(": ")[2].rstrip(".")
        judged.append((name, sentence, invariant(evidence)))
    return judged + list(histories.check_all(evidence))


def table(judged: Judged) -> Table:
    """Return the one table. With no violation among N, the true share is below 3/N with 95 % confidence."""
    rows = Table(title="What must be true, checked from outside")
    rows.add_column("invariant", no_wrap=True)
    rows.add_column("what")
    for heading in ("checked", "violations", "95 % bound"):
        rows.add_column(heading, justify="right", no_wrap=True)
    for name, sentence, finding in judged:
        broken = len(finding.violations)
        bound = f"{3 / finding.checked:.1e}" if finding.checked and not broken else "-"
        style = "bold red" if broken or not finding.checked else ""
        rows.add_row(name, sentence, f"{finding.checked:,}", f"{broken:,}", bound, style=style)
    return rows


def main(folder: Path, *, with_figures: bool = False, whole: bool = False) -> int:
    """Judge a folder; writes `verdict.json` into it, and with figures `figures.json`.

    A whole run, one that is as long as the proof asks for, proves nothing when it is about less than was promised.
    """
    began = time.monotonic()
    evidence = asyncio.run(evidences.load(folder))
    loaded = time.monotonic()
    judged = judge(evidence)
    console = Console(soft_wrap=False, width=None if sys.stdout.isatty() else 150)
    told = figures.of(evidence) if with_figures else []
    if with_figures:
        checked = sum(finding.checked for _, _, finding in judged)
        count = sum(len(finding.violations) for _, _, finding in judged)
        names = ", ".join(name for name, _, _ in judged)
        told.append(figures.Figure(f"violations of {names}", str(count), checked, "0", not count, count))
        console.print(figures.table(told, "A long run: what was promised, and what is true"))
        (folder / "figures.json").write_text(json.dumps([asdict(each) for each in told], indent=2) + "\n")
        if short := figures.fewer(told):
            print(short)
        _say_cost(evidence, loaded - began, time.monotonic() - loaded)
    else:
        console.print(table(judged))
    for name, _, finding in judged:
        for line in shown(finding.violations):
            console.print(f"{name}: {line}", style="red", markup=False, highlight=False)
        if not finding.checked:
            console.print(f"{name}: nothing was checked, so nothing is proven", style="red", markup=False)
    broken = any(finding.violations or not finding.checked for _, _, finding in judged)
    broken = broken or (whole and bool(figures.fewer(told)))
    for each in told:
        if each.holds is False:
            console.print(f"{each.what}: {each.value}, wanted {each.wanted}", style="red", markup=False)
            broken = True
    verdict = {
        name: {"what": sentence, "checked": finding.checked, "violations": finding.violations}
        for name, sentence, finding in judged
    }
    (folder / "verdict.json").write_text(json.dumps(verdict, indent=2) + "\n")
    return 1 if broken else 0


def _say_cost(evidence: evidences.Evidence, read_seconds: float, judge_seconds: float) -> None:
    """Say what judging cost, so that nobody has to guess how long a run can be."""
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    orders = max(1, len(evidence.orders)) / 10_000
    print(
        f"judged {len(evidence.orders):,} orders: read in {read_seconds:.0f} s, checked in {judge_seconds:.0f} s,"
        f" {megabytes:.0f} MB; for 10,000 orders {(read_seconds + judge_seconds) / orders:.1f} s"
        f" and {megabytes / orders:.0f} MB"
    )


if __name__ == "__main__":
    _parser = argparse.ArgumentParser(prog="python -m tests.faults.check", description="Judge a run.")
    _parser.add_argument("folder", type=Path)
    _parser.add_argument("--figures", action="store_true", help="print the figures of a long run")
    _parser.add_argument("--whole", action="store_true", help="a run about less than was promised proves nothing")
    _options = _parser.parse_args()
    sys.exit(main(_options.folder, with_figures=_options.figures or _options.whole, whole=_options.whole))
