"""What svc_auth is made of: the only place that constructs."""

from __future__ import annotations

from functools import partial

import asyncpg
import httpx

from mesh import housekeeping, relay
from mesh.database import Database
from mesh.runtime import Background, Hosted, Runtime
from mesh.seams import Clock
from mesh.vault.vault import Vault
from svc_auth import settings as auth_settings
from svc_auth.auth.feed import RevocationFeed
from svc_auth.auth.keeper import KeyKeeper
from svc_auth.auth.rpc import AuthServicer
from svc_auth.auth.sessions import Sessions
from svc_auth.auth.tokens import Issuer
from svc_auth.auth.trials import PasswordTrials
from svc_auth.blind_index import BlindIndex
from svc_auth.clock import DatabaseClock
from svc_auth.factor.factors import Factors
from svc_auth.factor.rpc import SecondFactorServicer
from svc_auth.federation import store as federation_store
from svc_auth.federation.client import ProviderClient
from svc_auth.federation.federation import Federation
from svc_auth.federation.rpc import FederationServicer
from svc_auth.keys import KeyRing, MasterKey
from svc_auth.link import store as link_store
from svc_auth.link.links import Links
from svc_auth.link.rpc import LinkServicer
from svc_auth.passkey import store as passkey_store
from svc_auth.passkey.ceremonies import RelyingParty
from svc_auth.passkey.passkeys import Passkeys
from svc_auth.passkey.rpc import PasskeyServicer
from svc_auth.passwords import Passwords
from svc_auth.personal import MASTER_KEYS_FILE, Personal
from svc_auth.plain.columns import Plain
from svc_auth.privacy.erasures import Erasures
from svc_auth.privacy.exports import Exports
from svc_auth.privacy.participants import Participants
from svc_auth.privacy.rpc import PrivacyServicer
from svc_auth.renewal.index import IndexRenewal
from svc_auth.renewal.seals import SealRenewal, master_keys_of
from svc_auth.sealing import FLOWS, LINKS, SECOND_FACTORS, SIGNING_KEYS, Seal
from svc_auth.user import notice_store, notices
from svc_auth.user import store as user_store
from svc_auth.user.accounts import ensure_accounts
from svc_auth.user.breached import BreachedPasswords
from svc_auth.user.changes import PasswordChanges
from svc_auth.user.policy import PasswordPolicy
from svc_auth.user.profiles import Profiles
from svc_auth.user.rpc import UserServicer

KEY_NOTICE_SECONDS = 60.0
"""How long a new line of a file of keys is there before anything is made with it: processes that have files of their
own, handed out by an orchestrator, have it too by then."""


async def build(runtime: Runtime) -> Hosted:
    """Return the services of this package, over its own database."""
    assert runtime.db is not None, "svc_auth needs Postgres"
    settings, db, clock, ids = auth_settings.read(), runtime.db, DatabaseClock(runtime.clock), runtime.ids
    mesh = runtime.topology
    secrets_dir = runtime.settings.secrets_dir
    master_keys = await master_keys_of(db, secrets_dir, notice_seconds=KEY_NOTICE_SECONDS)
    master = MasterKey(Seal(master_keys, SIGNING_KEYS))
    ring = KeyRing(master)
    keeper = KeyKeeper(db, ring, master, clock, ids, settings)
    feed = RevocationFeed(
        db, clock, poll_seconds=settings.revocation_poll_seconds, heartbeat_seconds=settings.heartbeat_seconds
    )
    passwords, policy = Passwords(), PasswordPolicy(BreachedPasswords.bundled(), settings.shop_name)
    issuer = Issuer(
        ring,
        clock,
        ids,
        issuer=mesh.token_issuer,
        audience=mesh.token_audience,
        cell=mesh.cell,
        password_roles=settings.password_roles,
    )
    vault = await Vault.of_folder(db, secrets_dir, MASTER_KEYS_FILE)
    personal, index = Personal(vault), await BlindIndex.load(db, secrets_dir, notice_seconds=KEY_NOTICE_SECONDS)
    profiles, plain = Profiles(db, personal), await Plain.load(db, personal, index, clock)
    trials = PasswordTrials(db, passwords, profiles, index, clock)
    changes = PasswordChanges(db, trials, passwords, policy, profiles, feed, ids)
    factors = Factors(db, trials, profiles, Seal(master_keys, SECOND_FACTORS), clock)
    sessions = Sessions(db, issuer, trials, factors, personal, feed, clock, ids)
    tls = httpx.create_ssl_context()
    clients = [ProviderClient(provider, secrets_dir, tls) for provider in settings.providers.values()]
    flows = Seal(master_keys, FLOWS)
    federation = Federation(db, clients, sessions, profiles, personal, index, plain, flows, clock, ids)
    party = RelyingParty(settings.shop_name, settings.shop_url)
    passkeys = Passkeys(db, party, sessions, profiles, personal, clock, ids)
    links = Links(db, passwords, policy, profiles, index, feed, Seal(master_keys, LINKS), clock, ids)
    packages = Participants(runtime.clients)
    erasures = Erasures(db, packages, trials, factors, sessions, vault, feed, clock)
    await feed.look()  # the clock is right from here on
    await keeper.load()
    await plain.seal_all()
    await ensure_accounts(db, passwords, profiles, index, secrets_dir, clock, ids, asked_for=settings.house_accounts)

    async def close_passwords() -> None:
        passwords.close()

    return Hosted(
        servicers={
            "titan.auth.v1.AuthService": AuthServicer(sessions, ring, keeper, feed, clock),
            "titan.auth.v1.FederationService": FederationServicer(federation),
            "titan.auth.v1.LinkService": LinkServicer(links),
            "titan.auth.v1.PasskeyService": PasskeyServicer(passkeys),
            "titan.auth.v1.PrivacyService": PrivacyServicer(
                erasures, Exports(db, packages, profiles, sessions, passkeys)
            ),
            "titan.auth.v1.SecondFactorService": SecondFactorServicer(factors),
            "titan.auth.v1.UserService": UserServicer(
                db, passwords, policy, changes, profiles, index, plain, clock, ids
            ),
        },
        background=[
            keeper.follow,
            feed.follow,
            links.follow,
            erasures.follow,
            vault.follow,
            vault.keep_wrapped,
            plain.follow,
            IndexRenewal(db, index, personal).follow,
            SealRenewal(db, master_keys).follow,
            _housekeeping(db, clock),
            *relay.work_of(runtime, topics=(user_store.TOPIC, link_store.TOPIC)),
        ],
        on_stop=[sessions.guests.close, federation.close, close_passwords],
        keys=ring.verifying,
        revocations=feed.view,
    )


def _housekeeping(db: Database, clock: Clock) -> Background:
    async def old_links(tx: asyncpg.Connection) -> int:
        return await link_store.prune(tx, at=clock.now(), limit=housekeeping.PRUNE_ROWS)

    async def old_flows(tx: asyncpg.Connection) -> int:
        return await federation_store.prune(tx, at=clock.now(), limit=housekeeping.PRUNE_ROWS)

    async def old_challenges(tx: asyncpg.Connection) -> int:
        return await passkey_store.prune(tx, at=clock.now(), limit=housekeeping.PRUNE_ROWS)

    async def old_notices(tx: asyncpg.Connection) -> int:
        return await notice_store.prune(tx, older_than_seconds=notices.NOTICE_SECONDS, limit=housekeeping.PRUNE_ROWS)

    return partial(housekeeping.run, db, old_links, old_flows, old_challenges, old_notices)
