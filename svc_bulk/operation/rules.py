"""What becomes of an operation: pure decisions about its states, its tries and its pauses."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from mesh.refusals import Cancelled, InternalError, Refusal
from svc_bulk.errors import ENDS_AN_OPERATION, OperationNotRetryable

MAX_ATTEMPTS = 5
"""How often an operation is begun at one place before it is a dead letter. A worker that dies with it counts too."""
BATCH_THINGS = 20
"""Products, prices or changes of stock in one call of a new operation: what a service that shoppers need too is held up
by at most, some milliseconds."""
FIRST_PAUSE_SECONDS = 1.0
MAX_PAUSE_SECONDS = 60.0
MAX_PROBLEM_CHARACTERS = 300

AWAY = frozenset({"UNAVAILABLE", "RESOURCE_EXHAUSTED", "ABORTED", "CANCELLED"})
"""What a service says that is down, full or just changing what is asked for: no fault of the operation's."""


class State(StrEnum):
    """Where an operation stands; the twin of `titan.bulk.v1.OperationState`."""

    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    DEAD = "DEAD"
    CANCELLED = "CANCELLED"


OPEN = frozenset({State.QUEUED, State.RUNNING})


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an operation is: rows, and what became of the things in them."""

    rows_done: int = 0
    rows_total: int = 0
    created: int = 0
    updated: int = 0
    unchanged: int = 0
    refused: int = 0


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation as it is stored; `job` is a serialized `titan.bulk.v1.Job`, `error` a `google.rpc.Status`.

    `position` counts the things of its file that are through, and `place` is whatever else its job has to remember.
    """

    operation_id: UUID
    user_id: UUID
    kind: str
    job: bytes
    state: State
    lease: int
    attempts: int
    waits: int
    position: int
    place: str
    source_file_id: UUID | None
    batch_things: int
    progress: Progress
    problem: str
    error: bytes | None
    cancel_at: datetime | None
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None

    @property
    def done(self) -> bool:
        """Whether it has ended, one way or another."""
        return self.state not in OPEN


@dataclass(frozen=True, slots=True)
class RowProblem:
    """One row that was refused: its number as a spreadsheet counts it, the reason, and the same for a person."""

    row_number: int
    reason: str
    message: str

    @classmethod
    def of(cls, row_number: int, refusal: Refusal) -> RowProblem:
        """Return the problem that a refusal is for a row."""
        return cls(row_number, refusal.reason, shortened(refusal.message))


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of an operation after a try: its state, and while it is open the pause before the next one.

    `counted` says whether the try counts against it, `refusal` why it ended without success.
    """

    state: State
    pause_seconds: float = 0.0
    counted: bool = True
    problem: str = ""
    refusal: Refusal | None = None


def judge(error: BaseException | None, *, attempts: int, waits: int, jitter: float) -> Verdict:
    """Return what becomes of an operation whose try ended with an error, or without; `jitter` is between 0 and 1.

    A service that is away costs no try, and what nobody expected is tried again, five times at one place at most.
    """
    if error is None:
        return Verdict(State.SUCCEEDED)
    if isinstance(error, ENDS_AN_OPERATION):
        return Verdict(State.FAILED, problem=shortened(error.message), refusal=error)
    problem = f"{error.reason}: {error.message}" if isinstance(error, Refusal) else type(error).__name__
    if isinstance(error, Refusal) and error.code.name in AWAY:
        return Verdict(State.QUEUED, _pause(waits + 1, jitter), counted=False, problem=shortened(problem))
    if attempts >= MAX_ATTEMPTS:
        return dead(shortened(problem))
    return Verdict(State.QUEUED, _pause(attempts, jitter), problem=shortened(problem))


def dead(problem: str) -> Verdict:
    """Return the end of an operation that failed too often; the problem is for a person."""
    why = problem or "the worker that had it died each time"
    return Verdict(State.DEAD, problem=why, refusal=InternalError(f"failed {MAX_ATTEMPTS} times at one place: {why}"))


def cancelled() -> Verdict:
    """Return the end of an operation that somebody stopped."""
    return Verdict(State.CANCELLED, refusal=Cancelled("somebody stopped the operation"))


def is_dead(attempts: int) -> bool:
    """Tell whether an operation that is being taken for the so-manieth time was taken too often.

    Its last try ended without a word: the worker died of it, or with it.
    """
    return attempts > MAX_ATTEMPTS


def check_retryable(state: State) -> None:
    """Check that an operation can go on where it stopped.

    Raises:
        OperationNotRetryable: It succeeded, or it can't be done.
    """
    if state in (State.SUCCEEDED, State.FAILED):
        raise OperationNotRetryable(f"an operation that is {state.value} is not tried again")


def shortened(text: str) -> str:
    """Return a text for a person, no longer than is stored."""
    return text if len(text) <= MAX_PROBLEM_CHARACTERS else text[: MAX_PROBLEM_CHARACTERS - 1] + "…"


def _pause(tries: int, jitter: float) -> float:
    ceiling: float = min(MAX_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** min(max(tries, 1) - 1, 30))
    return ceiling * (0.5 + 0.5 * jitter)
