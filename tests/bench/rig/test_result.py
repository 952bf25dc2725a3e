"""What is written of a question, and what is printed of it."""

from __future__ import annotations

import json

import pytest

from bench.rig.result import FORMAT, Goal, Outcome, Terms, document, echo_line, entry, lines, medians

TERMS = Terms("orders", "How many?", "Closed\n  loop.", "orders/s", "bare echo, calls/s", Goal(0.25, 0.35))
OUTCOME = Outcome(
    (100.0, 120.0, 110.0), (400.0, 400.0, 550.0), {"svc_order": 0.00212345, "kafka": 1e-7}, {"p99 in ms": 12.345678}
)


ECHO = {"per_second": 4300.0, "client_cpu_seconds": 0.00023, "server_cpu_seconds": 0.00024}


def test_the_echo_is_the_median_of_its_slices_and_shows_its_cpu() -> None:
    slices = [ECHO, {**ECHO, "per_second": 9999.0}, {**ECHO, "per_second": 1.0}]
    assert medians(slices) == ECHO
    assert medians([]) == {}
    assert "4,300 calls/s; CPU of a call 0.23 ms in the client, 0.24 ms in the server" in echo_line(ECHO)


@pytest.mark.parametrize(
    ("goal", "ratio", "verdict"),
    [
        (Goal(0.25, 0.35), 0.24, "missed"),
        (Goal(0.25, 0.35), 0.25, "reach"),
        (Goal(0.25, 0.35), 0.4, "dream"),
        (Goal(0.5, 0.25, less_is_better=True), 0.51, "missed"),
        (Goal(0.5, 0.25, less_is_better=True), 0.5, "reach"),
        (Goal(0.5, 0.25, less_is_better=True), 0.2, "dream"),
    ],
)
def test_a_goal_knows_which_way_is_better(goal, ratio, verdict) -> None:
    assert goal.verdict(ratio) == verdict


def test_an_entry_says_all_that_was_asked_and_found() -> None:
    assert entry(TERMS, OUTCOME) == {
        "asks": "How many?",
        "method": "Closed loop.",
        "unit": "orders/s",
        "figure": 110.0,
        "repeats": [100.0, 120.0, 110.0],
        "spread": 0.1818,
        "limit_is": "bare echo, calls/s",
        "limit": 400.0,
        "limits": [400.0, 400.0, 550.0],
        "ratio": 0.25,
        "reach": 0.25,
        "dream": 0.35,
        "less_is_better": False,
        "verdict": "reach",
        "cpu_seconds_per_operation": {"svc_order": 0.002123, "kafka": 1e-07},
        "more": {"p99 in ms": 12.35},
    }


def test_the_method_and_the_limit_are_printed_beside_the_figure() -> None:
    text = "\n".join(lines("orders", entry(TERMS, OUTCOME)))
    assert "Closed loop." in text
    assert "110 orders/s beside 400 (bare echo, calls/s): 0.25 x; at least 0.25, dream 0.35: reach" in text
    assert "svc_order 2.12" in text
    assert "kafka" not in text


def test_the_file_says_where_when_and_of_what() -> None:
    written = json.loads(
        json.dumps(document({"orders": entry(TERMS, OUTCOME)}, about={"cores": 2}, quick=False, echo=ECHO))
    )
    assert written["format"] == FORMAT
    assert written["machine"] == {"cores": 2}
    assert written["echo"] == ECHO
    assert set(written) == {"format", "commit", "date", "machine", "quick", "echo", "questions"}
    assert written["questions"]["orders"]["ratio"] == 0.25
