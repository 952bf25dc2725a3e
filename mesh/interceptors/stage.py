"""The shape of a stage: it wraps the rest of the chain once per method, when the server is built, not once per call."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable

from google.protobuf.message import Message

from mesh.calls import Call
from mesh.contract import Method

Unary = Callable[[Message, Call], Awaitable[Message]]
Stream = Callable[[Message, Call], AsyncGenerator[Message, None]]
Check = Callable[[Message, Call], None]


class Stage:
    """Wraps what lies further in. A stage that has nothing to do for a method returns `inner` as it is."""

    def unary(self, method: Method, inner: Unary) -> Unary:
        """Return what handles a unary call of this method: `inner`, or something around it."""
        return inner

    def stream(self, method: Method, inner: Stream) -> Stream:
        """Return what handles a server-streaming call of this method: `inner`, or something around it."""
        return inner


class Guard(Stage):
    """A stage that only looks at a call before it goes on, and lets it pass or raises a refusal."""

    def check_of(self, method: Method) -> Check | None:
        """Return the check for calls of this method, or None where there is nothing to check."""
        raise NotImplementedError

    def unary(self, method: Method, inner: Unary) -> Unary:
        """Check the request, then let it through."""
        check = self.check_of(method)
        if check is None:
            return inner

        async def guarded(request: Message, call: Call) -> Message:
            check(request, call)
            return await inner(request, call)

        return guarded

    def stream(self, method: Method, inner: Stream) -> Stream:
        """Check the request, then let the stream begin."""
        check = self.check_of(method)
        if check is None:
            return inner

        def guarded(request: Message, call: Call) -> AsyncGenerator[Message, None]:
            check(request, call)
            return inner(request, call)

        return guarded
