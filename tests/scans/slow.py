"""slowhttptest: clients that take their time. The edge hangs up on them, and serves everybody else meanwhile.

Each kind of attack is a run of its own; the report is a table with a line for each second, and the reason of the end.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.scans import programs
from tests.scans.report import Finding, Looked, Report, Unusable

SCANNER = "slowhttptest"
CONNECTIONS, PER_SECOND = 200, 100
ATTACK_SECONDS = 40
"""The edge gives a head 10 s and a body 15: what goes on after 40 was not ended by it."""

SLACK_SECONDS = 20.0
PROBE_SECONDS = 5
WARM_UP_SECONDS = 1
"""It counts the server as down until its first probe was answered."""


@dataclass(frozen=True)
class Kind:
    """One way to be slow. `cut_off` says that the edge has to hang up: what was asked never comes to its end; `least`
    is how many connections have to stand in the table."""

    options: tuple[str, ...]
    path: str = "/"
    cut_off: bool = False
    least: int = 180


KINDS: Mapping[str, Kind] = {
    "slow heads": Kind(("-H", "-i", "5", "-x", "24", "-t", "GET"), cut_off=True),
    "slow bodies": Kind(("-B", "-i", "5", "-s", "8192", "-x", "10", "-t", "POST"), "/v1/users", cut_off=True),
    # The head is too large, and each connection ends at once: the last ones do so after the last line of the table.
    "many ranges": Kind(("-R", "-a", "10", "-b", "3000", "-t", "HEAD"), least=100),
    # Nobody can tell a bad line from a bad will. What a slow reader holds is a connection and its 32 KiB.
    "slow reading": Kind(("-X", "-w", "10", "-y", "20", "-n", "5", "-z", "32", "-k", "3"), "/openapi.json"),
}
ENDED = re.compile(r"Exit status:\s*(?:\x1b\[[0-9;]*m)*\s*([^\n\x1b]+)")
GOES_ON = "Hit test time limit"


def scan(folder: Path, edge: str) -> Report:
    """Attack the edge in each way.

    Raises:
        Unusable: slowhttptest did not do its work.
    """
    told = Report(SCANNER)
    program = programs.of_debian(SCANNER)
    for name, kind in KINDS.items():
        file = folder / name.replace(" ", "-")
        command = [program, "-c", str(CONNECTIONS), "-r", str(PER_SECOND), "-l", str(ATTACK_SECONDS), *kind.options]
        command += ["-p", str(PROBE_SECONDS), "-g", "-o", str(file), "-u", edge + kind.path]
        log, within = file.with_suffix(".log"), ATTACK_SECONDS + SLACK_SECONDS
        said = programs.run(command, log, within_seconds=within, folder=folder)
        table = file.with_suffix(".csv")
        if not table.exists():
            raise Unusable(f"{name}: it left no report")
        told.add(read(name, table.read_text(), said))
    return told


def read(name: str, table: str, said: str) -> Report:
    """Return what one attack came to."""
    told = Report(SCANNER)
    rows = [{column.strip(): int(value) for column, value in row.items()} for row in csv.DictReader(table.splitlines())]
    opened = max((row["Closed"] + row["Connected"] for row in rows), default=0)
    told.looked.append(Looked("connections", opened, KINDS[name].least, name))
    down = [row["Seconds"] for row in rows if row["Seconds"] > WARM_UP_SECONDS and not row["Service Available"]]
    if down:
        told.findings.append(Finding(f"{name}: nobody else is served", f"after {', '.join(map(str, down))} s"))
    ended = ENDED.search(said)
    if ended is None:
        told.problems.append(f"{name}: it does not say how it ended")
    elif KINDS[name].cut_off and ended[1].strip() == GOES_ON:
        held = rows[-1]["Connected"] if rows else 0
        told.findings.append(Finding(f"{name}: nobody hangs up", f"{held} are open after {ATTACK_SECONDS} s"))
    return told
