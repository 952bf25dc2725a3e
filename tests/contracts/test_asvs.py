"""`docs/ASVS.md` against the repository: what it names is there, and what it counts is so.

Files are read, nothing is run. That each attack is what the page says of it is shown in `tests/attacks/test_cases.py`.
"""

from __future__ import annotations

import ast
import functools
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "ASVS.md").read_text()
MISSING = PAGE.partition("## What is missing")[2].partition("\n## ")[0]

MET, UNTESTED, NOT_APPLICABLE, NOT_MET = "met", "met, untested", "n/a", "NOT met"
REQUIREMENTS = {1: 70, 2: 183}
"""How many the standard has of each level."""

ID = re.compile(r"\d+\.\d+\.\d+")
ROW = re.compile(
    r"^\| (\d+\.\d+\.\d+(?:, \d+\.\d+\.\d+)*) \| ([12]) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$",
    re.MULTILINE,
)
SHARE = r"(\d+) \((\d+) %\)"
SUM = re.compile(
    rf"^\| (1|2|1 and 2) \| (\d+) \| (\d+) \| (\d+) \| {SHARE} \| {SHARE} \| {SHARE} \| (\d+) % \|$",
    re.MULTILINE,
)
TOLD_ATTACK = re.compile(r"^\| (\d+) \| [a-z_]+: .+ \| .+ \|$", re.MULTILINE)
TEST = re.compile(r"`([\w/]+\.py)::(test_\w+)`")
ATTACKS = re.compile(r"attacks? (\d+(?:-\d+)?(?:, \d+(?:-\d+)?)*)")
QUOTED = re.compile(r"`([^`]+)`")


@dataclass(frozen=True)
class Line:
    """One line of the tables; several requirements share it where they share its verdict."""

    ids: tuple[str, ...]
    level: int
    verdict: str
    why: str

    @property
    def tests(self) -> list[tuple[str, str]]:
        """The functions that it names, by file."""
        return TEST.findall(self.why)

    @property
    def attacks(self) -> set[str]:
        """The numbers of attacks that it names; of a range the first and the last."""
        return {number for found in ATTACKS.findall(self.why) for number in re.findall(r"\d+", found)}

    @property
    def files(self) -> list[str]:
        """What it names that has the form of a path in the repository."""
        return [name for name in QUOTED.findall(self.why) if re.fullmatch(r"\w[\w.-]*(/[\w.-]*)+|[\w.]+\.toml", name)]


LINES = [Line(tuple(ids.split(", ")), int(level), verdict, why) for ids, level, _, verdict, why in ROW.findall(PAGE)]


@functools.cache
def functions_of(path: str) -> frozenset[str]:
    """Return the names of the functions of a file below `tests/`."""
    tree = ast.parse((ROOT / "tests" / path).read_text())
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def test_every_requirement_has_one_line() -> None:
    """As many as the standard has, each once."""
    told = Counter((number, line.level) for line in LINES for number in line.ids)

    assert {1} == set(told.values())
    assert REQUIREMENTS == Counter(level for _, level in told)
    assert len(told) == len({number for number, _ in told})


def test_every_test_that_is_named_is_there() -> None:
    """A test that is renamed or removed takes its line along."""
    named = [test for line in LINES for test in line.tests]

    assert named
    assert [] == [(path, name) for path, name in named if name not in functions_of(path)]


def test_every_attack_that_is_named_is_in_the_last_table_and_no_other() -> None:
    """There each has its sentence, which the attacks' own tests compare with the case."""
    assert set().union(*(line.attacks for line in LINES)) == set(TOLD_ATTACK.findall(PAGE))


def test_every_file_that_is_named_is_there() -> None:
    assert [] == [name for line in LINES for name in line.files if not (ROOT / name).exists()]


def test_a_verdict_rests_on_what_it_says_it_rests_on() -> None:
    """Met is shown by a test or an attack; what no test shows names its file."""
    for line in LINES:
        assert line.verdict in (MET, UNTESTED, NOT_APPLICABLE, NOT_MET), line
        if line.verdict == MET:
            assert line.tests or line.attacks, line
        if line.verdict == UNTESTED:
            assert line.files and not line.tests and not line.attacks, line


def test_the_counts_are_those_of_the_tables() -> None:
    """By level and in all, with the percentages of what applies."""
    counted = Counter((line.level, line.verdict) for line in LINES for _ in line.ids)
    sums = {name: list(map(int, numbers)) for name, *numbers in SUM.findall(PAGE)}

    assert {"1", "2", "1 and 2"} == set(sums)
    for name, told in sums.items():
        met, untested, absent, not_met = (
            sum(counted[int(level), verdict] for level in name.split(" and "))
            for verdict in (MET, UNTESTED, NOT_APPLICABLE, NOT_MET)
        )
        applicable = met + untested + not_met
        shares = [round(100 * part / applicable) for part in (met, untested, not_met, met + untested)]
        due = [applicable + absent, absent, applicable, met, shares[0], untested, shares[1], not_met, *shares[2:]]
        assert due == told, name


def test_what_is_missing_is_told_once() -> None:
    """In the order of its risk, in brackets behind what it is about."""
    told = [number for found in re.findall(r"\*\*[^*]+\*\* \(([\d., ]+)\)", MISSING) for number in ID.findall(found)]

    assert sorted(told) == sorted(number for line in LINES if line.verdict == NOT_MET for number in line.ids)
