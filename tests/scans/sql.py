"""sqlmap: is anything that a caller sends read as SQL?

It knows hundreds of ways to ask; each place where a text of a caller comes near a statement is tried. What it did is
in its log, and each request that it sent in a file of its own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.scans import programs
from tests.scans.report import Finding, Looked, Report

SCANNER = "sqlmap"
TARGET_SECONDS = 150.0
LEAST_REQUESTS, LEAST_TESTS = 40, 10
"""Of each place: requests that were sent, and kinds of injection that were tried."""

OPTIONS = (
    "--batch",
    "--dbms=PostgreSQL",
    "--level=1",
    "--risk=1",
    "--threads=4",
    "--time-sec=2",
    "--timeout=10",
    "--retries=0",
    "--ignore-code=400,401,404",
    "--flush-session",
    "--disable-coloring",
    "--skip-waf",
)
SENT = re.compile(r"^HTTP request \[#\d+\]:", re.MULTILINE)
TRIED = re.compile(r"\[INFO\] testing '")
FOUND = re.compile(r"^Parameter: (.+)$", re.MULTILINE)
CLEAN = "do not appear to be injectable"
IDENTIFIED = "identified the following injection point"


@dataclass(frozen=True)
class Place:
    """Where a text of a caller goes in; `*` marks it in the path or the body."""

    path: str
    body: Mapping[str, Any] | None = None
    method: str = "GET"


PLACES: Mapping[str, Place] = {
    "what is searched for": Place("/v1/products:search?query=kettle*"),
    "the sorting of products": Place("/v1/products?orderBy=price*"),
    "a page's token": Place("/v1/orders?pageToken=abc*"),
    "an order's id": Place("/v1/orders/{order_id}*"),
    "a SKU in a path": Place("/v1/inventory/{sku}*"),
    "an e-mail address": Place("/v1/sessions", {"email": "ada@example.com*", "password": "x"}, "POST"),
    "a SKU in a body": Place("/v1/cart/items", {"sku": "{sku}*", "quantity": 1}, "POST"),
}


def scan(folder: Path, edge: str, token: str, names: Mapping[str, str]) -> Report:
    """Try each place, as somebody who may read everything. `names` fills what stands in braces.

    Raises:
        Unusable: sqlmap did not do its work.
    """
    told = Report(SCANNER)
    for number, (what, place) in enumerate(PLACES.items()):
        own = folder / f"sqlmap-{number}"
        own.mkdir()
        command = [programs.of_python("sqlmap"), *OPTIONS, "-u", edge + _filled(place.path, names)]
        command += [f"--output-dir={own}", "-t", str(own / "traffic"), "-H", f"Authorization: Bearer {token}"]
        command += [f"--method={place.method}"]
        if place.body is not None:
            command += ["--data", _filled(json.dumps(place.body), names), "-H", "Content-Type: application/json"]
        said = programs.run(command, own / "said.log", within_seconds=TARGET_SECONDS, folder=own)
        traffic = (own / "traffic").read_text(errors="replace") if (own / "traffic").exists() else ""
        told.add(read(what, said, traffic))
    return told


def read(what: str, said: str, traffic: str) -> Report:
    """Return what was found in one place."""
    told = Report(SCANNER)
    told.looked.append(Looked("requests", len(SENT.findall(traffic)), LEAST_REQUESTS, what))
    told.looked.append(Looked("kinds of injection", len(TRIED.findall(said)), LEAST_TESTS, what))
    if IDENTIFIED in said:
        told.findings.append(Finding(f"{what} is read as SQL", "; ".join(FOUND.findall(said))))
    elif CLEAN not in said:
        told.problems.append(f"{what}: it came to no end")
    return told


def _filled(text: str, names: Mapping[str, str]) -> str:
    for name, value in names.items():
        text = text.replace("{" + name + "}", value)
    return text
