"""The clock that this package goes by: the database's, told from memory.

Sessions that ended are stamped by the database. Tokens are stamped by the same clock, or a process whose own clock is
ahead would make tokens that outlive the memory of their session's end, and one whose clock is behind tokens that are
over when they arrive.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from mesh.seams import Clock


class DatabaseClock:
    """The clock of this process, put right wherever the database proves it wrong.

    Two clocks that agree within the time of a question and its answer are left alone, so that it never steps for the
    sake of a slow answer.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._behind = timedelta()

    def now(self) -> datetime:
        """Return the database's time, as far as this process knows."""
        return self._clock.now() + self._behind

    def told(self, at: datetime, *, asked_at: datetime) -> None:
        """Hear which time it was in the database between `asked_at`, by this clock, and now."""
        heard_at = self.now()
        if at > heard_at:
            self._behind += at - heard_at
        elif at < asked_at:
            self._behind -= asked_at - at
