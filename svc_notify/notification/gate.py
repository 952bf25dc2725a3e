"""Says whether events may still become messages, so that the queue stays bounded while a channel is down.

The worker sets it, the consumer asks it. With it shut, events wait in the broker: their partitions pause.
"""

from __future__ import annotations

from mesh.refusals import Unavailable

MAX_WAITING_MESSAGES = 10_000
"""Messages that may wait for a channel that is down: some ten megabytes of rows, and minutes of sending."""


class Gate:
    """Open, or shut for a reason. One per process; each learns of the backlog from its own worker."""

    def __init__(self, max_waiting: int = MAX_WAITING_MESSAGES) -> None:
        self.max_waiting = max_waiting
        self._reason = ""

    def shut(self, reason: str) -> None:
        """Let no event through from now on."""
        self._reason = reason

    def open(self) -> None:
        """Let events through again."""
        self._reason = ""

    def check(self) -> None:
        """Let an event through.

        Raises:
            Unavailable: The gate is shut; the event's partition pauses and asks again.
        """
        if self._reason:
            raise Unavailable(f"messages wait for their channel: {self._reason}", retry_after_seconds=1)
