"""AuthService on the wire: decode, call, encode."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

from mesh import audit, pages
from mesh.identity import Caller, caller_of
from mesh.refusals import AccessDenied
from mesh.seams import Clock
from svc_auth.auth import rules
from svc_auth.auth.feed import Ended, RevocationFeed
from svc_auth.auth.keeper import KeyKeeper
from svc_auth.auth.sessions import Challenge, Sessions
from svc_auth.auth.store import LiveSession
from svc_auth.factor.rpc import from_wire
from svc_auth.inputs import in_person, plain
from svc_auth.keys import KeyRing, StoredKey
from titan.auth.v1 import auth_service_pb2 as pb
from titan.auth.v1 import second_factor_pb2, session_pb2

MAX_REVOCATIONS = 1_000
_LIST = "AuthService.ListSessions"


class AuthServicer:
    """Serves titan.auth.v1.AuthService."""

    def __init__(
        self, sessions: Sessions, ring: KeyRing, keeper: KeyKeeper, feed: RevocationFeed, clock: Clock
    ) -> None:
        self._sessions = sessions
        self._ring = ring
        self._keeper = keeper
        self._feed = feed
        self._clock = clock

    async def CreateSession(self, request: pb.CreateSessionRequest, context: Any) -> pb.CreateSessionResponse:
        """Refuses with CREDENTIALS_INVALID or SIGN_IN_THROTTLED."""
        opened = await self._sessions.sign_in(
            request.email, request.password, client_name=plain("client_name", request.client_name)
        )
        if isinstance(opened, Challenge):
            return pb.CreateSessionResponse(challenge=to_challenge(opened))
        return pb.CreateSessionResponse(
            access_token=opened.access_token,
            refresh_token=opened.refresh_token,
            expires_in_seconds=opened.expires_in_seconds,
            user_id=str(opened.user_id),
            second_factor_required=opened.second_factor_required,
        )

    async def CompleteSession(self, request: pb.CompleteSessionRequest, context: Any) -> pb.CompleteSessionResponse:
        """Refuses with CHALLENGE_INVALID, CODE_INVALID or SIGN_IN_THROTTLED."""
        pair = await self._sessions.complete(request.challenge_token, from_wire(request.proof))
        return pb.CompleteSessionResponse(
            access_token=pair.access_token,
            refresh_token=pair.refresh_token,
            expires_in_seconds=pair.expires_in_seconds,
            user_id=str(pair.user_id),
        )

    async def CreateGuestSession(
        self, request: pb.CreateGuestSessionRequest, context: Any
    ) -> pb.CreateGuestSessionResponse:
        """Has no refusals of its own."""
        pair = await self._sessions.open_guest(client_name=plain("client_name", request.client_name))
        return pb.CreateGuestSessionResponse(
            access_token=pair.access_token,
            refresh_token=pair.refresh_token,
            expires_in_seconds=pair.expires_in_seconds,
            user_id=str(pair.user_id),
        )

    async def RefreshSession(self, request: pb.RefreshSessionRequest, context: Any) -> pb.RefreshSessionResponse:
        """Refuses with REFRESH_TOKEN_INVALID."""
        pair = await self._sessions.refresh(request.refresh_token)
        return pb.RefreshSessionResponse(
            access_token=pair.access_token,
            refresh_token=pair.refresh_token,
            expires_in_seconds=pair.expires_in_seconds,
            user_id=str(pair.user_id),
            second_factor_required=pair.second_factor_required,
        )

    async def RevokeSession(self, request: pb.RevokeSessionRequest, context: Any) -> pb.RevokeSessionResponse:
        """Has no refusals of its own: an unknown token is answered like a known one."""
        await self._sessions.revoke(request.refresh_token)
        return pb.RevokeSessionResponse()

    async def ListSessions(self, request: pb.ListSessionsRequest, context: Any) -> pb.ListSessionsResponse:
        """Refuses with PAGE_TOKEN_INVALID; with ACCESS_DENIED where the caller acts for somebody."""
        caller = in_person(caller_of(context))
        user_id = caller.require_user_id()
        size = pages.page_size(request.page_size)
        before = pages.decode_id(request.page_token, _LIST, user_id)
        found = await self._sessions.list_live(user_id, before=before, limit=size + 1)
        shown, more = found[:size], len(found) > size
        return pb.ListSessionsResponse(
            sessions=[to_session(session, caller) for session in shown],
            next_page_token=pages.encode(_LIST, [str(shown[-1].session_id)], user_id) if more else "",
        )

    async def DeleteSession(self, request: pb.DeleteSessionRequest, context: Any) -> pb.DeleteSessionResponse:
        """Refuses with RECENT_SIGN_IN_REQUIRED, SESSION_NOT_FOUND or ACCESS_DENIED."""
        caller = in_person(caller_of(context))
        await self._sessions.end(caller.require_user_id(), UUID(request.session_id), current=caller.session_id)
        return pb.DeleteSessionResponse()

    async def EndOtherSessions(self, request: pb.EndOtherSessionsRequest, context: Any) -> pb.EndOtherSessionsResponse:
        """Refuses with RECENT_SIGN_IN_REQUIRED, SESSION_REVOKED, USER_NOT_FOUND or ACCESS_DENIED."""
        caller = in_person(caller_of(context))
        await self._sessions.end_others(caller.require_user_id(), caller.session_id)
        return pb.EndOtherSessionsResponse()

    async def EndUserSessions(self, request: pb.EndUserSessionsRequest, context: Any) -> pb.EndUserSessionsResponse:
        """Refuses with USER_NOT_FOUND."""
        await self._sessions.end_all(UUID(request.user_id))
        return pb.EndUserSessionsResponse()

    async def ExchangeToken(self, request: pb.ExchangeTokenRequest, context: Any) -> pb.ExchangeTokenResponse:
        """Refuses with USER_NOT_FOUND; with ACCESS_DENIED where the caller acts for somebody already."""
        caller = caller_of(context)
        actor_id = caller.require_user_id()
        if caller.actor_id is not None or caller.session_id is None:
            raise AccessDenied("whoever acts for somebody buys no further token")
        token = await self._sessions.exchange(
            actor_id=actor_id, session_id=caller.session_id, subject_id=UUID(request.subject_user_id)
        )
        return pb.ExchangeTokenResponse(
            access_token=token, expires_in_seconds=rules.ACCESS_TOKEN_SECONDS, user_id=request.subject_user_id
        )

    async def GetJwks(self, request: pb.GetJwksRequest, context: Any) -> pb.GetJwksResponse:
        """Has no refusals of its own."""
        return pb.GetJwksResponse(keys=[to_jwk(key) for key in self._ring.published(at=self._clock.now())])

    async def RotateSigningKey(self, request: pb.RotateSigningKeyRequest, context: Any) -> pb.RotateSigningKeyResponse:
        """Has no refusals of its own."""
        key = await self._keeper.rotate(audit.command())
        return pb.RotateSigningKeyResponse(key=to_jwk(key), sign_time=key.sign_at)

    async def WatchRevocations(
        self, request: pb.WatchRevocationsRequest, context: Any
    ) -> AsyncIterator[pb.WatchRevocationsResponse]:
        """Has no refusals of its own."""
        async for news in self._feed.watch():
            # The view is complete only with the last part, so the parts before it carry no time.
            whole = len(news.ended) // MAX_REVOCATIONS * MAX_REVOCATIONS
            for start in range(0, whole, MAX_REVOCATIONS):
                part = news.ended[start : start + MAX_REVOCATIONS]
                yield pb.WatchRevocationsResponse(revocations=[to_revocation(ended) for ended in part])
            yield pb.WatchRevocationsResponse(
                revocations=[to_revocation(ended) for ended in news.ended[whole:]],
                as_of_time=news.as_of,
            )


def to_session(session: LiveSession, caller: Caller) -> session_pb2.Session:
    """Return a session as its user sees it."""
    return session_pb2.Session(
        session_id=str(session.session_id),
        create_time=session.created_at,
        refresh_time=session.refreshed_at,
        expire_time=session.expires_at,
        client_name=session.client_name,
        current=session.session_id == caller.session_id,
    )


def to_challenge(challenge: Challenge) -> second_factor_pb2.SecondFactorChallenge:
    """Return what a sign-in has still to show."""
    return second_factor_pb2.SecondFactorChallenge(
        challenge_token=challenge.token, expires_in_seconds=challenge.expires_in_seconds
    )


def to_jwk(key: StoredKey) -> session_pb2.Jwk:
    """Return the public half of a key as it travels."""
    return session_pb2.Jwk(**dict(key.public_jwk))


def to_revocation(ended: Ended) -> session_pb2.Revocation:
    """Return an ended session as it travels."""
    return session_pb2.Revocation(
        session_id=str(ended.session_id),
        revoke_time=ended.revoked_at,
        expire_time=ended.forget_at,
    )
