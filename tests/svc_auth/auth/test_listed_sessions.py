"""The sessions that a user sees and ends one by one, behind the real chain, on a real Postgres."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import grpc
import pytest

from mesh.refusals import SessionRevoked
from svc_auth.auth import store
from svc_auth.auth.rules import RECENT_SIGN_IN_SECONDS
from tests.harness import reason_of
from tests.svc_auth.conftest import Replica, bearer, refused
from titan.auth.v1 import auth_service_pb2 as pb


async def list_of(titan: Replica, pair: Any, **asked: Any) -> Any:
    """Return a page of the sessions of whoever holds this pair."""
    return await titan.auth.ListSessions(pb.ListSessionsRequest(**asked), metadata=bearer(pair))


async def end(titan: Replica, pair: Any, session_id: object) -> Any:
    """End a session in the name of whoever holds this pair."""
    return await titan.auth.DeleteSession(pb.DeleteSessionRequest(session_id=str(session_id)), metadata=bearer(pair))


async def test_a_user_sees_their_sessions_and_which_one_is_this(titan: Replica):
    """With when each began and was refreshed, and what the client called itself."""
    email, _ = await titan.register()
    phone = await titan.sign_in(email, client_name="Titan on a phone")
    await titan.later(30)
    laptop = await titan.refresh((await titan.sign_in(email)).refresh_token)
    await titan.later(30)
    phone = await titan.refresh(phone.refresh_token)

    here, there = (await list_of(titan, laptop)).sessions

    expected = [titan.caller(pair.access_token).session_id for pair in (laptop, phone)]
    assert expected == [UUID(here.session_id), UUID(there.session_id)]
    assert [("", True), ("Titan on a phone", False)] == [(s.client_name, s.current) for s in (here, there)]
    assert 60 <= there.refresh_time.seconds - there.create_time.seconds <= 65
    assert 30 * 86_400 == there.expire_time.seconds - there.refresh_time.seconds


async def test_a_guest_sees_their_session_too(titan: Replica):
    """A guest may say what the client is called."""
    guest = await titan.auth.CreateGuestSession(pb.CreateGuestSessionRequest(client_name="Firefox on Linux"))

    (session,) = (await list_of(titan, guest)).sessions

    assert ("Firefox on Linux", True) == (session.client_name, session.current)


async def test_sessions_come_in_pages(titan: Replica):
    """Each session is on one page; the last page has no token."""
    email, _ = await titan.register()
    pairs = [await titan.sign_in(email) for _ in range(5)]

    first = await list_of(titan, pairs[0], page_size=3)
    second = await list_of(titan, pairs[0], page_size=3, page_token=first.next_page_token)

    newest_first = [str(titan.caller(pair.access_token).session_id) for pair in reversed(pairs)]
    assert newest_first == [session.session_id for session in (*first.sessions, *second.sessions)]
    assert "" == second.next_page_token


async def test_a_page_token_belongs_to_one_user(titan: Replica):
    """Neither a forged token nor somebody else's is read."""
    email, _ = await titan.register()
    mine = [await titan.sign_in(email) for _ in range(2)]
    token = (await list_of(titan, mine[0], page_size=1)).next_page_token
    guest = await titan.guest()

    for page_token in (token, "forged"):
        assert "PAGE_TOKEN_INVALID" == reason_of(await refused(list_of(titan, guest, page_token=page_token)))


async def test_sessions_that_ended_or_expired_are_not_listed(titan: Replica):
    """What no longer counts is nothing to worry about."""
    email, _ = await titan.register()
    kept, ended, expired = [await titan.sign_in(email) for _ in range(3)]
    await titan.revoke(ended.refresh_token)
    async with titan.db.hot() as tx:
        await tx.execute(
            "UPDATE sessions SET expires_at = $2 WHERE session_id = $1",
            titan.caller(expired.access_token).session_id,
            titan.clock.now() - timedelta(seconds=1),
        )

    listed = (await list_of(titan, kept)).sessions

    assert [str(titan.caller(kept.access_token).session_id)] == [session.session_id for session in listed]


async def test_one_session_is_ended_and_its_neighbours_go_on(titan: Replica):
    """Its tokens stop counting, also those that only expire later; ending twice is safe."""
    email, _ = await titan.register()
    here, lost = await titan.sign_in(email), await titan.sign_in(email)
    lost_id = titan.caller(lost.access_token).session_id

    await end(titan, here, lost_id)
    await end(titan, here, lost_id)

    await titan.feed.look()
    with pytest.raises(SessionRevoked):
        titan.caller(lost.access_token)
    assert "REFRESH_TOKEN_INVALID" == reason_of(await refused(titan.refresh(lost.refresh_token)))
    assert 1 == len((await list_of(titan, await titan.refresh(here.refresh_token))).sessions)


async def test_an_old_session_ends_itself_and_no_other(titan: Replica):
    """Whoever holds a token that was stolen later does not put its owner out; a sign-out is always heard."""
    email, _ = await titan.register()
    old, other = await titan.sign_in(email), await titan.sign_in(email)
    old_id, other_id = (titan.caller(pair.access_token).session_id for pair in (old, other))
    await titan.later(RECENT_SIGN_IN_SECONDS + 1)
    try:
        here = await titan.refresh(old.refresh_token)
        error = await refused(end(titan, here, other_id))
        await end(titan, here, old_id)
        await titan.refresh(other.refresh_token)
    finally:
        await titan.later(-RECENT_SIGN_IN_SECONDS - 1)

    assert ("RECENT_SIGN_IN_REQUIRED", grpc.StatusCode.FAILED_PRECONDITION) == (reason_of(error), error.code())
    assert "REFRESH_TOKEN_INVALID" == reason_of(await refused(titan.refresh(here.refresh_token)))


async def test_nobody_ends_the_session_of_somebody_else(titan: Replica):
    """It looks like one that never was, and goes on."""
    owner, stranger = await titan.guest(), await titan.guest()

    for session_id in (titan.caller(owner.access_token).session_id, uuid4()):
        error = await refused(end(titan, stranger, session_id))
        assert ("SESSION_NOT_FOUND", grpc.StatusCode.NOT_FOUND) == (reason_of(error), error.code())
    await titan.refresh(owner.refresh_token)


async def test_whoever_acts_for_a_customer_has_no_say_in_their_sessions(titan: Replica, importer):
    """An importer neither reads where a customer is signed in nor signs them out."""
    guest = await titan.guest()
    exchange = pb.ExchangeTokenRequest(subject_user_id=guest.user_id)
    acting = await titan.auth.ExchangeToken(exchange, metadata=bearer(importer))

    for call in (list_of(titan, acting), end(titan, acting, titan.caller(guest.access_token).session_id)):
        assert "ACCESS_DENIED" == reason_of(await refused(call))


async def test_without_a_token_nothing_is_listed_or_ended(titan: Replica):
    """Both are for whoever is signed in."""
    for call in (
        titan.auth.ListSessions(pb.ListSessionsRequest()),
        titan.auth.DeleteSession(pb.DeleteSessionRequest(session_id=str(uuid4()))),
    ):
        assert "UNAUTHENTICATED" == reason_of(await refused(call))


async def test_a_reused_refresh_token_takes_its_session_from_the_list(titan: Replica):
    """The whole family is dead, and only that family: the user's other sign-in goes on. It is dead in the database."""
    email, _ = await titan.register()
    other, first = await titan.sign_in(email), await titan.sign_in(email)
    second = await titan.refresh(first.refresh_token)
    third = await titan.refresh(second.refresh_token)

    await refused(titan.refresh(first.refresh_token))

    for token in (first, second, third):
        assert "REFRESH_TOKEN_INVALID" == reason_of(await refused(titan.refresh(token.refresh_token)))
    (left,) = (await list_of(titan, other)).sessions
    assert left.current
    async with titan.db.hot_read() as connection:
        session_id = await store.find_session(connection, store.token_hash(third.refresh_token))
        reason = await connection.fetchval("SELECT revoked_for FROM sessions WHERE session_id = $1", session_id)
    assert "TOKEN_REUSED" == reason


async def test_what_a_client_calls_itself_can_be_stored(titan: Replica):
    """Postgres holds no NUL, and the contract says how long it may be."""
    for name in ("A\x00da", "x" * 81):
        request = pb.CreateGuestSessionRequest(client_name=name)
        assert "INVALID_INPUT" == reason_of(await refused(titan.auth.CreateGuestSession(request)))
