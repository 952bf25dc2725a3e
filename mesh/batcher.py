"""Runs what arrived together as one set: the calls that came while the last batch was running are the next batch.

No timer, so an idle system adds no latency, and a busy one shares its transactions; only work that nobody waits for may
be told to gather company first. One batch of a batcher runs at a
time, in a task of its own with a deadline of its own; a caller that leaves removes only itself. The batcher knows
nothing of what it runs, and never retries it.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

import grpc
from opentelemetry.context import Context

from mesh import calls, telemetry
from mesh.database import in_transaction
from mesh.database_errors import is_away, is_retriable, sqlstate_of
from mesh.refusals import DeadlineExceeded, Overloaded, Refusal, Unavailable

I = TypeVar("I")  # noqa: E741
O = TypeVar("O")  # noqa: E741

# A whole batch that ended like this says nothing about any one item, so it is not run again in halves.
_ABOUT_NO_ITEM = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.UNIMPLEMENTED,
    }
)
# These may be about one item or about the whole downstream. A failure of the database is neither: it names a statement
# that a bad row broke, its repetition is ours alone, and so it is always followed down to the row.
_VAGUE = frozenset({grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DATA_LOSS})
SPARE_FAILURES = 8
"""How many vague failures in a row, beyond those that lead down to one item, are believed to be about items."""


class _Waiting(Generic[I, O]):
    __slots__ = ("batch_size", "deadline", "future", "item", "trace", "weight")

    def __init__(self, item: I, weight: int, future: asyncio.Future[O], deadline: float | None) -> None:
        self.item = item
        self.weight = weight
        self.future = future
        self.deadline = deadline
        self.trace = telemetry.current_trace()
        self.batch_size = 0


class Batcher(Generic[I, O]):
    """Shares one set-based function between the calls that wait for it.

    `run` takes a list of items in arrival order and answers one result per item, in the same order: a value, or an
    exception for that item alone. It changes nothing when it raises, as a transaction does: a batch whose `run` raised
    is run again in halves until the culprit stands alone, so one item never fails its neighbours. Only where half after
    half fails without a word on why, and none succeeds, is that taken for an answer: about 2 log2(n) + 8 runs in all.
    """

    def __init__(
        self,
        run: Callable[[list[I]], Awaitable[Sequence[O | Exception]]],
        *,
        name: str,
        max_items: int = 256,
        max_weight: int = 4096,
        weight: Callable[[I], int] = lambda _: 1,
        max_waiting: int = 4096,
        timeout_seconds: float = 5.0,
        gather_seconds: float = 0.0,
    ) -> None:
        self._run = run
        self.name = name
        self._max_items = max_items
        self._max_weight = max_weight
        self._weight = weight
        self._max_waiting = max_waiting
        self._timeout_seconds = timeout_seconds
        self._gather_seconds = gather_seconds
        self._waiting: deque[_Waiting[I, O]] = deque()
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def waiting(self) -> int:
        """How many items wait for their batch."""
        return len(self._waiting)

    async def submit(self, item: I) -> O:
        """Have an item run with those that wait beside it, and return its own result.

        It waits at most for what is left of the current call. An item heavier than a whole batch runs alone.

        Raises:
            Overloaded: Too many wait already.
            DeadlineExceeded: The time of the call, or of the batch, was over; the item may or may not have run.
            Unavailable: The batcher is closing, or its batch was broken off.
        """
        if in_transaction():
            raise RuntimeError(f"batcher {self.name}: waiting for a batch inside a transaction can wait for itself")
        if self._closed:
            raise Unavailable("the service is stopping", retry_after_seconds=1)
        if len(self._waiting) >= self._max_waiting:
            self._forget_the_gone()
            if len(self._waiting) >= self._max_waiting:
                raise Overloaded(f"too many calls wait for {self.name}", retry_after_seconds=1)
        loop = asyncio.get_running_loop()
        left = calls.remaining_seconds()
        deadline = None if left is None else loop.time() + left
        waiting = _Waiting(item, max(1, self._weight(item)), loop.create_future(), deadline)
        self._waiting.append(waiting)
        self._start()
        try:
            async with asyncio.timeout_at(deadline):
                result: O = await waiting.future
        except TimeoutError:
            if not waiting.future.cancelled():
                raise  # the batch's own answer, not our clock
            raise DeadlineExceeded(f"{self.name}: the time of the call is over") from None
        finally:
            if waiting.batch_size:
                calls.note_batch_size(waiting.batch_size)
        return result

    async def close(self) -> None:
        """Take nothing new, and return when all that waits has its answer."""
        self._closed = True
        while self._task is not None:
            await asyncio.wait([self._task])

    def _start(self) -> None:
        if self._task is None:
            # An empty context: the batch belongs to none of its callers, not to their deadlines or identities.
            self._task = asyncio.get_running_loop().create_task(
                self._drain(), name=f"batcher {self.name}", context=contextvars.Context()
            )
            self._task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Start again if the task was cancelled from outside while others had come to wait."""
        self._task = None
        if self._waiting and not asyncio.get_running_loop().is_closed():
            self._start()

    async def _drain(self) -> None:
        while self._waiting:
            if self._gather_seconds and not self._closed and len(self._waiting) < self._max_items:
                await asyncio.sleep(self._gather_seconds)
            batch = self._next()
            try:
                await self._settle(batch)
            except BaseException:
                # Cancelled in the middle: whether the batch was committed is not known, and its callers may ask again.
                for each in batch:
                    if not each.future.done():
                        each.future.set_exception(Unavailable("the batch was broken off", retry_after_seconds=1))
                raise

    def _next(self) -> list[_Waiting[I, O]]:
        batch: list[_Waiting[I, O]] = []
        weight = 0
        while self._waiting and len(batch) < self._max_items:
            head = self._waiting[0]
            if not _lives(head):
                self._waiting.popleft()
                continue
            if batch and weight + head.weight > self._max_weight:
                break
            weight += head.weight
            batch.append(self._waiting.popleft())
        return batch

    async def _settle(self, batch: list[_Waiting[I, O]]) -> None:
        """Run a batch, in halves where need be, until every item of it has its answer or has left."""
        pending = [batch]
        patience = len(batch).bit_length() + SPARE_FAILURES
        failures = 0
        while pending:
            part = [each for each in pending.pop() if _lives(each)]
            if not part:
                continue
            try:
                results = await self._run_once(part)
            except Exception as error:
                failures = failures + 1 if _is_vague(error) else 0
                if len(part) > 1 and _may_be_about_one(error) and failures < patience:
                    middle = len(part) // 2
                    pending += [part[middle:], part[:middle]]  # a stack: the earlier half runs first
                    continue
                results = [_as_refusal(error)] * len(part)
            else:
                failures = 0
            for each, result in zip(part, results, strict=True):
                each.batch_size = len(part)
                if each.future.done():
                    continue
                if isinstance(result, Exception):
                    each.future.set_exception(result)
                else:
                    each.future.set_result(result)

    async def _run_once(self, part: list[_Waiting[I, O]]) -> Sequence[O | Exception]:
        try:
            with calls.detached(self._timeout_seconds), telemetry.in_trace(_trace_of(part)):
                async with asyncio.timeout(self._timeout_seconds) as clock:
                    results = await self._run([each.item for each in part])
        except TimeoutError as error:
            if not clock.expired():
                raise
            raise DeadlineExceeded(f"{self.name}: the batch took too long") from error
        if len(results) != len(part):
            # Whatever was done is done; running it again would do it twice.
            wrong = RuntimeError(f"batcher {self.name}: {len(results)} results for {len(part)} items")
            return [wrong] * len(part)
        return results

    def _forget_the_gone(self) -> None:
        self._waiting = deque(each for each in self._waiting if _lives(each))


def _trace_of(part: Sequence[_Waiting[I, O]]) -> Context:
    """Return the trace that a batch is a part of: its only caller's, else that of the first whose spans are kept."""
    return next((each.trace for each in part if telemetry.is_recorded(each.trace)), part[0].trace)


def _lives(waiting: _Waiting[I, O]) -> bool:
    """Return whether anybody still waits for this one, and has time left."""
    if waiting.future.done():
        return False
    return waiting.deadline is None or waiting.deadline > asyncio.get_running_loop().time()


def _may_be_about_one(error: Exception) -> bool:
    if isinstance(error, Refusal):
        return error.code not in _ABOUT_NO_ITEM
    return not (is_away(error) or is_retriable(error))


def _is_vague(error: Exception) -> bool:
    return error.code in _VAGUE if isinstance(error, Refusal) else sqlstate_of(error) is None


def _as_refusal(error: Exception) -> Exception:
    if is_away(error) or is_retriable(error):
        unavailable = Unavailable("the database does not answer", retry_after_seconds=1)
        unavailable.__cause__ = error
        return unavailable
    return error
