"""What the environment may say to svc_bulk."""

from __future__ import annotations

import pytest

from mesh.settings import SettingProblem
from svc_bulk.settings import read


def test_without_a_word_no_feed_is_allowed():
    """Whoever wants one names its origin."""
    assert (frozenset(), frozenset()) == (read({}).feed_origins, read({}).private_feed_origins)


def test_origins_are_separated_by_spaces():
    """Only private ones may do without TLS."""
    found = read(
        {
            "TITAN_FEED_ORIGINS": "https://a.example https://b.example:8443",
            "TITAN_PRIVATE_FEED_ORIGINS": "http://10.0.0.5:8080",
        }
    )

    assert {"https://a.example", "https://b.example:8443"} == found.feed_origins
    assert {"http://10.0.0.5:8080"} == found.private_feed_origins


@pytest.mark.parametrize(
    "origin",
    ["a.example", "http://a.example", "https://a.example/", "https://A.example", "https://me@a.example", "https://"],
)
def test_what_is_no_origin_stops_the_start(origin: str):
    """It would never match, or match more than was meant."""
    with pytest.raises(SettingProblem):
        read({"TITAN_FEED_ORIGINS": origin})
