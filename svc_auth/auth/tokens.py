"""Issues the pair of tokens of a session: the signed access token, and the opaque one that buys the next pair."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from uuid import UUID

from mesh.seams import Clock, Ids
from svc_auth.auth import rules
from svc_auth.auth.rules import Subject
from svc_auth.keys import KeyRing

REFRESH_BYTES = 32


def new_refresh_token() -> str:
    """Return 256 random bits that need no escaping anywhere."""
    return secrets.token_urlsafe(REFRESH_BYTES)


@dataclass(frozen=True)
class Pair:
    """What a session is answered with. `second_factor_required`: the user's roles open nothing in it."""

    access_token: str
    refresh_token: str
    user_id: UUID
    second_factor_required: bool = False
    expires_in_seconds: int = rules.ACCESS_TOKEN_SECONDS


class Issuer:
    """Signs access tokens for one cell. `password_roles` open without a second factor."""

    def __init__(
        self,
        ring: KeyRing,
        clock: Clock,
        ids: Ids,
        *,
        issuer: str,
        audience: str,
        cell: str,
        password_roles: Collection[str],
    ) -> None:
        self._ring = ring
        self._clock = clock
        self._ids = ids
        self._issuer = issuer
        self._audience = audience
        self._cell = cell
        self._password_roles = password_roles

    def access_token(
        self, subject: Subject, *, session_id: UUID, amr: Sequence[str] = (), actor_id: UUID | None = None
    ) -> str:
        """Return a signed access token.

        Raises:
            Unavailable: No key signs yet.
        """
        at = self._clock.now()
        claims = rules.access_claims(
            subject,
            session_id=session_id,
            token_id=self._ids.new(),
            at=at,
            issuer=self._issuer,
            audience=self._audience,
            cell=self._cell,
            amr=amr,
            actor_id=actor_id,
        )
        return self._ring.sign(claims, at=at)

    def pair(self, subject: Subject, *, session_id: UUID, amr: Sequence[str], refresh_token: str) -> Pair:
        """Return the pair of a session whose refresh token is stored; what roles it opens depends on how it was opened.

        Every session of everybody gets its tokens here.
        """
        admitted = rules.in_session(subject, amr, password_roles=self._password_roles)
        token = self.access_token(admitted, session_id=session_id, amr=amr)
        return Pair(token, refresh_token, subject.user_id, second_factor_required=bool(admitted.withheld))
