"""How a job paces itself."""

from __future__ import annotations

import pytest

from svc_bulk.operation.work import LEAST_REST_SECONDS, MOST_REST_SECONDS, REST_SHARE, Pace


def test_a_job_has_a_quarter_of_a_service_that_is_as_fast_as_ever():
    """The rest is for shoppers."""
    pace = Pace()
    for _ in range(3):
        assert pytest.approx(0.02 * REST_SHARE) == pace.rest_seconds(0.02)


def test_a_job_gives_way_where_it_waits():
    """Twice as slow is a rest four times as long; when the queue is over it goes on as before."""
    pace = Pace()
    pace.rest_seconds(0.02)

    assert pytest.approx(4 * 0.02 * REST_SHARE) == pace.rest_seconds(0.04)
    assert pytest.approx(0.02 * REST_SHARE) == pace.rest_seconds(0.02)


def test_a_rest_has_a_least_and_a_most():
    """So that a job never spins, and never stands still."""
    pace = Pace()

    assert LEAST_REST_SECONDS == pace.rest_seconds(0.0001)
    assert MOST_REST_SECONDS == pace.rest_seconds(10.0)
    assert LEAST_REST_SECONDS == Pace().rest_seconds(0.0)
