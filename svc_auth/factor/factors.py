"""What happens to second factors, transaction by transaction: enrolled, confirmed, shown at sign-in, ended."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from uuid import UUID

import asyncpg

from mesh import audit
from mesh.database import Database
from mesh.seams import Clock
from svc_auth.auth import attempt_store
from svc_auth.auth import store as session_store
from svc_auth.auth.rules import admit_attempt, after_failure
from svc_auth.auth.trials import PasswordTrials
from svc_auth.errors import CodeInvalid, CredentialsInvalid, NotRegistered, SecondFactorActive, SecondFactorNotFound
from svc_auth.factor import rules, store
from svc_auth.factor.rules import Factor
from svc_auth.sealing import Seal
from svc_auth.user import store as user_store
from svc_auth.user.profiles import Profiles

ISSUER = "Titan"


@dataclass(frozen=True)
class Proof:
    """What somebody shows: a code, or else a recovery code."""

    code: str = field(default="", repr=False)
    recovery_code: str = field(default="", repr=False)


@dataclass(frozen=True)
class Enrolled:
    """A new secret, to be shown once."""

    secret: str = field(repr=False)
    otpauth_uri: str = field(repr=False)


class Factors:
    """The second factors of this package's database."""

    def __init__(self, db: Database, trials: PasswordTrials, profiles: Profiles, seal: Seal, clock: Clock) -> None:
        self._db = db
        self._trials = trials
        self._profiles = profiles
        self._seal = seal
        self._clock = clock

    async def state(self, user_id: UUID) -> tuple[Factor | None, int]:
        """Return a user's second factor, confirmed or not, and how many recovery codes are left."""
        async with self._db.hot_read() as connection:
            return await store.find_factor(connection, user_id)

    async def enrol(self, user_id: UUID, password: str) -> Enrolled:
        """Make a secret that waits to be confirmed.

        Raises:
            UserNotFound: There is no such user.
            NotRegistered: The user has no password.
            CredentialsInvalid: It is another one.
            SignInThrottled: The user's address has seen too many wrong ones.
            SecondFactorActive: A second factor is in force.
        """
        async with self._db.hot_read() as connection:
            user = await user_store.get_user(connection, user_id)
        if user.email_index is None:
            raise NotRegistered("register first: a second factor needs a first one")
        passed = await self._trials.of_user(user, password)
        account = (await self._profiles.of(user)).email or ""
        secret = secrets.token_bytes(rules.SECRET_BYTES)
        sealed = self._seal.close(str(user_id), secret)
        async with self._db.hot() as tx:
            # The user before the factor: whoever erases them, or replaces the password, takes them in this order.
            await user_store.lock_user(tx, user_id)
            if not await user_store.hold_password(tx, user_id, passed.password_hash):
                raise CredentialsInvalid("the password was changed meanwhile")
            if not await store.save_enrolled(tx, user_id, sealed, at=self._clock.now()):
                raise SecondFactorActive("a second factor is in force already")
            await audit.accept(tx, user_store.resource(user_id))
        return Enrolled(rules.base32(secret), rules.otpauth_uri(secret, account=account, issuer=ISSUER))

    async def confirm(self, user_id: UUID, session_id: UUID | None, code: str) -> list[str]:
        """Put the enrolled secret into force; returns the recovery codes.

        The password was shown to enrol, and a code now: the session has seen two factors, as if it were a new one.

        Raises:
            SessionRevoked: The session has ended meanwhile.
            SecondFactorNotFound: None waits to be confirmed.
            SecondFactorActive: It was confirmed before.
            CodeInvalid: The code is not one of this secret and this moment.
            SignInThrottled: There were too many wrong ones.
        """
        codes = rules.new_recovery_codes()

        async def put_into_force(tx: asyncpg.Connection) -> bool:
            # The user before the factor: whoever resets a password takes them in this order.
            await user_store.hold_user(tx, user_id)
            await session_store.hold_session(tx, user_id, session_id, at=self._clock.now(), to_change=True)
            factor = await store.lock_factor(tx, user_id)
            if factor is None:
                raise SecondFactorNotFound("enrol a second factor first")
            if factor.active:
                raise SecondFactorActive("a second factor is in force already")
            if not await self._counts(tx, factor, Proof(code=code)):
                return False
            hashes = [rules.recovery_hash(user_id, each) for each in codes]
            await store.save_confirmed(tx, user_id, code_hashes=hashes, at=self._clock.now())
            await session_store.save_factor_shown(tx, session_id, rules.AND_BY_CODE)
            await audit.accept(tx, user_store.resource(user_id))
            return True

        if not await self._db.transact(put_into_force):
            raise CodeInvalid("the code is wrong, or was used before")
        return codes

    async def disable(self, user_id: UUID, proof: Proof) -> None:
        """End the second factor. A session that it opened was opened with it, and stays so until it ends.

        Raises:
            SecondFactorNotFound: None is in force.
            CodeInvalid: The proof does not count.
            SignInThrottled: There were too many wrong ones.
        """

        async def end(tx: asyncpg.Connection) -> bool:
            if not await self.prove(tx, user_id, proof):
                return False
            await store.remove_factor(tx, user_id)
            await audit.accept(tx, user_store.resource(user_id))
            return True

        if not await self._db.transact(end):
            raise CodeInvalid("the code is wrong, or was used before")

    async def prove(self, tx: asyncpg.Connection, user_id: UUID, proof: Proof) -> tuple[str, ...] | None:
        """Return what a proof adds to how the user signs in, or None where it does not count.

        The transaction has to be committed either way: it has spent the code, or counted a wrong one.

        Raises:
            SecondFactorNotFound: None is in force.
            SignInThrottled: There were too many wrong ones.
        """
        factor = await store.lock_factor(tx, user_id)
        if factor is None or not factor.active:
            raise SecondFactorNotFound("no second factor is in force")
        if not await self._counts(tx, factor, proof):
            return None
        return rules.AND_BY_CODE if proof.code else rules.AND_BY_RECOVERY_CODE

    async def _counts(self, tx: asyncpg.Connection, factor: Factor, proof: Proof) -> bool:
        """Return whether a proof of a locked factor counts; spend it if so, else count a wrong one."""
        key, at = attempt_store.factor_key(factor.user_id), self._clock.now()
        attempts = await attempt_store.lock_attempts(tx, key, at=at)
        admit_attempt(attempts, at=at)
        if await self._spent(tx, factor, proof):
            await attempt_store.forget_attempts(tx, key)
            return True
        await attempt_store.save_attempts(tx, key, after_failure(attempts, at=at))
        return False

    async def _spent(self, tx: asyncpg.Connection, factor: Factor, proof: Proof) -> bool:
        if proof.recovery_code:
            hashed = rules.recovery_hash(factor.user_id, proof.recovery_code)
            return await store.spend_recovery_code(tx, factor.user_id, hashed)
        secret = self._seal.open(str(factor.user_id), factor.secret)
        step = rules.accepted_step(secret, proof.code, at=self._clock.now(), last_step=factor.last_step)
        if step is None:
            return False
        await store.save_step(tx, factor.user_id, step)
        return True
