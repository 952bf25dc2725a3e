"""The edge of a running mesh, as a replay calls it: tokens are renewed, and lost answers asked for again."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

PROFILE = "load"
"""The limits that a replay fits into: everything comes from one address, in the name of thousands of customers."""

RUNNING_CALLS = 16
"""Calls under way at once."""
CALL_SECONDS = 30.0
PAUSES_SECONDS = (0.2, 0.5, 1.0)
"""Between tries of a call whose answer was lost. Asking again is safe: it has a key, or changes nothing twice."""
UNKNOWN_ANSWERS = frozenset({500, 502, 503, 504})
"""After these nobody knows what was done: not one of them is a refusal to keep."""
SIGNED_OUT = 401
RENEWED_SECONDS = 240.0
"""How long a token is used; it lasts ten minutes."""


class ReplayFailed(Exception):
    """The mesh refused something that a replay can't do without; the message says what and why."""


class Refused(Exception):
    """The mesh said no, and would again; the message is the reason."""


@dataclass(frozen=True, slots=True)
class Token:
    """An access token, and until when it is used, by the monotonic clock."""

    text: str
    until: float

    @property
    def fresh(self) -> bool:
        """Whether it may be used."""
        return time.monotonic() < self.until


@dataclass
class Edge:
    """An importer's session at the edge."""

    http: httpx.AsyncClient
    email: str = ""
    password: str = ""
    _own: Token | None = None
    _acting: dict[str, Token] = field(default_factory=dict)
    _signing_in: asyncio.Lock = field(default_factory=asyncio.Lock)
    _turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(RUNNING_CALLS))

    @classmethod
    def at(cls, endpoints: dict[str, Any]) -> Edge:
        """Return the edge of the mesh whose endpoints.json this is."""
        limits = httpx.Limits(max_connections=RUNNING_CALLS, max_keepalive_connections=RUNNING_CALLS)
        trust = ssl.create_default_context(cafile=endpoints["ca"])
        # The mesh is on this machine: a proxy that the environment names has no business here.
        http = httpx.AsyncClient(
            base_url=endpoints["edge"], verify=trust, limits=limits, timeout=CALL_SECONDS, trust_env=False
        )
        return cls(http, endpoints["importer_email"], endpoints["importer_password"])

    async def call(self, path: str, body: Any = None, *, method: str = "POST", key: str = "", user_id: str = "") -> Any:
        """Return the answer to the importer's call, or to one in a user's name.

        Raises:
            Refused: The mesh said no.
            ReplayFailed: Nobody knows what the mesh says.
        """
        token = await self._token_for(user_id) if user_id else await self._own_token()
        return (await self._send(method, path, body, token=token, key=key)).json()

    async def send_content(self, path: str, content: bytes, content_type: str) -> Any:
        """Return the answer to a body that is sent as it is.

        Raises:
            Refused: The mesh said no.
            ReplayFailed: Nobody knows what the mesh says.
        """
        token = await self._own_token()
        return (await self._send("POST", path, content=content, content_type=content_type, token=token)).json()

    async def read_content(self, path: str) -> bytes:
        """Return an answer's body as it is.

        Raises:
            Refused: The mesh said no.
            ReplayFailed: Nobody knows what the mesh says.
        """
        return (await self._send("GET", path, token=await self._own_token())).content

    async def needed(self, path: str, body: Any, *, key: str = "") -> Any:
        """Return the answer to a call that a replay can't do without.

        Raises:
            ReplayFailed: The mesh said no, or one of the answer's results did.
        """
        try:
            answer = await self.call(path, body, key=key)
        except Refused as refusal:
            raise ReplayFailed(f"POST {path} was refused: {refusal}") from None
        for result in answer.get("results", ()):
            if "error" in result:
                raise ReplayFailed(f"POST {path}: {result['error'].get('message', result['error'])}")
        return answer

    async def _own_token(self) -> str:
        async with self._signing_in:
            if self._own is None or not self._own.fresh:
                body = {"email": self.email, "password": self.password}
                self._own = _token((await self._send("POST", "/v1/sessions", body)).json())
            return self._own.text

    async def _token_for(self, user_id: str) -> str:
        held = self._acting.get(user_id)
        if held is None or not held.fresh:
            own, body = await self._own_token(), {"subjectUserId": user_id}
            exchanged = await self._send("POST", "/v1/sessions:exchange", body, token=own)
            self._acting[user_id] = held = _token(exchanged.json())
        return held.text

    async def _send(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        content: bytes | None = None,
        content_type: str = "",
        token: str = "",
        key: str = "",
    ) -> httpx.Response:
        headers = {"authorization": f"Bearer {token}"} if token else {}
        headers |= {name: value for name, value in (("idempotency-key", key), ("content-type", content_type)) if value}
        problem = ""
        async with self._turns:
            for pause in (*PAUSES_SECONDS, None):
                try:
                    response = await self.http.request(method, path, json=body, content=content, headers=headers)
                except httpx.ConnectError as error:
                    raise ReplayFailed(f"{method} {path}: the edge does not answer") from error
                except httpx.TransportError as error:
                    problem = f"the edge does not answer ({type(error).__name__})"
                else:
                    if response.status_code == 200:
                        return response
                    problem = reason_of(response)
                    busy = response.status_code == 429 and problem == "OVERLOADED"
                    if response.status_code == 429 and not busy:
                        raise ReplayFailed(
                            f"the edge limits one address; start the mesh for imports: make up PROFILE={PROFILE}"
                        )
                    if response.status_code == SIGNED_OUT:
                        raise ReplayFailed(f"{method} {path}: the importer's session is over ({problem})")
                    if not busy and response.status_code not in UNKNOWN_ANSWERS:
                        raise Refused(problem)
                if pause is not None:
                    await asyncio.sleep(pause)
        raise ReplayFailed(f"{method} {path}: {problem}; the same command goes on from here")


def read_endpoints(home: Path) -> dict[str, Any]:
    """Return where the mesh of a home is.

    Raises:
        ReplayFailed: No mesh is running there, or one whose limits are too low for a replay.
    """
    try:
        endpoints: dict[str, Any] = json.loads((home / "endpoints.json").read_text())
    except FileNotFoundError:
        raise ReplayFailed(f"no mesh is running in {home}; start one: make up PROFILE={PROFILE}") from None
    if (running := endpoints["profile"]) != PROFILE:
        raise ReplayFailed(
            f"a replay needs the rate limits of PROFILE={PROFILE}, and the mesh of {home} runs with "
            f"PROFILE={running}: make down, then make up PROFILE={PROFILE}"
        )
    return endpoints


def reason_of(response: httpx.Response) -> str:
    """Return the reason of a refusal, or its status where it says none."""
    try:
        details: Iterable[dict[str, Any]] = response.json()["error"]["details"]
        return next(str(each["reason"]) for each in details if "reason" in each)
    except (ValueError, KeyError, TypeError, StopIteration):
        return f"HTTP_{response.status_code}"


def _token(answer: dict[str, Any]) -> Token:
    return Token(answer["accessToken"], time.monotonic() + RENEWED_SECONDS)
