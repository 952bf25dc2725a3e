"""Tries of a password, wherever one is asked for: one at a time per address, the wrong ones counted and slowed down."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from mesh.database import Database
from mesh.seams import Clock
from svc_auth.auth import attempt_store, rules
from svc_auth.auth.attempt_store import Credentials
from svc_auth.blind_index import BlindIndex, Hashed
from svc_auth.errors import CredentialsInvalid
from svc_auth.passwords import Passwords
from svc_auth.renewal import index_store
from svc_auth.renewal.index_store import EMAIL, Moved
from svc_auth.user.profiles import Profiles
from svc_auth.user.rules import User


class Turns:
    """One try at a time per address: a hundred guesses sent at once are counted like a hundred in a row.

    Counting before the password is checked would do as well, but would throttle an owner who signs in twice at once.
    """

    def __init__(self) -> None:
        self._locks: dict[bytes, tuple[asyncio.Lock, int]] = {}

    @asynccontextmanager
    async def of(self, key: bytes) -> AsyncIterator[None]:
        """Wait for the turn of this key."""
        lock, users = self._locks.get(key, (asyncio.Lock(), 0))
        self._locks[key] = (lock, users + 1)
        try:
            async with lock:
                yield
        finally:
            lock, users = self._locks[key]
            if users == 1:
                del self._locks[key]
            else:
                self._locks[key] = (lock, users - 1)


@dataclass(frozen=True)
class Passed:
    """A password that was right. `tries_hash` is where wrong ones before it were counted, if there were any."""

    credentials: Credentials
    password_hash: str
    tries_hash: bytes | None
    stronger_hash: str | None


class PasswordTrials:
    """The tries of one process. A try costs the same time whether the address is known or not."""

    def __init__(self, db: Database, passwords: Passwords, profiles: Profiles, index: BlindIndex, clock: Clock) -> None:
        self._db = db
        self._passwords = passwords
        self._profiles = profiles
        self._index = index
        self._clock = clock
        self._turns = Turns()

    async def of_address(self, email: str, password: str) -> Passed:
        """Return whose address and password these are.

        `stronger_hash` is a hash of the password with the parameters of today, where the stored one has others.

        Raises:
            CredentialsInvalid: Address and password do not belong together.
            SignInThrottled: The address has seen too many wrong ones.
        """
        return await self._index.settled(lambda: self._try(self._index.email(email), password))

    async def of_user(self, user: User, password: str) -> Passed:
        """Return the same of a user who has an address; every try of theirs counts, wherever it is asked for.

        Raises:
            UserNotFound: They were erased since.
            Refusal: As `of_address`.
        """
        return await self.of_address((await self._profiles.of(user)).email or "", password)

    async def _try(self, email: Hashed, password: str) -> Passed:
        async with self._turns.of(email.newest):
            async with self._db.hot_read() as connection:
                found, attempts = await attempt_store.find_credentials(connection, email)
            rules.admit_attempt(attempts, at=self._clock.now())
            known = found.password_hash if found is not None else None
            if not await self._passwords.verify(known, password) or found is None or known is None:
                await self._count_failure(email.newest)
                raise CredentialsInvalid("address and password do not belong together")
        if email.before is not None:
            await self._hash_anew(found, email)
        stronger = await self._passwords.hash(password) if self._passwords.outdated(known) else None
        return Passed(found, known, None if attempts is None else email.newest, stronger)

    async def _hash_anew(self, found: Credentials, email: Hashed) -> None:
        """Have a user found by the newest key of the index: the address is known here, and their profile may be one
        that does not open."""
        async with self._db.hot() as tx:
            await self._index.hold(tx, email)
            if found.email_index == email.before:
                moved = Moved(EMAIL, found.subject.user_id, found.email_index, email.newest)
                await index_store.save_moved(tx, [moved])
            await index_store.save_known(tx, EMAIL, [found.subject.user_id])

    async def _count_failure(self, hashed: bytes) -> None:
        async with self._db.hot() as tx:
            attempts = await attempt_store.lock_attempts(tx, hashed, at=self._clock.now())
            await attempt_store.save_attempts(tx, hashed, rules.after_failure(attempts, at=self._clock.now()))
