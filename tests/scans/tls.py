"""sslyze: how TLS is spoken at the edge, by Mozilla's "intermediate", and at a gRPC port, by "modern".

https://ssl-config.mozilla.org/ has both; the report is sslyze's JSON, and its verdict on the profile, in words. That a
gRPC port speaks to nobody without a certificate it cannot tell: in TLS 1.3 the refusal comes after the handshake. The
access matrix (`tests/attacks/sweep.py`) tries that, by connections.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.scans import programs
from tests.scans.report import Finding, Looked, Report, Unusable

SCANNER = "sslyze"
SECONDS = 120.0
LEAST_COMMANDS, LEAST_SUITES = 15, 150
"""Of each server: kinds of examination that were brought to an end, and suites of ciphers that were offered."""

COMMANDS = (
    "--sslv2",
    "--sslv3",
    "--tlsv1",
    "--tlsv1_1",
    "--tlsv1_2",
    "--tlsv1_3",
    "--certinfo",
    "--reneg",
    "--resum",
    "--compression",
    "--heartbleed",
    "--openssl_ccs",
    "--fallback",
    "--robot",
    "--elliptic_curves",
    "--early_data",
    "--ems",
)
OLD = ("ssl_2_0", "ssl_3_0", "tls_1_0", "tls_1_1")
WEAK: Mapping[str, tuple[str, str, object]] = {
    "heartbleed": ("heartbleed", "is_vulnerable_to_heartbleed", True),
    "ccs injection": ("openssl_ccs_injection", "is_vulnerable_to_ccs_injection", True),
    "compression": ("tls_compression", "supports_compression", True),
    "early data, which can be replayed": ("tls_1_3_early_data", "supports_early_data", True),
    "renegotiation by the client": ("session_renegotiation", "is_vulnerable_to_client_renegotiation_dos", True),
    "robot": ("robot", "robot_result", "VULNERABLE_STRONG_ORACLE"),
    "robot, weakly": ("robot", "robot_result", "VULNERABLE_WEAK_ORACLE"),
}
"""By name: where in the report the answer stands, and which one is bad."""

NOT_COMPLIANT = re.compile(r"^ {8}\* (\w+): (.+)$", re.MULTILINE)
COMPLIANCE = re.compile(r"Checking results against Mozilla's")


def scan(folder: Path, name: str, where: str, profile: str, *, pair: tuple[Path, Path] | None = None) -> Report:
    """Examine one server, with a client's certificate and its key where it asks for one.

    Raises:
        Unusable: sslyze did not do its work.
    """
    out = folder / f"sslyze-{name}.json"
    shown = [f"--cert={pair[0]}", f"--key={pair[1]}"] if pair else []
    command = [
        programs.of_python("sslyze"),
        *COMMANDS,
        f"--json_out={out}",
        f"--mozilla_config={profile}",
        *shown,
        where,
    ]
    # It says 1 of a server that is not as the profile wants it.
    said = programs.run(command, folder / f"sslyze-{name}.log", within_seconds=SECONDS, statuses=(0, 1))
    if not out.exists():
        raise Unusable(f"{name}: it left no report")
    return read(name, out.read_text(), said)


def read(name: str, report: str, said: str) -> Report:
    """Return what the report of one server says, and what was said of the profile."""
    told = Report(SCANNER)
    servers = json.loads(report)["server_scan_results"]
    for server in servers:
        parts = server["scan_result"] or {}
        done = {part for part, each in parts.items() if each["status"] == "COMPLETED"}
        told.findings += [Finding(f"{name}: {part} ended in {each['error_reason']}") for part, each in _broken(parts)]
        told.looked.append(Looked("examinations", len(done), LEAST_COMMANDS, name))
        told.looked.append(Looked("suites offered", _offered(parts), LEAST_SUITES, name))
        told.findings += [Finding(f"{name}: {what}") for what in _weak(parts)]
    if not servers:
        told.looked.append(Looked("examinations", 0, LEAST_COMMANDS, name))
    if not COMPLIANCE.search(said):
        told.problems.append(f"{name}: it was not held against a profile")
    told.findings += [Finding(f"{name}: {criterion}", text) for criterion, text in NOT_COMPLIANT.findall(said)]
    return told


def _broken(parts: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    return ((part, each) for part, each in parts.items() if each["status"] == "ERROR")


def _offered(parts: Mapping[str, Any]) -> int:
    results = [each["result"] for part, each in parts.items() if part.endswith("_cipher_suites") and each["result"]]
    return sum(len(result["accepted_cipher_suites"]) + len(result["rejected_cipher_suites"]) for result in results)


def _weak(parts: Mapping[str, Any]) -> Iterator[str]:
    for version in OLD:
        result = (parts.get(f"{version}_cipher_suites") or {}).get("result")
        if result and result["accepted_cipher_suites"]:
            yield f"it speaks {version}"
    for what, (part, answer, bad) in WEAK.items():
        result = (parts.get(part) or {}).get("result")
        if result and result.get(answer) == bad:
            yield what
