"""What continuous integration says that it runs is what it runs, and it is done in time."""

from __future__ import annotations

import re

from control.topology_file import ROOT

RUN = (ROOT / ".ci" / "run").read_text()
HEADER = RUN.partition("\nset -u")[0]
STEPS = re.findall(r"^step (\S+) (\d+) make (\S+)", RUN, re.MULTILINE)
MOST_MINUTES = 15


def test_each_target_that_the_header_names_is_a_step_and_no_other_is() -> None:
    named = re.findall(r"make ([a-z][a-z-]*)", HEADER)
    assert [target for _, _, target in STEPS] == named


def test_the_steps_are_those_that_were_agreed() -> None:
    """A step that is dropped from both the header and the list would be missed by nobody."""
    assert {target for _, _, target in STEPS} >= {"check", "test", "proof-short", "bench-guard"}


def test_each_step_is_a_target() -> None:
    targets = re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert {target for _, _, target in STEPS} <= set(targets)


def test_all_steps_together_are_done_within_fifteen_minutes() -> None:
    assert sum(int(minutes) for _, minutes, _ in STEPS) <= MOST_MINUTES
