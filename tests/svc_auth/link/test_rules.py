"""When a request makes a link, without a server."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from svc_auth.link import rules
from svc_auth.link.rules import LinkPurpose
from svc_auth.user.rules import User
from titan.auth.v1 import link_pb2

NOW = datetime(2026, 11, 21, tzinfo=UTC)
ADA = User(uuid4(), b"found by this", b"sealed", (), 1, NOW)
VERIFY, RESET = LinkPurpose.EMAIL_VERIFICATION, LinkPurpose.PASSWORD_RESET


def test_the_purposes_are_those_of_the_contract():
    """Each Python value has its twin."""
    names = [name.removeprefix("LINK_PURPOSE_") for name in link_pb2.LinkPurpose.keys()]
    assert ["UNSPECIFIED", *LinkPurpose] == names


@pytest.mark.parametrize(
    ("user", "purpose", "wanted"),
    [
        (ADA, RESET, True),
        (ADA, VERIFY, True),
        (None, RESET, False),
        (replace(ADA, email_index=None), RESET, False),
        (replace(ADA, house=True), RESET, False),
        (replace(ADA, email_verified_at=NOW), VERIFY, False),
        (replace(ADA, email_verified_at=NOW), RESET, True),
    ],
)
def test_whoever_reads_mail_at_an_address_is_sent_a_link(user: User | None, purpose: LinkPurpose, wanted: bool):
    """Not nobody, no guest, no account whose password is a secret file; and nothing is verified twice."""
    assert wanted is rules.wanted(user, purpose, lately=[], at=NOW)


@pytest.mark.parametrize(
    ("seconds_ago", "last_is_open", "wanted"),
    [
        ([0], True, False),
        ([59], True, False),
        ([60], True, True),
        ([60, 120], True, True),
        ([60, 120, 180], True, False),
        ([1799, 1799, 1799], True, False),
        ([60, 120, 180], False, True),
        ([59, 120, 180], False, False),
    ],
)
def test_a_mailbox_is_not_filled(seconds_ago: list[int], last_is_open: bool, wanted: bool):
    """At most one link a minute is sent for each purpose, and three while the last of them waits to be used."""
    times = [NOW - timedelta(seconds=seconds) for seconds in seconds_ago]
    lately = [rules.Made(at, last_is_open and at == times[0]) for at in times]

    assert wanted is rules.wanted(ADA, RESET, lately=lately, at=NOW)


def test_a_link_counts_for_half_an_hour():
    """Long enough for a slow mail server."""
    assert NOW + timedelta(minutes=30) == rules.link_end(NOW)
