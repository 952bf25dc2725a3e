"""Rows as the release before wrote them, and its statements beside this one, on a real Postgres."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from mesh.database import Database
from mesh.refusals import Unavailable
from mesh.seams import SystemIds
from mesh.vault.vault import Vault
from svc_auth.blind_index import BlindIndex
from svc_auth.personal import Personal
from svc_auth.plain import columns
from svc_auth.plain.columns import Plain
from svc_auth.user import customer_store, store
from svc_auth.user.profiles import Profiles
from svc_auth.user.rules import Profile, User
from tests.kms import Kms
from tests.svc_auth.conftest import ShiftedClock
from tests.svc_auth.test_at_rest import dump

IDS = SystemIds()
HOUR = timedelta(hours=1)


class Release:
    """A process of this release beside one of the release before: the hour after the migration is not over."""

    def __init__(self, db: Database, folder: Path) -> None:
        self.db, self.clock = db, ShiftedClock()
        self.kms = Kms()
        self.vault = Vault(db, self.kms)
        self.folder, self.personal = folder, Personal(self.vault)
        self.profiles = Profiles(db, self.personal)
        self.plain: Any = None
        self.index: Any = None

    async def start(self) -> None:
        """As `app.py` does."""
        self.index = await BlindIndex.load(self.db, self.folder)
        self.plain = await Plain.load(self.db, self.personal, self.index, self.clock)
        await self.plain.seal_all()

    async def profile(self, email: str) -> Profile | None:
        """Return the profile of whoever is found by an address."""
        async with self.db.hot_read() as connection:
            found = await store.find_by_email(connection, self.index.email(email))
        return None if found is None else await self.profiles.of(found[0])

    async def register(self, email: str) -> UUID:
        """Make a user as this release does."""
        hashed = self.index.email(email)
        user = User(IDS.new(), hashed.newest, None, (), 1, self.clock.now())
        await self.profiles.prepare(user.user_id)
        sealed = self.profiles.sealed(user, Profile(email, "New"))
        async with self.db.hot() as tx:
            await store.insert_registered(tx, sealed, "hash", email=hashed, plain_email=self.plain.kept(email))
        return user.user_id

    async def one(self, query: str, *values: Any) -> Any:
        async with self.db.hot_read() as connection:
            return await connection.fetchrow(query, *values)


async def old_user(db: Database, email: str | None = None, name: str = "Ada", **external: Any) -> UUID:
    """Make a user as the release before does."""
    async with db.hot() as tx:
        return await tx.fetchval(
            "INSERT INTO users (user_id, email, password_hash, display_name, importer_id, external_id, version,"
            " created_at, updated_at)"
            " VALUES (gen_random_uuid(), $1, $2, $3, $4, $5, 1, now(), now()) RETURNING user_id",
            email,
            "hash" if email else None,
            name,
            external.get("importer_id"),
            external.get("external_id"),
        )


async def old_rows(db: Database, user_id: UUID, subject: str = "subject-4711") -> None:
    """Make what else the release before stores of a user."""
    async with db.hot() as tx:
        await tx.execute(
            "INSERT INTO addresses (address_id, user_id, full_name, line1, line2, city, region, postal_code,"
            " country_code, created_at)"
            " VALUES (gen_random_uuid(), $1, 'Ada Byron', '1 Mill Lane', '', 'Leeds', '', 'LS1 1AA', 'GB', now())",
            user_id,
        )
        await tx.execute(
            "INSERT INTO sessions (session_id, user_id, client_name, created_at, expires_at)"
            " VALUES (gen_random_uuid(), $1, 'Old browser', now(), now() + interval '1 hour')",
            user_id,
        )
        await tx.execute(
            "INSERT INTO passkeys (passkey_id, user_id, credential_id, public_key, sign_count, backed_up, name,"
            " created_at)"
            " VALUES (gen_random_uuid(), $1, uuid_send(gen_random_uuid()), '', 0, false, 'old phone', now())",
            user_id,
        )
        await tx.execute(
            "INSERT INTO identities (identity_id, user_id, provider, issuer, subject, linked_at)"
            " VALUES (gen_random_uuid(), $1, 'local', 'https://local.example', $2, now())",
            user_id,
            subject,
        )


@pytest.fixture
async def db(fresh_database: Any) -> AsyncIterator[Database]:
    """A database that had users when it was migrated."""
    database = await Database.connect(await fresh_database("svc_auth"), pool_size=4, name="svc_auth")
    async with database.hot() as tx:
        await tx.execute("UPDATE sealing SET plain_until = now() + interval '1 hour'")
    yield database
    await database.close()


@pytest.fixture
async def new(db: Database, tmp_path: Path) -> Release:
    return Release(db, tmp_path)


async def test_all_that_is_plain_is_sealed_before_anybody_is_served(
    db: Database, new: Release, monkeypatch: pytest.MonkeyPatch
):
    """In batches; each user is found and read as before, and nothing is left but what the release before looks up."""
    monkeypatch.setattr(columns, "BATCH_ROWS", 4)
    emails = [f"ada{number}@example.com" for number in range(10)]
    user_ids = [await old_user(db, email, f"Ada {number}") for number, email in enumerate(emails)]
    customer = await old_user(db, name="Buyer", importer_id=user_ids[0], external_id="customer-4711")
    guest = await old_user(db, name="")
    await old_rows(db, user_ids[0])

    await new.start()

    assert [Profile(each, f"Ada {n}") for n, each in enumerate(emails)] == [await new.profile(e) for e in emails]
    (address,) = await new.profiles.addresses_of(user_ids[0])
    assert ("1 Mill Lane", "LS1 1AA", "") == tuple(address.fields[each] for each in ("line1", "postal_code", "line2"))
    async with db.hot_read() as connection:
        hashed = new.index.customer(user_ids[0], "customer-4711")
        assert {hashed.newest: customer} == await customer_store.find_imported(connection, hashed.each)
        assert (await store.get_user(connection, guest)).sealed is None
    found = await dump(db)
    assert [] == [word for word in ("Ada 0", "Old browser", "old phone") if word in found]
    kept = (*emails, "customer-4711", "subject-4711", "Ada Byron", "1 Mill Lane", "LS1")
    assert [] == [word for word in kept if word not in found]
    assert 0 == await new.plain.seal_all()


async def test_the_release_before_goes_on_beside_this_one(db: Database, new: Release):
    """It finds whom this one registers, and what it writes is found here a moment later."""
    ada = await old_user(db, "ada@example.com")
    await new.start()
    eve = await new.register("eve@example.com")

    for email, user_id in (("ada@example.com", ada), ("eve@example.com", eve)):
        seen = await new.one("SELECT user_id, email IS NULL AS guest FROM users WHERE email = $1", email)
        assert (user_id, False) == tuple(seen)
    async with db.hot() as tx:
        await tx.execute("UPDATE users SET display_name = 'Countess', version = version + 1 WHERE user_id = $1", ada)
    bob = await old_user(db, "bob@example.com", "Bob")
    await old_rows(db, bob)
    assert 6 == await new.plain.seal_all()

    assert Profile("ada@example.com", "Countess") == await new.profile("ada@example.com")
    assert Profile("bob@example.com", "Bob") == await new.profile("bob@example.com")
    with pytest.raises(asyncpg.UniqueViolationError):
        await old_user(db, "eve@example.com")


async def test_the_release_before_erases_nobody_by_halves(db: Database, new: Release):
    """It does not know of what is sealed: its erasure fails whole, and is asked for again."""
    ada = await old_user(db, "ada@example.com")
    await new.start()
    with pytest.raises(asyncpg.CheckViolationError):
        async with db.hot() as tx:
            await tx.execute(
                "UPDATE users SET email = NULL, password_hash = NULL, display_name = '', roles = '{}',"
                " importer_id = NULL, external_id = NULL, email_verified_at = NULL, version = 2, erased_at = now()"
                " WHERE user_id = $1",
                ada,
            )
    assert Profile("ada@example.com", "Ada") == await new.profile("ada@example.com")


async def test_an_hour_later_nothing_is_plain(db: Database, new: Release, monkeypatch: pytest.MonkeyPatch):
    """In batches; whoever registers then leaves nothing in plain either."""
    monkeypatch.setattr(columns, "BATCH_ROWS", 2)
    emails = [f"ada{number}@example.com" for number in range(5)]
    user_ids = [await old_user(db, email) for email in emails]
    await old_user(db, name="Buyer", importer_id=user_ids[0], external_id="customer-4711")
    await old_rows(db, user_ids[1])
    await new.start()
    new.clock.ahead = HOUR

    work = asyncio.create_task(new.plain.follow())
    async with asyncio.timeout(10):
        words = ("example.com", "customer-4711", "subject-4711", "Byron", "Mill Lane", "LS1")
        while [word for word in words if word in await dump(db)]:
            await asyncio.sleep(0.02)
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)
    await new.register("late@example.com")

    assert "late" not in await dump(db)
    (address,) = await new.profiles.addresses_of(user_ids[1])
    assert "1 Mill Lane" == address.fields["line1"]
    assert [Profile(each, "Ada") for each in emails] == [await new.profile(each) for each in emails]


async def damage(db: Database, user_id: UUID) -> bytes:
    """Damage the key of a user; returns it as it was."""
    async with db.hot() as tx:
        was = await tx.fetchval("SELECT wrapped_key FROM user_keys WHERE user_id = $1", user_id)
        await tx.execute("UPDATE user_keys SET wrapped_key = 'nonsense' WHERE user_id = $1", user_id)
    return was


async def test_a_user_whose_key_is_damaged_keeps_nobody_from_being_served(
    db: Database,
    new: Release,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    """Their rows stay as they are, whatever there is of them; the others are sealed, and what is over is emptied."""
    monkeypatch.setattr(columns, "BATCH_ROWS", 2)
    emails = [f"ada{number}@example.com" for number in range(6)]
    user_ids = [await old_user(db, email) for email in emails]
    await new.start()
    changed, unsealed, fine = user_ids[1], user_ids[3], user_ids[5]
    was = {user_id: await damage(db, user_id) for user_id in (changed, unsealed)}
    async with db.hot() as tx:  # one was changed by the release before; of the other nothing was sealed yet
        await tx.execute("UPDATE users SET display_name = 'Countess' WHERE user_id = ANY($1)", [changed, fine])
        await tx.execute(
            "UPDATE users SET display_name = 'Eve', email_index = NULL, sealed = NULL WHERE user_id = $1", unsealed
        )
    for user_id in (unsealed, fine):
        await old_rows(db, user_id, str(user_id))

    late = Release(db, tmp_path)
    capsys.readouterr()
    await late.start()

    written = capsys.readouterr().out
    (told,) = [line for line in map(json.loads, written.splitlines()) if "stays in plain" in line["message"]]
    assert 6 == told["rows"]
    assert "@example.com" not in written
    assert Profile(emails[5], "Countess") == await late.profile(emails[5])
    assert 0 == await late.plain.seal_all()
    assert "" == capsys.readouterr().out, "what is known to be left is told of once in a while"
    await late.plain.empty()
    plain = await new.one("SELECT array_agg(email) AS emails FROM users WHERE email IS NOT NULL")
    assert [emails[3]] == plain["emails"], "what is sealed nowhere is not emptied"
    assert "Countess" == (await new.one("SELECT display_name FROM users WHERE user_id = $1", changed))[0]

    async with db.hot() as tx:
        for user_id, key in was.items():
            await tx.execute("UPDATE user_keys SET wrapped_key = $2 WHERE user_id = $1", user_id, key)
    late.clock.ahead = timedelta(seconds=columns.AGAIN_SECONDS)
    assert 6 == await late.plain.seal_all()
    assert Profile(emails[1], "Countess") == await late.profile(emails[1])
    assert Profile(emails[3], "Eve") == await late.profile(emails[3])


async def test_a_profile_that_does_not_open_keeps_nobody_from_being_served(db: Database, new: Release):
    """Its user's key is well, and the text is damaged; or they are being erased, and their key is gone."""
    ada, _, eve = [await old_user(db, f"{name}@example.com") for name in ("ada", "bob", "eve")]
    await new.start()
    new.vault.forget(eve)
    async with db.hot() as tx:
        await tx.execute("UPDATE users SET display_name = 'Countess'")
        await tx.execute("UPDATE users SET sealed = 'nonsense nonsense nonsense' WHERE user_id = $1", ada)

    new.clock.ahead = timedelta(seconds=columns.AGAIN_SECONDS)
    assert 1 == await new.plain.seal_all()

    assert Profile("bob@example.com", "Countess") == await new.profile("bob@example.com")
    left = await new.one("SELECT array_agg(user_id) AS user_ids FROM users WHERE display_name = 'Countess'")
    assert {ada, eve} == set(left["user_ids"])


async def test_nobody_is_served_while_what_has_the_master_keys_does_not_answer(db: Database, new: Release):
    """That is no damage of a user's: the start is tried again, and nothing is given up meanwhile."""
    await old_user(db, "ada@example.com")
    new.kms.away = True
    with pytest.raises(Unavailable):
        await new.start()
    new.kms.away = False

    await new.start()

    assert Profile("ada@example.com", "Ada") == await new.profile("ada@example.com")


async def test_two_that_start_at_once_seal_it_once(db: Database, new: Release, tmp_path: Path):
    """Whoever is second finds it sealed."""
    ada = await old_user(db, "ada@example.com")
    await old_rows(db, ada)
    await asyncio.gather(new.start(), Release(db, tmp_path).start(), Release(db, tmp_path).start())

    assert Profile("ada@example.com", "Ada") == await new.profile("ada@example.com")


async def test_a_database_without_users_has_nothing_in_plain_from_the_first(fresh_database: Any, tmp_path: Path):
    """There is no replica of the release before to think of."""
    database = await Database.connect(await fresh_database("svc_auth"), pool_size=2, name="svc_auth")
    first = Release(database, tmp_path)
    await first.start()
    await first.register("ada@example.com")

    assert "ada@" not in await dump(database)
    await database.close()
