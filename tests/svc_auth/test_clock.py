"""The clock of the package, without a database."""

from __future__ import annotations

from datetime import timedelta

import pytest

from mesh.seams import ManualClock
from svc_auth.clock import DatabaseClock

MINUTES = timedelta(minutes=10)


@pytest.mark.parametrize("wrong", [MINUTES, -MINUTES])
def test_a_clock_that_is_wrong_is_put_right(wrong: timedelta):
    """Either way, and it goes on from there."""
    own = ManualClock()
    clock = DatabaseClock(own)
    right = own.now() - wrong

    clock.told(right, asked_at=clock.now())
    own.advance(5)

    assert right + timedelta(seconds=5) == clock.now()


def test_a_slow_answer_proves_nothing():
    """The database may have told its time when it was asked, or a second later: it is within what this clock says."""
    own = ManualClock()
    clock = DatabaseClock(own)
    asked_at = clock.now()
    own.advance(1)

    for at in (asked_at, asked_at + timedelta(seconds=0.5), clock.now()):
        clock.told(at, asked_at=asked_at)

    assert own.now() == clock.now()


def test_a_clock_is_put_right_again():
    """It follows the database back, too."""
    own = ManualClock()
    clock = DatabaseClock(own)
    clock.told(own.now() + MINUTES, asked_at=clock.now())

    clock.told(own.now(), asked_at=clock.now())

    assert own.now() == clock.now()
