"""The page of figures is made from the results, and says nothing else."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bench import page
from bench.rig.result import Condition, Goal, Outcome, Terms, document, entry

TERMS = Terms("orders", "How many orders?", "Closed loop.", "orders/s", "bare echo, calls/s", Goal(0.25, 0.35))
COST = {"svc_order": 0.002, "postgres": 0.001, "svc_bulk": 0.00001, "this client": 0.0005}
MACHINE = {"cores": 2, "processor": "", "kernel": "6.1", "python": "3.11.2"}
ECHO = {"per_second": 4000.0, "client_cpu_seconds": 0.00023, "server_cpu_seconds": 0.00024}
ALONE = Condition("p99 in ms alone", 120.0, 100.0, Goal(1.0, 1.0, less_is_better=True))


def taken(**changed: Any) -> dict[str, Any]:
    """Return where and when a question was measured."""
    about = {"commit": "abc", "date": "2026-11-22T01:08:04+00:00", "machine": MACHINE, "load_before": 0.25}
    return {"taken": about | {"echo": ECHO} | changed}


ENTRY = entry(TERMS, Outcome((1000.0, 1100.0), (4000.0, 4000.0), COST)) | taken()
FOUND = document({"orders": ENTRY}, order=["orders"], quick=False)


def test_every_place_of_the_page_is_filled() -> None:
    made = page.filled(page.PAGE.read_text(), FOUND)
    assert "Not measured yet" not in made
    assert "| How many orders? `orders` | 1,050 orders/s ± 5% | 4,000 (bare echo, calls/s) | **0.26 x** " in made
    assert "≥ 0.25, 0.35 | reach |" in made
    assert "Measured 2026-11-22 on 2 cores (unnamed), Linux 6.1, Python 3.11.2, commit `abc`." in made
    assert "Load average before a question: 0.25." in made
    cost = "at 0.23 ms of CPU a call in its client and 0.24 ms in its server."
    assert f"The echo beside the questions made 4,000 calls/s, {cost}" in made


def test_questions_of_several_commits_and_days_are_told_apart() -> None:
    """What was asked again is not of the commit of the rest, nor is the rest of its."""
    later = ENTRY | taken(
        commit="def", date="2026-12-01T00:00:00+00:00", load_before=1.5, echo=ECHO | {"per_second": 1e3}
    )
    made = page.where({"orders": ENTRY, "cart": ENTRY, "hot": later})
    assert made.startswith("Measured 2026-11-22 on")
    assert "`hot` alone: measured 2026-12-01 on" in made
    assert made.count("commit `abc`") == made.count("commit `def`") == 1
    assert "Load average before a question: 0.25 to 1.50." in made
    assert "made 1,000 to 4,000 calls/s" in made


def test_each_condition_has_a_line_and_the_verdict_is_the_worst() -> None:
    found = entry(TERMS, Outcome((1600.0,), (4000.0,), conditions=(ALONE,)))
    rows = page.figures({"orders": found}).splitlines()
    assert rows[2].endswith("| missed (dream by this figure alone) |")
    assert rows[3] == "| … p99 in ms alone | 120 | 100 | **1.20 x** | ≤ 1, 1 | missed |"


def test_what_was_never_answered_has_no_time() -> None:
    found = entry(TERMS, Outcome((float("inf"),), (200.0,), failed=0.114))
    assert "| failed 11% | 200 (bare echo, calls/s) | **none** |" in page.figures({"orders": found})


def test_filling_a_page_twice_changes_nothing() -> None:
    once = page.filled(page.PAGE.read_text(), FOUND)
    assert page.filled(once, FOUND) == once


def test_costs_are_in_microseconds_and_add_up() -> None:
    rows = page.costs(FOUND["questions"]).splitlines()
    assert rows[2:] == [
        "| svc_order | 2,000 |",
        "| postgres | 1,000 |",
        "| all others | 10 |",
        "| **the mesh** | 3,010 |",
        "| the load itself | 500 |",
    ]


def test_results_of_another_format_are_not_read() -> None:
    with pytest.raises(ValueError, match="format 99"):
        page.filled(page.PAGE.read_text(), {**FOUND, "format": 99})


def test_a_page_without_a_place_is_refused() -> None:
    with pytest.raises(ValueError, match="no place"):
        page.filled("<!-- where -->\n<!-- /where -->", FOUND)


@pytest.mark.skipif(not page.LATEST.exists(), reason="nothing was measured yet")
def test_the_page_says_what_was_measured_last() -> None:
    """Figures are never copied by hand, and a new measurement comes with its page."""
    text = page.PAGE.read_text()
    assert page.filled(text, json.loads(page.LATEST.read_text())) == text
