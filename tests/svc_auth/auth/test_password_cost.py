"""What a password costs in earnest, and that the time of a refusal tells nobody who is registered."""

from __future__ import annotations

import time
from uuid import UUID

import pytest
from argon2 import PasswordHasher

from svc_auth.passwords import MEMORY_KIB
from tests.harness import reason_of
from tests.svc_auth.conftest import PASSWORD, Replica, refused


@pytest.fixture(scope="module")
def memory_kib() -> int:
    """What passwords cost in earnest: some tests here compare times."""
    return MEMORY_KIB


async def test_the_password_of_nobody_is_checked_as_long(titan: Replica):
    """A dummy hash is verified with the parameters of real ones. In CPU time, which a busy machine does not stretch."""

    async def seconds_of(known: str | None) -> float:
        began = time.process_time()
        for _ in range(5):
            assert not await titan.passwords.verify(known, "not the password")
        return time.process_time() - began

    encoded = await titan.passwords.hash(PASSWORD)
    assert 0.5 < await seconds_of(encoded) / await seconds_of(None) < 2


async def test_a_known_and_an_unknown_address_are_refused_in_the_same_time(titan: Replica):
    """The whole call, not the hash alone. The cheapest of each counts, in CPU time: the machine may be busy."""
    known = [(await titan.register())[0] for _ in range(4)]
    taken: dict[str, list[float]] = {"known": [], "unknown": []}

    for email in known * 4:
        for kind, address in (("known", email), ("unknown", f"not.{email}")):
            began = time.process_time()
            assert "CREDENTIALS_INVALID" == reason_of(await refused(titan.sign_in(address, "not the password")))
            taken[kind].append(time.process_time() - began)

    assert 0.67 < min(taken["known"]) / min(taken["unknown"]) < 1.5


async def test_a_password_hash_of_old_parameters_is_made_anew(titan: Replica):
    """Signing in is when the password is known."""
    email, user_id = await titan.register()
    old = PasswordHasher(time_cost=1, memory_cost=8_192, parallelism=1).hash(PASSWORD)
    async with titan.db.hot() as tx:
        await tx.execute("UPDATE users SET password_hash = $2 WHERE user_id = $1", UUID(user_id), old)

    await titan.sign_in(email)

    async with titan.db.hot_read() as connection:
        stored = await connection.fetchval("SELECT password_hash FROM users WHERE user_id = $1", UUID(user_id))
    assert "m=19456,t=2,p=1" in stored
    await titan.sign_in(email)
