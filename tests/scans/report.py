"""What a scanner says: how much it looked at, what it found; and what becomes of it."""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ACCEPTED = Path(__file__).with_name("accepted.toml")


class Unusable(Exception):
    """A program could not be had, did not end in time, or left no report; the message says what."""


@dataclass(frozen=True)
class Looked:
    """How much was looked at, of a part where there are several, and how much is the least that proves anything."""

    what: str
    count: int
    least: int
    of: str = ""


@dataclass(frozen=True)
class Finding:
    """Something that a scanner does not like. The name stays the same from run to run, and acceptance goes by it."""

    name: str
    told: str = ""


@dataclass
class Report:
    """What came of one scanner.

    `problems` are those of the scanner: a part that did not run, a report that cannot be read.
    """

    scanner: str
    looked: list[Looked] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def add(self, part: Report) -> None:
        """Take in what one part of the scan came to."""
        self.looked += part.looked
        self.findings += part.findings
        self.problems += part.problems

    def totals(self) -> str:
        """Return how much was looked at, all parts together."""
        counts: Counter[str] = Counter()
        for each in self.looked:
            counts[each.what] += each.count
        return ", ".join(f"{count:,} {what}" for what, count in counts.items()) or "nothing"


@dataclass(frozen=True)
class Accepted:
    """A finding that is all right, how often, and why.

    `sometimes` says that a scanner which draws its inputs by chance may miss it.
    """

    scanner: str
    finding: str
    why: str
    times: int = 1
    sometimes: bool = False


@dataclass(frozen=True)
class Verdict:
    """What becomes of a report: what is wrong, in sentences, and how many of its findings were accepted."""

    wrong: tuple[str, ...]
    accepted: int

    @property
    def holds(self) -> bool:
        """Whether nothing is wrong."""
        return not self.wrong


def read_accepted(file: Path = ACCEPTED) -> list[Accepted]:
    """Return what is accepted."""
    return [Accepted(**row) for row in tomllib.loads(file.read_text()).get("accepted", [])]


def judge(report: Report, accepted: Iterable[Accepted]) -> Verdict:
    """Hold a report against what is accepted."""
    rows = {row.finding: row for row in accepted if row.scanner == report.scanner}
    counts = Counter(finding.name for finding in report.findings)
    told = {finding.name: finding.told for finding in report.findings}
    wrong = [*report.problems, *_too_little(report.looked)]
    covered = 0
    for name, count in sorted(counts.items()):
        allowed = rows[name].times if name in rows else 0
        covered += min(count, allowed)
        if count > allowed:
            more = f" ({count} times, {allowed} accepted)" if allowed else ""
            wrong.append(f"{name}{more}: {told[name]}".removesuffix(": "))
    for name, row in sorted(rows.items()):
        if not row.sometimes and not report.problems and counts[name] < row.times:
            wrong.append(f"{name}: accepted {row.times} times, and found {counts[name]}: accepted.toml says too much")
    return Verdict(tuple(wrong), covered)


def _too_little(looked: Sequence[Looked]) -> list[str]:
    if not looked:
        return ["nobody knows whether it looked at anything"]
    return [
        f"{f'{each.of}: ' if each.of else ''}{each.count:,} {each.what} were looked at, {each.least:,} are the least"
        for each in looked
        if each.count < each.least
    ]
