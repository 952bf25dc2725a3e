"""What happens to one-time links, transaction by transaction: asked for, made, read by the letter writer, used.

Asking writes one row, the same for an address that nobody has, and is answered then; links are made of the rows
afterwards. So neither the answer nor its time tells who is registered.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

import asyncpg

from mesh import audit
from mesh.database import Database
from mesh.refusals import Unavailable
from mesh.seams import Clock, Ids
from svc_auth.auth import attempt_store
from svc_auth.auth.endings import end_ways_in
from svc_auth.auth.feed import RevocationFeed
from svc_auth.auth.rules import PASSWORD_RESET
from svc_auth.blind_index import BlindIndex
from svc_auth.errors import EmailVerified, LinkInvalid, NotRegistered
from svc_auth.factor import store as factor_store
from svc_auth.link import rules, store
from svc_auth.link.rules import LinkPurpose, OpenLink
from svc_auth.link.store import NewLink
from svc_auth.passwords import Passwords
from svc_auth.sealing import Seal
from svc_auth.user import store as user_store
from svc_auth.user.notices import SignInChange, tell
from svc_auth.user.policy import PasswordPolicy
from svc_auth.user.profiles import Profiles

BATCH_REQUESTS = 100
POLL_SECONDS = 2.0
"""For what a process left behind that ended; its own requests wake this one."""


@dataclass(frozen=True)
class Shown:
    """A link as its letter needs it."""

    link_id: UUID
    purpose: LinkPurpose
    email: str = field(repr=False)
    token: str = field(repr=False)
    expires_at: datetime


class Links:
    """The links of this package's database. Run `follow` in the background."""

    def __init__(
        self,
        db: Database,
        passwords: Passwords,
        policy: PasswordPolicy,
        profiles: Profiles,
        index: BlindIndex,
        feed: RevocationFeed,
        seal: Seal,
        clock: Clock,
        ids: Ids,
    ) -> None:
        self._db = db
        self._passwords = passwords
        self._policy = policy
        self._profiles = profiles
        self._index = index
        self._feed = feed
        self._seal = seal
        self._clock = clock
        self._ids = ids
        self._asked = asyncio.Event()

    async def request_verification(self, user_id: UUID) -> None:
        """Ask for a link that verifies the address of a user.

        Raises:
            UserNotFound: There is no such user.
            NotRegistered: The user has no address.
            EmailVerified: It is verified already.
        """
        async with self._db.hot_read() as connection:
            user = await user_store.get_user(connection, user_id)
        if user.email_index is None:
            raise NotRegistered("register first: there is no address to verify")
        if user.email_verified_at is not None:
            raise EmailVerified("the address is verified already")
        await self._request((await self._profiles.of(user)).email or "", LinkPurpose.EMAIL_VERIFICATION)

    async def request_reset(self, email: str) -> None:
        """Ask for a link that sets a new password for whoever has an address, if anybody has."""
        await self._request(email, LinkPurpose.PASSWORD_RESET)

    async def follow(self) -> None:
        """Make links of requests until cancelled."""
        while True:
            self._asked.clear()
            try:
                if await self.make_requested() >= BATCH_REQUESTS:
                    continue
            except Unavailable:
                pass  # the requests wait in the database
            try:
                async with asyncio.timeout(POLL_SECONDS):
                    await self._asked.wait()
            except TimeoutError:
                continue

    async def make_requested(self) -> int:
        """Make links of the oldest requests, those that are wanted, and say how many requests there were."""
        return await self._db.transact(self._make)

    async def show(self, link_ids: Sequence[UUID]) -> dict[UUID, Shown]:
        """Return those of the links that still count."""
        async with self._db.hot_read() as connection:
            found = await store.list_open(connection, link_ids, at=self._clock.now())
            users = await user_store.list_registered(connection, [link.user_id for link in found])
        emails = await self._profiles.emails_of(users)
        return {link.link_id: self._shown(link, emails[link.user_id]) for link in found if link.user_id in emails}

    async def verify_email(self, token: str) -> None:
        """Note that the user of a link reads the mail of their address.

        Raises:
            LinkInvalid: It is unknown, used, replaced or expired.
        """
        link, at = await self._find(token, LinkPurpose.EMAIL_VERIFICATION), self._clock.now()
        async with self._db.hot() as tx:
            user = await user_store.lock_user(tx, link.user_id)
            await self._use(tx, link, at=at)
            if user.email_verified_at is None:
                await user_store.save_verified(tx, user, at=at)
            await audit.accept(tx, user_store.resource(user.user_id), audit.command(actor_id=user.user_id))

    async def reset_password(self, token: str, password: str) -> None:
        """Give the user of a link another password, and end all that the old one opened.

        Raises:
            LinkInvalid: It is unknown, used, replaced or expired.
            PasswordTooWeak: The password is; the link stays.
        """
        link = await self._find(token, LinkPurpose.PASSWORD_RESET)
        async with self._db.hot_read() as connection:
            found = await user_store.find_user(connection, link.user_id)
        if found is None:
            raise LinkInvalid("the user of the link is gone")
        profile = await self._profiles.of(found)
        self._policy.check(password, email=profile.email or "", display_name=profile.display_name)
        encoded = await self._passwords.hash(password)
        async with self._db.hot() as tx:
            # The lock comes first: a sign-in with the old password holds the user too, until its session is stored.
            user, at = await user_store.lock_user(tx, link.user_id), self._clock.now()
            await self._use(tx, link, at=at)
            await user_store.save_new_password(tx, user, encoded)
            if user.email_verified_at is None:
                # Until now nobody had shown to be the reader of this address: whoever registered it may be a stranger,
                # and what they set up must not keep its reader out.
                await factor_store.remove_factor(tx, user.user_id)
                await user_store.save_verified(tx, user, at=at)
                user = replace(user, email_verified_at=at)
            await tell(tx, self._ids.new(), user, SignInChange.PASSWORD_CHANGED)
            if profile.email is not None:
                await attempt_store.forget_attempts(tx, self._index.email(profile.email).newest)
            await end_ways_in(tx, user.user_id, reason=PASSWORD_RESET)
            await audit.accept(tx, user_store.resource(user.user_id), audit.command(actor_id=user.user_id))
        self._feed.wake()

    async def _request(self, email: str, purpose: LinkPurpose) -> None:
        async def ask() -> None:
            hashed = self._index.email(email)
            async with self._db.hot() as tx:
                await self._index.hold(tx, hashed)
                await store.insert_request(tx, self._ids.new(), purpose, email=hashed, at=self._clock.now())
                await audit.accept(tx, "links")  # whose it will be, if anybody's, must not show

        await self._index.settled(ask)
        self._asked.set()

    async def _make(self, tx: asyncpg.Connection) -> int:
        requests = await store.take_requests(tx, limit=BATCH_REQUESTS)
        known = {(request.user_id, request.purpose) for request in requests if request.user_id is not None}
        for user_id, purpose in sorted(known):  # in one order, for whoever does the same beside us
            # A user who is gone since is sent nothing, and holds up nobody.
            user, at = await user_store.find_locked(tx, user_id), self._clock.now()
            since = rules.link_start(at)
            lately = await store.list_lately(tx, user_id, purpose, since=since, limit=rules.MAX_LETTERS)
            if rules.wanted(user, purpose, lately=lately, at=at):
                await store.insert_link(tx, self._new(user_id, purpose), at=at, expires_at=rules.link_end(at))
        return len(requests)

    def _new(self, user_id: UUID, purpose: LinkPurpose) -> NewLink:
        link_id, token = self._ids.new(), secrets.token_urlsafe(rules.TOKEN_BYTES)
        sealed = self._seal.close(str(link_id), token.encode())
        return NewLink(link_id, user_id, purpose, rules.token_hash(token), sealed)

    def _shown(self, link: OpenLink, email: str) -> Shown:
        token = self._seal.open(str(link.link_id), link.sealed_token).decode()
        return Shown(link.link_id, link.purpose, email, token, link.expires_at)

    async def _find(self, token: str, purpose: LinkPurpose) -> OpenLink:
        async with self._db.hot_read() as connection:
            link = await store.find_open(connection, rules.token_hash(token), purpose, at=self._clock.now())
        if link is None:
            raise LinkInvalid("the link is unknown, used, replaced by a newer one, or expired: ask for another")
        return link

    async def _use(self, tx: asyncpg.Connection, link: OpenLink, *, at: datetime) -> None:
        if not await store.close_link(tx, link.link_id, at=at):
            raise LinkInvalid("the link was used or replaced meanwhile: ask for another")
