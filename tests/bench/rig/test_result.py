"""What is written of a question, and what is printed of it."""

from __future__ import annotations

import json

import pytest

from bench.rig.result import FORMAT, Condition, Goal, Outcome, Terms, document, echo_line, entry, lines, medians, stamp

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
        "failed": 0.0,
        "limit_is": "bare echo, calls/s",
        "limit": 400.0,
        "limits": [400.0, 400.0, 550.0],
        "ratio": 0.25,
        "reach": 0.25,
        "dream": 0.35,
        "less_is_better": False,
        "ratio_verdict": "reach",
        "conditions": [],
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


@pytest.mark.parametrize(
    ("added", "verdict"), [(0.3, "dream"), (0.5, "reach"), (0.7, "missed"), (float("inf"), "missed")]
)
def test_a_question_is_as_good_as_the_worst_of_its_conditions(added, verdict) -> None:
    """A goal has two halves; one that is reached says nothing of the other."""
    conditions = (Condition("ms alone", added, 0.6, Goal(1.0, 2 / 3, less_is_better=True)),)
    found = entry(TERMS, Outcome((400.0,), (400.0,), conditions=conditions))
    assert found["ratio_verdict"] == "dream"
    assert found["conditions"][0]["verdict"] == verdict
    assert found["verdict"] == verdict
    text = "\n".join(lines("orders", found))
    assert f"dream 0.667: {verdict}" in text
    assert f"all together: {verdict}" in text


def test_what_was_never_answered_is_told_by_the_share_that_failed() -> None:
    """A time in its place would be a constant of the bench, and JSON has no infinity."""
    terms = Terms("open", "How long?", "Open loop.", "ms p99", "200 ms", Goal(0.5, 0.25, less_is_better=True))
    never = float("inf")
    found = entry(terms, Outcome((never, 900.0, never), (200.0,) * 3, more={"p99 in ms": never}, failed=0.71))
    written = json.loads(json.dumps(found, allow_nan=False))
    assert (written["figure"], written["ratio"], written["verdict"]) == (None, None, "missed")
    assert written["repeats"] == [None, 900.0, None]
    text = "\n".join(lines("open", written))
    assert "failed 71% beside 200 (200 ms): none; at most 0.5, dream 0.25: missed" in text
    assert "repeats never, 900, never" in text
    assert "p99 in ms: never" in text


def test_a_limit_may_be_known_only_by_who_measures() -> None:
    assert (
        entry(TERMS, Outcome((1.0,), (1.0,), limit_is="with 10,412 to 13,100"))["limit_is"] == "with 10,412 to 13,100"
    )


def test_each_question_says_where_when_and_of_what() -> None:
    taken = stamp(load_before=0.5, echo=ECHO)["taken"]
    assert set(taken) == {"commit", "date", "machine", "load_before", "echo"}
    assert (taken["load_before"], taken["echo"]) == (0.5, ECHO)


def test_the_file_has_the_questions_in_their_order() -> None:
    questions = {"b": {}, "orders": entry(TERMS, OUTCOME)}
    written = json.loads(json.dumps(document(questions, order=["orders", "a", "b"], quick=False)))
    assert written["format"] == FORMAT
    assert set(written) == {"format", "quick", "questions"}
    assert list(written["questions"]) == ["orders", "b"]
    assert written["questions"]["orders"]["ratio"] == 0.25
