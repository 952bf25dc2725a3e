"""Calls to identity providers: their metadata, their keys, and the code that becomes an ID token.

A call goes to a server that the configuration names for that provider and to no other, follows no redirect and no
proxy, ends in time, and reads no more than it was ready for. Few run at once, so that a slow provider holds up its own
users. What a provider gets wrong is logged by its kind, and nothing of what it said is logged or told.
"""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote_plus

import httpx
import jwt

from mesh.refusals import Overloaded
from mesh.secret_files import SecretFile, SecretUnusable
from mesh.telemetry import get_logger
from svc_auth.errors import IdentityNotProven, IdentityProviderUnavailable
from svc_auth.federation.providers import Endpoints, Provider, is_address

T = TypeVar("T")

log = get_logger("svc_auth.federation")

CALL_SECONDS = 4.0
"""Two of them and what lies between stay within the ten seconds of a call."""
MAX_ANSWER_BYTES = 262_144
MAX_KEYS = 64
MAX_ID_TOKEN_CHARACTERS = 16_384
MAX_RUNNING = 8
MAX_WAITING = 32
METADATA_SECONDS = 3600.0
KEYS_SECONDS = 600.0
KEYS_AGAIN_SECONDS = 30.0
"""A token that names an unknown key has the keys read again, but forged ones not more often than this."""
FAILED_SECONDS = 1.0
"""How long what could not be read is not asked for again: those who waited for it are not kept waiting once more."""

_SIGNATURE_ALONE: Any = {f"verify_{claim}": False for claim in ("exp", "nbf", "iat", "aud", "iss", "sub", "jti")}
_INVALID_GRANT = "invalid_grant"


class _AnsweredBadly(Exception):
    """A provider does not answer, or not as it should; the message says in which way."""


class _Remembered:
    """Something that a provider published, when it was read, and what went wrong when it could not be."""

    def __init__(self) -> None:
        self.content: Any = None
        self.read_at = -float("inf")
        self.failed_at = -float("inf")
        self.problem = ""
        self.lock = asyncio.Lock()


class ProviderClient:
    """One provider, as this process calls it.

    `tls` says whom to believe, and is made once for all providers; `now` is a clock that never steps.
    """

    def __init__(
        self,
        provider: Provider,
        secrets_dir: Path,
        tls: ssl.SSLContext,
        *,
        now: Callable[[], float] = time.monotonic,
        call_seconds: float = CALL_SECONDS,
    ) -> None:
        self.provider = provider
        self._secrets_dir = secrets_dir
        self._now = now
        self._call_seconds = call_seconds
        self._turns = asyncio.Semaphore(MAX_RUNNING)
        self._calls = 0
        self._endpoints = _Remembered()
        self._keys = _Remembered()
        self._http = httpx.AsyncClient(
            verify=tls,
            headers={"accept": "application/json", "accept-encoding": "identity"},
            limits=httpx.Limits(max_connections=MAX_RUNNING, max_keepalive_connections=2),
            timeout=None,  # noqa: S113 (every call runs inside its own deadline)
            follow_redirects=False,
            trust_env=False,
        )

    async def close(self) -> None:
        """Close every connection."""
        await self._http.aclose()

    async def authorization_endpoint(self) -> str:
        """Return where browsers go.

        Raises:
            IdentityProviderUnavailable: The provider's metadata cannot be read.
            Overloaded: Too many calls to it wait.
        """
        async with self._turn():
            return (await self._known_endpoints()).authorization

    async def redeem(self, code: str, *, redirect_uri: str, verifier: str) -> Mapping[str, Any]:
        """Return the verified payload of the ID token that a code is good for, once.

        Raises:
            IdentityNotProven: The provider does not take the code, or its token is not signed by it.
            IdentityProviderUnavailable: The provider does not answer, or not as it should.
            Overloaded: Too many calls to it wait.
        """
        async with self._turn():
            endpoints = await self._known_endpoints()
            form = {
                "grant_type": "authorization_code",
                "code": code,
                "redirect_uri": redirect_uri,
                "code_verifier": verifier,
            }
            status, answer = await self._ask("POST", endpoints.token, form=form)
            if status == httpx.codes.BAD_REQUEST and answer.get("error") == _INVALID_GRANT:
                raise IdentityNotProven("the provider does not take the code: begin again")
            token = answer.get("id_token")
            if status != httpx.codes.OK or not isinstance(token, str) or len(token) > MAX_ID_TOKEN_CHARACTERS:
                raise _AnsweredBadly(f"the token endpoint answered {status} without an ID token")
            return await self._verified(token, endpoints)

    # --- what a token is signed with ---

    async def _verified(self, token: str, endpoints: Endpoints) -> Mapping[str, Any]:
        """Return the payload of a token that the provider signed; its claims are judged elsewhere."""
        try:
            header = jwt.get_unverified_header(token)
            algorithm, kid = header.get("alg"), header.get("kid")
            if algorithm not in self.provider.algorithms or not isinstance(kid, str | None):
                raise jwt.InvalidAlgorithmError("an algorithm that is not agreed on")
            key = await self._key(kid, algorithm, endpoints)
            payload: dict[str, Any] = jwt.decode(token, key.key, algorithms=[algorithm], options=_SIGNATURE_ALONE)
        except (jwt.PyJWTError, ValueError, TypeError) as cause:
            raise IdentityNotProven("the provider's answer proves no identity: begin again") from cause
        return payload

    async def _key(self, kid: str | None, algorithm: str, endpoints: Endpoints) -> jwt.PyJWK:
        for again_seconds in (KEYS_SECONDS, KEYS_AGAIN_SECONDS):
            keys = await self._fresh(self._keys, again_seconds, lambda: self._read_keys(endpoints.jwks))
            found = [key for key in keys if (kid is None or key.key_id == kid) and key.algorithm_name == algorithm]
            # Without an id the one key of that algorithm is meant, if there is only one.
            if len(found) == 1:
                return found[0]
        raise jwt.InvalidKeyError("a key that the provider does not publish")

    async def _read_keys(self, url: str) -> list[jwt.PyJWK]:
        answer = await self._get(url)
        published = answer.get("keys")
        if not isinstance(published, list) or len(published) > MAX_KEYS:
            raise _AnsweredBadly("the key set is none")
        keys: list[jwt.PyJWK] = []
        for each in published:
            keys += self._usable(each)
        if not keys:
            raise _AnsweredBadly("the key set has no key that can be used")
        return keys

    def _usable(self, published: Any) -> list[jwt.PyJWK]:
        """Return a published key once for each agreed algorithm that it may be for."""
        if not isinstance(published, dict) or published.get("use", "sig") != "sig":
            return []
        algorithms = [published["alg"]] if isinstance(published.get("alg"), str) else list(self.provider.algorithms)
        keys = []
        for algorithm in set(algorithms) & set(self.provider.algorithms):
            try:
                keys.append(jwt.PyJWK.from_dict(published, algorithm=algorithm))
            except (jwt.PyJWTError, ValueError, TypeError, KeyError):
                continue  # a key of another kind, as every provider may publish beside those for us
        return keys

    # --- where a provider takes what ---

    async def _known_endpoints(self) -> Endpoints:
        if self.provider.endpoints is not None:
            return self.provider.endpoints
        found: Endpoints = await self._fresh(self._endpoints, METADATA_SECONDS, self._discover)
        return found

    async def _discover(self) -> Endpoints:
        answer = await self._get(f"{self.provider.issuer.rstrip('/')}/.well-known/openid-configuration")
        if answer.get("issuer") != self.provider.issuer:
            raise _AnsweredBadly("the metadata are of another issuer")
        names = ("authorization_endpoint", "token_endpoint", "jwks_uri")
        urls = [answer.get(name) for name in names]
        for name, url in zip(names, urls, strict=True):
            if not isinstance(url, str) or not is_address(url):
                raise _AnsweredBadly(f"the metadata name no {name}")
        return Endpoints(*map(str, urls))

    async def _fresh(self, remembered: _Remembered, seconds: float, read: Callable[[], Any]) -> Any:
        """Return what is remembered, read anew where it is older than so many seconds.

        One reads for all that wait, and fails for all.
        """
        async with remembered.lock:
            if self._now() - remembered.read_at <= seconds:
                return remembered.content
            if self._now() - remembered.failed_at < FAILED_SECONDS:
                raise _AnsweredBadly(remembered.problem)
            try:
                remembered.content = await read()
            except _AnsweredBadly as error:
                remembered.failed_at, remembered.problem = self._now(), str(error)
                raise
            remembered.read_at = self._now()
            return remembered.content

    # --- one call ---

    async def _get(self, url: str) -> dict[str, Any]:
        status, answer = await self._ask("GET", url)
        if status != httpx.codes.OK:
            raise _AnsweredBadly(f"answered {status}")
        return answer

    async def _ask(self, method: str, url: str, *, form: Mapping[str, str] | None = None) -> tuple[int, dict[str, Any]]:
        if not self.provider.may_call(url):
            raise _AnsweredBadly("the metadata name a server that is not among the provider's origins")
        headers: dict[str, str] = {}
        if form is not None:
            form, authorization = self._authenticated(form)
            headers = {"authorization": authorization} if authorization else {}
        try:
            async with (
                asyncio.timeout(self._call_seconds),
                self._http.stream(method, url, data=form, headers=headers) as response,
            ):
                return response.status_code, _json(await _bounded(response))
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            raise _AnsweredBadly(type(error).__name__) from error

    def _authenticated(self, form: Mapping[str, str]) -> tuple[dict[str, str], str]:
        """Return the form with what names this client, and the header that does (RFC 6749, 2.3.1)."""
        client_id, how = self.provider.client_id, self.provider.client_authentication
        if how == "none":
            return {**form, "client_id": client_id}, ""
        try:  # read each time, so that it rotates without a restart
            secret = SecretFile(self._secrets_dir / self.provider.client_secret_file).read()
        except SecretUnusable as problem:
            raise _AnsweredBadly(str(problem)) from None
        if how == "client_secret_post":
            return {**form, "client_id": client_id, "client_secret": secret}, ""
        pair = f"{quote_plus(client_id)}:{quote_plus(secret)}"
        return dict(form), f"Basic {base64.b64encode(pair.encode()).decode()}"

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """Wait for one's turn with this provider; whoever waits for its metadata or keys counts as well."""
        if self._calls >= MAX_RUNNING + MAX_WAITING:
            raise Overloaded("too many calls to this provider wait", retry_after_seconds=2)
        self._calls += 1
        try:
            async with self._turns:
                with _told(self.provider.name):
                    yield
        finally:
            self._calls -= 1


@contextmanager
def _told(provider: str) -> Iterator[None]:
    """Turn what a provider got wrong into the refusal, and say in the log what it was."""
    try:
        yield
    except _AnsweredBadly as error:
        log.warning("an identity provider does not answer as it should", provider=provider, why=str(error))
        raise IdentityProviderUnavailable(
            "the identity provider does not answer as it should: try again later", retry_after_seconds=5
        ) from error


async def _bounded(response: httpx.Response) -> bytes:
    content = bytearray()
    # As it came over the wire: what was compressed against our wish is no JSON, and swells nothing here.
    async for part in response.aiter_raw():
        content += part
        if len(content) > MAX_ANSWER_BYTES:
            raise _AnsweredBadly("the answer is too long")
    return bytes(content)


def _json(content: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(content)
    except (ValueError, RecursionError):
        raise _AnsweredBadly("the answer is no JSON") from None
    if not isinstance(answer, dict):
        raise _AnsweredBadly("the answer is no object")
    return answer
