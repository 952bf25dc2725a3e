"""Whoever stands before the mesh, and the key that signs: a token can say anything, true or not."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import asyncpg
import jwt
from cryptography.hazmat.primitives.asymmetric import ec

from control.home import Home
from mesh.identity import AUDIENCE, ISSUER, TOKEN_TYPE
from svc_auth.keys import MasterKey

LIFE_SECONDS = 600


@dataclass(frozen=True)
class Person:
    """Somebody with a session."""

    user_id: str
    token: str
    refresh_token: str = ""
    email: str = ""
    password: str = ""

    @property
    def claims(self) -> dict[str, Any]:
        """What the access token says."""
        return dict(jwt.decode(self.token, options={"verify_signature": False}))


@dataclass(frozen=True)
class Signer:
    """The key with which the mesh signs at the moment: what somebody would have who broke into svc_auth."""

    kid: str
    key: ec.EllipticCurvePrivateKey

    @classmethod
    async def of(cls, home: Home, auth_database: str) -> Signer:
        """Take the key out of its database."""
        connection = await asyncpg.connect(auth_database)
        try:
            row = await connection.fetchrow(
                "SELECT kid, private_key FROM signing_keys WHERE sign_at <= now() ORDER BY sign_at DESC LIMIT 1"
            )
        finally:
            await connection.close()
        return cls(row["kid"], MasterKey.of_folder(home.secrets).open(row["kid"], row["private_key"]))

    def token(
        self, *, roles: tuple[str, ...] | str = ("customer",), header: dict[str, Any] | None = None, **more: Any
    ) -> str:
        """Return a token with these claims more; None takes a claim or a header away."""
        now = int(time.time())
        claims: dict[str, Any] = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": str(uuid4()),
            "sid": str(uuid4()),
            "roles": list(roles) if isinstance(roles, tuple) else roles,
            "guest": roles == ("guest",),
            "cell": "local",
            "iat": now,
            "nbf": now,
            "exp": now + LIFE_SECONDS,
            **more,
        }
        headers = {"kid": self.kid, "typ": TOKEN_TYPE, **(header or {})}
        # PyJWT writes a `typ` of its own where there is none, so None stays and becomes an empty one.
        return jwt.encode(
            {name: value for name, value in claims.items() if value is not None},
            self.key,
            algorithm="ES256",
            headers={name: value for name, value in headers.items() if name == "typ" or value is not None},
        )
