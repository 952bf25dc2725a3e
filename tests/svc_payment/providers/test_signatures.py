"""Signatures of webhooks: whose, over what, and how old."""

import hashlib
import hmac
from datetime import UTC, datetime, timedelta

import pytest

from svc_payment.providers import signatures
from svc_payment.providers.interface import SignatureInvalid

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SECONDS = int(NOW.timestamp())


def mark(secret: bytes, body: bytes = b"body", seconds: int = SECONDS) -> str:
    return "v1=" + hmac.new(secret, b"%d." % seconds + body, hashlib.sha256).hexdigest()


@pytest.mark.parametrize(
    "header",
    [
        f"t={SECONDS},{mark(b'new')}",
        f"t={SECONDS},{mark(b'old')}",
        f"t={SECONDS},v1=00,{mark(b'new')}",
        f"{mark(b'new')}, t={SECONDS}, v0=ignored",
    ],
)
@pytest.mark.parametrize("seconds_away", [-300, 0, 300])
def test_a_fitting_signature_is_accepted(header, seconds_away):
    """Any mark may fit any secret that is valid now, within five minutes."""
    signatures.verify(b"body", header, secrets=(b"new", b"old"), at=NOW + timedelta(seconds=seconds_away))


@pytest.mark.parametrize(
    "header",
    [
        "",
        "t=",
        "v1=",
        f"t={SECONDS}",
        f"t={SECONDS},v1=",
        f"t={SECONDS},v1=\u00e9",
        f"t={SECONDS},{mark(b'stolen')}",
        f"t={SECONDS},{mark(b'new', b'other body')}",
        f"t={SECONDS + 1},{mark(b'new')}",
        f"t={SECONDS},t={SECONDS + 1},{mark(b'new')}",
        f"t=-{SECONDS},{mark(b'new')}",
        f"t={'9' * 400},{mark(b'new')}",
        f"t={SECONDS},{mark(b'new')}," + "v1=0," * 200,
    ],
)
def test_any_other_signature_is_refused(header):
    """Another secret, body or time, and whatever cannot be read."""
    with pytest.raises(SignatureInvalid):
        signatures.verify(b"body", header, secrets=(b"new", b"old"), at=NOW)


@pytest.mark.parametrize("seconds_away", [-301, 301])
def test_an_old_signature_is_refused(seconds_away):
    """A notice that was stolen cannot be sent again for long."""
    with pytest.raises(SignatureInvalid):
        at = NOW + timedelta(seconds=seconds_away)
        signatures.verify(b"body", f"t={SECONDS},{mark(b'new')}", secrets=(b"new",), at=at)


def test_without_secrets_nothing_fits():
    """An empty list of secrets locks the door."""
    with pytest.raises(SignatureInvalid):
        signatures.verify(b"body", f"t={SECONDS},{mark(b'')}", secrets=(), at=NOW)
