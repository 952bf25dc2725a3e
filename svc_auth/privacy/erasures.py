"""Erasing users: a decision in one transaction, then the other packages, again and again until all have done it.

Everything that could sign in as the user ends with the decision, and svc_auth's own data with it. What follows needs no
memory but the row of the decision, as each package may be asked any number of times.
"""

from __future__ import annotations

import asyncio
from typing import Protocol
from uuid import UUID

import asyncpg

from mesh import audit
from mesh.database import Database
from mesh.refusals import Refusal, Unavailable
from mesh.seams import Clock
from mesh.telemetry import get_logger
from mesh.vault import store as keys
from mesh.vault.vault import Vault
from svc_auth.auth import store as session_store
from svc_auth.auth.feed import RevocationFeed
from svc_auth.auth.sessions import Sessions
from svc_auth.auth.trials import PasswordTrials
from svc_auth.errors import CodeInvalid, CredentialsInvalid, ErasureNotFound, UserNotFound
from svc_auth.factor import store as factor_store
from svc_auth.factor.factors import Factors, Proof
from svc_auth.privacy import rules, store
from svc_auth.privacy.rules import Erasure, Money
from svc_auth.user import store as user_store
from svc_auth.user.rules import User

BATCH_ERASURES = 16
POLL_SECONDS = 1.0
"""For what another process decided and did not live to carry out; this one's own decisions wake it."""

log = get_logger("svc_auth.erasures")


class Packages(Protocol):
    """What erasing asks of the other packages; see `participants`."""

    async def money(self, user_id: UUID) -> Money:
        """Return what a user's wallet holds."""
        ...

    async def check_orders(self, user_id: UUID) -> None:
        """Raise ORDERS_UNDER_WAY where an order of the user has not come to its end."""
        ...

    async def empty(self, user_id: UUID) -> None:
        """Leave nothing personal of a user in any package."""
        ...


class Erasures:
    """The erasures of this package's database. Run `follow` in the background."""

    def __init__(
        self,
        db: Database,
        packages: Packages,
        trials: PasswordTrials,
        factors: Factors,
        sessions: Sessions,
        vault: Vault,
        feed: RevocationFeed,
        clock: Clock,
    ) -> None:
        self._db = db
        self._packages = packages
        self._trials = trials
        self._factors = factors
        self._sessions = sessions
        self._vault = vault
        self._feed = feed
        self._clock = clock
        self._decided = asyncio.Event()

    async def get(self, user_id: UUID) -> Erasure:
        """Return the erasure of a user.

        Raises:
            ErasureNotFound: Nobody has asked for it.
        """
        async with self._db.hot_read() as connection:
            found = await store.find(connection, user_id)
        if found is None:
            raise ErasureNotFound("nobody has asked to erase this user")
        return found

    async def erase_self(self, user_id: UUID, session_id: UUID | None, password: str, proof: Proof | None) -> Erasure:
        """Erase a user who shows that it is them.

        Raises:
            CredentialsInvalid: The password is another one, or the account was changed meanwhile.
            SignInThrottled: The user's address has seen too many wrong ones, or the second factor wrong codes.
            RecentSignInRequired: The user has no password, and signed in too long ago.
            CodeInvalid: A second factor is in force, and the proof does not count or there is none.
            SessionRevoked: The session has ended meanwhile.
            Refusal: As `erase`.
        """
        async with self._db.hot_read() as connection:
            done, user = await store.find(connection, user_id), await user_store.find_user(connection, user_id)
            password_hash = await user_store.find_password(connection, user_id)
        if done is not None:
            return done
        if user is None:
            raise UserNotFound("there is no such user")
        if user.email_index is not None and password_hash is not None:
            password_hash = (await self._trials.of_user(user, password)).password_hash
        elif not user.guest:
            await self._sessions.require_recent(user_id, session_id)
        await self._check(user)

        async def decide(tx: asyncpg.Connection) -> Erasure | None:
            held = await user_store.find_locked(tx, user_id)
            if held is not None:
                if held.guest != user.guest or (
                    password_hash is not None and not await user_store.hold_password(tx, user_id, password_hash)
                ):
                    raise CredentialsInvalid("the account was changed meanwhile")
                await session_store.hold_session(tx, user_id, session_id, at=self._clock.now())
                if await factor_store.is_active(tx, user_id) and not await self._proven(tx, user_id, proof):
                    return None
            return await self._decide(tx, user_id, held, requested_by=user_id, reason=rules.OWN_WISH)

        erasure = await self._db.transact(decide)
        if erasure is None:
            raise CodeInvalid("the second factor is wanted: the code is missing, wrong, or was used before")
        self._begin(user_id)
        return erasure

    async def erase(self, user_id: UUID, *, requested_by: UUID, reason: str) -> Erasure:
        """Erase a user for somebody who may decide so.

        Raises:
            UserNotFound: There is no such user.
            UserHasRoles: The user works here.
            WalletNotEmpty: Money is in the user's wallet, or on its way there.
            Refusal: ORDERS_UNDER_WAY, or a package is away.
        """
        async with self._db.hot_read() as connection:
            done = await store.find(connection, user_id)
            if done is not None:
                return done
            user = await user_store.get_user(connection, user_id)
        await self._check(user)

        async def decide(tx: asyncpg.Connection) -> Erasure:
            held = await user_store.find_locked(tx, user_id)
            return await self._decide(tx, user_id, held, requested_by=requested_by, reason=reason)

        erasure = await self._db.transact(decide)
        self._begin(user_id)
        return erasure

    async def follow(self) -> None:
        """Carry out what is decided, until cancelled."""
        while True:
            self._decided.clear()
            try:
                if await self.run_due() >= BATCH_ERASURES:
                    continue
            except Unavailable:
                pass  # what is decided waits in the database
            try:
                async with asyncio.timeout(POLL_SECONDS):
                    await self._decided.wait()
            except TimeoutError:
                continue

    async def run_due(self) -> int:
        """Work on the erasures that are due, and say how many there were."""
        due = await self._db.transact(lambda tx: store.claim_due(tx, at=self._clock.now(), limit=BATCH_ERASURES))
        async with asyncio.TaskGroup() as group:
            for erasure in due:
                group.create_task(self._run(erasure))
        return len(due)

    async def _run(self, erasure: Erasure) -> None:
        try:
            await self._empty(erasure)
            after = rules.after_pass(erasure, at=self._clock.now())
        except Refusal as refusal:
            after = rules.after_failure(erasure, at=self._clock.now())
            told = {"user_id": str(erasure.user_id), "reason": refusal.reason, "attempts": after.attempts}
            log.warning("an erasure waits", **told)
        try:
            async with self._db.hot() as tx:
                # A call of theirs that was under way may have been given a key beside the decision.
                await keys.destroy_key(tx, erasure.user_id)
                await store.save(tx, after, lease=erasure.next_run_at)
        except Unavailable:
            pass  # the lease ends, and whoever takes it then does it again

    async def _empty(self, erasure: Erasure) -> None:
        """Empty the packages. Money that came since it was asked for is found while its owner can still be, the first
        time; what came later holds up the end alone.

        Raises:
            Refusal: WALLET_NOT_EMPTY or ORDERS_UNDER_WAY, or a package is away.
        """
        if erasure.emptied_at is None:
            rules.check_money(await self._packages.money(erasure.user_id))
            await self._packages.empty(erasure.user_id)
        else:
            await self._packages.empty(erasure.user_id)
            rules.check_money(await self._packages.money(erasure.user_id))

    async def _check(self, user: User) -> None:
        rules.check_user(user)
        rules.check_money(await self._packages.money(user.user_id))
        await self._packages.check_orders(user.user_id)

    async def _proven(self, tx: asyncpg.Connection, user_id: UUID, proof: Proof | None) -> bool:
        return proof is not None and await self._factors.prove(tx, user_id, proof) is not None

    async def _decide(
        self, tx: asyncpg.Connection, user_id: UUID, held: User | None, *, requested_by: UUID, reason: str
    ) -> Erasure:
        if held is None:  # a twin was quicker
            done = await store.find(tx, user_id)
            if done is None:
                raise UserNotFound("there is no such user")
            return done
        rules.check_user(held)
        at = self._clock.now()
        await store.empty(tx, held, at=at)
        await audit.accept(tx, user_store.resource(user_id))
        return await store.insert(tx, user_id, requested_by=requested_by, reason=reason, at=at)

    def _begin(self, user_id: UUID) -> None:
        self._vault.forget(user_id)
        self._feed.wake()
        self._decided.set()
