"""Follows AuthService in the background: its public keys, and the stream of sessions that have ended.

It fills the `KeySet` and the `RevocationView` that calls are verified with. A process waits for both once, before it
serves, and never again: while AuthService is away the last known keys stay good, and the view grows older, which
`mesh.identity` acts on.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

from mesh import telemetry
from mesh.clients import Clients
from mesh.contract import Contract
from mesh.identity import KeySet, RevocationView, VerifyingKey, key_of_jwk
from mesh.refusals import Refusal

AUTH_SERVICE = "titan.auth.v1.AuthService"
KEYS_EVERY_SECONDS = 5.0
"""A signing key is published at least this long before it signs."""

KEYS_AT_MOST_EVERY_SECONDS = 1.0
SILENCE_SECONDS = 15.0
"""AuthService says something every five seconds; three missed messages mean a dead stream."""

BACKOFF_SECONDS = (0.2, 3.0)

log = telemetry.get_logger("mesh.auth_feed")


class AuthFeed:
    """Run `follow` in the background; `keys` and `revocations` are what a `TokenVerifier` takes."""

    def __init__(
        self,
        clients: Clients,
        contract: Contract,
        *,
        keys: KeySet | None = None,
        revocations: RevocationView | None = None,
        keys_every_seconds: float = KEYS_EVERY_SECONDS,
    ) -> None:
        self.keys = KeySet() if keys is None else keys
        self.revocations = RevocationView() if revocations is None else revocations
        service = contract.services[AUTH_SERVICE]
        self._auth = clients.of_service(service.descriptor)
        self._requests = {method.name: method.request_class for method in service.methods}
        self._keys_every = keys_every_seconds
        self._wanted = asyncio.Event()
        self._complete = asyncio.Event()
        self.keys.on_unknown = self._wanted.set

    async def follow(self) -> None:
        """Follow both until cancelled."""
        telemetry.join_unrecorded_trace()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_again_and_again("keys", self._follow_keys))
            tasks.create_task(_again_and_again("revocations", self._follow_revocations))

    async def complete(self, *, within_seconds: float) -> bool:
        """Wait until keys and a first whole view of the ended sessions have arrived; False if they did not in time."""
        try:
            async with asyncio.timeout(within_seconds):
                await self._complete.wait()
        except TimeoutError:
            return False
        return True

    def _arrived(self) -> None:
        # A first view may come in parts, and only its last one says up to when it is complete.
        if self.keys.ready and not self.revocations.is_stale:
            self._complete.set()

    async def _follow_keys(self, succeeded: Callable[[], None]) -> None:
        while True:
            self._wanted.clear()
            response = await self._auth.GetJwks(self._requests["GetJwks"](), timeout=2.0)
            self.keys.replace(_keys_of(response))
            self._arrived()
            succeeded()
            await asyncio.sleep(KEYS_AT_MOST_EVERY_SECONDS)
            try:
                # A token that names an unknown key brings the next look forward; forged ones at most to once a second.
                async with asyncio.timeout(self._keys_every - KEYS_AT_MOST_EVERY_SECONDS):
                    await self._wanted.wait()
            except TimeoutError:
                continue

    async def _follow_revocations(self, succeeded: Callable[[], None]) -> None:
        stream = self._auth.WatchRevocations(self._requests["WatchRevocations"]())
        try:
            while True:
                async with asyncio.timeout(SILENCE_SECONDS):
                    message = await anext(stream, None)
                if message is None:
                    return
                ended = [(UUID(r.session_id), r.expire_time.ToNanoseconds() / 1e9) for r in message.revocations]
                self.revocations.apply(ended, as_of=message.as_of_time.ToNanoseconds() / 1e9)
                self._arrived()
                succeeded()
        finally:
            await stream.aclose()


async def _again_and_again(what: str, follow: Callable[[Callable[[], None]], Awaitable[None]]) -> None:
    least, most = BACKOFF_SECONDS
    pause, told = least, 0.0

    def succeeded() -> None:
        nonlocal pause
        pause = least

    while True:
        try:
            await follow(succeeded)
        except (Refusal, TimeoutError) as error:
            # While a mesh starts or AuthService restarts this is ordinary; one line a minute is enough.
            if time.monotonic() - told > 60 or not told:
                told = time.monotonic()
                log.warning(f"cannot follow {what} of AuthService", error=repr(error))
        await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311
        pause = min(most, pause * 2)


def _keys_of(response: Any) -> list[VerifyingKey]:
    found = []
    for jwk in response.keys:
        fields = {name: getattr(jwk, name) for name in ("kid", "kty", "crv", "x", "y", "alg")}
        try:
            found.append(key_of_jwk({name: value for name, value in fields.items() if value}))
        except Exception as error:
            log.warning("a published key cannot be used", kid=jwk.kid, error=type(error).__name__)
    return found
