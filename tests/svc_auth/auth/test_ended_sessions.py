"""All sessions of a user ended at once: by the user but for the current one, and by an administrator."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import grpc
import pytest

from svc_auth.auth.rules import RECENT_SIGN_IN_SECONDS
from svc_auth.user import store as user_store
from tests.harness import reason_of
from tests.svc_auth.conftest import PASSWORD, Replica, bearer, nobody, refused
from tests.svc_auth.factor.test_rpc import someone_careful
from tests.svc_auth.passkey import test_rpc as passkey
from tests.svc_auth.passkey.authenticator import Authenticator
from titan.auth.v1 import auth_service_pb2 as pb
from titan.auth.v1.second_factor_pb2 import SecondFactorProof


async def end_others(titan: Replica, pair: Any) -> Any:
    return await titan.auth.EndOtherSessions(pb.EndOtherSessionsRequest(confirm=True), metadata=bearer(pair))


async def end_all(titan: Replica, user_id: object, by: Any) -> Any:
    return await titan.auth.EndUserSessions(pb.EndUserSessionsRequest(user_id=str(user_id)), metadata=bearer(by))


async def admin(titan: Replica) -> Any:
    return await titan.sign_in("admin@titan.local", "an administrator's long secret")


async def ended(titan: Replica, pair: Any) -> bool:
    """Whether neither token of a pair counts any more."""
    await titan.feed.look()
    listing = titan.auth.ListSessions(pb.ListSessionsRequest(), metadata=bearer(pair))
    try:
        await listing
    except grpc.aio.AioRpcError as refusal:
        assert "SESSION_REVOKED" == reason_of(refusal)
        assert "REFRESH_TOKEN_INVALID" == reason_of(await refused(titan.refresh(pair.refresh_token)))
        return True
    return False


def before_the_lock(monkeypatch: pytest.MonkeyPatch, happen: Callable[[], Awaitable[Any]]) -> None:
    """Let something happen once a call has looked at its session, and has not locked its user yet."""
    lock_user = user_store.lock_user

    async def lock_late(tx: Any, user_id: UUID) -> Any:
        monkeypatch.undo()
        await happen()
        return await lock_user(tx, user_id)

    monkeypatch.setattr(user_store, "lock_user", lock_late)


async def test_a_user_signs_out_everywhere_else(titan: Replica):
    """After a passkey was added, say; this session goes on, and ending twice is safe."""
    email, _ = await titan.register()
    here, there, third = [await titan.sign_in(email) for _ in range(3)]
    neighbour = await titan.sign_in((await titan.register())[0])
    await passkey.register(titan, here, Authenticator())
    for _ in range(2):
        await end_others(titan, here)

    assert [False, True, True, False] == [await ended(titan, each) for each in (here, there, third, neighbour)]


async def test_what_was_begun_elsewhere_is_not_finished(titan: Replica):
    """Whoever had the password and was asked for a code begins again."""
    ada = await someone_careful(titan)
    token = await ada.challenge()
    here = await ada.complete(recovery_code=ada.recovery_codes[0])
    await end_others(titan, here)

    refusal = await refused(ada.complete(token, recovery_code=ada.recovery_codes[1]))
    assert "CHALLENGE_INVALID" == reason_of(refusal)


async def test_a_session_that_is_old_signs_nobody_out(titan: Replica):
    """A token that was stolen later does not put its owner out."""
    email, _ = await titan.register()
    old, other = await titan.sign_in(email), await titan.sign_in(email)
    await titan.later(RECENT_SIGN_IN_SECONDS + 1)
    try:
        fresh = await titan.refresh(old.refresh_token)
        assert "RECENT_SIGN_IN_REQUIRED" == reason_of(await refused(end_others(titan, fresh)))
        await titan.refresh(other.refresh_token)
    finally:
        await titan.later(-RECENT_SIGN_IN_SECONDS - 1)


async def test_a_session_that_ends_meanwhile_signs_nobody_out(titan: Replica, monkeypatch: pytest.MonkeyPatch):
    """The one that ends the other is the one that stays: a thief who asks at the same moment hears that theirs has
    ended."""
    email, _ = await titan.register()
    owner, thief = await titan.sign_in(email), await titan.sign_in(email)
    before_the_lock(monkeypatch, lambda: end_others(titan, owner))

    error = await refused(end_others(titan, thief))

    assert ("SESSION_REVOKED", grpc.StatusCode.UNAUTHENTICATED) == (reason_of(error), error.code())
    assert [False, True] == [await ended(titan, each) for each in (owner, thief)]


async def test_a_session_that_ends_meanwhile_ends_no_passkey(titan: Replica, monkeypatch: pytest.MonkeyPatch):
    """Its owner may have no other way in."""
    email, _ = await titan.register()
    owner, thief = await titan.sign_in(email), await titan.sign_in(email)
    made = await passkey.register(titan, owner, Authenticator())
    before_the_lock(monkeypatch, lambda: end_others(titan, owner))

    error = await refused(passkey.delete(titan, thief, made.passkey_id))

    assert ("SESSION_REVOKED", grpc.StatusCode.UNAUTHENTICATED) == (reason_of(error), error.code())
    assert [made.passkey_id] == [each.passkey_id for each in await passkey.passkeys(titan, owner)]


async def test_an_empty_call_signs_nobody_out(titan: Replica):
    """It has to say that it is meant."""
    pair = await titan.sign_in((await titan.register())[0])
    call = titan.auth.EndOtherSessions(pb.EndOtherSessionsRequest(), metadata=bearer(pair))
    assert "INVALID_INPUT" == reason_of(await refused(call))


async def test_who_acts_for_somebody_and_who_is_gone_end_nothing(titan: Replica, importer: Any):
    """Neither has a say in where a user is signed in."""
    guest = await titan.guest()
    exchange = pb.ExchangeTokenRequest(subject_user_id=guest.user_id)
    acting = await titan.auth.ExchangeToken(exchange, metadata=bearer(importer))

    assert "ACCESS_DENIED" == reason_of(await refused(end_others(titan, acting)))
    assert "RECENT_SIGN_IN_REQUIRED" == reason_of(await refused(end_others(titan, nobody(titan))))
    async with titan.db.hot() as tx:
        await tx.execute("UPDATE users SET erased_at = now() WHERE user_id = $1", UUID(guest.user_id))
    assert "USER_NOT_FOUND" == reason_of(await refused(end_others(titan, guest)))


async def sign_in_from(titan: Replica, pair: Any, email: str) -> Any:
    """Sign in with a password, in a client that holds a pair already."""
    request = pb.CreateSessionRequest(email=email, password=PASSWORD)
    return await titan.auth.CreateSession(request, metadata=bearer(pair))


async def test_a_sign_in_ends_the_session_that_it_is_called_in(titan: Replica):
    """A guest's and one's own; what is signed in elsewhere goes on."""
    email, _ = await titan.register()
    guest, elsewhere = await titan.guest(), await titan.sign_in(email)
    first = await sign_in_from(titan, guest, email)
    second = await sign_in_from(titan, first, email)

    assert [True, True, False, False] == [await ended(titan, each) for each in (guest, first, second, elsewhere)]


async def test_a_session_ends_when_the_second_factor_was_shown_too(titan: Replica):
    """Half a sign-in ends nothing, and a wrong password neither."""
    ada = await someone_careful(titan)
    challenge = (await sign_in_from(titan, ada.pair, ada.email)).challenge.challenge_token
    wrong = pb.CreateSessionRequest(email=ada.email, password="not the password")
    await refused(titan.auth.CreateSession(wrong, metadata=bearer(ada.pair)))
    assert not await ended(titan, ada.pair)

    proof = SecondFactorProof(recovery_code=ada.recovery_codes[0])
    request = pb.CompleteSessionRequest(challenge_token=challenge, proof=proof)
    fresh = await titan.auth.CompleteSession(request, metadata=bearer(ada.pair))

    assert [True, False] == [await ended(titan, each) for each in (ada.pair, fresh)]


async def test_a_token_that_acts_for_somebody_is_no_session_to_end(titan: Replica, importer: Any):
    """It is the actor's own session that would end, and the actor did not sign in."""
    email, _ = await titan.register()
    guest = await titan.guest()
    exchange = pb.ExchangeTokenRequest(subject_user_id=guest.user_id)
    acting = await titan.auth.ExchangeToken(exchange, metadata=bearer(importer))
    await sign_in_from(titan, acting, email)

    assert [False, False] == [await ended(titan, each) for each in (importer, guest)]


async def test_an_administrator_ends_all_sessions_of_a_user(titan: Replica):
    """How the user signs in stays as it is; a guest is signed out for good; ending twice is safe."""
    email, user_id = await titan.register()
    one, two, guest = await titan.sign_in(email), await titan.sign_in(email), await titan.guest()
    by = await admin(titan)
    for user in (user_id, user_id, guest.user_id):
        await end_all(titan, user, by)

    assert [True, True, True] == [await ended(titan, each) for each in (one, two, guest)]
    assert user_id == (await titan.sign_in(email)).user_id
    async with titan.db.hot_read() as connection:
        entries = await connection.fetch(
            "SELECT actor_id FROM audit_entries WHERE method LIKE '%EndUserSessions' AND resource = $1",
            f"users/{user_id}",
        )
    assert [UUID(by.user_id)] == [entry["actor_id"] for entry in entries]


async def test_nobody_else_ends_the_sessions_of_a_user(titan: Replica, importer: Any):
    """Not the user with this call, not another user, not another role; and nobody of a user who is not."""
    email, user_id = await titan.register()
    pair, other = await titan.sign_in(email), await titan.sign_in((await titan.register())[0])

    for by in (pair, other, importer):
        assert "ACCESS_DENIED" == reason_of(await refused(end_all(titan, user_id, by)))
    refusal = await refused(end_all(titan, uuid4(), await admin(titan)))
    assert ("USER_NOT_FOUND", grpc.StatusCode.NOT_FOUND) == (reason_of(refusal), refusal.code())
    assert not await ended(titan, pair)
