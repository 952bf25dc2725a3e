"""schemathesis: does the edge do what its own description says, whatever it is sent?

It reads `/openapi.json` of the edge and makes requests of it, right ones and wrong ones, over HTTPS, as somebody who
may call everything. The same requests come each time, as far as the time of the run reaches.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.scans import programs
from tests.scans.report import Finding, Looked, Report, Unusable

SCANNER = "schemathesis"
RUN_SECONDS = 150
SLACK_SECONDS = 90.0
EXAMPLES = 10
LEAST_CASES = 3_000

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "missing_required_header",
    "unsupported_method",
    "ignored_auth",
)
"""Of all checks but `positive_data_acceptance`: a request that is right in its form may still be of an order that there
is not, and is refused for it."""

LEFT_OUT: Mapping[str, str] = {
    r":watch$": "a stream goes on until its client leaves",
}
"""Paths that are not called, and why."""


def scan(folder: Path, edge: str, ca: str, token: str) -> Report:
    """Call whatever the edge describes.

    Raises:
        Unusable: schemathesis did not do its work.
    """
    out = folder / "schemathesis.json"
    command = [programs.of_python("schemathesis"), "run", f"{edge}/openapi.json", f"--url={edge}", f"--tls-verify={ca}"]
    command += ["--header", f"Authorization: Bearer {token}", f"--checks={','.join(CHECKS)}"]
    command += ["--phases=examples,coverage,fuzzing", f"--max-examples={EXAMPLES}", f"--max-time={RUN_SECONDS}"]
    command += ["--workers=2", "--continue-on-failure", "--no-shrink", "--generation-deterministic"]
    command += ["--suppress-health-check=all", "--no-color", f"--report-json-path={out}"]
    for pattern in LEFT_OUT:
        command += [f"--exclude-path-regex={pattern}"]
    within = RUN_SECONDS + SLACK_SECONDS
    programs.run(command, folder / "schemathesis.log", within_seconds=within, statuses=(0, 1), folder=folder)
    if not out.exists():
        raise Unusable("it left no report")
    return read(out.read_text())


def read(report: str) -> Report:
    """Return what the report says."""
    said = json.loads(report)
    operations = said["operations"]
    told = Report(SCANNER, problems=[_told(each) for each in said["errors"]])
    told.looked = [
        Looked("operations", operations["tested"], max(1, operations["selected"])),
        Looked("requests", said["test_cases"]["generated"], LEAST_CASES),
    ]
    told.findings = [Finding(f"{each['type']} {each['operation']}", _told(each)) for each in said["failures"]]
    return told


def _told(each: Mapping[str, Any]) -> str:
    return " ".join(str(each.get("message") or each.get("title") or "").split())[:300]
