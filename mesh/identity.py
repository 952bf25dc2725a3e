"""Who calls: the user behind a token, and the package behind a connection.

Owns the verification of access tokens (RFC 9068, JWT profile; ES256 and EdDSA alone) and the view of ended sessions. It
never issues a token, never asks a network (`mesh.auth_feed` brings keys and revocations), and never decides what a
caller may do.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

import jwt
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, OKPAlgorithm

from mesh import calls
from mesh.refusals import SessionRevoked, TokenExpired, TokenInvalid, Unauthenticated, Unavailable

ISSUER = "https://titan.local"
AUDIENCE = "titan"
TOKEN_TYPE = "at+jwt"  # noqa: S105
LEEWAY_SECONDS = 5
MAX_LIFETIME_SECONDS = 3600
CACHED_TOKENS = 20_000
MAX_TOKEN_CHARACTERS = 4096
STALE_VIEW_SECONDS = 30.0

_CURVES = {"ES256": ("EC", "P-256"), "EdDSA": ("OKP", "Ed25519")}
_EXPIRED = "the access token has expired: refresh it"
_REQUIRED = ["exp", "iat", "iss", "aud", "sub", "sid"]


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is behind a call: a user, a package of the mesh, both, or nobody.

    `actor_id` is set when somebody acts for the user (the `act` claim of RFC 8693). `service` is the package whose
    certificate the peer showed. `withheld` are roles that open nothing in this session, for want of a second factor.
    """

    user_id: UUID | None = None
    session_id: UUID | None = None
    roles: frozenset[str] = frozenset()
    actor_id: UUID | None = None
    service: str | None = None
    is_guest: bool = False
    withheld: frozenset[str] = frozenset()

    def require_user_id(self) -> UUID:
        """Return the user's id.

        Raises:
            Unauthenticated: Nobody is signed in.
        """
        if self.user_id is None:
            raise Unauthenticated("sign in first")
        return self.user_id


NOBODY = Caller()


def caller_of(context: object = None) -> Caller:
    """Return who is behind the call that this task serves; `NOBODY` outside of a call."""
    call = calls.current()
    return NOBODY if call is None or call.caller is None else call.caller


@dataclass(frozen=True)
class VerifyingKey:
    """A public key that may sign access tokens, bound to the one algorithm that it is for."""

    kid: str
    algorithm: str
    key: Any


class KeySource(Protocol):
    """Where public keys come from. `find` is asked on every call and must answer from memory."""

    def find(self, kid: str) -> VerifyingKey | None:
        """Return the key of this id, or None when it is not known (yet)."""
        ...

    @property
    def ready(self) -> bool:
        """Keys have been loaded at least once."""
        ...


class KeySet:
    """Public keys in memory, replaced as a whole; the ordinary `KeySource`."""

    def __init__(self, keys: Iterable[VerifyingKey] = ()) -> None:
        self._keys = {key.kid: key for key in keys}
        self._ready = bool(self._keys)
        self.on_unknown: Callable[[], None] | None = None

    @property
    def ready(self) -> bool:
        """Keys have been loaded at least once."""
        return self._ready

    def replace(self, keys: Iterable[VerifyingKey]) -> None:
        """Take these keys and forget all others; an unchanged key stays the same object, so cached tokens live on.

        No keys at all are a mistake of whoever publishes them, and the old ones stay: without any, nobody is let in.
        """
        fresh = {key.kid: key for key in keys}
        if not fresh:
            return
        for kid, key in fresh.items():
            old = self._keys.get(kid)
            if old is not None and old.algorithm == key.algorithm and _same_key(old.key, key.key):
                fresh[kid] = old
        self._keys, self._ready = fresh, True

    def find(self, kid: str) -> VerifyingKey | None:
        """Return the key of this id; asking for an unknown one is told to `on_unknown`."""
        found = self._keys.get(kid)
        if found is None and self.on_unknown is not None:
            self.on_unknown()
        return found


def key_of_jwk(jwk: Mapping[str, str]) -> VerifyingKey:
    """Return the key of a JWK (RFC 7517); only P-256 for ES256 and Ed25519 for EdDSA are taken.

    Raises:
        ValueError: The key is of another kind, or carries no `kid`.
    """
    algorithm = jwk.get("alg") or {"P-256": "ES256", "Ed25519": "EdDSA"}.get(jwk.get("crv", ""), "")
    if not jwk.get("kid") or _CURVES.get(algorithm) != (jwk.get("kty"), jwk.get("crv")):
        raise ValueError("not a key for access tokens")
    if "d" in jwk:
        raise ValueError("a private key among the public ones")
    parser = ECAlgorithm if algorithm == "ES256" else OKPAlgorithm
    return VerifyingKey(jwk["kid"], algorithm, parser.from_jwk(dict(jwk)))


def _same_key(left: Any, right: Any) -> bool:
    der, form = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    return left is right or left.public_bytes(der, form) == right.public_bytes(der, form)


class RevocationView:
    """The sessions that ended, as far as this process knows, and how old that knowledge is.

    An entry is kept until the last token of its session has expired. Times are seconds since the epoch.
    """

    def __init__(
        self, *, now: Callable[[], float] = time.time, stale_after_seconds: float = STALE_VIEW_SECONDS
    ) -> None:
        self._now = now
        self._stale_after = stale_after_seconds
        self._ended: dict[UUID, float] = {}
        self._as_of = float("-inf")
        self._swept_at = float("-inf")

    def apply(self, ended: Iterable[tuple[UUID, float]], *, as_of: float) -> None:
        """Add sessions with the time when their tokens expire; the view is then complete up to `as_of`."""
        for session_id, expires in ended:
            self._ended[session_id] = max(expires, self._ended.get(session_id, 0.0))
        now = self._now()
        self._as_of = max(self._as_of, min(as_of, now))
        if now - self._swept_at > 60:
            self._swept_at = now
            self._ended = {s: e for s, e in self._ended.items() if e + LEEWAY_SECONDS >= now}

    def is_revoked(self, session_id: UUID | None) -> bool:
        """Return whether this session has ended before its tokens did."""
        return session_id in self._ended

    @property
    def is_stale(self) -> bool:
        """Whether nothing was heard for so long that sessions may have ended unnoticed."""
        return self._now() - self._as_of > self._stale_after

    def __len__(self) -> int:
        return len(self._ended)


@dataclass(frozen=True, slots=True)
class _Verified:
    caller: Caller
    key: VerifyingKey
    expires: float


class TokenVerifier:
    """Turns an access token into a `Caller`; remembers what it verified, by the token's hash, within a bound."""

    def __init__(
        self,
        keys: KeySource,
        *,
        revocations: RevocationView | None = None,
        issuer: str = ISSUER,
        audience: str = AUDIENCE,
        cell: str | None = None,
        now: Callable[[], float] = time.time,
        cached_tokens: int = CACHED_TOKENS,
        max_lifetime_seconds: float = MAX_LIFETIME_SECONDS,
    ) -> None:
        self._keys = keys
        self.revocations = revocations
        self._issuer = issuer
        self._audience = audience
        self._cell = cell
        self._now = now
        self._limit = cached_tokens
        self._max_lifetime = max_lifetime_seconds
        self._cache: OrderedDict[bytes, _Verified] = OrderedDict()

    def verify(self, token: str, *, mutation: bool) -> Caller:
        """Return the user behind the token.

        Raises:
            TokenInvalid: Malformed, forged, or not meant for Titan.
            TokenExpired: Good once, and over.
            SessionRevoked: Its session has ended.
            Unavailable: No keys are known yet, or a mutation is asked of a view of revocations that is too old.
        """
        if len(token) > MAX_TOKEN_CHARACTERS:
            raise TokenInvalid("the access token is not valid")
        digest = hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
        known = self._cache.get(digest)
        if known is None:
            known = self._verify(token)
            self._cache[digest] = known
            if len(self._cache) > self._limit:
                self._cache.popitem(last=False)
        else:
            # A key that left the key set takes its tokens along, cached or not.
            if self._keys.find(known.key.kid) is not known.key:
                del self._cache[digest]
                raise TokenInvalid("the access token is not valid")
            if known.expires + LEEWAY_SECONDS <= self._now():
                del self._cache[digest]
                raise TokenExpired(_EXPIRED)
            self._cache.move_to_end(digest)
        view = self.revocations
        if view is not None:
            if view.is_revoked(known.caller.session_id):
                raise SessionRevoked("the session has ended, sign in again")
            if mutation and view.is_stale:
                raise Unavailable("ended sessions are not known well enough to change anything", retry_after_seconds=1)
        return known.caller

    def _verify(self, token: str) -> _Verified:
        if not self._keys.ready:
            raise Unavailable("no keys for access tokens are known yet", retry_after_seconds=1)
        try:
            header = jwt.get_unverified_header(token)
            key = self._key(header)
            claims = jwt.decode(
                token,
                key=key.key,
                algorithms=[key.algorithm],
                issuer=self._issuer,
                audience=self._audience,
                options={"require": _REQUIRED, "verify_exp": False, "verify_nbf": False, "verify_iat": False},
            )
            if self._cell is not None and claims.get("cell", self._cell) != self._cell:
                raise ValueError("meant for another cell")
            caller = _caller(claims)
            self._check_times(claims)  # last: only a token that was good once is told that it is over
            return _Verified(caller, key, float(claims["exp"]))
        except (jwt.PyJWTError, ValueError, TypeError, KeyError, AttributeError) as cause:
            # Why a token was refused helps only its forger; the log of the process has the class of the cause.
            raise TokenInvalid("the access token is not valid") from cause

    def _key(self, header: Mapping[str, Any]) -> VerifyingKey:
        kid = header.get("kid")
        if not isinstance(kid, str) or str(header.get("typ", "")).lower() not in (
            TOKEN_TYPE,
            f"application/{TOKEN_TYPE}",
        ):
            raise ValueError("not an access token")
        if header.get("crit") or header.get("b64") is False:
            raise ValueError("unknown critical header")
        key = self._keys.find(kid)
        if key is None or header.get("alg") != key.algorithm:
            raise ValueError("unknown key or algorithm")
        return key

    def _check_times(self, claims: Mapping[str, Any]) -> None:
        now = self._now()
        for name in ("exp", "iat", "nbf"):
            value = claims.get(name, 0 if name == "nbf" else None)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
                raise ValueError(f"{name} is not a time")
        if claims["exp"] - claims["iat"] > self._max_lifetime:
            raise ValueError("lives too long")
        if max(claims["iat"], claims.get("nbf", 0)) > now + LEEWAY_SECONDS:
            raise ValueError("not valid yet")
        if now >= claims["exp"] + LEEWAY_SECONDS:
            raise TokenExpired(_EXPIRED)


def _caller(claims: Mapping[str, Any]) -> Caller:
    actor = claims.get("act")
    return Caller(
        user_id=UUID(claims["sub"]),
        session_id=UUID(claims["sid"]),
        roles=_roles(claims, "roles"),
        actor_id=UUID(actor["sub"]) if actor is not None else None,
        is_guest=claims.get("guest") is True,
        withheld=_roles(claims, "withheld_roles"),
    )


def _roles(claims: Mapping[str, Any], name: str) -> frozenset[str]:
    roles = claims.get(name, [])
    if not isinstance(roles, list) or not all(isinstance(role, str) for role in roles):
        raise ValueError(f"{name} are not a list of strings")
    return frozenset(roles)


def package_of_peer(peer: str, trust_domain: str) -> str | None:
    """Return the package of a SPIFFE id such as `spiffe://titan.local/svc/svc_order`; None for anybody else.

    The developer identity of a mesh is nobody here: a person is never a package.
    """
    prefix = f"spiffe://{trust_domain}/svc/"
    name = peer[len(prefix) :] if peer.startswith(prefix) else ""
    return name if name and name.isidentifier() else None
