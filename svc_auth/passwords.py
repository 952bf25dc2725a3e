"""Password hashes: Argon2id at OWASP's floor, in a pool of threads so small that guessing cannot eat the machine.

Owns the cost of a guess. It never sees an e-mail address and never stores anything.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from mesh.refusals import Overloaded

T = TypeVar("T")

THREADS = 2
MAX_WAITING_PASSWORDS = 128
MEMORY_KIB = 19_456
PASSES = 2


class Passwords:
    """Hashes and verifies. argon2 releases the interpreter lock, so the event loop runs on meanwhile."""

    def __init__(
        self, *, memory_kib: int = MEMORY_KIB, threads: int = THREADS, max_waiting: int = MAX_WAITING_PASSWORDS
    ) -> None:
        self._hasher = PasswordHasher(time_cost=PASSES, memory_cost=memory_kib, parallelism=1)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="argon2")
        self._max_waiting = max_waiting
        self._waiting = 0
        # Nobody's password: an unknown address costs the same time as a wrong password.
        self._nobody = self._hasher.hash("nobody has this password")

    async def hash(self, password: str) -> str:
        """Return the encoded hash of a password.

        Raises:
            Overloaded: Too many wait already.
        """
        return await self._run(lambda: self._hasher.hash(password))

    async def verify(self, encoded: str | None, password: str) -> bool:
        """Return whether the password belongs to the hash; with no hash it takes as long and the answer is no.

        Raises:
            Overloaded: Too many wait already.
        """
        return await self._run(lambda: self._matches(encoded, password))

    def outdated(self, encoded: str) -> bool:
        """Return whether a hash was made with other parameters than today's."""
        return self._hasher.check_needs_rehash(encoded)

    def close(self) -> None:
        """Take nothing new."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _matches(self, encoded: str | None, password: str) -> bool:
        try:
            self._hasher.verify(self._nobody if encoded is None else encoded, password)
        except (VerificationError, InvalidHashError):
            return False
        return encoded is not None

    async def _run(self, work: Callable[[], T]) -> T:
        if self._waiting >= self._max_waiting:
            raise Overloaded("too many passwords wait to be checked", retry_after_seconds=2)
        self._waiting += 1
        try:
            # A caller that leaves while it waits takes its turn with it: the executor drops a cancelled future.
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        finally:
            self._waiting -= 1
