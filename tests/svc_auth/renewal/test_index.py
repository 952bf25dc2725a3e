"""A key of the index is replaced while people register and sign in: nobody is lost, and nobody is there twice."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from control.atomic_file import replace_text
from mesh.audit import Command
from mesh.refusals import Unavailable
from mesh.seams import SystemIds
from svc_auth.blind_index import INDEX_KEY_FILE, BlindIndex, IndexKey
from svc_auth.errors import EmailTaken
from svc_auth.link import store as link_store
from svc_auth.personal import Column
from svc_auth.renewal import index as renewals
from svc_auth.renewal import index_store
from svc_auth.renewal.index import IndexRenewal
from svc_auth.renewal.index_store import KeysMoved
from svc_auth.sealing import MasterKeyUnusable
from svc_auth.user import customer_store, store
from svc_auth.user.customer_store import Imported
from svc_auth.user.rules import User
from tests.harness import reason_of
from tests.svc_auth.conftest import PASSWORD, Replica, bearer, new_email, refused
from tests.svc_auth.federation import test_rpc as federation
from tests.svc_auth.federation.conftest import issuer, provider_clients, running_provider  # noqa: F401
from tests.svc_auth.federation.issuer import Issuer, Person
from titan.auth.v1 import user_service_pb2 as pb

SECRETS_PAGE = Path("docs/SECRETS.md").read_text()
"""What whoever runs Titan is told to do."""


class Keys:
    """The file of the keys, and what one process makes of it."""

    def __init__(self, titan: Replica) -> None:
        self.titan = titan
        self.file = titan.secrets_dir / INDEX_KEY_FILE
        self.renewal = IndexRenewal(titan.db, titan.index, titan.personal)

    @property
    def lines(self) -> list[str]:
        return self.file.read_text().split("\n")[:-1]

    async def add(self) -> None:
        """Write a new key below the others, as whoever runs Titan does."""
        name = uuid4().hex[:8]
        replace_text(self.file, "".join(f"{line}\n" for line in [*self.lines, f"{name} {uuid4().hex}{uuid4().hex}"]))

    async def take_up(self) -> None:
        """Have a new key in use beside the one before, with nothing hashed anew yet."""
        await self.add()
        await self.titan.index.look()
        await self.renewal.take_up()

    async def end(self) -> None:
        """Hash everything anew and remove the old line."""
        assert await self.renewal.replace()
        replace_text(self.file, f"{self.lines[-1]}\n")
        await self.titan.index.look()
        assert self.titan.index.ready and self.titan.index.written.before is None

    async def hashed_with(self, column: str, table: str = "users") -> set[bytes]:
        """Return what stands in a column of hashes."""
        async with self.titan.db.hot_read() as connection:
            rows = await connection.fetch(f"SELECT {column} FROM {table} WHERE {column} IS NOT NULL")
        return {row[0] for row in rows}


@pytest.fixture
async def keys(titan: Replica) -> AsyncIterator[Keys]:
    """The keys of the index, of which one is in use before and after a test."""
    found = Keys(titan)
    yield found
    await found.end()


class Damage:
    """What is done to the keys of users, and made good."""

    def __init__(self, titan: Replica) -> None:
        self._titan = titan
        self._were: dict[UUID, bytes] = {}

    async def of(self, user_id: str) -> None:
        """Have the key of a user open nowhere any more, as in a process that has not met them yet."""
        damaged, query = UUID(user_id), "SELECT wrapped_key FROM user_keys WHERE user_id = $1"
        async with self._titan.db.hot() as tx:
            self._were[damaged] = await tx.fetchval(query, damaged)
            await tx.execute("UPDATE user_keys SET wrapped_key = 'nonsense' WHERE user_id = $1", damaged)
        self._titan.vault._keys.pop(damaged)

    async def mend(self) -> None:
        """Bring back what opens them."""
        async with self._titan.db.hot() as tx:
            for user_id, was in self._were.items():
                await tx.execute("UPDATE user_keys SET wrapped_key = $2 WHERE user_id = $1", user_id, was)


@pytest.fixture
async def damage(titan: Replica, keys: Keys) -> AsyncIterator[Damage]:
    """Keys of users are damaged until the end of a test, and then the index's can be replaced again."""
    found = Damage(titan)
    yield found
    await found.mend()


async def import_one(titan: Replica, importer: Any, external_id: str) -> str:
    """Import a customer of another system; returns their user id."""
    request = pb.BatchImportUsersRequest(users=[pb.ImportedUser(external_id=external_id)])
    (result,) = (await titan.user.BatchImportUsers(request, metadata=bearer(importer))).results
    return result.user_id


async def register_at_once(titan: Replica, index: BlindIndex, email: str) -> None:
    """Register as somebody does who has passed the first look: the transaction alone."""
    hashed = index.email(email)
    async with titan.db.hot() as tx:
        await index.hold(tx, hashed)
        user = User(SystemIds().new(), hashed.newest, None, (), 1, titan.clock.now())
        await store.insert_registered(tx, user, "hash", email=hashed, plain_email=None)


# --- found ---


async def test_everybody_is_found_before_during_and_after(
    titan: Replica,
    keys: Keys,
    issuer: Issuer,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
):
    """By password, by letter, by a provider and by an id elsewhere, whoever came before the new key and after it; and
    then the old one is of no use any more, and its line may go."""
    monkeypatch.setattr(renewals, "BATCH_ROWS", 2)
    importer = await titan.sign_in("importer@titan.local", "an importer's long secret")
    emails, external_ids = [new_email() for _ in range(5)], [uuid4().hex for _ in range(5)]
    grace, quiet, before = Person(), Person(), {}
    for email in emails[:4]:
        before[email] = (await titan.register(email))[1]
    for external_id in external_ids[:4]:
        before[external_id] = await import_one(titan, importer, external_id)
    before["grace"] = (await federation.sign_in(titan, issuer, grace)).user_id
    # Who does not come meanwhile is hashed anew as well: from what is kept sealed.
    absent = (await federation.sign_in(titan, issuer, quiet)).user_id, await import_one(titan, importer, "quiet")
    away, away_id = await titan.register()

    async def found() -> dict[str, str]:
        by_password = {email: (await titan.sign_in(email)).user_id for email in emails if email in before}
        by_id = {each: await import_one(titan, importer, each) for each in external_ids if each in before}
        return by_password | by_id | {"grace": (await federation.sign_in(titan, issuer, grace)).user_id}

    await keys.take_up()

    assert titan.index.written.before is not None
    before[emails[4]] = (await titan.register(emails[4]))[1]
    before[external_ids[4]] = await import_one(titan, importer, external_ids[4])
    assert before == await found()
    await titan.reset_password(emails[0], PASSWORD)  # by letter
    old = IndexKey(keys.lines[-2].rpartition(" ")[2].encode())
    hashes = await keys.hashed_with("email_index")
    assert old.email(away) in hashes and old.email(emails[1]) not in hashes, "whoever signs in is hashed anew at once"

    await keys.end()

    new = IndexKey(keys.lines[-1].rpartition(" ")[2].encode())
    importer_id = titan.caller(importer.access_token).user_id
    assert new.customer(importer_id, "quiet") in await keys.hashed_with("external_index")
    assert {new.identity(issuer.url, each.subject) for each in (grace, quiet)} <= await keys.hashed_with(
        "subject_index", "identities"
    )
    assert before == await found()
    assert away_id == (await titan.sign_in(away)).user_id
    assert absent == (
        (await federation.sign_in(titan, issuer, quiet)).user_id,
        await import_one(titan, importer, "quiet"),
    )
    hashes = await keys.hashed_with("email_index") | await keys.hashed_with("external_index")
    assert not hashes & {old.email(each) for each in emails}
    assert not hashes & {old.customer(importer_id, each) for each in external_ids}
    assert {new.email(each) for each in emails} | {new.customer(importer_id, each) for each in external_ids} <= hashes
    assert (await BlindIndex.load(titan.db, titan.secrets_dir)).ready


async def test_a_second_factor_and_a_new_password_are_asked_for_as_before(titan: Replica, keys: Keys):
    """Whoever shows their password is found by their address, under whichever key it is stored."""
    email, _ = await titan.register()
    pair = await titan.sign_in(email)
    await keys.take_up()

    assert "CREDENTIALS_INVALID" == reason_of(await refused(titan.change_password(pair, "another", "four words in it")))
    await titan.change_password(pair, PASSWORD, "four words in it")

    await titan.sign_in(email, "four words in it")


# --- once ---


async def test_nobody_is_there_twice_because_one_is_hashed_with_the_key_before(titan: Replica, keys: Keys):
    """The database has the last word: it lets in neither a new user nor a guest with an address that is taken."""
    email, user_id = await titan.register()
    guest_id = UUID((await titan.guest()).user_id)
    importer = await titan.sign_in("importer@titan.local", "an importer's long secret")
    customer_id = await import_one(titan, importer, email)
    await keys.take_up()

    assert "EMAIL_TAKEN" == reason_of(await refused(titan.register(email.upper())))
    with pytest.raises(EmailTaken):
        await register_at_once(titan, titan.index, email)
    hashed = titan.index.email(email)
    with pytest.raises(EmailTaken):
        async with titan.db.hot() as tx:
            await titan.index.hold(tx, hashed)
            guest = await store.lock_user(tx, guest_id)
            await store.save_registered(tx, guest, "hash", at=titan.clock.now(), email=hashed, plain_email=None)
    assert customer_id == await import_one(titan, importer, email)
    assert user_id == (await titan.sign_in(email)).user_id


async def test_an_import_that_looked_too_early_makes_nobody_twice(titan: Replica, keys: Keys):
    """It saw nobody, and somebody was stored under the key before since: it stores nothing, and returns that user."""
    importer = await titan.sign_in("importer@titan.local", "an importer's long secret")
    importer_id, external_id = titan.caller(importer.access_token).user_id, uuid4().hex
    first = await import_one(titan, importer, external_id)
    await keys.take_up()

    hashed, by = titan.index.customer(importer_id, external_id), Command("BatchImportUsers", importer_id)
    late = [Imported(hashed, uuid4(), None, None, None)]
    async with titan.db.hot() as tx:
        await titan.index.hold(tx, hashed)
        found = await customer_store.import_users(tx, importer_id, late, at=titan.clock.now(), by=by)

    assert {hashed.before: UUID(first)} == found
    assert first == await import_one(titan, importer, external_id)


async def test_whoever_hashed_before_a_key_was_taken_up_stores_nothing(titan: Replica, keys: Keys):
    """They hear of it, hash again, and are held against both keys."""
    email = new_email()
    late = await BlindIndex.load(titan.db, titan.secrets_dir)
    hashed = late.email(email)
    await keys.take_up()

    with pytest.raises(KeysMoved):
        async with titan.db.hot() as tx:
            await late.hold(tx, hashed)
    await late.look()
    assert (late.email(email).before, late.email(email)) == (hashed.newest, titan.index.email(email))


async def test_a_new_key_waits_for_whoever_is_storing_under_the_one_before(titan: Replica, keys: Keys):
    """Or what they store would be seen by nobody who stores under the new one."""
    email = new_email()
    hashed = titan.index.email(email)
    async with titan.db.hot() as tx:
        await titan.index.hold(tx, hashed)
        await keys.add()
        await titan.index.look()
        taking = asyncio.create_task(keys.renewal.take_up())
        await _waits_for_a_lock(titan, taking)
        user = User(SystemIds().new(), hashed.newest, None, (), 1, titan.clock.now())
        await store.insert_registered(tx, user, "hash", email=hashed, plain_email=None)
    await taking

    assert titan.index.email(email).before == hashed.newest
    with pytest.raises(EmailTaken):
        await register_at_once(titan, titan.index, email)
    async with titan.db.hot() as tx:  # a user of this test alone, who has no profile to hash anew
        await tx.execute("DELETE FROM users WHERE user_id = $1", user.user_id)


async def _waits_for_a_lock(titan: Replica, task: asyncio.Task[None]) -> None:
    """Return when a statement on `sealing` waits for somebody else's transaction."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'UPDATE sealing%'"
    async with asyncio.timeout(10), titan.db.hot_read() as connection:
        while not await connection.fetchval(query):
            assert not task.done(), "the key was replaced under somebody who was storing"
            await asyncio.sleep(0.01)


# --- processes that are not as far ---


async def test_a_process_that_has_not_looked_yet_looks_when_it_has_to(titan: Replica, keys: Keys):
    """Neither a sign-in nor a registration fails for it."""
    email, _ = await titan.register()
    other = await BlindIndex.load(titan.db, titan.secrets_dir)
    await keys.add()
    await other.look()
    await IndexRenewal(titan.db, other, titan.personal).take_up()
    assert other.written != titan.index.written

    await titan.sign_in(email)
    assert other.written == titan.index.written
    second = new_email()
    assert await keys.renewal.replace()  # and now the other one is behind
    assert other.written != titan.index.written

    async def ask() -> None:
        hashed = other.email(second)
        async with titan.db.hot() as tx:
            await other.hold(tx, hashed)
            purpose = link_store.LinkPurpose.PASSWORD_RESET
            await link_store.insert_request(tx, uuid4(), purpose, email=hashed, at=titan.clock.now())

    await other.settled(ask)
    assert other.written == titan.index.written


async def test_a_process_that_lacks_the_line_says_that_it_cannot_answer(titan: Replica, keys: Keys, tmp_path: Path):
    """It takes nobody for unknown, and lets nobody register twice; when it has the line it goes on."""
    replace_text(tmp_path / INDEX_KEY_FILE, keys.file.read_text())
    alone = await BlindIndex.load(titan.db, tmp_path)
    email, _ = await titan.register()
    await keys.take_up()

    with pytest.raises(Unavailable):
        await alone.settled(lambda: register_at_once(titan, alone, email))
    assert not alone.ready
    with pytest.raises(Unavailable):
        alone.email(email)
    replace_text(tmp_path / INDEX_KEY_FILE, keys.file.read_text())

    assert titan.index.email(email) == alone.email(email)
    with pytest.raises(EmailTaken):
        await register_at_once(titan, alone, email)


# --- what is not done at once, or goes wrong ---


async def test_what_cannot_be_hashed_anew_keeps_the_old_key(
    titan: Replica,
    keys: Keys,
    issuer: Issuer,  # noqa: F811
):
    """Rows of a release that kept no sealed copy move when they come; until then both keys find them."""
    importer = await titan.sign_in("importer@titan.local", "an importer's long secret")
    external_id, grace = uuid4().hex, Person()
    customer_id = await import_one(titan, importer, external_id)
    user_id = (await federation.sign_in(titan, issuer, grace)).user_id
    async with titan.db.hot() as tx:
        await tx.execute("UPDATE users SET sealed_external_id = NULL")
        await tx.execute("UPDATE identities SET sealed_subject = NULL")
        await tx.execute("DELETE FROM users WHERE external_index IS NOT NULL AND user_id <> $1", UUID(customer_id))
        await tx.execute("DELETE FROM identities WHERE user_id <> $1", UUID(user_id))
    await keys.take_up()

    assert not await keys.renewal.replace() and titan.index.written.before is not None
    await keys.add()
    await titan.index.look()
    assert titan.index.coming is None, "a third key waits until the first is let go"
    replace_text(keys.file, "".join(f"{line}\n" for line in keys.lines[:-1]))
    assert user_id == (await federation.sign_in(titan, issuer, grace)).user_id
    assert not await keys.renewal.replace()
    assert customer_id == await import_one(titan, importer, external_id)

    assert await keys.renewal.replace() and titan.index.written.before is None
    assert (customer_id, user_id) == (
        await import_one(titan, importer, external_id),
        (await federation.sign_in(titan, issuer, grace)).user_id,
    )


async def test_a_damaged_key_of_one_customer_costs_the_import_of_the_others_nothing(
    titan: Replica, keys: Keys, damage: Damage
):
    """They are the same user as ever, and found by the new key like the others: the id that is hashed comes with them.
    What was sealed of them stays for the day when their key opens again."""
    importer = await titan.sign_in("importer@titan.local", "an importer's long secret")
    importer_id = titan.caller(importer.access_token).user_id
    external_ids = [uuid4().hex for _ in range(3)]
    before = [await import_one(titan, importer, each) for each in external_ids]
    damaged = UUID(before[1])
    await damage.of(before[1])
    await keys.take_up()

    users = [pb.ImportedUser(external_id=each) for each in [*external_ids, uuid4().hex]]
    answer = await titan.user.BatchImportUsers(pb.BatchImportUsersRequest(users=users), metadata=bearer(importer))

    assert before == [each.user_id for each in answer.results[:3]]
    hashes = {titan.index.customer(importer_id, each).newest for each in external_ids}
    assert hashes <= await keys.hashed_with("external_index")
    await damage.mend()
    async with titan.db.hot_read() as tx:
        sealed = await tx.fetchval("SELECT sealed_external_id FROM users WHERE user_id = $1", damaged)
    await titan.personal.prepare(damaged)
    assert external_ids[1] == titan.personal.open(damaged, damaged, Column.EXTERNAL_ID, sealed)


async def test_whoever_signs_in_is_hashed_anew_though_their_profile_does_not_open(
    titan: Replica, keys: Keys, damage: Damage
):
    """The address comes with the password, and nothing else is needed to let the old key go."""
    email, user_id = await titan.register()
    await damage.of(user_id)
    await keys.take_up()
    assert not await keys.renewal.replace() and titan.index.written.before is not None

    assert user_id == (await titan.sign_in(email)).user_id

    assert titan.index.email(email).newest in await keys.hashed_with("email_index")
    assert await keys.renewal.replace() and titan.index.written.before is None
    assert user_id == (await titan.sign_in(email)).user_id


async def test_whoever_came_before_all_was_looked_through_is_known_when_they_come_again(
    titan: Replica, keys: Keys, damage: Damage
):
    """By a hash alone nobody tells with which key it was made: only who was found by it does."""
    email, user_id = await titan.register()
    importer = await titan.sign_in("importer@titan.local", "an importer's long secret")
    external_id = uuid4().hex
    customer_id = await import_one(titan, importer, external_id)
    await damage.of(user_id)
    await damage.of(customer_id)
    await keys.take_up()
    for expected in (False, True):
        await titan.sign_in(email)
        assert customer_id == await import_one(titan, importer, external_id)
        assert expected is await keys.renewal.replace()


async def test_a_wrong_password_moves_nobody(titan: Replica, keys: Keys):
    """Whoever only knows an address changes nothing."""
    email, _ = await titan.register()
    await keys.take_up()

    assert "CREDENTIALS_INVALID" == reason_of(await refused(titan.sign_in(email, "another one")))

    assert titan.index.email(email).before in await keys.hashed_with("email_index")


async def test_all_is_looked_through_once_and_by_one_process(
    titan: Replica, keys: Keys, damage: Damage, monkeypatch: pytest.MonkeyPatch
):
    """Of what is left that alone is looked at again; another process goes on where the one at work is gone."""
    read: list[UUID] = []

    async def list_users(*arguments: Any, **options: Any) -> list[asyncpg.Record]:
        rows = await listed(*arguments, **options)
        read.extend(row["user_id"] for row in rows)
        return rows

    listed = index_store.list_users
    monkeypatch.setattr(index_store, "list_users", list_users)
    email, user_id = await titan.register()
    await titan.register()
    await damage.of(user_id)
    other = IndexRenewal(titan.db, titan.index, titan.personal)
    await keys.take_up()

    assert not await keys.renewal.replace()
    assert len(read) > 1 and len(read) == len(set(read))
    read.clear()
    assert not await other.replace() and [] == read
    assert not await keys.renewal.replace() and [UUID(user_id)] == read
    read.clear()
    async with titan.db.hot() as tx:
        await tx.execute("UPDATE index_renewals SET claimed_until = now() - interval '1 second'")
    assert not await other.replace() and [UUID(user_id)] == read
    assert not await keys.renewal.replace() and [UUID(user_id)] == read

    await titan.sign_in(email)
    assert await other.replace() and titan.index.written.before is None


async def test_a_process_that_lost_its_claim_leaves_the_work_to_the_other(
    titan: Replica, keys: Keys, monkeypatch: pytest.MonkeyPatch
):
    """It was too slow: what it has not looked through is not taken for done."""
    monkeypatch.setattr(renewals, "CLAIM_SECONDS", 0.0)
    email, _ = await titan.register()
    other = IndexRenewal(titan.db, titan.index, titan.personal)
    await keys.take_up()
    prepare = titan.personal.prepare

    async def taken_over(*user_ids: UUID) -> None:
        await prepare(*user_ids)
        monkeypatch.setattr(renewals, "CLAIM_SECONDS", 60.0)
        assert await other._claim(titan.index.written, 60.0) is not None

    monkeypatch.setattr(titan.personal, "prepare", taken_over)
    await keys.renewal.replace()
    monkeypatch.setattr(titan.personal, "prepare", prepare)

    assert titan.index.written.before is not None
    async with titan.db.hot_read() as connection:
        assert [False] == [row[0] for row in await connection.fetch("SELECT scanned FROM index_renewals")]
    assert await other.replace() and titan.index.written.before is None
    await titan.sign_in(email)


async def test_whoever_runs_titan_lets_an_old_key_go_though_somebody_is_left(
    titan: Replica, keys: Keys, damage: Damage
):
    """As docs/SECRETS.md says: it tells who is left; everybody else is found, and the address may be taken again."""
    (lost, lost_id), (email, user_id) = await titan.register(), await titan.register()
    await damage.of(lost_id)
    await keys.take_up()
    assert not await keys.renewal.replace()

    who, let_go = "SELECT row_id, name FROM index_left", "UPDATE sealing SET index_check_before = NULL"
    assert f"`{who}`" in SECRETS_PAGE and f"`{let_go}`" in SECRETS_PAGE
    async with titan.db.hot() as tx:
        assert [(UUID(lost_id), "email_index")] == [tuple(row) for row in await tx.fetch(who)]
        await tx.execute(let_go)

    await titan.index.look()
    await keys.end()
    assert user_id == (await titan.sign_in(email)).user_id
    assert "CREDENTIALS_INVALID" == reason_of(await refused(titan.sign_in(lost)))
    assert lost_id != (await titan.register(lost))[1]
    assert (await BlindIndex.load(titan.db, titan.secrets_dir)).ready
    await keys.take_up()
    assert not await keys.renewal.replace(), "they have a hash of neither key, and are named again"
    async with titan.db.hot() as tx:
        await tx.execute("UPDATE users SET email_index = NULL, password_hash = NULL WHERE user_id = $1", UUID(lost_id))


async def test_a_line_that_went_too_early_is_kept_by_who_knows_it_and_asked_for_by_who_does_not(
    titan: Replica, keys: Keys
):
    """Nobody starts with half of the keys."""
    email, user_id = await titan.register()
    await keys.take_up()
    both = keys.file.read_text()
    replace_text(keys.file, f"{keys.lines[-1]}\n")
    await titan.index.look()

    assert user_id == (await titan.sign_in(email)).user_id
    with pytest.raises(MasterKeyUnusable, match="restore auth_index_key"):
        await BlindIndex.load(titan.db, titan.secrets_dir)
    replace_text(keys.file, both)


async def test_a_key_is_not_replaced_by_one_above_it(titan: Replica, keys: Keys):
    """A line that was put at the top, or a file that was sorted, takes nothing back."""
    written = titan.index.written
    replace_text(keys.file, f"{uuid4().hex}{uuid4().hex}\nlast {keys.lines[-1].rpartition(' ')[2]}\n")
    await titan.index.look()

    assert titan.index.coming is None and await keys.renewal.replace()
    assert written == titan.index.written


async def test_a_lost_key_of_the_index_is_not_made_anew_unnoticed(titan: Replica, tmp_path: Path):
    """With another one nobody would be found, and everybody could register again. A file that is made is private."""
    with pytest.raises(MasterKeyUnusable, match="restore auth_index_key"):
        await BlindIndex.load(titan.db, tmp_path)

    assert [INDEX_KEY_FILE] == os.listdir(tmp_path)
    assert 0o600 == stat.S_IMODE((tmp_path / INDEX_KEY_FILE).stat().st_mode)


async def test_the_work_in_the_background_replaces_a_key(titan: Replica, keys: Keys, monkeypatch: pytest.MonkeyPatch):
    """From the new line to the end, without anybody asking."""
    monkeypatch.setattr(renewals, "POLL_SECONDS", 0.01)
    email, user_id = await titan.register()
    await keys.add()
    check = IndexKey(keys.lines[-1].rpartition(" ")[2].encode()).check

    work = asyncio.create_task(keys.renewal.follow())
    async with asyncio.timeout(10):
        while titan.index.written != index_store.Written(check, None):
            await asyncio.sleep(0.01)
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)

    assert user_id == (await titan.sign_in(email)).user_id


async def test_two_keys_of_one_index_are_never_the_same(titan: Replica, keys: Keys):
    """A line that was copied replaces nothing."""
    with pytest.raises(asyncpg.CheckViolationError):
        async with titan.db.hot() as tx:
            await index_store.take_up(tx, titan.index.written, titan.index.written.newest)
