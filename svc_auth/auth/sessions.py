"""What happens to sessions, transaction by transaction: opened, refreshed, ended, and one bought to act for another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from uuid import UUID

import asyncpg

from mesh import audit
from mesh.audit import Command
from mesh.batcher import Batcher
from mesh.database import Database, after_commit
from mesh.identity import caller_of
from mesh.seams import Clock, Ids, failpoint
from mesh.writes import write
from svc_auth.auth import attempt_store, rules, store
from svc_auth.auth.endings import end_sessions
from svc_auth.auth.feed import RevocationFeed
from svc_auth.auth.rules import SIGNED_OUT, TOKEN_REUSED, RefreshState, RefreshVerdict, Subject
from svc_auth.auth.store import Exchange, LiveSession, NewSession, OpenChallenge
from svc_auth.auth.tokens import Issuer, Pair, new_refresh_token
from svc_auth.auth.trials import Passed, PasswordTrials
from svc_auth.errors import (
    ChallengeInvalid,
    CodeInvalid,
    CredentialsInvalid,
    RefreshTokenInvalid,
    SecondFactorNotFound,
    SessionNotFound,
    UserNotFound,
)
from svc_auth.factor import rules as factor_rules
from svc_auth.factor.factors import Factors, Proof
from svc_auth.personal import Column, Personal
from svc_auth.user import store as user_store

SIGN_IN_TRIES = 2
"""A hash that changed while it was checked was reset, or made anew by a sign-in beside this one: look once more."""


@dataclass(frozen=True)
class Challenge:
    """What a right first factor is answered with where the user has a second factor."""

    token: str = field(repr=False)
    expires_in_seconds: int = rules.CHALLENGE_SECONDS


class Sessions:
    """The sessions of this package's database."""

    def __init__(
        self,
        db: Database,
        issuer: Issuer,
        trials: PasswordTrials,
        factors: Factors,
        personal: Personal,
        feed: RevocationFeed,
        clock: Clock,
        ids: Ids,
    ) -> None:
        self._db = db
        self._issuer = issuer
        self._trials = trials
        self._factors = factors
        self._personal = personal
        self._feed = feed
        self._clock = clock
        self._ids = ids
        # Guests come in crowds; those that come together share a transaction.
        self.guests: Batcher[tuple[NewSession, str, Command], None] = Batcher(self._open_guests, name="auth.guests")

    async def sign_in(self, email: str, password: str, *, client_name: str = "") -> Pair | Challenge:
        """Open a session for whoever knows the password; where the user has a second factor, ask for that first.

        Raises:
            CredentialsInvalid: Address and password do not belong together.
            SignInThrottled: The address has seen too many wrong ones.
        """
        for _ in range(SIGN_IN_TRIES):
            opened = await self._open(await self._trials.of_address(email, password), client_name)
            if opened is not None:
                return opened
        raise CredentialsInvalid("address and password do not belong together")

    async def _open(self, passed: Passed, client_name: str) -> Pair | Challenge | None:
        """Return what a right password opens, or None where the stored hash is another one by now."""
        found = passed.credentials
        sealed_name = await self._personal.sealed_name(found.subject.user_id, client_name)
        async with self._db.hot() as tx:
            if not await user_store.hold_password(
                tx, found.subject.user_id, passed.password_hash, stronger_hash=passed.stronger_hash
            ):
                return None
            if passed.tries_hash is not None:
                await attempt_store.forget_attempts(tx, passed.tries_hash)
            return await self.admit(
                tx,
                found.subject,
                client_name=sealed_name,
                amr=factor_rules.BY_PASSWORD,
                second_factor=found.second_factor,
            )

    async def admit(
        self,
        tx: asyncpg.Connection,
        subject: Subject,
        *,
        client_name: bytes | None,
        amr: tuple[str, ...],
        second_factor: bool,
    ) -> Pair | Challenge:
        """Open a session for a held user whose first factor was right, or ask for the second one.

        `client_name` is as `Personal.sealed_name` gives it, and moves from the challenge to the session as it is.
        """
        if second_factor:
            challenge, at = Challenge(new_refresh_token()), self._clock.now()
            waiting = OpenChallenge(store.token_hash(challenge.token), subject.user_id, client_name, amr)
            await store.insert_challenge(tx, waiting, expires_at=at + timedelta(seconds=rules.CHALLENGE_SECONDS))
            await audit.accept(tx, user_store.resource(subject.user_id), audit.command(actor_id=subject.user_id))
            return challenge
        return await self.open(tx, subject, client_name=client_name, amr=amr)

    async def open(
        self, tx: asyncpg.Connection, subject: Subject, *, client_name: bytes | None, amr: tuple[str, ...]
    ) -> Pair:
        """Open a session for a held user who has shown all that is asked for, in place of the one that they call in."""
        at, caller = self._clock.now(), caller_of()
        if caller.session_id is not None and caller.actor_id is None:
            await store.save_revoked(tx, caller.session_id, reason=SIGNED_OUT)
            after_commit(self._feed.wake)
        session, refresh = self._new_session(subject.user_id, client_name, amr)
        ends_at = rules.refresh_end(subject, opened_at=at, at=at)
        await store.insert_sessions(tx, [session], at=at, expires_at=ends_at)
        by = audit.command(actor_id=session.user_id, session_id=session.session_id)
        await audit.accept(tx, store.resource(session.session_id), by)
        return self._pair(subject, session, refresh)

    async def require_recent(self, user_id: UUID, session_id: UUID | None) -> None:
        """Let a session pass that was opened a moment ago.

        Raises:
            RecentSignInRequired: It is older, or has ended.
        """
        async with self._db.hot_read() as connection:
            known = None if session_id is None else await store.find_start(connection, user_id, session_id)
        rules.require_recent(known, at=self._clock.now())

    async def complete(self, challenge_token: str, proof: Proof) -> Pair:
        """Open the session of a challenge for whoever has the second factor.

        Raises:
            ChallengeInvalid: It is unknown, answered or expired, or the second factor has ended meanwhile.
            CodeInvalid: The proof does not count.
            SignInThrottled: There were too many wrong ones.
        """
        hashed = store.token_hash(challenge_token)

        async def answer(tx: asyncpg.Connection) -> Pair | None:
            challenge = await store.lock_challenge(tx, hashed, at=self._clock.now())
            if challenge is None:
                raise ChallengeInvalid("the challenge is unknown, answered or expired: sign in again")
            added = await self._factors.prove(tx, challenge.user_id, proof)
            if added is None:
                return None
            subject = store.subject_of(await user_store.get_user(tx, challenge.user_id))
            await store.remove_challenge(tx, hashed)
            return await self.open(tx, subject, client_name=challenge.client_name, amr=(*challenge.amr, *added))

        try:
            pair = await self._db.transact(answer)
        except SecondFactorNotFound:
            raise ChallengeInvalid("the second factor has ended: sign in again") from None
        if pair is None:
            raise CodeInvalid("the code is wrong, or was used before")
        return pair

    async def open_guest(self, *, client_name: str = "") -> Pair:
        """Make a guest and open their session."""
        session, refresh = self._new_session(self._ids.new(), None)
        by = audit.command(actor_id=session.user_id, session_id=session.session_id)
        await self.guests.submit((session, client_name, by))
        return self._pair(Subject(session.user_id, True), session, refresh)

    async def refresh(self, refresh_token: str) -> Pair:
        """Trade a refresh token for the next pair. A spent one ends the session.

        Raises:
            RefreshTokenInvalid: It is unknown, spent, expired or revoked, or its session has lasted as long as one may.
        """
        spent, fresh = store.token_hash(refresh_token), new_refresh_token()

        def by(state: RefreshState) -> Command:
            return audit.command(actor_id=state.subject.user_id, session_id=state.session_id)

        async def rotate(tx: asyncpg.Connection) -> tuple[RefreshVerdict, RefreshState | None]:
            state, at = await store.lock_refresh(tx, spent), self._clock.now()
            verdict = rules.judge_refresh(state, at=at)
            if state is not None and verdict is RefreshVerdict.ROTATE:
                issued = store.token_hash(fresh)
                ends_at = rules.refresh_end(state.subject, opened_at=state.opened_at, at=at)
                await store.save_rotated(
                    tx, spent=spent, issued=issued, session_id=state.session_id, at=at, expires_at=ends_at
                )
                await audit.accept(tx, store.resource(state.session_id), by(state))
            elif state is not None and verdict is RefreshVerdict.REUSED:
                if await store.save_revoked(tx, state.session_id, reason=TOKEN_REUSED):
                    # Whoever shows a spent token is a thief or was robbed by one: known, and denied.
                    await audit.deny(tx, by(state), package=None, reason=RefreshTokenInvalid.reason, left_out=0)
            await failpoint("auth.refresh.before_commit")
            return verdict, state

        verdict, state = await self._db.transact(rotate)
        if verdict is RefreshVerdict.REUSED:
            self._feed.wake()
        if verdict is not RefreshVerdict.ROTATE or state is None:
            raise RefreshTokenInvalid("the refresh token is unknown, spent, expired or revoked")
        return self._issuer.pair(state.subject, session_id=state.session_id, amr=state.amr, refresh_token=fresh)

    async def revoke(self, refresh_token: str) -> None:
        """End the session of a refresh token, if there is one."""
        async with self._db.hot() as tx:
            session_id = await store.find_session(tx, store.token_hash(refresh_token))
            ended = session_id is not None and await store.save_revoked(tx, session_id, reason=SIGNED_OUT)
            if session_id is not None and ended:
                await audit.accept(tx, store.resource(session_id), audit.command(session_id=session_id))
        if ended:
            self._feed.wake()

    async def list_live(self, user_id: UUID, *, before: UUID | None, limit: int) -> list[LiveSession]:
        """Return the sessions of a user that still count, the newest first, at most `limit`, older than `before`."""
        async with self._db.hot_read() as connection:
            found = await store.list_sessions(connection, user_id, at=self._clock.now(), before=before, limit=limit)
        names = await self._personal.opened_names(user_id, [each.sealed_client_name for each in found])
        return [replace(each, client_name=name) for each, name in zip(found, names, strict=True)]

    async def end(self, user_id: UUID, session_id: UUID, *, current: UUID | None) -> None:
        """End one session of a user; one that has ended stays as it is. Only a fresh session ends another one.

        Raises:
            SessionNotFound: There is none of this id, or it is somebody else's.
            RecentSignInRequired: It is not the current one, and that is older than a moment.
        """
        async with self._db.hot() as tx:
            if not await store.is_session_of(tx, user_id, session_id):
                raise SessionNotFound("there is no such session")
            if session_id != current:
                started_at = None if current is None else await store.find_start(tx, user_id, current)
                rules.require_recent(started_at, at=self._clock.now())
            ended = await store.save_revoked(tx, session_id, reason=SIGNED_OUT)
            if ended:
                await audit.accept(tx, store.resource(session_id))
        if ended:
            self._feed.wake()

    async def end_others(self, user_id: UUID, session_id: UUID | None) -> None:
        """End every session of a user but this one, which has to be a fresh one.

        Raises:
            RecentSignInRequired: It is older than a moment, or has ended.
            UserNotFound: The user is gone.
            SessionRevoked: The session has ended meanwhile.
        """
        await self.require_recent(user_id, session_id)
        await self.end_all(user_id, but_for=session_id)

    async def end_all(self, user_id: UUID, *, but_for: UUID | None = None) -> None:
        """End every session of a user, or every one but that which asks for it, and all that is half done.

        Raises:
            UserNotFound: There is no such user.
            SessionRevoked: The session that asks has ended.
        """
        async with self._db.hot() as tx:
            await user_store.lock_user(tx, user_id)
            if but_for is not None:
                await store.hold_session(tx, user_id, but_for, at=self._clock.now())
            if await end_sessions(tx, user_id, reason=SIGNED_OUT, but_for=but_for):
                await audit.accept(tx, user_store.resource(user_id))
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
            await audit.accept(tx, user_store.resource(subject_id))
        return self._issuer.access_token(subject, session_id=session_id, actor_id=actor_id)

    def _new_session(
        self, user_id: UUID, client_name: bytes | None, amr: tuple[str, ...] = ()
    ) -> tuple[NewSession, str]:
        refresh = new_refresh_token()
        return NewSession(self._ids.new(), user_id, store.token_hash(refresh), client_name, amr), refresh

    def _pair(self, subject: Subject, session: NewSession, refresh: str) -> Pair:
        return self._issuer.pair(subject, session_id=session.session_id, amr=session.amr, refresh_token=refresh)

    async def _open_guests(self, guests: list[tuple[NewSession, str, Command]]) -> Sequence[None]:
        await self._personal.prepare(*(session.user_id for session, client_name, _ in guests if client_name))
        at = self._clock.now()
        sessions = [
            replace(
                session,
                client_name=self._personal.seal(session.user_id, session.user_id, Column.CLIENT_NAME, client_name),
            )
            for session, client_name, _ in guests
        ]
        async with self._db.hot() as tx:
            await user_store.insert_guests(tx, [session.user_id for session in sessions], at=at)
            ends_at = rules.refresh_end(Subject(sessions[0].user_id, True), opened_at=at, at=at)
            await store.insert_sessions(tx, sessions, at=at, expires_at=ends_at)
            await write(tx, audit.accepting([(by, store.resource(session.session_id)) for session, _, by in guests]))
        return [None] * len(sessions)
