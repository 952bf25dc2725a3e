"""The page of figures is made from the results, and says nothing else."""

from __future__ import annotations

import json

import pytest

from bench import page
from bench.rig.result import Goal, Outcome, Terms, document, entry

TERMS = Terms("orders", "How many orders?", "Closed loop.", "orders/s", "bare echo, calls/s", Goal(0.25, 0.35))
COST = {"svc_order": 0.002, "postgres": 0.001, "svc_bulk": 0.00001, "this client": 0.0005}
ABOUT = {"cores": 2, "processor": "", "kernel": "6.1", "python": "3.11.2", "load_before": 0.25}
ECHO = {"per_second": 4000.0, "client_cpu_seconds": 0.00023, "server_cpu_seconds": 0.00024}
FOUND = document(
    {"orders": entry(TERMS, Outcome((1000.0, 1100.0), (4000.0, 4000.0), COST))}, about=ABOUT, quick=False, echo=ECHO
)


def test_every_place_of_the_page_is_filled() -> None:
    made = page.filled(page.PAGE.read_text(), FOUND)
    assert "Not measured yet" not in made
    assert "| How many orders? `orders` | 1,050 orders/s ± 5% | 4,000 (bare echo, calls/s) | **0.26 x** " in made
    assert "≥ 0.25, 0.35 | reach |" in made
    assert "2 cores (unnamed)" in made
    assert "The echo made 4,000 calls/s, at 0.23 ms of CPU a call in its client and 0.24 ms in its server." in made


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
