"""The accounts of the house: one for administration, one for imports, with passwords from secret files.

Neither is there unless the operator asks for it: to begin with, or while something is imported.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from pathlib import Path
from uuid import UUID

import asyncpg

from mesh.database import Database
from mesh.seams import Clock, Ids
from mesh.secret_files import read_or_make
from mesh.telemetry import get_logger
from svc_auth.auth.endings import end_ways_in
from svc_auth.auth.rules import SIGNED_OUT
from svc_auth.blind_index import BlindIndex
from svc_auth.errors import EmailTaken
from svc_auth.factor import store as factor_store
from svc_auth.passwords import Passwords
from svc_auth.user import store
from svc_auth.user.profiles import Profiles
from svc_auth.user.rules import HOUSE_ACCOUNTS, Profile, User

log = get_logger("svc_auth.accounts")


async def ensure_accounts(
    db: Database,
    passwords: Passwords,
    profiles: Profiles,
    index: BlindIndex,
    secrets_dir: Path,
    clock: Clock,
    ids: Ids,
    *,
    asked_for: Collection[str],
) -> None:
    """Make the accounts that are asked for, by their roles, and missing; bring those that are there to the password of
    their file, and close the others. Safe to run again.

    A password is changed because somebody may know the old one, so a change ends every session of the account and
    every other way into it; the second factor too, as whoever knew a password that had none could have enrolled theirs.
    A secret that is missing is made, so that it does not matter who starts first; where the folder takes none, the
    account is left alone.
    """
    for email, (role, file) in HOUSE_ACCOUNTS.items():
        if role not in asked_for:
            await index.settled(partial(_close, db, index, email, role))
            continue
        try:
            password = read_or_make(secrets_dir / file)
        except OSError as error:
            log.warning("an account has no secret file", role=role, file=file, error=type(error).__name__)
            continue
        user = User(ids.new(), index.email(email).newest, None, (role,), 1, clock.now(), house=True)
        profile = Profile(email, role.capitalize())
        await index.settled(partial(_ensure, db, passwords, profiles, index, user, profile, password))


async def _close(db: Database, index: BlindIndex, email: str, role: str) -> None:
    """Let nobody sign in to an account any more, if it is there, and take its role."""
    hashed = index.email(email)
    async with db.hot_read() as connection:
        found = await store.find_by_email(connection, hashed)
        await index.hold(connection, hashed)  # or else it may be there under another key
    if found is None or found[1] is None:
        return
    user, _ = found
    async with db.hot() as tx:
        await store.save_closed(tx, user.user_id, role=role)
        await _end_all(tx, user.user_id)
    log.info("an account that nobody asks for is closed", role=role)


async def _end_all(tx: asyncpg.Connection, user_id: UUID) -> None:
    """End every session of a held account, and whatever else than a password opens one."""
    await end_ways_in(tx, user_id, reason=SIGNED_OUT)
    await factor_store.remove_factor(tx, user_id)


async def _ensure(
    db: Database,
    passwords: Passwords,
    profiles: Profiles,
    index: BlindIndex,
    wanted: User,
    profile: Profile,
    password: str,
) -> None:
    assert profile.email is not None
    hashed = index.email(profile.email)
    async with db.hot_read() as connection:
        found = await store.find_by_email(connection, hashed)
    if found is not None:
        user, known = found
        if set(wanted.roles) <= set(user.roles) and await passwords.verify(known, password):
            return
        encoded = await passwords.hash(password)
        async with db.hot() as tx:
            roles = sorted({*user.roles, *wanted.roles})
            await store.save_account(tx, user.user_id, password_hash=encoded, roles=roles)
            await _end_all(tx, user.user_id)
        return
    await profiles.prepare(wanted.user_id)
    try:
        encoded = await passwords.hash(password)
        async with db.hot() as tx:
            await index.hold(tx, hashed)
            # Nobody of the release before looks for it: an account that was there before has its address still.
            await store.insert_registered(tx, profiles.sealed(wanted, profile), encoded, email=hashed, plain_email=None)
    except EmailTaken:
        return  # a replica that starts beside this one was first
