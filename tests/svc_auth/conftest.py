"""One svc_auth over a database of its own, behind the real chain, with a clock that tests can move."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import grpc
import pytest

from control.atomic_file import replace_text
from mesh.database import Database
from mesh.identity import Caller, TokenVerifier
from mesh.interceptors.audit import Accesses
from mesh.seams import SystemClock, SystemIds
from mesh.vault.vault import Vault
from svc_auth.auth.feed import RevocationFeed
from svc_auth.auth.keeper import KeyKeeper
from svc_auth.auth.rpc import AuthServicer
from svc_auth.auth.rules import Subject
from svc_auth.auth.sessions import Sessions
from svc_auth.auth.tokens import Issuer
from svc_auth.auth.trials import PasswordTrials
from svc_auth.blind_index import BlindIndex
from svc_auth.clock import DatabaseClock
from svc_auth.factor.factors import Factors
from svc_auth.factor.rpc import SecondFactorServicer
from svc_auth.federation.client import ProviderClient
from svc_auth.federation.federation import Federation
from svc_auth.federation.rpc import FederationServicer
from svc_auth.keys import KeyRing, MasterKey
from svc_auth.link.links import Links
from svc_auth.link.rpc import LinkServicer
from svc_auth.passkey.ceremonies import RelyingParty
from svc_auth.passkey.passkeys import Passkeys
from svc_auth.passkey.rpc import PasskeyServicer
from svc_auth.passwords import Passwords
from svc_auth.personal import Personal
from svc_auth.plain.columns import Plain
from svc_auth.privacy.erasures import Erasures
from svc_auth.privacy.exports import Exports
from svc_auth.privacy.rpc import PrivacyServicer
from svc_auth.sealing import FLOWS, LINKS, SECOND_FACTORS, Seal
from svc_auth.settings import Settings
from svc_auth.user.accounts import ensure_accounts
from svc_auth.user.breached import BreachedPasswords, prints_of
from svc_auth.user.changes import PasswordChanges
from svc_auth.user.policy import PasswordPolicy
from svc_auth.user.profiles import Profiles
from svc_auth.user.rpc import UserServicer
from tests.harness import Metadata, serve
from tests.kms import Kms
from tests.svc_auth.privacy.packages import FakePackages
from titan.auth.v1 import (
    auth_service_pb2,
    auth_service_pb2_grpc,
    events_pb2,
    federation_service_pb2_grpc,
    link_service_pb2,
    link_service_pb2_grpc,
    passkey_service_pb2_grpc,
    privacy_service_pb2_grpc,
    second_factor_service_pb2_grpc,
    user_service_pb2,
    user_service_pb2_grpc,
)

PARTY = RelyingParty("Titan", "https://shop.titan.local")
LOCAL_MESH = frozenset({"admin", "importer"})
"""The accounts that a local mesh has, and the roles that open without a second factor there. Tests of the others give
them by hand."""
PASSWORD = "correct horse battery staple"
BREACHED = "tr0ub4dor&3 of yore"


class ShiftedClock(DatabaseClock):
    """The clock of the machine, moved forward by a test, whatever the database says."""

    def __init__(self) -> None:
        super().__init__(SystemClock())
        self.ahead = timedelta()

    def told(self, at: datetime, *, asked_at: datetime) -> None:
        """Stay where the test wants it."""

    def now(self) -> datetime:
        return super().now() + self.ahead

    def advance(self, seconds: float) -> None:
        self.ahead += timedelta(seconds=seconds)


@dataclass
class Replica:
    """What one process of svc_auth holds."""

    db: Database
    clock: Any
    ring: KeyRing
    keeper: KeyKeeper
    feed: RevocationFeed
    sessions: Sessions
    factors: Factors
    links: Links
    passwords: Passwords
    policy: PasswordPolicy
    changes: PasswordChanges
    verifier: TokenVerifier
    secrets_dir: Path
    federation: Any = None
    auth: Any = None
    user: Any = None
    factor: Any = None
    link: Any = None
    identity: Any = None
    passkey: Any = None
    privacy: Any = None
    erasures: Any = None
    packages: Any = None
    vault: Any = None
    personal: Any = None
    profiles: Any = None
    index: Any = None
    plain: Any = None
    target: str = ""

    def caller(self, access_token: str) -> Caller:
        """Return who is behind a token; raises what the chain would raise."""
        return self.verifier.verify(access_token, mutation=True)

    async def register(self, email: str | None = None, metadata: Metadata | None = None) -> tuple[str, str]:
        """Return the address and id of a new registered user."""
        email = email or new_email()
        request = user_service_pb2.CreateUserRequest(email=email, password=PASSWORD, display_name="Ada Lovelace")
        response = await self.user.CreateUser(request, metadata=metadata)
        return email, response.user.user_id

    async def sign_in(self, email: str, password: str = PASSWORD, *, client_name: str = "") -> Any:
        return await self.auth.CreateSession(
            auth_service_pb2.CreateSessionRequest(email=email, password=password, client_name=client_name)
        )

    async def guest(self) -> Any:
        return await self.auth.CreateGuestSession(auth_service_pb2.CreateGuestSessionRequest())

    async def refresh(self, refresh_token: str) -> Any:
        return await self.auth.RefreshSession(auth_service_pb2.RefreshSessionRequest(refresh_token=refresh_token))

    async def revoke(self, refresh_token: str) -> Any:
        return await self.auth.RevokeSession(auth_service_pb2.RevokeSessionRequest(refresh_token=refresh_token))

    async def reset_password(self, email: str, password: str = "three words in a row") -> None:
        """Set a new password with the link of a letter, as the reader of an address does."""
        await self.link.RequestPasswordReset(link_service_pb2.RequestPasswordResetRequest(email=email))
        await self.links.make_requested()
        async with self.db.hot_read() as connection:
            rows = await connection.fetch(
                "SELECT link_id FROM links JOIN users USING (user_id)"
                " WHERE email_index = ANY($1) AND closed_at IS NULL",
                self.index.email(email).each,
            )
        (shown,) = (await self.links.show([row["link_id"] for row in rows])).values()
        await self.link.ResetPassword(link_service_pb2.ResetPasswordRequest(token=shown.token, password=password))

    async def change_password(self, pair: Any, password: str = PASSWORD, new: str = "three words in a row") -> Any:
        """Change the password of a user who is signed in."""
        request = user_service_pb2.ChangePasswordRequest(password=password, new_password=new)
        return await self.user.ChangePassword(request, metadata=bearer(pair))

    async def verified(self, user_id: str) -> None:
        """Let a user have shown that they read their mail."""
        async with self.db.hot() as tx:
            await tx.execute("UPDATE users SET email_verified_at = now() WHERE user_id = $1", user_id)

    async def given(self, user_id: str, *roles: str) -> None:
        """Let a user have roles, as whoever runs the shop gives them."""
        async with self.db.hot() as tx:
            await tx.execute("UPDATE users SET roles = $2 WHERE user_id = $1", UUID(user_id), list(roles))

    async def moved(self, email: str, to: str) -> None:
        """Let the user of an address have another one."""
        async with self.db.hot() as tx:
            change = "UPDATE users SET email_index = $2 WHERE email_index = $1"
            await tx.execute(change, self.index.email(email).newest, self.index.email(to).newest)

    async def house(self, asked_for: frozenset[str] = LOCAL_MESH) -> None:
        """Have the accounts of the house as somebody asks for them, by their roles."""
        made = self.db, self.passwords, self.profiles, self.index, self.secrets_dir, self.clock, SystemIds()
        await ensure_accounts(*made, asked_for=asked_for)

    async def later(self, seconds: float) -> None:
        """Move the clock forward, with a view of ended sessions that is fresh then: the database's clock stays."""
        await self.feed.look()
        self.clock.advance(seconds)
        self.feed.view.apply((), as_of=self.clock.now().timestamp())

    async def events_of(self, user_id: str | UUID) -> list[tuple[str, int]]:
        """Return the types and versions of a user's events."""
        async with self.db.hot_read() as connection:
            rows = await connection.fetch(
                "SELECT type, version FROM outbox WHERE aggregate_id = $1 ORDER BY seq", str(user_id)
            )
        return [(row["type"].rpartition(".")[2], row["version"]) for row in rows]

    async def notices_of(self, user_id: str) -> list[tuple[str, str]]:
        """Return what a user is told by letter about their account: the changes, each with its provider."""
        query = "SELECT payload FROM outbox WHERE type = 'titan.auth.v1.SignInChanged' ORDER BY seq"
        async with self.db.hot_read() as connection:
            events = [events_pb2.SignInChanged.FromString(row["payload"]) for row in await connection.fetch(query)]
        return [
            (events_pb2.SignInChange.Name(event.change).removeprefix("SIGN_IN_CHANGE_"), event.provider)
            for event in events
            if event.user_id == user_id
        ]


def new_email() -> str:
    """Return an address that no other test uses."""
    return f"ada.{secrets.token_hex(6)}@example.com"


def bearer(response: Any) -> Metadata:
    """Return the metadata of a call with the access token of an answer."""
    return (("authorization", f"Bearer {response.access_token}"),)


def nobody(titan: Replica) -> Any:
    """Return a good token of a user who is gone: it outlives them for ten minutes at most."""
    token = titan.sessions._issuer.access_token(Subject(uuid4(), False), session_id=uuid4())
    return auth_service_pb2.CreateSessionResponse(access_token=token)


LITTLE_MEMORY_KIB = 256
"""What a password's hash takes here: a hundredth of the time. A module that times hashes asks for the real one."""


async def build_replica(
    db: Database, secrets_dir: Path, clock: DatabaseClock | None = None, *, memory_kib: int = LITTLE_MEMORY_KIB
) -> Replica:
    """Construct a replica as `app.py` does, without background work."""
    clock, ids, settings = clock or ShiftedClock(), SystemIds(), Settings()
    master = MasterKey.of_folder(secrets_dir)
    ring = KeyRing(master)
    keeper = KeyKeeper(db, ring, master, clock, ids, settings)
    feed = RevocationFeed(db, clock, poll_seconds=0.05, heartbeat_seconds=0.2)
    passwords = Passwords(memory_kib=memory_kib)
    policy = PasswordPolicy(BreachedPasswords(prints_of([BREACHED])), "Titan")
    titan = {"issuer": "https://titan.local", "audience": "titan", "cell": "local"}
    issuer = Issuer(ring, clock, ids, **titan, password_roles=LOCAL_MESH)
    vault = Vault(db, Kms())
    personal, index = Personal(vault), await BlindIndex.load(db, secrets_dir)
    profiles, plain = Profiles(db, personal), await Plain.load(db, personal, index, clock)
    trials = PasswordTrials(db, passwords, profiles, index, clock)
    changes = PasswordChanges(db, trials, passwords, policy, profiles, feed, ids)
    factors = Factors(db, trials, profiles, Seal.of_folder(secrets_dir, SECOND_FACTORS), clock)
    sessions = Sessions(db, issuer, trials, factors, personal, feed, clock, ids)
    links = Links(db, passwords, policy, profiles, index, feed, Seal.of_folder(secrets_dir, LINKS), clock, ids)
    await feed.look()
    await keeper.load()
    await plain.seal_all()
    verifier = TokenVerifier(ring.verifying, revocations=feed.view, cell="local", now=lambda: clock.now().timestamp())
    replica = Replica(
        db, clock, ring, keeper, feed, sessions, factors, links, passwords, policy, changes, verifier, secrets_dir
    )
    replica.vault, replica.personal, replica.index, replica.plain = vault, personal, index, plain
    replica.profiles = profiles
    replica.packages = FakePackages()
    replica.erasures = Erasures(db, replica.packages, trials, factors, sessions, vault, feed, clock)
    return replica


@pytest.fixture(scope="module")
def auth_secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The secret files of this module's svc_auth."""
    folder = tmp_path_factory.mktemp("secrets")
    replace_text(folder / "admin_password", "an administrator's long secret\n")
    replace_text(folder / "importer_password", "an importer's long secret\n")
    return folder


@pytest.fixture(scope="module")
async def auth_db(fresh_database: Callable[[str], Awaitable[str]]) -> AsyncIterator[Database]:
    """A migrated database of svc_auth."""
    db = await Database.connect(await fresh_database("svc_auth"), pool_size=6, name="svc_auth")
    yield db
    await db.close()


@pytest.fixture(scope="module")
async def provider_clients() -> list[ProviderClient]:
    """The identity providers that this module's svc_auth is registered with: none."""
    return []


@pytest.fixture(scope="module")
def memory_kib() -> int:
    """The memory of a password's hash."""
    return LITTLE_MEMORY_KIB


@pytest.fixture(scope="module")
async def titan(
    auth_db: Database, auth_secrets: Path, provider_clients: list[ProviderClient], memory_kib: int
) -> AsyncIterator[Replica]:
    """A svc_auth that serves."""
    replica = await build_replica(auth_db, auth_secrets, memory_kib=memory_kib)
    federation = Federation(
        auth_db,
        provider_clients,
        replica.sessions,
        replica.profiles,
        replica.personal,
        replica.index,
        replica.plain,
        Seal.of_folder(auth_secrets, FLOWS),
        replica.clock,
        SystemIds(),
    )
    passkeys = Passkeys(
        auth_db, PARTY, replica.sessions, replica.profiles, replica.personal, replica.clock, SystemIds()
    )
    replica.federation = federation
    await replica.house()
    servicers = {
        "titan.auth.v1.AuthService": AuthServicer(
            replica.sessions, replica.ring, replica.keeper, replica.feed, replica.clock
        ),
        "titan.auth.v1.FederationService": FederationServicer(federation),
        "titan.auth.v1.LinkService": LinkServicer(replica.links),
        "titan.auth.v1.PasskeyService": PasskeyServicer(passkeys),
        "titan.auth.v1.PrivacyService": PrivacyServicer(
            replica.erasures, Exports(auth_db, replica.packages, replica.profiles, replica.sessions, passkeys)
        ),
        "titan.auth.v1.SecondFactorService": SecondFactorServicer(replica.factors),
        "titan.auth.v1.UserService": UserServicer(
            auth_db,
            replica.passwords,
            replica.policy,
            replica.changes,
            replica.profiles,
            replica.index,
            replica.plain,
            replica.clock,
            SystemIds(),
        ),
    }
    async with serve(servicers, verifier=replica.verifier, accesses=Accesses(auth_db)) as channel:
        replica.target = channel.target
        replica.auth = auth_service_pb2_grpc.AuthServiceStub(channel)
        replica.user = user_service_pb2_grpc.UserServiceStub(channel)
        replica.identity = federation_service_pb2_grpc.FederationServiceStub(channel)
        replica.passkey = passkey_service_pb2_grpc.PasskeyServiceStub(channel)
        replica.privacy = privacy_service_pb2_grpc.PrivacyServiceStub(channel)
        replica.link = link_service_pb2_grpc.LinkServiceStub(channel)
        replica.factor = second_factor_service_pb2_grpc.SecondFactorServiceStub(channel)
        yield replica
    await federation.close()
    replica.passwords.close()


@pytest.fixture
async def importer(titan: Replica) -> Any:
    """A signed-in importer."""
    return await titan.sign_in("importer@titan.local", "an importer's long secret")


async def refused(call: Awaitable[Any]) -> grpc.aio.AioRpcError:
    """Return the error that a call is answered with."""
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await call
    return refusal.value
