"""How a user who is signed in changes their password: they show the present one, and are signed out elsewhere."""

from __future__ import annotations

from uuid import UUID

from mesh import audit
from mesh.database import Database
from mesh.seams import Ids
from svc_auth.auth import attempt_store
from svc_auth.auth.endings import end_sessions
from svc_auth.auth.feed import RevocationFeed
from svc_auth.auth.rules import PASSWORD_RESET
from svc_auth.auth.trials import PasswordTrials
from svc_auth.errors import CredentialsInvalid, NotRegistered
from svc_auth.passwords import Passwords
from svc_auth.user import store
from svc_auth.user.notices import SignInChange, tell
from svc_auth.user.policy import PasswordPolicy
from svc_auth.user.profiles import Profiles


class PasswordChanges:
    """The changes of one process."""

    def __init__(
        self,
        db: Database,
        trials: PasswordTrials,
        passwords: Passwords,
        policy: PasswordPolicy,
        profiles: Profiles,
        feed: RevocationFeed,
        ids: Ids,
    ) -> None:
        self._db = db
        self._trials = trials
        self._passwords = passwords
        self._policy = policy
        self._profiles = profiles
        self._feed = feed
        self._ids = ids

    async def change(self, user_id: UUID, session_id: UUID | None, password: str, new_password: str) -> None:
        """Give a user another password, and end every session but this one.

        Raises:
            UserNotFound: There is no such user.
            NotRegistered: A guest has no password.
            CredentialsInvalid: The present password is another one, or there is none.
            SignInThrottled: The user's address has seen too many wrong ones.
            PasswordTooWeak: The new one is.
        """
        async with self._db.hot_read() as connection:
            user = await store.get_user(connection, user_id)
        if user.email_index is None:
            raise NotRegistered("register first: a guest has no password")
        # The present one first: whoever does not know it hears nothing about the new one.
        passed = await self._trials.of_user(user, password)
        profile = await self._profiles.of(user)
        self._policy.check(new_password, email=profile.email or "", display_name=profile.display_name)
        encoded = await self._passwords.hash(new_password)
        async with self._db.hot() as tx:
            # The locks of a reset, in its order: what the old password is opening meanwhile ends as well.
            held = await store.lock_user(tx, user_id)
            if not await store.hold_password(tx, user_id, passed.password_hash):
                raise CredentialsInvalid("the password was changed meanwhile")
            await store.save_new_password(tx, held, encoded)
            await tell(tx, self._ids.new(), held, SignInChange.PASSWORD_CHANGED)
            if passed.tries_hash is not None:
                await attempt_store.forget_attempts(tx, passed.tries_hash)
            await end_sessions(tx, user_id, reason=PASSWORD_RESET, but_for=session_id)
            await audit.accept(tx, store.resource(user_id))
        self._feed.wake()
