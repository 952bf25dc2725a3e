"""Verifies signed webhooks: HMAC-SHA256 over the time, a dot and the raw body.

Several secrets may be valid at once, so that one can be exchanged for the next without a lost notice. The
signed time bounds how long a stolen notice can be sent again; within it, the notice id tells repetitions.
"""

import hashlib
import hmac
from collections.abc import Sequence
from datetime import datetime

from svc_payment.providers.interface import SignatureInvalid

TOLERANCE_SECONDS = 300
MAX_HEADER_CHARACTERS = 512


def verify(body: bytes, header: str, *, secrets: Sequence[bytes], at: datetime) -> None:
    """Accept ``t=<unix seconds>,v1=<hex>[,v1=<hex>]`` when any mark fits any secret.

    Raises:
        SignatureInvalid: The header cannot be read, no mark fits, or its time is more than
            ``TOLERANCE_SECONDS`` away.
    """
    moment, marks = _split(header)
    message = str(moment).encode() + b"." + body
    expected = [hmac.new(secret, message, hashlib.sha256).hexdigest().encode() for secret in secrets]
    # Every pair is compared, whichever fits first: the time taken tells nothing.
    fits = [hmac.compare_digest(mark, mine) for mark in marks for mine in expected]
    if not any(fits):
        raise SignatureInvalid("no signature fits")
    if abs(at.timestamp() - moment) > TOLERANCE_SECONDS:
        raise SignatureInvalid("the signature is too old or from the future")


def _split(header: str) -> tuple[int, list[bytes]]:
    pairs = [part.strip().partition("=") for part in header[: MAX_HEADER_CHARACTERS + 1].split(",")]
    moments = [value for name, _, value in pairs if name == "t"]
    marks = [value.encode() for name, _, value in pairs if name == "v1"]
    readable = len(moments) == 1 and moments[0].isascii() and moments[0].isdecimal() and len(moments[0]) <= 12
    if len(header) > MAX_HEADER_CHARACTERS or not readable:
        raise SignatureInvalid("the signature cannot be read")
    return int(moments[0]), marks
