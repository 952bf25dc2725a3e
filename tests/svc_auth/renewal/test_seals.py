"""A master key is replaced: all that it sealed opens before, during and after, and its line may go."""

from __future__ import annotations

import asyncio
import base64
import json
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from control.atomic_file import replace_text
from mesh.database import Database
from mesh.seams import SystemIds
from svc_auth.auth.keeper import KeyKeeper
from svc_auth.factor.rules import STEP_SECONDS, code_at, step_of
from svc_auth.keys import KeyRing, MasterKey
from svc_auth.renewal import seal_store, seals
from svc_auth.renewal.seals import SealRenewal, master_keys_of
from svc_auth.sealing import FLOWS, MASTER_KEY_FILE, MasterKeyUnusable, Seal, key_file
from svc_auth.settings import Settings
from tests.svc_auth.conftest import PASSWORD, Replica, bearer, build_replica
from titan.auth.v1 import auth_service_pb2, link_service_pb2
from titan.auth.v1 import second_factor_service_pb2 as pb
from titan.auth.v1.second_factor_pb2 import SecondFactorProof


async def enrolled(titan: Replica) -> tuple[str, bytes]:
    """Return the address of a user with a second factor, and its secret."""
    email, _ = await titan.register()
    pair = await titan.sign_in(email)
    asked = pb.EnrolSecondFactorRequest(password=PASSWORD)
    secret = base64.b32decode((await titan.factor.EnrolSecondFactor(asked, metadata=bearer(pair))).secret)
    confirm = pb.ConfirmSecondFactorRequest(code=code_at(secret, step_of(titan.clock.now())))
    await titan.factor.ConfirmSecondFactor(confirm, metadata=bearer(pair))
    return email, secret


async def shows_code(titan: Replica, email: str, secret: bytes) -> None:
    """Sign in with a second factor."""
    await titan.later(STEP_SECONDS)
    challenge = (await titan.sign_in(email)).challenge.challenge_token
    proof = SecondFactorProof(code=code_at(secret, step_of(titan.clock.now())))
    await titan.auth.CompleteSession(auth_service_pb2.CompleteSessionRequest(challenge_token=challenge, proof=proof))


async def token_of_last_link(titan: Replica, by: Replica) -> str:
    async with titan.db.hot_read() as connection:
        link_id = await connection.fetchval("SELECT link_id FROM links ORDER BY link_id DESC LIMIT 1")
    (shown,) = (await by.links.show([link_id])).values()
    return shown.token


async def test_everything_opens_before_during_and_after(
    titan: Replica, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Signing keys, second factors, one-time links, the names of clients in flows; then the first key is of no use."""
    monkeypatch.setattr(seals, "BATCH_ROWS", 2)
    factors = [await enrolled(titan) for _ in range(3)]
    email = factors[0][0]
    await titan.link.RequestPasswordReset(link_service_pb2.RequestPasswordResetRequest(email=email))
    await titan.links.make_requested()
    path, flow_hash = titan.secrets_dir / MASTER_KEY_FILE, uuid4().bytes * 2
    first = path.read_text()
    async with titan.db.hot() as tx:
        await tx.execute(
            "INSERT INTO sign_in_flows (flow_hash, provider, redirect_uri, purpose, sealed_client_name, expires_at)"
            " VALUES ($1, 'local', 'https://shop.example', 'SIGN_IN', $2, now())",
            flow_hash,
            Seal.of_folder(titan.secrets_dir, FLOWS).close(flow_hash.hex(), b"Firefox"),
        )
    token = await token_of_last_link(titan, titan)
    replace_text(path, f"{first}2 {uuid4().hex}{uuid4().hex}\n")

    during = await build_replica(titan.db, titan.secrets_dir)
    assert token == await token_of_last_link(titan, during)
    await shows_code(titan, *factors[0])
    late = await enrolled(titan)

    renewal = SealRenewal(titan.db, key_file(titan.secrets_dir, MASTER_KEY_FILE))
    assert 6 <= await renewal.renew()
    assert 0 == await renewal.renew()
    replace_text(path, path.read_text().splitlines()[-1] + "\n")

    after = await build_replica(titan.db, titan.secrets_dir)
    at = after.clock.now()
    assert titan.ring.published(at=at) and after.ring.sign({}, at=at)
    assert token == await token_of_last_link(titan, after)
    for each in (*factors, late):
        await shows_code(titan, *each)
    async with titan.db.hot_read() as connection:
        sealed = await connection.fetchval(
            "SELECT sealed_client_name FROM sign_in_flows WHERE flow_hash = $1", flow_hash
        )
    assert b"Firefox" == Seal.of_folder(titan.secrets_dir, FLOWS).open(flow_hash.hex(), sealed)
    replace_text(tmp_path / MASTER_KEY_FILE, first)
    assert await _opened_by(titan, tmp_path) == 0, "the key that went opens nothing"


async def _opened_by(titan: Replica, folder: Path) -> int:
    """Return how much of all that is sealed the master keys of a folder open."""
    count = 0
    for column in seal_store.COLUMNS:
        seal = Seal.of_folder(folder, column.purpose)
        async with titan.db.hot_read() as connection:
            rows = await seal_store.list_sealed(connection, column, after=None, limit=100)
        assert rows, f"{column.table} has nothing to try"
        for key, sealed in rows:
            try:
                seal.open(column.name(key), sealed)
            except MasterKeyUnusable:
                continue
            count += 1
    return count


async def test_what_no_key_opens_is_left_as_it_is(titan: Replica, tmp_path: Path):
    """It may be opened again when its line is brought back; the others are sealed anew."""
    email, _ = await enrolled(titan)
    await titan.link.RequestPasswordReset(link_service_pb2.RequestPasswordResetRequest(email=email))
    await titan.links.make_requested()
    Seal.of_folder(tmp_path, FLOWS)  # another key

    async def everything() -> list[tuple[object, bytes]]:
        async with titan.db.hot_read() as connection:
            return [
                row
                for column in seal_store.COLUMNS
                for row in await seal_store.list_sealed(connection, column, after=None, limit=100)
            ]

    before = await everything()
    assert before and 0 == await SealRenewal(titan.db, key_file(tmp_path, MASTER_KEY_FILE)).renew()
    assert before == await everything()


async def test_a_row_that_changed_meanwhile_stays(titan: Replica):
    """What somebody stored since it was read is newer than what was read."""
    email, secret = await enrolled(titan)
    column = next(each for each in seal_store.COLUMNS if each.table == "second_factors")
    async with titan.db.hot_read() as connection:
        user_id = await connection.fetchval("SELECT max(user_id::text)::uuid FROM second_factors")
        await seal_store.save_renewed(connection, column, [(UUID(str(user_id)), b"read before", b"sealed anew")])
        found = await connection.fetchval("SELECT secret FROM second_factors WHERE user_id = $1", user_id)

    assert b"sealed anew" != found
    await shows_code(titan, email, secret)


async def test_the_work_in_the_background_takes_up_a_new_line(titan: Replica, monkeypatch: pytest.MonkeyPatch):
    """Without a restart."""
    monkeypatch.setattr(seals, "POLL_SECONDS", 0.01)
    await enrolled(titan)
    path = titan.secrets_dir / MASTER_KEY_FILE
    work = asyncio.create_task(SealRenewal(titan.db, key_file(titan.secrets_dir, MASTER_KEY_FILE)).follow())
    replace_text(path, f"{path.read_text()}next {uuid4().hex}{uuid4().hex}\n")
    newest = path.read_text().splitlines()[-1]
    column = next(each for each in seal_store.COLUMNS if each.table == "second_factors")
    alone = titan.secrets_dir / "alone"
    alone.mkdir()
    replace_text(alone / MASTER_KEY_FILE, f"{newest}\n")
    seal = Seal.of_folder(alone, column.purpose)
    async with asyncio.timeout(10), titan.db.hot_read() as connection:
        while True:
            rows = await seal_store.list_sealed(connection, column, after=None, limit=100)
            try:
                if all(seal.open(column.name(key), sealed) for key, sealed in rows):
                    break
            except MasterKeyUnusable:
                await asyncio.sleep(0.01)
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)


async def test_lost_master_keys_are_not_made_anew(titan: Replica, tmp_path: Path):
    """Signing keys of a new one would be stored beside those that nobody opens any more."""
    await enrolled(titan)

    with pytest.raises(MasterKeyUnusable, match="restore it"):
        await master_keys_of(titan.db, tmp_path)
    assert not os.listdir(tmp_path)
    key_file(tmp_path, MASTER_KEY_FILE)  # another one
    with pytest.raises(MasterKeyUnusable, match="restore auth_master_key"):
        await master_keys_of(titan.db, tmp_path)
    assert (await master_keys_of(titan.db, titan.secrets_dir)).keys


async def test_one_row_that_nobody_opens_stops_no_start(titan: Replica):
    """It is damaged, and the others are not."""
    await enrolled(titan)
    await enrolled(titan)
    async with titan.db.hot() as tx:
        least = "SELECT min(user_id::text)::uuid FROM second_factors"
        await tx.execute(f"UPDATE second_factors SET secret = 'x' WHERE user_id = ({least})")

    assert (await master_keys_of(titan.db, titan.secrets_dir)).keys
    async with titan.db.hot() as tx:
        await tx.execute("DELETE FROM second_factors WHERE secret = 'x'")


async def test_the_first_start_makes_the_master_key(fresh_database: Callable[[str], Awaitable[str]], tmp_path: Path):
    """Once; the next finds it."""
    db = await Database.connect(await fresh_database("svc_auth"), name="first")
    try:
        made = (await master_keys_of(db, tmp_path)).keys
        assert made == (await master_keys_of(db, tmp_path)).keys
    finally:
        await db.close()


async def test_no_signing_key_is_stored_beside_one_that_does_not_open(titan: Replica, tmp_path: Path):
    """A process with other master keys publishes nothing."""
    master = MasterKey.of_folder(tmp_path)
    keeper = KeyKeeper(titan.db, KeyRing(master), master, titan.clock, SystemIds(), Settings())
    count = "SELECT count(*) FROM signing_keys"
    async with titan.db.hot_read() as connection:
        before = await connection.fetchval(count)

    await titan.later(Settings().key_notice_seconds + 1)
    with pytest.raises(MasterKeyUnusable):
        await keeper.rotate()

    async with titan.db.hot_read() as connection:
        assert before == await connection.fetchval(count)


async def test_a_line_is_let_go_when_nothing_was_sealed_with_it_for_a_while(
    titan: Replica, capsys: pytest.CaptureFixture[str]
):
    """A process that takes the new line up a little later still seals with the old one."""
    await enrolled(titan)
    async with titan.db.hot() as tx:  # some were sealed above with a line that went at once
        await tx.execute("DELETE FROM links")
    path = titan.secrets_dir / MASTER_KEY_FILE
    replace_text(path, f"{path.read_text()}newer {uuid4().hex}{uuid4().hex}\n")
    renewal = SealRenewal(titan.db, key_file(titan.secrets_dir, MASTER_KEY_FILE))

    said = "this master key seals everything"
    assert await renewal.renew()
    assert said not in capsys.readouterr().out
    assert not await renewal.renew() and not await renewal.renew()
    lines = [line for line in capsys.readouterr().out.splitlines() if said in line]
    assert ["newer"] == [json.loads(line)["key"] for line in lines]
