"""Operations between Python and protobuf."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from google.rpc import status_pb2

from svc_bulk.file import wire as file_wire
from svc_bulk.file.store import File
from svc_bulk.operation.rules import Operation, RowProblem, State, Verdict
from titan.bulk.v1 import operation_pb2 as pb

_STATES: dict[State, Any] = {each: pb.OperationState.Value(f"OPERATION_STATE_{each.value}") for each in State}


def state_of(wired: int) -> State | None:
    """Return the state of a request; None where it names none."""
    return next((each for each, number in _STATES.items() if number == wired), None)


def to_wire(operation: Operation, files: Sequence[File] = ()) -> pb.Operation:
    """Return an operation as the contract writes it."""
    progress = operation.progress
    wired = pb.Operation(
        operation_id=str(operation.operation_id),
        job=pb.Job.FromString(operation.job),
        state=_STATES[operation.state],
        done=operation.done,
        progress=pb.OperationProgress(
            rows_done=progress.rows_done,
            rows_total=progress.rows_total,
            created=progress.created,
            updated=progress.updated,
            unchanged=progress.unchanged,
            refused=progress.refused,
        ),
        files=[file_wire.to_wire(each) for each in files],
        attempts=operation.attempts,
        problem=operation.problem,
        cancel_requested=operation.cancel_at is not None,
    )
    if operation.error is not None:
        wired.error.CopyFrom(status_pb2.Status.FromString(operation.error))
    wired.create_time.FromDatetime(operation.created_at)
    if operation.started_at is not None:
        wired.start_time.FromDatetime(operation.started_at)
    if operation.ended_at is not None:
        wired.end_time.FromDatetime(operation.ended_at)
    return wired


def error_of(verdict: Verdict) -> bytes | None:
    """Return the status that is stored of a verdict, serialized; None where it has none."""
    if verdict.refusal is None:
        return None
    serialized: bytes = verdict.refusal.to_status().SerializeToString()
    return serialized


def problem_to_wire(problem: RowProblem) -> pb.RowProblem:
    """Return a refused row as the contract writes it."""
    return pb.RowProblem(row_number=problem.row_number, reason=problem.reason, message=problem.message)
