"""The call that is being served: what the interceptors learned about it, for whoever runs on its behalf.

One `Call` is made per RPC and put into a context variable, so that clients, the batcher and handlers can ask how much
time is left, who calls, and under which trace. It owns no policy: the stages of `mesh.interceptors` fill it in.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mesh.contract import Method
    from mesh.identity import Caller
    from mesh.powers import Powers

MARGIN_SHARE = 0.05
MARGIN_SECONDS = 0.05
"""What a parent keeps of its time for its own answer: a twentieth, at most 50 ms."""

EMPTY: Mapping[str, str] = {}


class Call:
    """One RPC in progress. `deadline` is a time of `time.monotonic`, or None before it is known."""

    __slots__ = (
        "batch_size",
        "caller",
        "context",
        "deadline",
        "drained",
        "duplicated",
        "finished",
        "handler",
        "metadata",
        "method",
        "peer",
        "powers",
        "reason",
        "started",
        "task",
        "ticket_id",
        "trace_id",
    )

    def __init__(self, method: Method | None = None, context: Any = None) -> None:
        self.method = method
        self.context = context
        self.handler: Any = None
        self.metadata: Mapping[str, Any] = EMPTY
        self.duplicated: frozenset[str] = frozenset()
        self.started = time.monotonic()
        self.deadline: float | None = None
        self.caller: Caller | None = None
        self.peer: str | None = None
        self.powers: Powers | None = None
        self.ticket_id: str = ""
        self.trace_id: str = ""
        self.reason: str = ""
        self.batch_size: int | None = None
        self.drained = False
        self.finished = False
        self.task: asyncio.Task[Any] | None = None


_current: ContextVar[Call | None] = ContextVar("titan_call", default=None)


def enter(call: Call) -> None:
    """Make `call` the current one of this task; gRPC runs every RPC in a task of its own, so nothing is undone."""
    _current.set(call)


def current() -> Call | None:
    """Return the call that this task serves, or None in background work and after the call has ended."""
    call = _current.get()
    return None if call is None or call.finished else call


def remaining_seconds() -> float | None:
    """Return what is left of the current call's time, never below zero; None where no deadline applies."""
    call = current()
    if call is None or call.deadline is None:
        return None
    return max(0.0, call.deadline - time.monotonic())


def remaining_for_children() -> float | None:
    """Return what a call made on behalf of the current one may take: what is left minus a margin for the answer."""
    left = remaining_seconds()
    return None if left is None else max(0.0, left - min(MARGIN_SECONDS, left * MARGIN_SHARE))


def note_batch_size(items: int) -> None:
    """Tell the log line of the current call how many items the batch had that it rode in."""
    call = current()
    if call is not None:
        call.batch_size = items


@contextmanager
def detached(timeout_seconds: float | None = None) -> Iterator[Call]:
    """Leave the current call for work that is not on its behalf alone, such as a batch, with a deadline of its own."""
    call = Call()
    if timeout_seconds is not None:
        call.deadline = time.monotonic() + timeout_seconds
    token = _current.set(call)
    try:
        yield call
    finally:
        call.finished = True
        _current.reset(token)
