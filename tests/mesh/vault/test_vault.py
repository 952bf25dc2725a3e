"""Users' keys on a real Postgres, wrapped by a key management service in memory."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from mesh.database import Database
from mesh.refusals import Unavailable
from mesh.secret_files import SecretUnusable
from mesh.vault import store, vault
from mesh.vault.master_keys import MasterKeyFile
from mesh.vault.vault import Erased, Unreadable, Vault
from tests.kms import Kms

ROW = uuid4()
TEXT = b"1 Mill Lane"


async def users(count: int, by: Vault) -> list[UUID]:
    """Return new users who have keys."""
    user_ids = sorted(uuid4() for _ in range(count))
    await by.prepare(user_ids)
    return user_ids


async def wrapped_by(db: Database, user_ids: list[UUID]) -> list[str]:
    """Return the ids of the master keys that wrap the users' keys."""
    async with db.hot_read() as connection:
        return [key.wrapped_by for key in sorted(await store.find_keys(connection, user_ids), key=lambda k: k.user_id)]


async def erase(db: Database, user_id: UUID) -> None:
    async with db.hot() as tx:
        await store.destroy_key(tx, user_id)


async def test_what_is_sealed_opens_in_every_process(db: Database):
    """At its own place alone: not for another row, column or user, and not with a bit changed."""
    one, two = Vault(db, Kms()), Vault(db, Kms())
    ada, eve = await users(2, one)
    sealed = one.seal(ada, ROW, TEXT, b"street")
    await two.prepare([ada, eve])

    assert TEXT == two.open(ada, ROW, sealed, b"street") and TEXT not in sealed
    changed = sealed[:-1] + bytes([sealed[-1] ^ 1])
    for user_id, row_id, each, column in (
        (eve, ROW, sealed, b"street"),
        (ada, uuid4(), sealed, b"street"),
        (ada, ROW, sealed, b""),
        (ada, ROW, changed, b"street"),
        (ada, ROW, b"", b"street"),
        (uuid4(), ROW, sealed, b"street"),
    ):
        with pytest.raises(Unreadable):
            two.open(user_id, row_id, each, column)


async def test_two_processes_that_make_a_key_at_once_have_one(db: Database):
    """The first that is stored is the user's."""
    one, two = Vault(db, Kms()), Vault(db, Kms())
    user_ids = [uuid4() for _ in range(20)]
    await asyncio.gather(one.prepare(user_ids), two.prepare(user_ids[10:]), two.prepare(user_ids[::-1]))

    assert [TEXT] * 20 == [two.open(each, ROW, one.seal(each, ROW, TEXT)) for each in user_ids]


async def test_a_set_is_one_question_and_a_key_at_hand_is_none(db: Database):
    """What has the master keys may be far away."""
    kms = Kms()
    here, there = Vault(db, kms), Vault(db, kms)
    user_ids = await users(50, here)
    await here.prepare(user_ids)
    await there.prepare(user_ids)

    assert [("wrap", 50), ("unwrap", 50)] == kms.asked


async def test_nothing_is_made_or_opened_while_the_master_keys_are_away(db: Database):
    """Keys at hand serve on; what was asked for then is asked for again."""
    kms = Kms()
    known = Vault(db, kms)
    (ada,) = await users(1, known)
    sealed, fresh, new = known.seal(ada, ROW, TEXT), Vault(db, kms), uuid4()
    kms.away = True
    for asked in ([new], [ada]):
        with pytest.raises(Unavailable):
            await fresh.prepare(asked)
    await known.prepare([ada])
    assert TEXT == known.open(ada, ROW, sealed)
    kms.away = False
    await fresh.prepare([ada, new])
    assert TEXT == fresh.open(ada, ROW, sealed)


async def test_an_erased_user_has_no_key_anywhere_and_is_given_none(db: Database):
    """What is sealed for them afterwards is as unreadable as the rest."""
    one, two = Vault(db, Kms()), Vault(db, Kms())
    (ada,) = await users(1, one)
    await two.prepare([ada])
    sealed = one.seal(ada, ROW, TEXT)
    await erase(db, ada)
    one.forget(ada)
    await two.forget_erased()
    three = Vault(db, Kms())
    await three.prepare([ada])

    assert [] == await wrapped_by(db, [ada])
    for each in (one, two, three):
        with pytest.raises(Erased):
            each.open(ada, ROW, sealed)
        assert TEXT not in each.seal(ada, ROW, TEXT)


class Unsteady:
    """A database that is away when a test says so."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self.away = False

    def hot_read(self) -> Any:
        if self.away:
            raise Unavailable("the database does not answer")
        return self._db.hot_read()


async def test_an_erasure_is_found_however_long_nobody_could_look(db: Database, monkeypatch: pytest.MonkeyPatch):
    """A process that was cut off from the database asks from its last look on, not from a minute ago."""
    monkeypatch.setattr(vault, "LOOK_BACK_SECONDS", 0.0)  # whatever has happened is longer ago than that
    unsteady = Unsteady(db)
    cut_off: Vault = Vault(unsteady, Kms())  # type: ignore[arg-type]
    ada, eve = await users(2, cut_off)
    sealed = cut_off.seal(ada, ROW, TEXT)
    await cut_off.forget_erased()
    unsteady.away = True
    await erase(db, ada)
    with pytest.raises(Unavailable):
        await cut_off.forget_erased()
    unsteady.away = False

    await cut_off.forget_erased()

    with pytest.raises(Erased):
        cut_off.open(ada, ROW, sealed)
    assert TEXT == cut_off.open(eve, ROW, cut_off.seal(eve, ROW, TEXT))


async def test_one_key_that_does_not_open_harms_no_other(db: Database):
    """Of its user alone nothing is read."""
    ada, eve = await users(2, Vault(db, Kms()))
    async with db.hot() as tx:
        await tx.execute("UPDATE user_keys SET wrapped_key = 'nonsense' WHERE user_id = $1", eve)
    other = Vault(db, Kms())
    await other.prepare([ada, eve])

    assert TEXT == other.open(ada, ROW, other.seal(ada, ROW, TEXT))
    with pytest.raises(Unreadable):
        other.open(eve, ROW, b"x" * 40)
    with pytest.raises(Unavailable):
        other.seal(eve, ROW, TEXT)


async def test_what_was_asked_for_lately_is_kept(db: Database, monkeypatch: pytest.MonkeyPatch):
    """Also where it was at hand before: whoever prepared it is about to use it."""
    monkeypatch.setattr(vault, "CACHED_KEYS", 2)
    kept = Vault(db, Kms())
    (first,), (second,), _ = [await users(1, kept) for _ in range(3)]
    await kept.prepare([first])
    kept.trim()

    assert TEXT == kept.open(first, ROW, kept.seal(first, ROW, TEXT))
    with pytest.raises(Unreadable):
        kept.open(second, ROW, b"x" * 40)


async def test_a_master_key_is_replaced_and_the_old_one_retired(
    db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A few keys at a time; not a byte that is sealed changes, and at no moment is anything unreadable."""
    monkeypatch.setattr(vault, "REWRAP_KEYS", 10)
    path = tmp_path / "master_key"
    old, new = "a" * 64, "b" * 64
    path.touch(mode=0o600)
    path.write_text(old)
    here = Vault(db, MasterKeyFile(path))
    user_ids = await users(25, here)
    sealed = {user_id: here.seal(user_id, ROW, TEXT) for user_id in user_ids}
    path.write_text(f"{old}\n2 {new}\n")
    working = Vault(db, MasterKeyFile(path))
    erased = user_ids.pop()
    await erase(db, erased)

    await asyncio.gather(working.rewrap(), working.rewrap())  # two at once do it no harm

    assert {"2"} == set(await wrapped_by(db, user_ids)) and [] == await wrapped_by(db, [erased])
    assert 0 == await working.rewrap()
    path.write_text(f"2 {new}\n")
    after = Vault(db, MasterKeyFile(path))
    await after.prepare(user_ids)
    assert {TEXT} == {after.open(each, ROW, sealed[each]) for each in user_ids}


@pytest.fixture
async def empty(db: Database) -> Database:
    """The database, without a key."""
    async with db.hot() as tx:
        await tx.execute("TRUNCATE user_keys")
    return db


async def test_a_lost_file_of_master_keys_is_not_made_anew(empty: Database, tmp_path: Path):
    """Only while it wraps nothing; nor is another one taken that has its id. With it back, all opens."""
    first = await Vault.of_folder(empty, tmp_path, "master_key")
    (ada,) = await users(1, first)
    sealed, file = first.seal(ada, ROW, TEXT), tmp_path / "master_key"
    kept = file.read_text()
    file.unlink()
    with pytest.raises(SecretUnusable, match=f"the secret file {file} is gone"):
        await Vault.of_folder(empty, tmp_path, "master_key")
    assert not file.exists()
    file.touch(mode=0o600)
    file.write_text("b" * 64)
    with pytest.raises(SecretUnusable, match="wrapped by 1: bring back the one that does"):
        await Vault.of_folder(empty, tmp_path, "master_key")
    file.write_text(kept)
    again = await Vault.of_folder(empty, tmp_path, "master_key")
    await again.prepare([ada])
    assert TEXT == again.open(ada, ROW, sealed)


async def test_every_master_key_that_wraps_anything_is_asked_for_at_the_start(empty: Database):
    """One that was retired too early is named. A user's key that is damaged keeps nobody from starting."""
    kms = Kms()
    here = Vault(empty, kms)
    await here.check()
    await users(1, here)
    async with empty.hot() as tx:
        await tx.execute("UPDATE user_keys SET wrapped_key = 'nonsense'")
    await users(2, here)
    kms.replace("2")
    await users(1, here)
    await here.check()
    async with empty.hot() as tx:
        await tx.execute("UPDATE user_keys SET wrapped_by = 'gone' WHERE wrapped_by = '1'")
    with pytest.raises(SecretUnusable, match="wrapped by gone: "):
        await here.check()


async def test_a_key_that_was_wrapped_anew_meanwhile_stays_as_it_is(db: Database):
    """Whoever is slower knows an older master key, perhaps."""
    kms = Kms()
    (ada,) = await users(1, Vault(db, kms))
    async with db.hot_read() as connection:
        (before,) = await store.find_keys(connection, [ada])
        stale = replace(before, content=before.content[::-1])
        await store.save_rewrapped(connection, [(stale, replace(before, wrapped_by="late"))])
    assert ["1"] == await wrapped_by(db, [ada])


async def test_a_key_that_no_master_key_opens_stays_and_stops_no_other(db: Database, monkeypatch: pytest.MonkeyPatch):
    """Its master key was taken away too early, and may come back."""
    monkeypatch.setattr(vault, "REWRAP_KEYS", 2)
    kms = Kms()
    here = Vault(db, kms)
    user_ids = await users(4, here)
    gone = user_ids[1]
    async with db.hot() as tx:
        await tx.execute("UPDATE user_keys SET wrapped_by = 'gone' WHERE user_id = $1", gone)
    kms.replace("2")
    await here.rewrap()

    assert ["2", "gone", "2", "2"] == await wrapped_by(db, user_ids)


async def test_nothing_is_wrapped_anew_before_every_host_has_the_new_master_key(db: Database):
    """One whose file gets the line a moment later would read nobody. A process that has just started waits as well."""
    kms = Kms()
    here = Vault(db, kms)
    user_ids = await users(3, here)
    kms.replace("2")

    seen = await here.rewrap_if_still("1")
    assert "2" == seen == await Vault(db, kms).rewrap_if_still("")
    kms.away = True
    await here.rewrap_if_still(seen)
    kms.away = False
    assert {"1"} == set(await wrapped_by(db, user_ids))
    await here.rewrap_if_still(seen)

    assert {"2"} == set(await wrapped_by(db, user_ids))


async def test_a_new_master_key_is_taken_up_by_itself(db: Database, monkeypatch: pytest.MonkeyPatch):
    """Whoever adds one restarts nothing."""
    monkeypatch.setattr(vault, "REWRAP_AFTER_SECONDS", 0.01)
    kms = Kms()
    here = Vault(db, kms)
    user_ids = await users(3, here)
    work = asyncio.create_task(here.keep_wrapped())
    try:
        async with asyncio.timeout(10):
            kms.replace("2")
            while {"2"} != set(await wrapped_by(db, user_ids)):
                await asyncio.sleep(0.01)
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
