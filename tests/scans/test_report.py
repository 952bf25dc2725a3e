"""What becomes of a scanner's report: nothing is all right of which nobody knows that it was looked at."""

from __future__ import annotations

from dataclasses import replace

from tests.scans.report import ACCEPTED, Accepted, Finding, Looked, Report, judge, read_accepted
from tests.scans.run import OF_THE_MESH, OF_THE_SOURCE

ENOUGH = Looked("lines", 100, 100)
NAME = "B608 mesh/a.py"
ROW = Accepted("bandit", "made of constants", (NAME,))


def test_what_was_looked_at_and_found_clean_is_all_right() -> None:
    assert judge(Report("bandit", [ENOUGH]), []).holds


def test_a_scanner_that_examined_nothing_has_failed() -> None:
    """Neither silence nor too little is a clean report."""
    assert not judge(Report("bandit"), []).holds
    assert ("0 lines were looked at, 100 are the least",) == judge(
        Report("bandit", [Looked("lines", 0, 100)]), []
    ).wrong
    part = Looked("connections", 3, 40, of="slow heads")
    assert ("slow heads: 3 connections were looked at, 40 are the least",) == judge(Report("sslyze", [part]), []).wrong


def test_a_scanner_that_could_not_do_its_work_has_failed() -> None:
    assert not judge(Report("bandit", [ENOUGH], problems=["it did not end within 180 s"]), []).holds


def test_a_finding_that_nobody_accepted_fails() -> None:
    found = Report("bandit", [ENOUGH], [Finding(NAME, "line 7")])

    assert ("B608 mesh/a.py: line 7",) == judge(found, []).wrong
    assert judge(found, [ROW]).holds
    assert 1 == judge(found, [ROW]).accepted


def test_a_finding_is_accepted_of_its_scanner_and_as_often_as_it_says() -> None:
    twice = Report("bandit", [ENOUGH], [Finding(NAME, "line 7"), Finding(NAME, "line 9")])
    of_another = Accepted("sslyze", ROW.why, ROW.findings, times=2)

    assert ("B608 mesh/a.py (2 times, 1 accepted): line 9",) == judge(twice, [ROW]).wrong
    assert not judge(twice, [of_another]).holds
    assert judge(twice, [replace(ROW, times=2)]).holds
    assert judge(twice, [replace(ROW, however_often=True)]).holds


def test_what_is_accepted_and_not_found_any_more_fails() -> None:
    """A reason that outlives what it is for would cover the next one."""
    clean = Report("bandit", [ENOUGH])

    (wrong,) = judge(clean, [ROW]).wrong
    assert "says too much" in wrong
    assert not judge(clean, [replace(ROW, however_often=True)]).holds
    assert judge(clean, [replace(ROW, sometimes=True)]).holds


def test_what_is_accepted_has_a_scanner_and_a_reason_and_stands_there_once() -> None:
    rows = read_accepted()

    assert {row.scanner for row in rows} <= {*OF_THE_SOURCE, *OF_THE_MESH, "the edge's log"}
    assert rows and not [row.findings for row in rows if len(row.why) < 20 or not row.findings]
    names = [(row.scanner, name) for row in rows for name in row.findings]
    assert len(names) == len(set(names)), ACCEPTED


def test_parts_are_added_up_in_the_table() -> None:
    report = Report("slowhttptest", [Looked("connections", 200, 180, "slow heads")])
    report.add(Report("slowhttptest", [Looked("connections", 190, 180, "slow bodies")], [Finding("x")], ["y"]))

    assert "390 connections" == report.totals()
    assert (1, 1) == (len(report.findings), len(report.problems))
