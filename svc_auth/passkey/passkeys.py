"""What happens to passkeys, transaction by transaction: asked for, registered, used, ended.

A challenge is forgotten before its answer is looked at, in a transaction of its own: right or wrong, it counts once.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from uuid import UUID

import asyncpg

from mesh import audit
from mesh.database import Database
from mesh.seams import Clock, Ids
from mesh.telemetry import get_logger
from svc_auth.auth import store as session_store
from svc_auth.auth.sessions import Sessions
from svc_auth.auth.tokens import Pair
from svc_auth.errors import ChallengeInvalid, NotRegistered, PasskeyInvalid, PasskeyNotFound, TooManyPasskeys
from svc_auth.passkey import ceremonies, rules, store
from svc_auth.passkey.ceremonies import Assertion, Registration, RelyingParty
from svc_auth.passkey.rules import ChallengePurpose
from svc_auth.passkey.store import Owner, Passkey
from svc_auth.personal import Column, Personal
from svc_auth.user import store as user_store
from svc_auth.user.notices import SignInChange, tell
from svc_auth.user.profiles import Profiles

log = get_logger("svc_auth.passkeys")


@dataclass(frozen=True)
class Asked:
    """What a browser is asked for."""

    options_json: str = field(repr=False)
    expires_in_seconds: int = rules.CHALLENGE_SECONDS


class Passkeys:
    """The passkeys of this package's database."""

    def __init__(
        self,
        db: Database,
        party: RelyingParty,
        sessions: Sessions,
        profiles: Profiles,
        personal: Personal,
        clock: Clock,
        ids: Ids,
    ) -> None:
        self._db = db
        self._party = party
        self._sessions = sessions
        self._profiles = profiles
        self._personal = personal
        self._clock = clock
        self._ids = ids

    async def begin_sign_in(self) -> Asked:
        """Ask for any passkey of this shop."""
        challenge = await self._new_challenge(ChallengePurpose.SIGN_IN, None)
        return Asked(ceremonies.request_options(self._party, challenge=challenge))

    async def finish_sign_in(self, credential_json: str, *, client_name: str) -> Pair:
        """Open a session for whoever has the passkey.

        Raises:
            ChallengeInvalid: It is unknown, answered or expired.
            PasskeyInvalid: Nobody has the passkey here, or it was not shown as it has to be.
        """
        assertion = Assertion(credential_json)
        await self._take(assertion.challenge, ChallengePurpose.SIGN_IN, None)
        async with self._db.hot_read() as connection:
            owner_id = await store.find_owner(connection, assertion.credential_id)
        if owner_id is None:
            raise PasskeyInvalid("the passkey does not count here")
        sealed_name = await self._personal.sealed_name(owner_id, client_name)

        async def admit(tx: asyncpg.Connection) -> Pair | None:
            at = self._clock.now()
            # The user before the passkey: whoever resets a password takes them in this order.
            user = await user_store.hold_user(tx, owner_id)
            passkey = await store.lock_passkey(tx, assertion.credential_id)
            if user is None or passkey is None or passkey.user_id != owner_id:
                return None
            if assertion.user_handle != user.user_id.bytes:
                return None
            shown = assertion.prove(self._party, public_key=passkey.public_key)
            if not rules.counts_on(passkey.sign_count, shown.sign_count):
                log.warning("the counter of a passkey does not go on", passkey_id=str(passkey.passkey_id))
                return None
            await store.save_used(tx, passkey.passkey_id, sign_count=shown.sign_count, backed_up=shown.backed_up, at=at)
            subject = session_store.subject_of(user)
            return await self._sessions.open(tx, subject, client_name=sealed_name, amr=rules.BY_PASSKEY)

        pair = await self._db.transact(admit)
        if pair is None:
            raise PasskeyInvalid("the passkey does not count here")
        return pair

    async def begin_registration(self, user_id: UUID, session_id: UUID | None) -> Asked:
        """Ask for a new passkey of a user.

        Raises:
            UserNotFound: There is no such user.
            NotRegistered: A guest has nothing to sign in to.
            RecentSignInRequired: The session is older than a moment.
            TooManyPasskeys: The user has as many as they may.
        """
        async with self._db.hot_read() as connection:
            user = await user_store.get_user(connection, user_id)
            known = await store.list_passkeys(connection, user_id)
        if user.guest:
            raise NotRegistered("register first: a guest has nothing to sign in to")
        await self._sessions.require_recent(user_id, session_id)
        _room_for_one(known)
        challenge = await self._new_challenge(ChallengePurpose.REGISTER, Owner(user_id, session_id))
        profile = await self._profiles.of(user)
        options = ceremonies.creation_options(
            self._party,
            challenge=challenge,
            handle=user_id.bytes,
            account=profile.email or "",
            name=profile.display_name,
            known=[passkey.credential_id for passkey in known],
        )
        return Asked(options)

    async def register(self, user_id: UUID, session_id: UUID | None, credential_json: str, *, name: str) -> Passkey:
        """Store the passkey that was made for a challenge of this user and session; returns it.

        Raises:
            ChallengeInvalid: It is unknown, answered, expired, or of another user or session.
            PasskeyInvalid: It was not made as it has to be, or is somebody's already.
            TooManyPasskeys: The user has as many as they may.
            UserNotFound: The user is gone.
            SessionRevoked: The session has ended meanwhile.
        """
        registration = Registration(credential_json)
        await self._take(registration.challenge, ChallengePurpose.REGISTER, Owner(user_id, session_id))
        key, at = registration.prove(self._party), self._clock.now()
        passkey_id = self._ids.new()
        await self._personal.prepare(user_id)
        passkey = Passkey(
            passkey_id,
            user_id,
            key.credential_id,
            key.public_key,
            key.sign_count,
            key.backed_up,
            self._personal.seal(user_id, passkey_id, Column.PASSKEY_NAME, name),
            at,
            None,
            name,
        )
        async with self._db.hot() as tx:
            user = await user_store.lock_user(tx, user_id)
            await session_store.hold_session(tx, user_id, session_id, at=at)
            _room_for_one(await store.list_passkeys(tx, user_id))
            if not await store.insert_passkey(tx, passkey):
                raise PasskeyInvalid("the passkey does not count here")
            await tell(tx, self._ids.new(), user, SignInChange.PASSKEY_ADDED)
            await audit.accept(tx, _resource(passkey.passkey_id))
        return passkey

    async def list_of(self, user_id: UUID) -> Sequence[Passkey]:
        """Return a user's passkeys, the newest first."""
        async with self._db.hot_read() as connection:
            found = await store.list_passkeys(connection, user_id)
        if any(each.sealed_name for each in found):
            await self._personal.prepare(user_id)
        return [
            replace(each, name=self._personal.open(user_id, each.passkey_id, Column.PASSKEY_NAME, each.sealed_name))
            for each in found
        ]

    async def remove(self, user_id: UUID, session_id: UUID | None, passkey_id: UUID) -> None:
        """Forget a passkey of a user.

        Raises:
            RecentSignInRequired: The session is older than a moment.
            PasskeyNotFound: There is none, or it is somebody else's.
            UserNotFound: The user is gone.
            SessionRevoked: The session has ended meanwhile.
        """
        await self._sessions.require_recent(user_id, session_id)
        async with self._db.hot() as tx:
            await user_store.lock_user(tx, user_id)
            await session_store.hold_session(tx, user_id, session_id, at=self._clock.now())
            if not await store.remove_passkey(tx, user_id, passkey_id):
                raise PasskeyNotFound("there is no such passkey")
            await audit.accept(tx, _resource(passkey_id))

    async def _new_challenge(self, purpose: ChallengePurpose, owner: Owner | None) -> bytes:
        challenge = secrets.token_bytes(rules.CHALLENGE_BYTES)
        async with self._db.hot() as tx:
            hashed, end = rules.challenge_hash(challenge), rules.challenge_end(self._clock.now())
            await store.insert_challenge(tx, hashed, purpose, owner=owner, expires_at=end)
            await audit.accept(tx, "passkeys")
        return challenge

    async def _take(self, challenge: bytes, purpose: ChallengePurpose, owner: Owner | None) -> None:
        hashed, at = rules.challenge_hash(challenge), self._clock.now()
        async with self._db.hot() as tx:
            counts = await store.take_challenge(tx, hashed, purpose, owner=owner, at=at)
        if not counts:
            raise ChallengeInvalid("the challenge is unknown, answered or expired: begin again")


def _resource(passkey_id: UUID) -> str:
    return f"passkeys/{passkey_id}"


def _room_for_one(known: Sequence[Passkey]) -> None:
    if len(known) >= rules.MAX_PASSKEYS:
        raise TooManyPasskeys(f"a user has at most {rules.MAX_PASSKEYS} passkeys")
