"""What happens at a sign-in with a provider, step by step: begun, taken once, proved over there, decided here.

A flow is forgotten before the provider is called, and nothing is called inside a transaction: whatever fails, the flow
is over, and the user begins again.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

import asyncpg

from mesh import audit
from mesh.database import Database
from mesh.seams import Clock, Ids
from svc_auth.auth import store as session_store
from svc_auth.auth.rules import SIGNED_OUT
from svc_auth.auth.sessions import Challenge, Sessions
from svc_auth.auth.tokens import Pair
from svc_auth.blind_index import BlindIndex, Hashed
from svc_auth.errors import (
    EmailTaken,
    IdentityEmailUnverified,
    IdentityNotFound,
    IdentityNotLinked,
    IdentityProviderUnknown,
    IdentityTaken,
    NotRegistered,
    RedirectUriUnknown,
    SignInFlowInvalid,
)
from svc_auth.factor import store as factor_store
from svc_auth.federation import rules, store
from svc_auth.federation.client import ProviderClient
from svc_auth.federation.providers import Provider
from svc_auth.federation.rules import Claims, Flow, FlowPurpose
from svc_auth.federation.store import Identity
from svc_auth.personal import Column, Personal
from svc_auth.plain.columns import Plain
from svc_auth.renewal import index_store
from svc_auth.sealing import Seal
from svc_auth.user import rules as user_rules
from svc_auth.user import store as user_store
from svc_auth.user.notices import SignInChange, tell
from svc_auth.user.profiles import Profiles
from svc_auth.user.rules import HOUSE_ACCOUNTS, Profile, User

SIGN_IN_TRIES = 2
"""A subject that somebody linked, or a guest who registered, while this one signed in: look once more."""


@dataclass(frozen=True)
class Begun:
    """A flow that was begun: where the browser goes, and the secret of the client."""

    url: str = field(repr=False)
    token: str = field(repr=False)
    expires_in_seconds: int = rules.FLOW_SECONDS


@dataclass(frozen=True)
class Answer:
    """What a provider sent back, and the secret of the flow."""

    token: str = field(repr=False)
    state: str = field(repr=False)
    code: str = field(repr=False)
    issuer: str = ""


class Federation:
    """The identities of this package's database at the providers of the configuration."""

    def __init__(
        self,
        db: Database,
        clients: Iterable[ProviderClient],
        sessions: Sessions,
        profiles: Profiles,
        personal: Personal,
        index: BlindIndex,
        plain: Plain,
        seal: Seal,
        clock: Clock,
        ids: Ids,
    ) -> None:
        self._db = db
        self._clients = {client.provider.name: client for client in clients}
        self._sessions = sessions
        self._profiles = profiles
        self._personal = personal
        self._index = index
        self._plain = plain
        self._seal = seal
        self._clock = clock
        self._ids = ids

    @property
    def providers(self) -> list[Provider]:
        """The providers, in the order of the configuration."""
        return [client.provider for client in self._clients.values()]

    async def close(self) -> None:
        """Close every connection to a provider."""
        for client in self._clients.values():
            await client.close()

    async def begin_sign_in(self, provider: str, redirect_uri: str, *, client_name: str) -> Begun:
        """Begin a sign-in.

        Raises:
            IdentityProviderUnknown: There is none of this name.
            RedirectUriUnknown: It may not send a browser back there.
            IdentityProviderUnavailable: Its metadata cannot be read.
        """
        return await self._begin(provider, redirect_uri, FlowPurpose.SIGN_IN, client_name=client_name)

    async def begin_link(self, user_id: UUID, session_id: UUID | None, provider: str, redirect_uri: str) -> Begun:
        """Begin to link an identity to a user.

        Raises:
            UserNotFound: There is no such user.
            NotRegistered: A guest has nothing to link it to.
            RecentSignInRequired: The session is older than a moment.
            IdentityProviderUnknown: There is none of this name.
            RedirectUriUnknown: It may not send a browser back there.
            IdentityProviderUnavailable: Its metadata cannot be read.
        """
        async with self._db.hot_read() as connection:
            user = await user_store.get_user(connection, user_id)
        if user.guest:
            raise NotRegistered("register first, or sign in with the identity: there is nothing to link it to")
        await self._sessions.require_recent(user_id, session_id)
        return await self._begin(provider, redirect_uri, FlowPurpose.LINK, user_id=user_id, session_id=session_id)

    async def finish_sign_in(self, answer: Answer, *, caller_id: UUID | None) -> Pair | Challenge:
        """Open a session for whoever the provider says it is; a new user is the calling guest, if a guest calls.

        Raises:
            SignInFlowInvalid: The flow does not count, or the answer is not of it.
            IdentityNotProven: The provider's answer proves no identity.
            IdentityProviderUnavailable: The provider does not answer, or not as it should.
            IdentityEmailUnverified: Nobody has the identity, and the provider vouches for no address.
            IdentityNotLinked: Nobody has the identity, and another user has the address.
        """
        flow, claims = await self._proved(answer, FlowPurpose.SIGN_IN)

        async def sign_in() -> Pair | Challenge | None:
            user_id = await self._user_id_of(claims, caller_id)
            return await self._admit(flow, claims, user_id, new_guest=user_id == caller_id)

        for _ in range(SIGN_IN_TRIES):
            opened = await self._index.settled(sign_in)
            if opened is not None:
                return opened
        raise IdentityNotLinked("the identity, or the guest, was another's meanwhile: sign in again")

    async def _admit(self, flow: Flow, claims: Claims, user_id: UUID, *, new_guest: bool) -> Pair | Challenge | None:
        """Open the session of a user whose key is prepared, or None where the subject is somebody else's by now."""
        subject = self._index.identity(claims.issuer, claims.subject)
        await self._personal.prepare(user_id)
        sealed_name = await self._personal.sealed_name(user_id, flow.client_name)

        async def admit(tx: asyncpg.Connection) -> Pair | Challenge | None:
            await self._index.hold(tx, subject)
            await store.lock_subject(tx, subject)
            known, at = await store.find_identity(tx, subject), self._clock.now()
            if known is not None and known.user_id != user_id:
                return None
            if known is not None:
                user: User | None = await self._known_user(tx, known, subject, claims, at=at)
            else:
                user = await self._new_user(tx, flow.provider, subject, claims, user_id, new_guest=new_guest, at=at)
            if user is None:
                return None
            return await self._sessions.admit(
                tx,
                session_store.subject_of(user),
                client_name=sealed_name,
                amr=rules.BY_PROVIDER,
                second_factor=await factor_store.is_active(tx, user.user_id),
            )

        return await self._db.transact(admit)

    async def finish_link(self, user_id: UUID, session_id: UUID | None, answer: Answer) -> Identity:
        """Link an identity to the user who began the flow, in the session that did; returns it.

        Raises:
            SignInFlowInvalid: The flow does not count, or the answer is not of it.
            SessionRevoked: The session has ended meanwhile.
            IdentityNotProven: The provider's answer proves no identity.
            IdentityProviderUnavailable: The provider does not answer, or not as it should.
            IdentityTaken: Somebody else has it.
            UserNotFound: The user is gone.
        """
        flow, claims = await self._proved(answer, FlowPurpose.LINK, user_id=user_id, session_id=session_id)
        await self._personal.prepare(user_id)

        async def link(tx: asyncpg.Connection) -> Identity:
            subject = self._index.identity(claims.issuer, claims.subject)
            await self._index.hold(tx, subject)
            await store.lock_subject(tx, subject)
            user = await user_store.lock_user(tx, user_id)
            await session_store.hold_session(tx, user_id, session_id, at=self._clock.now())
            known = await store.find_identity(tx, subject)
            if known is not None and known.user_id != user_id:
                raise IdentityTaken("another user signs in with this identity")
            if known is not None:
                return known
            identity = Identity(self._ids.new(), user_id, flow.provider, self._clock.now(), None)
            await self._insert(tx, identity, subject, claims)
            told = self._clients[flow.provider].provider.display_name
            await tell(tx, self._ids.new(), user, SignInChange.IDENTITY_LINKED, provider=told)
            await audit.accept(tx, _resource(identity.identity_id))
            return identity

        return await self._index.settled(lambda: self._db.transact(link))

    async def list_of(self, user_id: UUID) -> list[Identity]:
        """Return a user's identities, the newest first."""
        async with self._db.hot_read() as connection:
            return await store.list_identities(connection, user_id)

    async def unlink(self, user_id: UUID, session_id: UUID | None, identity_id: UUID) -> None:
        """Forget an identity of a user.

        Raises:
            RecentSignInRequired: The session is older than a moment.
            IdentityNotFound: There is none, or it is somebody else's.
            UserNotFound: The user is gone.
            SessionRevoked: The session has ended meanwhile.
        """
        await self._sessions.require_recent(user_id, session_id)
        async with self._db.hot() as tx:
            await user_store.lock_user(tx, user_id)
            await session_store.hold_session(tx, user_id, session_id, at=self._clock.now())
            if not await store.remove_identity(tx, user_id, identity_id):
                raise IdentityNotFound("there is no such identity")
            await audit.accept(tx, _resource(identity_id))

    async def _begin(
        self,
        name: str,
        redirect_uri: str,
        purpose: FlowPurpose,
        *,
        user_id: UUID | None = None,
        session_id: UUID | None = None,
        client_name: str = "",
    ) -> Begun:
        client = self._clients.get(name)
        if client is None:
            raise IdentityProviderUnknown("there is no such identity provider")
        if redirect_uri not in client.provider.redirect_uris:
            raise RedirectUriUnknown("the provider may not send a browser back there")
        endpoint, token = await client.authorization_endpoint(), secrets.token_urlsafe(rules.TOKEN_BYTES)
        flow = Flow(rules.flow_hash(token), name, redirect_uri, purpose, user_id, client_name, session_id)
        async with self._db.hot() as tx:
            await store.insert_flow(tx, flow, self._sealed_name(flow), expires_at=rules.flow_end(self._clock.now()))
            await audit.accept(tx, "identities")
        return Begun(rules.authorization_url(endpoint, client.provider, redirect_uri=redirect_uri, token=token), token)

    async def _proved(
        self,
        answer: Answer,
        purpose: FlowPurpose,
        *,
        user_id: UUID | None = None,
        session_id: UUID | None = None,
    ) -> tuple[Flow, Claims]:
        """Take a flow, and have the provider say who it is."""
        async with self._db.hot() as tx:
            taken = await store.take_flow(tx, rules.flow_hash(answer.token), purpose, at=self._clock.now())
        flow = None if taken is None else self._named(*taken)
        client = None if flow is None else self._clients.get(flow.provider)
        if (
            flow is None
            or client is None
            or (flow.user_id, flow.session_id) != (user_id, session_id)
            or not rules.is_state_of(answer.token, answer.state)
        ):
            raise SignInFlowInvalid("the flow is unknown, finished or expired, or the answer is of another one")
        if answer.issuer and answer.issuer != client.provider.issuer:
            raise SignInFlowInvalid("another provider answered than the one that was asked")
        payload = await client.redeem(
            answer.code, redirect_uri=flow.redirect_uri, verifier=rules.verifier_of(answer.token)
        )
        nonce = rules.nonce_of(answer.token)
        return flow, rules.claims_of(payload, client.provider, nonce=nonce, at=self._clock.now())

    async def _user_id_of(self, claims: Claims, caller_id: UUID | None) -> UUID:
        """Return whose the subject is: whoever has linked it, or else the calling guest or somebody new, prepared."""
        async with self._db.hot_read() as connection:
            # The address before the identity: a first sign-in beside this one writes both at once.
            taken = claims.email is not None and (
                claims.email in HOUSE_ACCOUNTS
                or await user_store.find_by_email(connection, self._index.email(claims.email)) is not None
            )
            subject = self._index.identity(claims.issuer, claims.subject)
            known = await store.find_identity(connection, subject)
            if known is not None:
                return known.user_id
            await index_store.hold(connection, subject.written)  # or else it may be known under another key
            _vouched(claims)
            if taken:
                raise _not_linked()
            caller = None if caller_id is None else await user_store.find_user(connection, caller_id)
        user_id = caller.user_id if caller is not None and caller.guest else self._ids.new()
        await self._profiles.prepare(user_id)
        return user_id

    async def _known_user(
        self, tx: asyncpg.Connection, known: Identity, subject: Hashed, claims: Claims, *, at: datetime
    ) -> User:
        # The user before the identity: whoever resets a password takes them in this order.
        held = await user_store.hold_user(tx, known.user_id)
        sealed = self._sealed_subject(known, claims)
        if held is None or not await store.save_used(tx, known.identity_id, subject, sealed, at=at):
            raise IdentityNotLinked("the identity was unlinked meanwhile")
        return held

    async def _new_user(
        self,
        tx: asyncpg.Connection,
        provider: str,
        subject: Hashed,
        claims: Claims,
        user_id: UUID,
        *,
        new_guest: bool,
        at: datetime,
    ) -> User | None:
        """Make the user of a locked subject that nobody has: a guest, or None where they are none any more, or somebody
        new."""
        address = _vouched(claims)
        email, plain_email = self._index.email(address), self._plain.kept(address)
        try:
            if new_guest:
                guest = await user_store.find_locked(tx, user_id)
                if guest is None or not guest.guest:
                    return None
                profile = Profile(address, claims.name or self._profiles.opened(guest).display_name)
                registered = replace(user_rules.register(guest, email_index=email.newest), email_verified_at=at)
                user = self._profiles.sealed(registered, profile)
                await user_store.save_registered(tx, user, None, at=at, email=email, plain_email=plain_email)
                # Whoever slipped a guest's session into this browser does not come along.
                await session_store.save_all_revoked(tx, user_id, reason=SIGNED_OUT)
            else:
                user = User(user_id, email.newest, None, (), 1, at, at)
                user = self._profiles.sealed(user, Profile(address, claims.name))
                await user_store.insert_registered(tx, user, None, email=email, plain_email=plain_email)
        except EmailTaken:
            raise _not_linked() from None
        await self._insert(tx, Identity(self._ids.new(), user_id, provider, at, at), subject, claims)
        return user

    async def _insert(self, tx: asyncpg.Connection, identity: Identity, subject: Hashed, claims: Claims) -> None:
        sealed, plain_subject = self._sealed_subject(identity, claims), self._plain.kept(claims.subject)
        await store.insert_identity(tx, identity, subject, sealed, issuer=claims.issuer, plain_subject=plain_subject)

    def _sealed_subject(self, identity: Identity, claims: Claims) -> bytes | None:
        return self._personal.seal(identity.user_id, identity.identity_id, Column.SUBJECT, claims.subject)

    # Whose a flow will be is not known yet, so what its client calls itself is sealed for the flow.

    def _sealed_name(self, flow: Flow) -> bytes | None:
        return self._seal.close(flow.flow_hash.hex(), flow.client_name.encode()) if flow.client_name else None

    def _named(self, flow: Flow, sealed_name: bytes | None) -> Flow:
        name = self._seal.open(flow.flow_hash.hex(), sealed_name).decode() if sealed_name is not None else ""
        return replace(flow, client_name=name)


def _vouched(claims: Claims) -> str:
    if claims.email is None:
        raise IdentityEmailUnverified("the provider vouches for no address: register first, then link the identity")
    return claims.email


def _not_linked() -> IdentityNotLinked:
    return IdentityNotLinked("a user with this address exists: sign in as before, then link the identity")


def _resource(identity_id: UUID) -> str:
    return f"identities/{identity_id}"
