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
    """Findings that are all right, and why.

    Each is accepted as many `times` as it says: a further one in the same place is another. `however_often` is for
    rules that read names and not meanings; `sometimes` says that a scanner which draws by chance may miss it.
    """

    scanner: str
    why: str
    findings: tuple[str, ...]
    times: int = 1
    however_often: bool = False
    sometimes: bool = False

    def covers(self, count: int) -> int:
        """Return how many of so many are accepted."""
        return count if self.however_often else min(count, self.times)

    def missed(self, count: int) -> bool:
        """Return whether it accepts what is not found any more."""
        return not self.sometimes and count < (1 if self.however_often else self.times)


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
    rows = tomllib.loads(file.read_text()).get("accepted", [])
    return [Accepted(**{**row, "findings": tuple(row["findings"])}) for row in rows]


def judge(report: Report, accepted: Iterable[Accepted]) -> Verdict:
    """Hold a report against what is accepted."""
    rows = {name: row for row in accepted if row.scanner == report.scanner for name in row.findings}
    counts = Counter(finding.name for finding in report.findings)
    told = {finding.name: finding.told for finding in report.findings}
    wrong = [*report.problems, *_too_little(report.looked)]
    covered = 0
    for name, count in sorted(counts.items()):
        allowed = rows[name].covers(count) if name in rows else 0
        covered += allowed
        if count > allowed:
            more = f" ({count} times, {allowed} accepted)" if allowed else ""
            wrong.append(f"{name}{more}: {told[name]}".removesuffix(": "))
    for name, row in sorted(rows.items()):
        if not report.problems and row.missed(counts[name]):
            wrong.append(f"{name}: accepted, and found {counts[name]} times: accepted.toml says too much")
    return Verdict(tuple(wrong), covered)


def _too_little(looked: Sequence[Looked]) -> list[str]:
    if not looked:
        return ["nobody knows whether it looked at anything"]
    return [
        f"{f'{each.of}: ' if each.of else ''}{each.count:,} {each.what} were looked at, {each.least:,} are the least"
        for each in looked
        if each.count < each.least
    ]
