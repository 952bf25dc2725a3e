"""An OpenID Connect provider for tests: its rules are those of the standard, and a test may have it break each one."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import secrets
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx
import jwt
import uvicorn
from cryptography.hazmat.primitives.asymmetric import ec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from psp_sim.app import listen
from tests.psp_sim import running

CLIENT_ID = "titan-shop"
CLIENT_SECRET = "the shop's secret: 7%"
REDIRECT_URI = "https://shop.example.com/signed-in/local"
KID = "issuer-key"


@dataclass
class Person:
    """Who signs in at the provider."""

    subject: str = field(default_factory=lambda: secrets.token_hex(8))
    email: str = field(default_factory=lambda: f"grace.{secrets.token_hex(6)}@example.com")
    email_verified: Any = True
    name: str = "Grace Hopper"


@dataclass
class Behaviour:
    """What a test has the provider do otherwise, until it takes it back."""

    claims: dict[str, Any] = field(default_factory=dict)
    header: dict[str, Any] = field(default_factory=dict)
    key: Any = None
    algorithm: str = "ES256"
    metadata: dict[str, Any] = field(default_factory=dict)
    token_answer: Response | None = None
    keys_answer: Response | None = None
    delay_seconds: float = 0.0


class Issuer:
    """One provider on a port of this machine."""

    def __init__(self) -> None:
        self.url = ""
        self.person = Person()
        self.behaviour = Behaviour()
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.asked: list[str] = []
        self._codes: dict[str, dict[str, str]] = {}
        self.app = Starlette(
            routes=[
                Route("/.well-known/openid-configuration", self._metadata),
                Route("/authorize", self._authorize),
                Route("/token", self._token, methods=["POST"]),
                Route("/jwks", self._jwks),
            ]
        )

    async def visit(self, url: str, person: Person | None = None) -> dict[str, str]:
        """Sign in as a browser does; returns what the provider sends back to the redirect address."""
        self.person = person or Person()
        async with httpx.AsyncClient(trust_env=False, verify=False) as browser:
            answer = await browser.get(url)
        assert 302 == answer.status_code, answer.text
        came_back = urlsplit(answer.headers["location"])
        assert answer.headers["location"].startswith(f"{REDIRECT_URI}?")
        return dict(parse_qsl(came_back.query))

    async def _metadata(self, request: Request) -> Response:
        self.asked.append("metadata")
        await asyncio.sleep(self.behaviour.delay_seconds)
        metadata = {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/jwks",
        }
        return JSONResponse({**metadata, **self.behaviour.metadata})

    async def _authorize(self, request: Request) -> Response:
        asked = dict(request.query_params)
        known = (asked["client_id"], asked["redirect_uri"]) == (CLIENT_ID, REDIRECT_URI)
        if not known or asked["response_type"] != "code" or asked["code_challenge_method"] != "S256":
            return Response("not what this client may ask", 400)
        code = secrets.token_urlsafe(16)
        self._codes[code] = asked
        back = {"code": code, "state": asked["state"], "iss": self.url}
        return RedirectResponse(f"{asked['redirect_uri']}?{urlencode(back)}", 302)

    async def _token(self, request: Request) -> Response:
        self.asked.append("token")
        await asyncio.sleep(self.behaviour.delay_seconds)
        if self.behaviour.token_answer is not None:
            return self.behaviour.token_answer
        pair = base64.b64encode(b"titan-shop:the+shop%27s+secret%3A+7%25").decode()
        if request.headers.get("authorization") != f"Basic {pair}":
            return JSONResponse({"error": "invalid_client"}, 401)
        form = dict(parse_qsl((await request.body()).decode()))
        asked = self._codes.pop(form["code"], None)
        verifier = base64.urlsafe_b64encode(hashlib.sha256(form["code_verifier"].encode()).digest()).rstrip(b"=")
        good = asked is not None and (asked["redirect_uri"], asked["code_challenge"]) == (
            form["redirect_uri"],
            verifier.decode(),
        )
        if not good or asked is None or form["grant_type"] != "authorization_code":
            return JSONResponse({"error": "invalid_grant"}, 400)
        return JSONResponse({"access_token": "not for us", "id_token": self.id_token(asked["nonce"])})

    async def _jwks(self, request: Request) -> Response:
        self.asked.append("jwks")
        if self.behaviour.keys_answer is not None:
            return self.behaviour.keys_answer
        public = jwt.algorithms.ECAlgorithm.to_jwk(self.key.public_key(), as_dict=True)
        others = [{"kty": "oct", "k": "c2VjcmV0", "kid": "shared"}, {"kty": "RSA", "kid": "broken"}, "no key"]
        return JSONResponse({"keys": [*others, {**public, "kid": KID, "use": "sig", "alg": "ES256"}]})

    def id_token(self, nonce: str) -> str:
        """Return a token about the person, as this provider makes it now."""
        now = int(time.time())
        claims = {
            "iss": self.url,
            "aud": CLIENT_ID,
            "sub": self.person.subject,
            "email": self.person.email,
            "email_verified": self.person.email_verified,
            "name": self.person.name,
            "nonce": nonce,
            "iat": now,
            "exp": now + 300,
        }
        claims = {name: value for name, value in {**claims, **self.behaviour.claims}.items() if value is not None}
        key = self.behaviour.key if self.behaviour.key is not None else self.key
        header = {name: value for name, value in {"kid": KID, **self.behaviour.header}.items() if value is not None}
        return jwt.encode(claims, key, algorithm=self.behaviour.algorithm, headers=header)


@contextlib.asynccontextmanager
async def running_issuer() -> AsyncIterator[Issuer]:
    """Run a provider on a free port until the block ends."""
    issuer = Issuer()
    bound = listen("127.0.0.1", 0)
    issuer.url = f"http://127.0.0.1:{bound.getsockname()[1]}"
    server = uvicorn.Server(uvicorn.Config(issuer.app, log_config=None, access_log=False))
    async with running.serve(server, bound):
        yield issuer
