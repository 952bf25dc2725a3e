"""A process follows AuthService: its keys, its revocations, and its absences."""

from __future__ import annotations

import asyncio
import json
import time
from uuid import UUID, uuid4

import pytest
from jwt.algorithms import ECAlgorithm

from mesh import auth_feed
from mesh.auth_feed import AUTH_SERVICE, AuthFeed
from mesh.clients import Clients
from mesh.identity import TokenVerifier
from mesh.refusals import SessionRevoked, TokenInvalid, Unavailable
from tests.harness import KID, SIGNING_KEY, as_service, serve, titan_contract, token
from titan.auth.v1 import auth_service_pb2 as pb
from titan.auth.v1 import session_pb2


class Auth:
    """An AuthService that publishes what it is told."""

    def __init__(self) -> None:
        self.kids = [KID]
        self.asked = 0
        self.streams = 0
        self.events: asyncio.Queue[list[UUID] | None] = asyncio.Queue()
        self.first_part: list[UUID] = []
        self.whole = asyncio.Event()
        self.whole.set()

    async def GetJwks(self, request, context):
        self.asked += 1
        jwk = json.loads(ECAlgorithm.to_jwk(SIGNING_KEY.public_key()))
        good = [session_pb2.Jwk(kid=k, alg="ES256", **{n: jwk[n] for n in ("kty", "crv", "x", "y")}) for k in self.kids]
        return pb.GetJwksResponse(keys=[*good, session_pb2.Jwk(kid="odd", kty="RSA", alg="RS256")])

    async def WatchRevocations(self, request, context):
        self.streams += 1
        for session_id in self.first_part:
            part = pb.WatchRevocationsResponse()
            part.revocations.add(session_id=str(session_id)).expire_time.FromNanoseconds(time.time_ns() + 600 * 10**9)
            yield part
        await self.whole.wait()
        ended: list[UUID] | None = []
        while ended is not None:
            message = pb.WatchRevocationsResponse()
            message.as_of_time.FromNanoseconds(time.time_ns())
            for session_id in ended:
                added = message.revocations.add(session_id=str(session_id))
                added.expire_time.FromNanoseconds(time.time_ns() + 600 * 10**9)
            yield message
            ended = await self.events.get()


async def until(condition) -> None:
    async with asyncio.timeout(3):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.fixture
async def followed(monkeypatch):
    """An AuthService and a feed that follows it."""
    monkeypatch.setattr(auth_feed, "KEYS_AT_MOST_EVERY_SECONDS", 0.05)
    monkeypatch.setattr(auth_feed, "BACKOFF_SECONDS", (0.02, 0.1))
    auth = Auth()
    async with serve({AUTH_SERVICE: auth}) as channel:
        clients = Clients(channel.target, metadata=as_service("svc_order"))
        feed = AuthFeed(clients, titan_contract(), keys_every_seconds=60)
        task = asyncio.create_task(feed.follow())
        yield auth, feed
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await clients.close()


async def test_tokens_are_verified_with_the_published_keys(followed):
    """Once they have arrived; a key that cannot be used is passed over."""
    _, feed = followed
    await until(lambda: feed.keys.ready and not feed.revocations.is_stale)

    user = uuid4()
    assert TokenVerifier(feed.keys, revocations=feed.revocations).verify(token(user), mutation=True).user_id == user


async def test_an_unknown_key_brings_the_next_look_forward(followed):
    """A rotated key is found long before the next regular look, and forged ones cost no more than one a second."""
    auth, feed = followed
    await until(lambda: feed.keys.ready)
    verifier = TokenVerifier(feed.keys)
    text = token(headers={"kid": "new"})
    with pytest.raises(TokenInvalid):
        verifier.verify(text, mutation=False)
    auth.kids = [KID, "new"]
    with pytest.raises(TokenInvalid):
        verifier.verify(text, mutation=False)

    await until(lambda: feed.keys.find("new"))
    assert verifier.verify(text, mutation=False).user_id


async def test_a_revocation_arrives_and_a_broken_stream_is_taken_up_again(followed):
    """The second stream starts with everything that still matters."""
    auth, feed = followed
    session = uuid4()
    await until(lambda: auth.streams == 1 and not feed.revocations.is_stale)
    await auth.events.put(None)
    await until(lambda: auth.streams == 2)
    await auth.events.put([session])

    await until(lambda: feed.revocations.is_revoked(session))
    verifier = TokenVerifier(feed.keys, revocations=feed.revocations)
    with pytest.raises(SessionRevoked):
        verifier.verify(token(session_id=session), mutation=False)


async def test_a_feed_is_complete_with_keys_and_the_last_part_of_the_first_view(monkeypatch):
    """Neither keys alone nor a part of what has ended are enough to serve with."""
    monkeypatch.setattr(auth_feed, "KEYS_AT_MOST_EVERY_SECONDS", 0.05)
    auth, session = Auth(), uuid4()
    auth.first_part, auth.kids = [session], []
    auth.whole.clear()
    async with serve({AUTH_SERVICE: auth}) as channel:
        clients = Clients(channel.target, metadata=as_service("svc_order"))
        feed = AuthFeed(clients, titan_contract(), keys_every_seconds=0.1)
        task = asyncio.create_task(feed.follow())
        await until(lambda: feed.revocations.is_revoked(session))
        assert not await feed.complete(within_seconds=0.05)
        auth.kids = [KID]
        await until(lambda: feed.keys.ready)
        assert not await feed.complete(within_seconds=0.05)
        auth.whole.set()
        assert await feed.complete(within_seconds=3)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await clients.close()


async def test_nothing_is_verified_while_authservice_was_never_there(tmp_path):
    """Unavailable, not invalid: the caller may be who it says."""
    clients = Clients(f"unix:{tmp_path}/nobody.sock")
    feed = AuthFeed(clients, titan_contract())
    task = asyncio.create_task(feed.follow())
    await asyncio.sleep(0.1)

    with pytest.raises(Unavailable):
        TokenVerifier(feed.keys).verify(token(), mutation=False)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await clients.close()
