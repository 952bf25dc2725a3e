"""What happens to sessions, transaction by transaction: opened, refreshed, ended, and one bought to act for another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from uuid import UUID

import asyncpg

from mesh.batcher import Batcher
from mesh.database import Database
from mesh.seams import Clock, Ids, failpoint
from svc_auth.auth import rules, store
from svc_auth.auth.feed import RevocationFeed
from svc_auth.auth.rules import SIGNED_OUT, TOKEN_REUSED, RefreshState, RefreshVerdict, Subject
from svc_auth.auth.store import Exchange, LiveSession, NewSession
from svc_auth.auth.tokens import Issuer, Pair, new_refresh_token, refresh_end
from svc_auth.errors import CredentialsInvalid, RefreshTokenInvalid, SessionNotFound, UserNotFound
from svc_auth.passwords import Passwords
from svc_auth.user import store as user_store
from svc_auth.user.rules import normalise_email, normalise_password


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


class Sessions:
    """The sessions of this package's database."""

    def __init__(
        self, db: Database, issuer: Issuer, passwords: Passwords, feed: RevocationFeed, clock: Clock, ids: Ids
    ) -> None:
        self._db = db
        self._issuer = issuer
        self._passwords = passwords
        self._feed = feed
        self._clock = clock
        self._ids = ids
        self._turns = Turns()
        # Guests come in crowds; those that come together share a transaction.
        self.guests: Batcher[NewSession, None] = Batcher(self._open_guests, name="auth.guests")

    async def sign_in(self, email: str, password: str, *, client_name: str = "") -> Pair:
        """Open a session for whoever knows the password.

        Raises:
            CredentialsInvalid: Address and password do not belong together.
            SignInThrottled: The address has seen too many wrong ones.
        """
        address, secret = normalise_email(email), normalise_password(password)
        hashed = store.email_hash(address)
        async with self._turns.of(hashed):
            async with self._db.hot_read() as connection:
                found, attempts = await store.find_credentials(connection, address)
            rules.admit_attempt(attempts, at=self._clock.now())
            known = found.password_hash if found is not None else None
            if not await self._passwords.verify(known, secret) or found is None:
                await self._count_failure(hashed)
                raise CredentialsInvalid("address and password do not belong together")
        stronger = await self._passwords.hash(secret) if self._passwords.outdated(found.password_hash) else None
        session, refresh = self._new_session(found.subject.user_id, client_name)
        at = self._clock.now()
        async with self._db.hot() as tx:
            if attempts is not None:
                await store.forget_attempts(tx, hashed)
            if stronger is not None:
                await user_store.save_password_hash(tx, found.subject.user_id, old=found.password_hash, new=stronger)
            await store.insert_sessions(tx, [session], at=at, expires_at=refresh_end(at))
        return self._issuer.pair(found.subject, session_id=session.session_id, refresh_token=refresh)

    async def open_guest(self, *, client_name: str = "") -> Pair:
        """Make a guest and open their session."""
        session, refresh = self._new_session(self._ids.new(), client_name)
        await self.guests.submit(session)
        return self._issuer.pair(Subject(session.user_id, True), session_id=session.session_id, refresh_token=refresh)

    async def refresh(self, refresh_token: str) -> Pair:
        """Trade a refresh token for the next pair. A spent one ends the session.

        Raises:
            RefreshTokenInvalid: It is unknown, spent, expired or revoked.
        """
        spent, fresh = store.token_hash(refresh_token), new_refresh_token()

        async def rotate(tx: asyncpg.Connection) -> tuple[RefreshVerdict, RefreshState | None]:
            state, at = await store.lock_refresh(tx, spent), self._clock.now()
            verdict = rules.judge_refresh(state, at=at)
            if state is not None and verdict is RefreshVerdict.ROTATE:
                issued = store.token_hash(fresh)
                await store.save_rotated(
                    tx, spent=spent, issued=issued, session_id=state.session_id, at=at, expires_at=refresh_end(at)
                )
            elif state is not None and verdict is RefreshVerdict.REUSED:
                await store.save_revoked(tx, state.session_id, reason=TOKEN_REUSED)
            await failpoint("auth.refresh.before_commit")
            return verdict, state

        verdict, state = await self._db.transact(rotate)
        if verdict is RefreshVerdict.REUSED:
            self._feed.wake()
        if verdict is not RefreshVerdict.ROTATE or state is None:
            raise RefreshTokenInvalid("the refresh token is unknown, spent, expired or revoked")
        return self._issuer.pair(state.subject, session_id=state.session_id, refresh_token=fresh)

    async def revoke(self, refresh_token: str) -> None:
        """End the session of a refresh token, if there is one."""
        async with self._db.hot() as tx:
            session_id = await store.find_session(tx, store.token_hash(refresh_token))
            ended = session_id is not None and await store.save_revoked(tx, session_id, reason=SIGNED_OUT)
        if ended:
            self._feed.wake()

    async def list_live(self, user_id: UUID, *, before: UUID | None, limit: int) -> list[LiveSession]:
        """Return the sessions of a user that still count, the newest first, at most `limit`, older than `before`."""
        async with self._db.hot_read() as connection:
            return await store.list_sessions(connection, user_id, at=self._clock.now(), before=before, limit=limit)

    async def end(self, user_id: UUID, session_id: UUID) -> None:
        """End one session of a user; one that has ended stays as it is.

        Raises:
            SessionNotFound: There is none of this id, or it is somebody else's.
        """
        async with self._db.hot() as tx:
            if not await store.is_session_of(tx, user_id, session_id):
                raise SessionNotFound("there is no such session")
            ended = await store.save_revoked(tx, session_id, reason=SIGNED_OUT)
        if ended:
            self._feed.wake()

    async def exchange(self, *, actor_id: UUID, session_id: UUID, subject_id: UUID) -> str:
        """Return an access token that acts for a customer, and record that it was given.

        It carries the actor's own session, so it ends with it.

        Raises:
            UserNotFound: There is no such customer, or it is somebody with a role of their own.
        """
        async with self._db.hot() as tx:
            user = await user_store.get_user(tx, subject_id)
            subject = rules.acted_for(store.subject_of(user))
            if subject is None or subject_id == actor_id:
                raise UserNotFound("there is no such customer")
            exchange = Exchange(self._ids.new(), actor_id, session_id, subject_id)
            await store.save_exchange(tx, exchange, at=self._clock.now())
        return self._issuer.access_token(subject, session_id=session_id, actor_id=actor_id)

    def _new_session(self, user_id: UUID, client_name: str) -> tuple[NewSession, str]:
        refresh = new_refresh_token()
        return NewSession(self._ids.new(), user_id, store.token_hash(refresh), client_name), refresh

    async def _open_guests(self, sessions: list[NewSession]) -> Sequence[None]:
        at = self._clock.now()
        async with self._db.hot() as tx:
            await user_store.insert_guests(tx, [session.user_id for session in sessions], at=at)
            await store.insert_sessions(tx, sessions, at=at, expires_at=refresh_end(at))
        return [None] * len(sessions)

    async def _count_failure(self, hashed: bytes) -> None:
        async with self._db.hot() as tx:
            attempts = await store.lock_attempts(tx, hashed, at=self._clock.now())
            await store.save_attempts(tx, hashed, rules.after_failure(attempts, at=self._clock.now()))
