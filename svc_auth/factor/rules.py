"""Pure decisions about second factors: which code counts, and what a recovery code looks like."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.hotp import HOTP
from cryptography.hazmat.primitives.twofactor.totp import TOTP

SECRET_BYTES = 20
"""As RFC 4226 recommends. SHA-1, six digits and thirty seconds are what every authenticator can do."""
DIGITS = 6
STEP_SECONDS = 30
WINDOW_STEPS = 1
"""How far the clock of an authenticator may be off, either way (RFC 6238, 5.2)."""

RECOVERY_CODES = 10
RECOVERY_BYTES = 15
"""120 random bits: enough that a fast hash is all that is stored (ASVS 5.0, 6.5.2)."""
_GROUP = 6

BY_PASSWORD = ("pwd",)
AND_BY_CODE = ("otp", "mfa")
AND_BY_RECOVERY_CODE = ("mfa",)
"""How a session was opened, in the words of RFC 8176: the first factor, and what a second one adds. It has none for a
recovery code."""


@dataclass(frozen=True)
class Factor:
    """A user's second factor; `secret` is sealed. It counts at sign-in once it is confirmed."""

    user_id: UUID
    secret: bytes
    last_step: int
    confirmed_at: datetime | None

    @property
    def active(self) -> bool:
        """Whether a sign-in asks for it."""
        return self.confirmed_at is not None


def step_of(at: datetime) -> int:
    """Return the time step of a moment (RFC 6238, 4.2)."""
    return int(at.timestamp()) // STEP_SECONDS


def code_at(secret: bytes, step: int) -> str:
    """Return the code of a time step."""
    return HOTP(secret, DIGITS, SHA1()).generate(step).decode()  # noqa: S303


def accepted_step(secret: bytes, code: str, *, at: datetime, last_step: int) -> int | None:
    """Return the time step that a code belongs to, or None for a code that does not count.

    Steps up to the last accepted one are over, so no code counts twice, and none that is older than one that did.
    """
    now = step_of(at)
    for step in range(now - WINDOW_STEPS, now + WINDOW_STEPS + 1):
        if step > last_step and hmac.compare_digest(code_at(secret, step).encode(), code.encode()):
            return step
    return None


def base32(secret: bytes) -> str:
    """Return a secret as it is typed into an authenticator."""
    return base64.b32encode(secret).decode()


def otpauth_uri(secret: bytes, *, account: str, issuer: str) -> str:
    """Return a secret as an authenticator reads it from a QR code."""
    return TOTP(secret, DIGITS, SHA1(), STEP_SECONDS).get_provisioning_uri(account, issuer)  # noqa: S303


def new_recovery_codes() -> list[str]:
    """Return ten codes, in groups that can be read aloud."""
    codes = [base64.b32encode(secrets.token_bytes(RECOVERY_BYTES)).decode() for _ in range(RECOVERY_CODES)]
    return ["-".join(code[start : start + _GROUP] for start in range(0, len(code), _GROUP)) for code in codes]


def recovery_hash(user_id: UUID, code: str) -> bytes:
    """Return what is stored of a recovery code, however its letters and groups were typed."""
    letters = "".join(character for character in code.upper() if character.isalnum())
    return hashlib.sha256(b"recovery code " + user_id.bytes + letters.encode()).digest()
