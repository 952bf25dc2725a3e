"""bandit: what in the source looks like a hole to a program that reads Python.

It reads everything that runs, and the tools beside it; tests and generated code are left out.
"""

from __future__ import annotations

import json
from pathlib import Path

from tests.faults.mesh import ROOT
from tests.scans import programs
from tests.scans.report import Finding, Looked, Report, Unusable

SCANNER = "bandit"
SECONDS = 180.0
LEAST_LINES, LEAST_FILES = 25_000, 300
ALSO = ("mesh", "control", "edge_http", "psp_sim", "demo", "bookkeeping", "replay", "rebuild")
RULES_WITHOUT_USE = {
    "B101": "asserts stay on in production: they say what has to hold, and nothing decides by them who may do what",
    "B404": "that a module can start programs; each start is looked at by itself",
    "B603": "programs are started from lists, without a shell; a shell (B602, B605) is looked for",
    "B607": "programs are found on the PATH of whoever starts Titan",
}


def scan(folder: Path) -> Report:
    """Read the source.

    Raises:
        Unusable: bandit did not do its work.
    """
    out = folder / "bandit.json"
    packages = [name for name in (*ALSO, *sorted(each.name for each in ROOT.glob("svc_*"))) if (ROOT / name).is_dir()]
    command = [programs.of_python("bandit"), "--recursive", "--quiet", "--format=json", f"--output={out}"]
    command += [f"--skip={','.join(RULES_WITHOUT_USE)}", *packages]
    programs.run(command, folder / "bandit.log", within_seconds=SECONDS, statuses=(0, 1))
    if not out.exists():
        raise Unusable("it left no report")
    return read(out.read_text())


def read(report: str) -> Report:
    """Return what the report says."""
    said = json.loads(report)
    told = Report(SCANNER, problems=[f"{each['filename']}: {each['reason']}" for each in said["errors"]])
    files = {name: each for name, each in said["metrics"].items() if name != "_totals"}
    told.looked = [
        Looked("lines", sum(int(each["loc"]) for each in files.values()), LEAST_LINES),
        Looked("files", len(files), LEAST_FILES),
    ]
    for each in said["results"]:
        where = each["filename"].removeprefix("./")
        text = f"line {each['line_number']}, {each['issue_severity'].lower()}: {each['issue_text']}"
        told.findings.append(Finding(f"{each['test_id']} {where}", text))
    return told
