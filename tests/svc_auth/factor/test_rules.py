"""Which code counts, without a server."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from svc_auth.factor import rules

SECRET = b"12345678901234567890"
NOW = datetime(2026, 11, 21, 12, 0, 15, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "code"),
    [
        (59, "287082"),
        (1111111109, "081804"),
        (1111111111, "050471"),
        (1234567890, "005924"),
        (2000000000, "279037"),
        (20000000000, "353130"),
    ],
)
def test_codes_are_those_of_the_standard(seconds: int, code: str):
    """RFC 6238, appendix B, of which six digits are the last six of eight."""
    at = datetime.fromtimestamp(seconds, UTC)

    assert code == rules.code_at(SECRET, rules.step_of(at))
    assert rules.step_of(at) == rules.accepted_step(SECRET, code, at=at, last_step=0)


@pytest.mark.parametrize(("off", "counts"), [(-2, False), (-1, True), (0, True), (1, True), (2, False)])
def test_a_clock_may_be_half_a_minute_off(off: int, counts: bool):
    """One step either way, and no more."""
    step = rules.step_of(NOW) + off

    found = rules.accepted_step(SECRET, rules.code_at(SECRET, step), at=NOW, last_step=0)

    assert (step if counts else None) == found


def test_a_code_counts_once_and_takes_the_older_ones_along():
    """Whoever looked over a shoulder comes too late, also with the code before."""
    now = rules.step_of(NOW)
    for step in (now - 1, now):
        assert rules.accepted_step(SECRET, rules.code_at(SECRET, step), at=NOW, last_step=now) is None
    following = rules.code_at(SECRET, now + 1)
    assert now + 1 == rules.accepted_step(SECRET, following, at=NOW + timedelta(seconds=30), last_step=now)


@pytest.mark.parametrize("code", ["", "28708", "2870820", "abcdef", "\u0662\u0668\u0667\u0660\u0668\u0662"])
def test_what_is_no_code_never_counts(code: str):
    """Other digits than ASCII neither match nor break anything."""
    assert rules.accepted_step(SECRET, code, at=datetime.fromtimestamp(59, UTC), last_step=0) is None


def test_an_authenticator_reads_the_secret():
    """As its letters, and as the address behind the QR code."""
    assert "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ" == rules.base32(SECRET)
    uri = rules.otpauth_uri(SECRET, account="ada@example.com", issuer="Titan")
    assert uri.startswith("otpauth://totp/Titan:ada%40example.com?")
    for part in ("secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ", "issuer=Titan", "algorithm=SHA1", "digits=6", "period=30"):
        assert part in uri


def test_recovery_codes_are_ten_long_ones():
    """Each of 120 bits, in groups; however it is typed, it is the same, and another user's it is not."""
    codes = rules.new_recovery_codes()
    ada, bob = uuid4(), uuid4()

    assert 10 == len(set(codes))
    assert all(27 == len(code) and 3 == code.count("-") for code in codes)
    typed = codes[0].lower().replace("-", " ")
    assert rules.recovery_hash(ada, codes[0]) == rules.recovery_hash(ada, typed)
    assert rules.recovery_hash(ada, codes[0]) != rules.recovery_hash(bob, codes[0])
