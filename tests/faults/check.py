"""`python -m tests.faults.check FOLDER`: judge a run by its files and databases alone; non-zero if anything broke.

It is a process of its own, which nobody who took part in the run can talk to.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.faults import evidence as evidences
from tests.faults import histories
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


def main(folder: Path) -> int:
    """Judge a folder; writes `verdict.json` into it."""
    judged = judge(asyncio.run(evidences.load(folder)))
    console = Console(soft_wrap=False, width=None if sys.stdout.isatty() else 150)
    console.print(table(judged))
    for name, _, finding in judged:
        for line in shown(finding.violations):
            console.print(f"{name}: {line}", style="red", markup=False, highlight=False)
        if not finding.checked:
            console.print(f"{name}: nothing was checked, so nothing is proven", style="red", markup=False)
    broken = any(finding.violations or not finding.checked for _, _, finding in judged)
    verdict = {
        name: {"what": sentence, "checked": finding.checked, "violations": finding.violations}
        for name, sentence, finding in judged
    }
    (folder / "verdict.json").write_text(json.dumps(verdict, indent=2) + "\n")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
