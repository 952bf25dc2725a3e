"""Writes down who was denied, and who read under a ticket.

Denied are calls of somebody known that the rules of access, or a handler's own, refused.
The row is written before the refusal is answered, so whoever heard it finds it there. A flood of them must not become a
flood of rows: each caller, and the process as a whole, has a bucket, and what does not fit is counted into the next
row. A database that does not take the row costs the row and never changes the answer.

What somebody reads of a customer because a ticket lets them is written before it is answered too, each time; without
the row there is no answer. Of a command its own row names the ticket (`mesh.audit`).
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from uuid import UUID

import grpc
from google.protobuf.message import Message

from mesh import audit, telemetry
from mesh.calls import Call
from mesh.contract import Method
from mesh.database import Database
from mesh.identity import NOBODY
from mesh.interceptors.stage import Stage, Stream, Unary
from mesh.refusals import Refusal, Unavailable

CALLER_DENIALS_AT_ONCE = 10
CALLER_DENIALS_PER_SECOND = 1.0
PROCESS_DENIALS_AT_ONCE = 100
PROCESS_DENIALS_PER_SECOND = 20.0
KNOWN_CALLERS = 4096
"""Whose buckets are remembered; whoever was quiet for longest begins with a full one again."""

WRITE_SECONDS = 1.0
"""How long a refusal waits for its row."""

log = telemetry.get_logger("mesh.audit")


class Bucket:
    """A token bucket: so many at once, refilled by so many a second."""

    __slots__ = ("_at_once", "_filled_at", "_left", "_per_second")

    def __init__(self, at_once: float, per_second: float, *, at: float) -> None:
        self._at_once = at_once
        self._per_second = per_second
        self._left = at_once
        self._filled_at = at

    def take(self, *, at: float) -> bool:
        """Take one; False where none is left."""
        self._left = min(self._at_once, self._left + (at - self._filled_at) * self._per_second)
        self._filled_at = at
        if self._left < 1:
            return False
        self._left -= 1
        return True


class Denials:
    """The denials of one process."""

    def __init__(self, db: Database, *, now: Callable[[], float] = time.monotonic) -> None:
        self._db = db
        self._now = now
        self._process = Bucket(PROCESS_DENIALS_AT_ONCE, PROCESS_DENIALS_PER_SECOND, at=now())
        self._callers: OrderedDict[UUID | str, Bucket] = OrderedDict()
        self._left_out = 0

    async def note(self, refusal: Refusal, call: Call) -> None:
        """Write a denial, if its caller is known and there is room."""
        caller = call.caller or NOBODY
        who = caller.actor_id or caller.user_id or caller.service
        if who is None:
            return
        telemetry.DENIALS.inc()
        if not self._fits(who):
            self._left_out += 1
            return
        left_out, self._left_out = self._left_out, 0
        denied = audit.command()
        try:
            async with asyncio.timeout(WRITE_SECONDS):
                await self._db.execute_alone(
                    lambda connection: audit.deny(
                        connection, denied, package=caller.service, reason=refusal.reason, left_out=left_out
                    )
                )
        except Exception as error:
            self._left_out += 1 + left_out
            told = {"method": denied.method, "reason": refusal.reason}
            if isinstance(error, Unavailable | TimeoutError):
                log.warning("a denial was not written", **told)
            else:
                log.exception("a denial can not be written", error, **told)

    def _fits(self, who: UUID | str) -> bool:
        at = self._now()
        bucket = self._callers.get(who)
        if bucket is None:
            bucket = self._callers[who] = Bucket(CALLER_DENIALS_AT_ONCE, CALLER_DENIALS_PER_SECOND, at=at)
            if len(self._callers) > KNOWN_CALLERS:
                self._callers.popitem(last=False)
        else:
            self._callers.move_to_end(who)
        return bucket.take(at=at) and self._process.take(at=at)


class Accesses:
    """What is read of customers under a ticket."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def note(self, request: Message) -> None:
        """Write that the current call read something.

        Raises:
            Unavailable: The database does not take the row.
        """
        resource = audit.resource_in(request)
        try:
            async with asyncio.timeout(WRITE_SECONDS):
                await self._db.execute_alone(lambda connection: audit.accept(connection, resource))
        except TimeoutError:
            raise Unavailable("what is read under a ticket cannot be written down", retry_after_seconds=1) from None


class Audit(Stage):
    """Stands around access and handler, and inside of identity: it knows who calls, and sees every denial."""

    def __init__(self, denials: Denials | None, accesses: Accesses | None = None) -> None:
        self._denials = denials
        self._accesses = accesses

    def unary(self, method: Method, inner: Unary) -> Unary:
        """Note a refusal for want of a right, and pass it on; note what a ticket let somebody read."""
        denials, answer = self._denials, self._written_down(method, inner)
        if denials is None:
            return answer

        async def watched(request: Message, call: Call) -> Message:
            try:
                return await answer(request, call)
            except Refusal as refusal:
                if refusal.code is grpc.StatusCode.PERMISSION_DENIED:
                    await denials.note(refusal, call)
                raise

        return watched

    def _written_down(self, method: Method, inner: Unary) -> Unary:
        accesses = self._accesses
        if accesses is None or method.is_mutation or not method.takes_ticket:
            return inner

        async def written_down(request: Message, call: Call) -> Message:
            response = await inner(request, call)
            if call.ticket_id:
                await accesses.note(request)
            return response

        return written_down

    def stream(self, method: Method, inner: Stream) -> Stream:
        """Note a refusal for want of a right, and pass it on."""
        denials = self._denials
        if denials is None:
            return inner

        async def watched(request: Message, call: Call) -> AsyncGenerator[Message, None]:
            try:
                async with aclosing(inner(request, call)) as messages:
                    async for message in messages:
                        yield message
            except Refusal as refusal:
                if refusal.code is grpc.StatusCode.PERMISSION_DENIED:
                    await denials.note(refusal, call)
                raise

        return watched
