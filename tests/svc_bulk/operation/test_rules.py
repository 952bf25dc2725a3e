"""What becomes of an operation after a try."""

from __future__ import annotations

import pytest

from mesh.refusals import DeadlineExceeded, IdempotencyKeyReused, InvalidInput, Overloaded, Unavailable
from svc_bulk.errors import ENDS_AN_OPERATION, FileUnreadable, OperationNotRetryable
from svc_bulk.operation import rules
from svc_bulk.operation.rules import MAX_ATTEMPTS, MAX_PAUSE_SECONDS, MAX_PROBLEM_CHARACTERS, State


def judge(error: BaseException | None, *, attempts: int = 1, waits: int = 0, jitter: float = 1.0) -> rules.Verdict:
    return rules.judge(error, attempts=attempts, waits=waits, jitter=jitter)


def test_a_try_without_an_error_is_a_success():
    """And nothing is said."""
    assert rules.Verdict(State.SUCCEEDED) == judge(None)


@pytest.mark.parametrize("refusal", ENDS_AN_OPERATION)
def test_what_would_be_the_same_again_ends_the_operation(refusal):
    """At the first try, with its reason."""
    verdict = judge(refusal("no"))

    assert (State.FAILED, refusal.__name__) == (verdict.state, type(verdict.refusal).__name__)


@pytest.mark.parametrize("refusal", [Unavailable("away"), Overloaded("full")])
def test_a_service_that_is_away_costs_no_try(refusal):
    """However long it is away, and the pause grows up to its limit."""
    pauses = [judge(refusal, attempts=MAX_ATTEMPTS, waits=waits).pause_seconds for waits in range(50)]

    assert all(judge(refusal, attempts=MAX_ATTEMPTS, waits=w).state is State.QUEUED for w in range(50))
    assert not judge(refusal).counted
    assert [1.0, 2.0, 4.0] == pauses[:3] and MAX_PAUSE_SECONDS == max(pauses) == pauses[-1]


@pytest.mark.parametrize(
    "error",
    [KeyError("a defect"), InvalidInput("nobody expected it"), DeadlineExceeded("late"), IdempotencyKeyReused("")],
)
def test_what_nobody_expected_is_tried_again_and_then_dead(error):
    """Five times at one place; the last one leaves a letter for a person."""
    for attempts in range(1, MAX_ATTEMPTS):
        assert (State.QUEUED, True) == (judge(error, attempts=attempts).state, judge(error, attempts=attempts).counted)
    last = judge(error, attempts=MAX_ATTEMPTS)

    assert State.DEAD is last.state and last.refusal is not None and last.problem


def test_the_text_of_a_defect_is_not_told():
    """It may hold whatever a row holds; its type is enough to find it in the log."""
    assert "KeyError" == judge(KeyError("ada@example.com")).problem


def test_a_worker_that_dies_of_its_operation_is_counted():
    """Nobody stored how those tries ended."""
    assert not rules.is_dead(MAX_ATTEMPTS)
    assert rules.is_dead(MAX_ATTEMPTS + 1)


def test_a_random_half_of_a_pause_is_left_out():
    """So that operations that failed together do not come back together."""
    assert (0.5, 1.0) == (judge(KeyError(), jitter=0.0).pause_seconds, judge(KeyError(), jitter=1.0).pause_seconds)


def test_a_problem_for_a_person_has_an_end():
    """Whatever a feed or a service says."""
    assert MAX_PROBLEM_CHARACTERS == len(judge(FileUnreadable("x" * 9999)).problem)


@pytest.mark.parametrize("state", State)
def test_only_what_may_go_on_is_tried_again(state):
    """A success would be done twice, and what can't be done still can't."""
    if state in (State.SUCCEEDED, State.FAILED):
        with pytest.raises(OperationNotRetryable):
            rules.check_retryable(state)
    else:
        rules.check_retryable(state)
