"""cyclonedx-bom: the list of what Titan is made of (SBOM, CycloneDX), from the lock.

Nothing here knows which versions have holes: that takes a database that is fetched anew each day (pip-audit, OSV), and
a scan has to work on a machine without one. Whoever has such a database gives it this file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.faults.mesh import ROOT
from tests.scans import programs
from tests.scans.report import Finding, Looked, Report, Unusable

SCANNER = "cyclonedx-bom"
SECONDS = 120.0
LOCK = ROOT / "requirements.lock"
PIN = re.compile(r"^([A-Za-z0-9][\w.-]*)(?:\[[^\]]*\])?==(\S+)", re.MULTILINE)


def scan(folder: Path) -> Report:
    """Write the list, and hold it against the lock.

    Raises:
        Unusable: The list was not written.
    """
    out = folder / "sbom.json"
    command = [programs.of_python("cyclonedx-py"), "requirements", str(LOCK)]
    command += ["--output-format", "JSON", "--output-file", str(out)]
    programs.run(command, folder / "cyclonedx.log", within_seconds=SECONDS)
    if not out.exists():
        raise Unusable("it left no list")
    return read(out.read_text(), LOCK.read_text())


def read(listed: str, lock: str) -> Report:
    """Return where the list and the lock differ."""
    components = json.loads(listed).get("components", [])
    pins = {_plain(name): version for name, version in PIN.findall(lock)}
    told = Report(SCANNER, looked=[Looked("components", len(components), max(1, len(pins)))])
    found = {_plain(each["name"]): each for each in components}
    for name, version in sorted(pins.items()):
        if name not in found or found[name].get("version") != version:
            told.findings.append(Finding(f"{name} is in the lock and not in the list"))
    for name, each in sorted(found.items()):
        if name not in pins:
            told.findings.append(Finding(f"{name} is in the list and not in the lock"))
        elif not each.get("purl") or not _hashes(each):
            told.findings.append(Finding(f"{name} has no address or no hash in the list"))
    return told


def _plain(name: str) -> str:
    """PEP 503."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _hashes(component: Mapping[str, Any]) -> list[Any]:
    references = component.get("externalReferences", [])
    return [*component.get("hashes", []), *(each for reference in references for each in reference.get("hashes", []))]
