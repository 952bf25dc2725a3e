"""Pure decisions about passkeys: how long a challenge counts, how many there are, and what a counter tells."""

from __future__ import annotations

import enum
import hashlib
from datetime import datetime, timedelta

CHALLENGE_SECONDS = 300
"""The time to find a telephone and its finger."""
CHALLENGE_BYTES = 32
MAX_PASSKEYS = 20

BY_PASSKEY = ("pop", "user", "mfa")
"""How a session was opened, in the words of RFC 8176: a key was shown, and its user was there and was verified."""


class ChallengePurpose(enum.StrEnum):
    """What a challenge is for."""

    REGISTER = "REGISTER"
    SIGN_IN = "SIGN_IN"


def challenge_hash(challenge: bytes) -> bytes:
    """Return what a challenge is found by."""
    return hashlib.sha256(b"passkey challenge " + challenge).digest()


def challenge_end(at: datetime) -> datetime:
    """Return until when a challenge counts that is made now."""
    return at + timedelta(seconds=CHALLENGE_SECONDS)


def counts_on(known: int, shown: int) -> bool:
    """Return whether a counter goes on from the one that is known (WebAuthn, 6.1.1).

    A passkey that is kept in several places does not count, and shows 0 each time. One that has counted and does not go
    on was copied: of two with one key, the one that is behind is refused, and nobody can say which is the user's.
    """
    return shown > known or shown == known == 0
