"""What the logs say when all is over: answers of 5xx at the edge, server errors inside, unexpected exceptions."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.attacks.case import Case

SPANS = "spans.jsonl"
EDGE_LOG = "edge_access.log"
SERVER_ERRORS = frozenset({"INTERNAL", "UNKNOWN", "UNAVAILABLE", "DATA_LOSS", "Internal", "Unknown", "Unavailable"})
CLIENT_LEFT = "DC"
"""Envoy's word for a client that went away: no status was sent, so it notes UNKNOWN."""
NOT_IMPLEMENTED = 501
"""Of an unknown transfer coding (RFC 9112, 6.1) and an unknown method of HTTP (RFC 9110, 9.1)."""

SERVICES = ("svc_", "edge_http")


@dataclass(frozen=True)
class Failure:
    """A failure of the mesh's own. `network` is where the call came from, which tells the case; `due` that the
    case asked for it."""

    what: str
    network: str = ""
    due: bool = False


def address_of(case: Case) -> str:
    """Return how every address of a case begins; a network of its own."""
    return f"127.{16 + case.number // 250}.{case.number % 250}."


def sizes(logs: Path) -> dict[str, int]:
    """Return how long each log is now: what comes later belongs to the end of the mesh."""
    return {file.name: file.stat().st_size for file in logs.glob("*.log")}


def failures(logs: Path, until: Mapping[str, int]) -> list[Failure]:
    """Return every failure. Envoy writes its log late, so it is read to its end; the services' as far as they were."""
    return [*_at_the_edge(logs / EDGE_LOG), *_inside(logs, until)]


def of_case(found: Sequence[Failure], case: Case) -> list[str]:
    """Return the failures that are not due and that this case has brought about."""
    return [each.what for each in found if not each.due and each.network.startswith(address_of(case))]


def _at_the_edge(file: Path) -> Iterator[Failure]:
    for line in _lines(file):
        code, grpc = int(line.get("code") or 0), line.get("grpc") or ""
        has_failed = grpc in SERVER_ERRORS and CLIENT_LEFT not in (line.get("flags") or "").split(",")
        if code >= 500 or has_failed:
            what = f"{line['method']} {line['path']}: {code} {grpc} {line['details']} {line['flags']}".strip()
            yield Failure(what, line.get("network", ""), due=code == NOT_IMPLEMENTED)


def _inside(logs: Path, until: Mapping[str, int]) -> Iterator[Failure]:
    for file in sorted(logs.glob("*.log")):
        if file.name.startswith(SERVICES):
            for line in _lines(file, until.get(file.name, 0)):
                if line.get("level") in ("ERROR", "CRITICAL"):
                    yield Failure(f"{file.name}: {line.get('message')} {line.get('exception', '')}"[:300])


def _lines(file: Path, end: int | None = None) -> Iterator[Any]:
    if not file.exists():
        return
    for line in file.read_bytes()[:end].splitlines():
        try:
            yield json.loads(line)
        except ValueError:
            continue
