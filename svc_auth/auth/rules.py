"""Pure decisions about sessions, tokens, sign-in attempts and the life of signing keys."""

from __future__ import annotations

import enum
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

from svc_auth.errors import RecentSignInRequired, SignInThrottled

ACCESS_TOKEN_SECONDS = 600
REFRESH_TOKEN_SECONDS = 30 * 86_400
SESSION_SECONDS = 90 * 86_400
GUEST_SESSION_SECONDS = 400 * 86_400
"""How long a session lasts however often it is refreshed (ASVS 5.0, 7.3.2): whoever holds somebody's tokens holds them
no longer. A guest cannot sign in again, and has no more than a cart and its orders, so theirs goes on for longer."""

REVOCATION_SECONDS = ACCESS_TOKEN_SECONDS + 60
"""A revocation matters until the last token of its session has expired, with a minute for clocks that disagree."""

CHALLENGE_SECONDS = 300
"""How long a right password waits for the second factor: the time to find a telephone."""

RECENT_SIGN_IN_SECONDS = 600
"""How fresh a session is that may change how its user signs in: a token stolen later is not enough."""

SIGNED_OUT = "SIGNED_OUT"
TOKEN_REUSED = "TOKEN_REUSED"  # noqa: S105
PASSWORD_RESET = "PASSWORD_RESET"  # noqa: S105
"""Why a session ended; the last is for any change of the password."""
ERASED = "ERASED"
"""And where its user has gone."""

FREE_ATTEMPTS = 10
MAX_DELAY_SECONDS = 60
FORGET_SECONDS = 900

MAX_KEYS = 8
KEY_KEPT_SECONDS = ACCESS_TOKEN_SECONDS + 60

IMPORTER_ROLE = "importer"
SELLER_ROLE = "seller"
GUEST_ROLE = "guest"
CUSTOMER_ROLE = "customer"

SECOND_FACTOR = "mfa"
"""What `amr` says of a session whose user has shown two factors (RFC 8176)."""


@dataclass(frozen=True)
class Subject:
    """Whom a token is about. `roles` are those beyond `guest` or `customer`; `withheld` those that open nothing yet."""

    user_id: UUID
    guest: bool
    roles: tuple[str, ...] = ()
    withheld: tuple[str, ...] = ()


def in_session(subject: Subject, amr: Sequence[str], *, password_roles: Collection[str]) -> Subject:
    """Return a subject as a session speaks for it that was opened like this.

    Roles of the house are withheld from a session without a second factor. A seller has none of the house: their role
    opens nobody's things but their own. Whoever has no roles but `password_roles` needs no second factor for them;
    where somebody has others too, they are a person of the house, and these wait with the rest.
    """
    house = {role for role in subject.roles if role != SELLER_ROLE}
    if SECOND_FACTOR in amr or house <= set(password_roles):
        return subject
    return replace(
        subject, roles=tuple(role for role in subject.roles if role not in house), withheld=tuple(sorted(house))
    )


def access_claims(
    subject: Subject,
    *,
    session_id: UUID,
    token_id: UUID,
    at: datetime,
    issuer: str,
    audience: str,
    cell: str,
    amr: Sequence[str] = (),
    actor_id: UUID | None = None,
) -> dict[str, Any]:
    """Return the claims of an access token (RFC 9068; `act` as RFC 8693 writes it, `amr` as RFC 8176).

    `withheld_roles` is our own: whoever refuses for want of one of these can say what is missing.
    """
    issued = int(at.timestamp())
    claims: dict[str, Any] = {
        "iss": issuer,
        "aud": audience,
        "sub": str(subject.user_id),
        "sid": str(session_id),
        "roles": [GUEST_ROLE if subject.guest else CUSTOMER_ROLE, *sorted(subject.roles)],
        "guest": subject.guest,
        "cell": cell,
        "iat": issued,
        "nbf": issued,
        "exp": issued + ACCESS_TOKEN_SECONDS,
        "jti": str(token_id),
    }
    if subject.withheld:
        claims["withheld_roles"] = list(subject.withheld)
    if amr:
        claims["amr"] = list(amr)
    if actor_id is not None:
        claims["act"] = {"sub": str(actor_id)}
    return claims


def acted_for(subject: Subject) -> Subject | None:
    """Return the subject as an importer may act for it, or None where it may not.

    Somebody with a role of their own is nobody's customer: their token must never be bought with a lesser role.
    """
    if subject.roles:
        return None
    return Subject(subject.user_id, subject.guest, (IMPORTER_ROLE,))


def require_recent(started_at: datetime | None, *, at: datetime) -> None:
    """Let a session pass that was opened a moment ago.

    Raises:
        RecentSignInRequired: It is older, or has ended.
    """
    if started_at is None or at - started_at > timedelta(seconds=RECENT_SIGN_IN_SECONDS):
        raise RecentSignInRequired("you signed in too long ago for this: sign in again")


# --- refresh tokens ---


class RefreshVerdict(enum.Enum):
    """What a refresh token that was shown is worth."""

    ROTATE = "ROTATE"
    REUSED = "REUSED"
    INVALID = "INVALID"


@dataclass(frozen=True)
class RefreshState:
    """A refresh token that was issued, and its session."""

    session_id: UUID
    subject: Subject
    opened_at: datetime
    expires_at: datetime
    spent_at: datetime | None
    revoked_at: datetime | None
    amr: tuple[str, ...] = ()


def judge_refresh(state: RefreshState | None, *, at: datetime) -> RefreshVerdict:
    """Decide what becomes of a refresh token.

    A spent one means that two hold it, and nobody can say which of them is the user: the session ends (RFC 9700,
    4.14.2). There is no grace for a client that lost the answer, since a thief would use it as well.
    """
    if state is None or state.revoked_at is not None:
        return RefreshVerdict.INVALID
    if state.spent_at is not None:
        return RefreshVerdict.REUSED
    # The token of a session that is near its end may have been issued for longer, by the code before this.
    ends_at = min(state.expires_at, session_end(state.subject, state.opened_at))
    return RefreshVerdict.ROTATE if at < ends_at else RefreshVerdict.INVALID


def session_end(subject: Subject, opened_at: datetime) -> datetime:
    """Return when a session ends for good."""
    return opened_at + timedelta(seconds=GUEST_SESSION_SECONDS if subject.guest else SESSION_SECONDS)


def refresh_end(subject: Subject, *, opened_at: datetime, at: datetime) -> datetime:
    """Return when a refresh token expires that is issued now: no later than its session."""
    return min(at + timedelta(seconds=REFRESH_TOKEN_SECONDS), session_end(subject, opened_at))


def revocation_end(revoked_at: datetime) -> datetime:
    """Return when a revocation may be forgotten."""
    return revoked_at + timedelta(seconds=REVOCATION_SECONDS)


# --- sign-in attempts ---


@dataclass(frozen=True)
class Attempts:
    """The wrong passwords for one address, and until when the next try has to wait."""

    failures: int
    failed_at: datetime
    blocked_until: datetime


def admit_attempt(attempts: Attempts | None, *, at: datetime) -> None:
    """Let a try pass, whoever makes it.

    Raises:
        SignInThrottled: It comes too early.
    """
    if attempts is not None and at < attempts.blocked_until:
        wait = (attempts.blocked_until - at).total_seconds()
        raise SignInThrottled("too many wrong passwords: try again later", retry_after_seconds=wait)


def after_failure(attempts: Attempts | None, *, at: datetime) -> Attempts:
    """Count a wrong password. From the tenth on the wait doubles, up to a minute, and a quiet quarter of an hour
    forgets all: guessing becomes hopeless, and nobody can lock somebody else out for good."""
    quiet = attempts is None or at - attempts.failed_at > timedelta(seconds=FORGET_SECONDS)
    failures = 1 if attempts is None or quiet else attempts.failures + 1
    # The exponent is bounded before the power is taken: the count itself has no bound.
    over = min(failures - FREE_ATTEMPTS, 16)
    delay = min(MAX_DELAY_SECONDS, 2**over) if over >= 0 else 0
    return Attempts(failures, at, at + timedelta(seconds=delay))


# --- signing keys ---


@dataclass(frozen=True)
class KeyTimes:
    """When a key starts to sign; it stops when the next one starts."""

    kid: str
    sign_at: datetime


K = TypeVar("K", bound=KeyTimes)


def signing_key(keys: Sequence[K], *, at: datetime) -> K | None:
    """Return the key that signs now: of those that have started, the last."""
    started = [key for key in keys if key.sign_at <= at]
    return max(started, key=lambda key: key.sign_at, default=None)


def verifying_keys(keys: Sequence[K], *, at: datetime) -> list[K]:
    """Return the keys to publish, the newest first: those that will sign, the one that signs, and every older one
    whose last token may still live."""
    ordered = sorted(keys, key=lambda key: key.sign_at, reverse=True)
    kept: list[K] = []
    retired_at: datetime | None = None
    for key in ordered:
        if retired_at is None or at < retired_at + timedelta(seconds=KEY_KEPT_SECONDS):
            kept.append(key)
        retired_at = key.sign_at
    return kept


def key_to_await(keys: Sequence[K], *, at: datetime) -> K | None:
    """Return the key to wait for instead of making another one, or None when a new key may be made.

    That is a key which is published but does not sign yet, or the newest one while as many keys verify as a key set
    holds.
    """
    published = verifying_keys(keys, at=at)
    if published and (published[0].sign_at > at or len(published) >= MAX_KEYS):
        return published[0]
    return None


def next_sign_time(keys: Sequence[K], *, at: datetime, notice_seconds: float) -> datetime:
    """Return when a key that is made now may sign: after every verifier has read it; the very first one at once."""
    return at + timedelta(seconds=notice_seconds) if keys else at


def rotation_due(keys: Sequence[K], *, at: datetime, period_seconds: float) -> bool:
    """Return whether the newest key has served its time, or there is none."""
    newest = max((key.sign_at for key in keys), default=None)
    return newest is None or at >= newest + timedelta(seconds=period_seconds)
