"""Which bucket a descriptor means, without Redis."""

from __future__ import annotations

import pytest

from mesh.refusals import InvalidInput
from mesh.topology import Bucket, Limits
from svc_limits.rate_limit import rules
from svc_limits.rate_limit.rules import Drained, Entry, Taken

WIDE, NARROW = Bucket(60, 10), Bucket(30, 0.5)
LIMITS = {
    "default": Limits(WIDE, WIDE, WIDE, NARROW, WIDE, shared=("payments",)),
    "load": Limits(WIDE, WIDE, WIDE, WIDE, WIDE, shared=()),
}
ADA: Entry = ("user", "ada")
TOP_UP: Entry = ("payments", "top_up")


def drained(*entries: Entry, profile: str = "default", secret: bytes = b"shared by the replicas") -> Drained:
    return rules.drained(LIMITS, profile, entries, secret=secret)


def test_the_first_entry_names_the_bucket_and_the_topology_its_size():
    assert NARROW == drained(TOP_UP, ADA).bucket
    assert 2_000_000 == drained(TOP_UP, ADA).token_microseconds


def test_everybody_has_a_bucket_of_their_own_for_everything_that_is_counted():
    """An address that is written like a user's name is no user."""
    keys = [
        drained(*entries).key
        for entries in (
            (TOP_UP, ADA),
            (TOP_UP, ("user", "bob")),
            (TOP_UP, ("masked_remote_address", "ada")),
            (("payments", "return"), ADA),
            (("payments", "top_up"), ("user", "a"), ("da", "")),
        )
    ]

    assert len(keys) == len(set(keys))


def test_a_call_over_grpc_drains_the_bucket_that_one_over_http_does():
    assert drained(TOP_UP, ADA).key == drained(TOP_UP, ADA, ("speaks", "grpc")).key
    assert drained(TOP_UP, ADA).key == drained(TOP_UP, ADA, ("speaks", "http")).key


def test_a_key_is_as_long_for_everybody_and_shows_nobody():
    """What an address and a user are called is nobody's business who reads Redis."""
    long = drained(TOP_UP, ("masked_remote_address", "2001:db8:85a3:8d3::/64")).key
    short = drained(TOP_UP, ("masked_remote_address", "192.0.2.7/32")).key

    assert len(long) == len(short) == len("limits:") + 32
    assert "192.0.2.7" not in short


def test_whoever_lacks_the_secret_finds_no_address_by_trying_them():
    """There are four thousand million of the short ones, which is not many."""
    ours = drained(TOP_UP, ADA)

    assert ours == drained(TOP_UP, ADA)
    assert ours.key != drained(TOP_UP, ADA, secret=b"").key != drained(TOP_UP, ADA, secret=b"another").key


@pytest.mark.parametrize(
    ("profile", "bucket"), [("huge", "payments"), ("load", "payments"), ("default", "sessions"), ("default", "shared")]
)
def test_what_the_edges_do_not_share_is_refused(profile: str, bucket: str):
    """A slip in a configuration is an error that Envoy counts, never a bucket without a bottom."""
    with pytest.raises(InvalidInput, match=bucket):
        drained((bucket, "top_up"), ADA, profile=profile)


def test_a_very_quick_bucket_still_takes_time():
    assert 1 == Drained("key", Bucket(1, 100_000_000)).token_microseconds


@pytest.mark.parametrize(
    ("waits", "seconds"),
    [((0, 0), 0), ((1, 0), 1), ((999_999, 1_000_000), 1), ((0, 1_000_001), 2), ((99_000_000,), 99)],
)
def test_whoever_waits_so_long_finds_a_token_in_every_bucket(waits: tuple[int, ...], seconds: int):
    """Whole seconds, rounded up: whoever comes back then is not sent away once more."""
    assert seconds == rules.seconds_to_wait([Taken(0, wait) for wait in waits])


def test_a_refusal_is_read_over_grpc_where_the_edge_says_so():
    assert rules.is_read_as_grpc([[TOP_UP, ADA, ("speaks", "grpc")]])
    assert not rules.is_read_as_grpc([[TOP_UP, ADA, ("speaks", "http")], [TOP_UP, ADA]])
