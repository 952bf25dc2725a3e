"""schemathesis: does the edge do what its own description says, whatever it is sent?

It reads `/openapi.json` of the edge and makes requests of it, right ones and wrong ones, over HTTPS, as somebody who
may call everything. The same requests come each time, as far as the time of the run reaches.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from tests.scans import programs
from tests.scans.report import Finding, Looked, Report, Unusable

SCANNER = "schemathesis"
RUN_SECONDS = 150
SLACK_SECONDS = 90.0
EXAMPLES = 10
LEAST_CASES, LEAST_SERVED = 3_000, 30
"""An operation that refuses everything was asked, and its answers were not looked at."""

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
    """Return what the report says: each kind of failure by the operation that it was met at."""
    said = json.loads(report)
    told = Report(SCANNER, problems=[f"{each['title']}, {each['count']} times" for each in said["errors"]])
    if not said["complete"]:
        told.problems.append(f"it stopped before its end: {said['stop_reason']}")
    operations = said["operations"] or {"tested": 0, "selected": 0}
    rates = said["valid_rates"].values()
    accepted = sum(any(phase["accepted"] for phase in phases.values()) for phases in rates)
    told.looked = [
        Looked("operations", operations["tested"], max(1, operations["selected"])),
        Looked("of them with requests that were served", accepted, LEAST_SERVED),
        Looked("requests", said["test_cases"]["generated"], LEAST_CASES),
    ]
    for each in said["failures"]:
        told.findings += [Finding(f"{each['type']}: {operation}", each["title"]) for operation in each["operations"]]
    return told
