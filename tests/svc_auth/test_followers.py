"""What every other package needs of AuthService, through the runtime's own follower: keys, and ended sessions."""

from __future__ import annotations

import asyncio

import pytest

from mesh.auth_feed import AuthFeed
from mesh.clients import Clients
from mesh.identity import TokenVerifier
from mesh.refusals import SessionRevoked
from tests.harness import as_service, titan_contract
from tests.svc_auth.conftest import Replica, build_replica


async def test_another_package_verifies_tokens_and_learns_of_ended_sessions_within_a_second(titan: Replica):
    """It keeps what it knows while AuthService is silent, and its view has an age."""
    clients = Clients(titan.target, metadata=as_service("svc_cart"))
    feed = AuthFeed(clients, titan_contract())
    verifier = TokenVerifier(feed.keys, revocations=feed.revocations, cell="local")
    polling, following = asyncio.create_task(titan.feed.follow()), asyncio.create_task(feed.follow())
    try:
        async with asyncio.timeout(3):
            while feed.revocations.is_stale or not feed.keys.ready:
                await asyncio.sleep(0.02)
        guest = await titan.guest()
        caller = verifier.verify(guest.access_token, mutation=True)

        await titan.revoke(guest.refresh_token)

        async with asyncio.timeout(1):
            while not feed.revocations.is_revoked(caller.session_id):
                await asyncio.sleep(0.02)
        with pytest.raises(SessionRevoked):
            verifier.verify(guest.access_token, mutation=False)
    finally:
        for task in (polling, following):
            task.cancel()
        await asyncio.gather(polling, following, return_exceptions=True)
        await clients.close()


async def test_a_follower_hears_of_thousands_in_parts(titan: Replica, auth_secrets):
    """More ended sessions than a message holds arrive whole, and only the last part says that the view is complete."""
    user_id = titan.caller((await titan.guest()).access_token).user_id
    async with titan.db.hot() as tx:
        await tx.execute(
            """
            INSERT INTO sessions (session_id, user_id, created_at, expires_at, revoked_at, revoked_for)
            SELECT gen_random_uuid(), $1, $2, $2, $2, 'SIGNED_OUT' FROM generate_series(1, 2500)
            """,
            user_id,
            titan.clock.now(),
        )
    clients = Clients(titan.target, metadata=as_service("svc_cart"))
    feed = AuthFeed(clients, titan_contract())
    await titan.feed.look()
    following = asyncio.create_task(feed.follow())
    try:
        async with asyncio.timeout(5):
            while feed.revocations.is_stale:
                await asyncio.sleep(0.02)
        assert len(feed.revocations) >= 2500
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        await clients.close()
    late = await build_replica(titan.db, auth_secrets)
    assert len(late.feed.view) >= 2500
    late.passwords.close()
