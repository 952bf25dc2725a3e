"""Pure decisions about sign-in at a provider: what a flow sends and expects, and what an ID token proves.

The state, the nonce and the code verifier of a flow are made from its token, which only the client that began the flow
has: nothing that is stored finishes a flow, and whoever reads the state on its way cannot make the token from it.
"""

from __future__ import annotations

import base64
import enum
import hashlib
import hmac
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from svc_auth.errors import IdentityNotProven
from svc_auth.federation.providers import Provider
from svc_auth.user.rules import normalise_email

FLOW_SECONDS = 600
TOKEN_BYTES = 32
LEEWAY_SECONDS = 30
"""How far a provider's clock may be off."""
MAX_TOKEN_AGE_SECONDS = 600
"""An ID token is read as soon as it is made."""
MAX_SUBJECT_CHARACTERS = 255
MAX_EMAIL_CHARACTERS = 254
MAX_NAME_CHARACTERS = 120

BY_PROVIDER = ("fed",)
"""How a session was opened. RFC 8176 has no word for it; this is the one that others use."""

_EMAIL = re.compile(r"[!-?A-~]+@[!-?A-~]+")


class FlowPurpose(enum.StrEnum):
    """What a flow is for."""

    SIGN_IN = "SIGN_IN"
    LINK = "LINK"


@dataclass(frozen=True)
class Flow:
    """A flow that was begun; `user_id` is who links an identity, in the session that began it."""

    flow_hash: bytes
    provider: str
    redirect_uri: str
    purpose: FlowPurpose
    user_id: UUID | None
    client_name: str = field(repr=False)
    session_id: UUID | None = None


@dataclass(frozen=True)
class Claims:
    """What an ID token proves: who it is, and the address that the provider vouches for, if any."""

    issuer: str
    subject: str = field(repr=False)
    email: str | None = field(repr=False)
    name: str = field(repr=False)


def flow_hash(token: str) -> bytes:
    """Return what a flow is found by."""
    return hashlib.sha256(b"flow " + token.encode()).digest()


def flow_end(at: datetime) -> datetime:
    """Return until when a flow counts that begins now."""
    return at + timedelta(seconds=FLOW_SECONDS)


def state_of(token: str) -> str:
    """Return what a provider hands back unread."""
    return _derived(token, b"state")


def nonce_of(token: str) -> str:
    """Return what an ID token of this flow carries."""
    return _derived(token, b"nonce")


def verifier_of(token: str) -> str:
    """Return the code verifier of a flow (RFC 7636, 4.1)."""
    return _derived(token, b"verifier")


def is_state_of(token: str, state: str) -> bool:
    """Return whether a provider's answer belongs to a flow."""
    return hmac.compare_digest(state_of(token).encode(), state.encode())


def authorization_url(endpoint: str, provider: Provider, *, redirect_uri: str, token: str) -> str:
    """Return where to send the browser (OpenID Connect Core, 3.1.2.1; PKCE with S256)."""
    parameters = {
        "response_type": "code",
        "client_id": provider.client_id,
        "redirect_uri": redirect_uri,
        "scope": " ".join(provider.scopes),
        "state": state_of(token),
        "nonce": nonce_of(token),
        "code_challenge": _base64url(hashlib.sha256(verifier_of(token).encode()).digest()),
        "code_challenge_method": "S256",
    }
    return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(parameters)}"


def claims_of(payload: Mapping[str, Any], provider: Provider, *, nonce: str, at: datetime) -> Claims:
    """Return what the verified payload of an ID token proves (OpenID Connect Core, 3.1.3.7).

    Raises:
        IdentityNotProven: It is not of this provider, client, flow or time.
    """
    audience = payload.get("aud")
    audiences = audience if isinstance(audience, list) else [audience]
    party = payload.get("azp", provider.client_id if len(audiences) == 1 else None)
    told = payload.get("nonce")
    subject = payload.get("sub")
    good = (
        payload.get("iss") == provider.issuer
        and provider.client_id in audiences
        and party == provider.client_id
        and isinstance(told, str)
        and hmac.compare_digest(told.encode(), nonce.encode())
        and isinstance(subject, str)
        and 0 < len(subject) <= MAX_SUBJECT_CHARACTERS
        and "\x00" not in subject
        and _is_of_now(payload, at=at.timestamp())
    )
    if not good or not isinstance(subject, str):
        raise IdentityNotProven("the provider's answer proves no identity: begin again")
    return Claims(provider.issuer, subject, _vouched_email(payload, provider), _name(payload))


def _is_of_now(payload: Mapping[str, Any], *, at: float) -> bool:
    expires, issued, starts = payload.get("exp"), payload.get("iat"), payload.get("nbf", 0)
    for moment in (expires, issued, starts):
        if isinstance(moment, bool) or not isinstance(moment, int | float) or not math.isfinite(moment):
            return False
    assert expires is not None and issued is not None
    begun = max(issued, starts) <= at + LEEWAY_SECONDS
    return begun and at < expires + LEEWAY_SECONDS and at - issued <= MAX_TOKEN_AGE_SECONDS + LEEWAY_SECONDS


def _vouched_email(payload: Mapping[str, Any], provider: Provider) -> str | None:
    email = payload.get("email")
    # Some providers write the boolean as a text.
    told = payload.get("email_verified")
    verified = told is True or told == "true"
    if (
        not (verified and provider.email_trusted)
        or not isinstance(email, str)
        or len(email) > MAX_EMAIL_CHARACTERS
        or not _EMAIL.fullmatch(email)
    ):
        return None
    return normalise_email(email)


def _name(payload: Mapping[str, Any]) -> str:
    name = payload.get("name")
    return name.strip() if isinstance(name, str) and name.isprintable() and len(name) <= MAX_NAME_CHARACTERS else ""


def _derived(token: str, label: bytes) -> str:
    return _base64url(hmac.digest(token.encode(), b"titan flow " + label, "sha256"))


def _base64url(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()
