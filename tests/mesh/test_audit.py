"""The audit log on a real Postgres: what is written, that nothing is changed, and that every forgery shows."""

from __future__ import annotations

import asyncio
import hashlib
import json
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, replace
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from mesh import audit, calls
from mesh.audit import Command
from mesh.database import Database
from mesh.identity import Caller
from mesh.interceptors import audit as denying
from mesh.interceptors.audit import Accesses, Denials
from mesh.refusals import AccessDenied, Unavailable
from mesh.sealing import Head
from tests.harness import as_service, as_user, reason_of, serve, titan_contract
from tests.mesh.sample import SAMPLE, Sample, pb, rpc, sample_contract
from titan.notify.v1.notification_service_pb2 import ListNotificationsRequest
from titan.order.v1.order_service_pb2 import CreateRefundRequest, GetOrderRequest

USER, ACTOR, SESSION = UUID(int=1), UUID(int=2), UUID(int=3)
BY = Command("titan_test.v1.SampleService.Change", actor_id=USER, session_id=SESSION, trace_id="f" * 32)


async def log_some(db: Database, count: int, name: str = "things") -> None:
    """Accept commands, each in a transaction of its own."""
    for number in range(count):
        async with db.hot() as tx:
            await audit.accept(tx, f"{name}/{number}", BY)


async def seal_all(db: Database, **limits: Any) -> int:
    """Seal until no tail is left, and return how many blocks that took."""
    blocks = 0
    async with asyncio.timeout(10):
        while True:
            blocks += bool(await audit.seal(db, **limits))
            async with db.hot_read() as connection:
                if not await connection.fetchval(
                    "SELECT count(*) FROM audit_entries WHERE xid >= (SELECT max(to_xid) FROM audit_blocks)"
                ):
                    return blocks
            await asyncio.sleep(0.01)  # a transaction elsewhere on the test server may hold the horizon for a moment


async def rows(db: Database, where: str = "true") -> list[asyncpg.Record]:
    """Return entries, the oldest first."""
    async with db.hot_read() as connection:
        return list(await connection.fetch(f"SELECT * FROM audit_entries WHERE {where} ORDER BY seq"))


async def verified(db: Database, **more: Any) -> audit.Findings:
    """Verify what is there."""
    async with db.hot_read() as connection:
        return await audit.verify(connection, **more)


def test_a_command_is_who_asks_for_what():
    """The user, or whoever acts for them; the key as a hash that is the user's and the method's own."""
    with calls.detached() as current:
        with pytest.raises(RuntimeError):
            audit.command()
        current.method, current.trace_id = sample_contract().methods[f"/{SAMPLE}/Change"], "a" * 32
        name = current.method.full_name
        current.caller = Caller(user_id=USER, session_id=SESSION)
        key = audit.key_hash(USER, name, "key")
        assert Command(name, USER, None, SESSION, key, "a" * 32) == audit.command("key")
        current.caller = Caller(user_id=USER, session_id=SESSION, actor_id=ACTOR)
        assert (ACTOR, USER, None) == (audit.command().actor_id, audit.command().subject_id, audit.command().key_hash)
        current.caller = Caller(service="edge_http")
        assert (USER, None, SESSION) == (
            (found := audit.command(actor_id=USER, session_id=SESSION)).actor_id,
            found.subject_id,
            found.session_id,
        )
    assert key != audit.key_hash(ACTOR, name, "key") != audit.key_hash(ACTOR, "other", "key")


def test_a_command_survives_a_store_without_columns():
    """Every field of it, known or not; but for a ticket that there is none of, which a release before does not know."""
    for each in (BY, Command("m", key_hash=b"\x00\xff", subject_id=ACTOR), Command("m", ticket_id="SUP-1")):
        assert each == Command.from_json(each.to_json())
        told = {name for name, value in asdict(each).items() if name != "ticket_id" or value}
        assert told == json.loads(each.to_json()).keys()


async def test_an_entry_shares_the_fate_of_its_transaction(db: Database):
    """It is there with the change, and with its transaction's number, or not there at all."""
    with pytest.raises(ZeroDivisionError):
        async with db.hot() as tx:
            await audit.accept(tx, "lost/1", BY)
            raise ZeroDivisionError
    async with db.hot() as tx:
        await audit.accept(tx, "kept/" + 500 * "x", BY)
        xid = await tx.fetchval("SELECT pg_current_xact_id()::text")

    assert not await rows(db, "resource LIKE 'lost%'")
    (entry,) = await rows(db, "resource LIKE 'kept%'")
    assert (int(xid), audit.ACCEPTED, USER, SESSION) == (
        int(entry["xid"]),
        entry["outcome"],
        entry["actor_id"],
        entry["session_id"],
    )
    assert audit.MAX_RESOURCE_CHARACTERS == len(entry["resource"])


async def test_the_ticket_of_a_command_stands_behind_what_it_is_about(db: Database):
    """To its last digit, however long the name before it."""
    by = replace(BY, ticket_id="SUP-4711")
    for name in ("users/1", "long/" + 500 * "x"):
        async with db.hot() as tx:
            await audit.accept(tx, name, by)
        (entry,) = await rows(db, f"resource LIKE '{name[:6]}%'")
        assert name[: 300 - len("?ticket=SUP-4711")] + "?ticket=SUP-4711" == entry["resource"]


def test_what_a_request_is_about_is_its_first_id():
    """In the form that the rows of commands have; a key and a ticket are no things."""
    about = "0192F3A0-0000-7000-8000-000000000001"
    for request, named in (
        (GetOrderRequest(order_id=about, ticket_id="SUP-1"), f"orders/{about.lower()}"),
        (ListNotificationsRequest(user_id=about, ticket_id="SUP-1"), f"users/{about.lower()}"),
        (ListNotificationsRequest(page_size=5, ticket_id="SUP-1"), "-"),
        (CreateRefundRequest(request_id="key"), "-"),
    ):
        assert named == audit.resource_in(request)


@pytest.mark.parametrize("away", [True, False])
async def test_what_a_ticket_opened_is_answered_with_its_row_alone(db: Database, database_url: str, away: bool):
    """A database that does not take the row costs the answer, whoever is at the desk."""
    method = titan_contract().methods["/titan.order.v1.OrderService/GetOrder"]
    own = await Database.connect(database_url, pool_size=1, name="accesses")
    order_id = str(uuid4())

    async def inner(request: Any, call: Any) -> Any:
        call.ticket_id = "SUP-4711"
        return "the order"

    async def asked() -> Any:
        with calls.detached() as call, pytest.MonkeyPatch.context() as patch:
            patch.setattr(denying, "WRITE_SECONDS", 0.05 if away else 5.0)
            call.method, call.caller = method, Caller(user_id=USER)
            answer = denying.Audit(None, Accesses(own)).unary(method, inner)
            return await answer(GetOrderRequest(order_id=order_id), call)

    if away:
        async with own.hot_read():  # nobody else gets a connection
            with pytest.raises(Unavailable):
                await asked()
    else:
        assert "the order" == await asked()
    await own.close()
    assert (0 if away else 1) == len(await rows(db, f"resource = 'orders/{order_id}?ticket=SUP-4711'"))


@pytest.mark.parametrize("table", ["audit_entries", "audit_blocks"])
@pytest.mark.parametrize("change", ["DELETE FROM {}", "UPDATE {} SET {} = {}", "TRUNCATE {}"])
async def test_the_log_is_append_only(db: Database, postgres_server, database_url: str, table: str, change: str):
    """The package's own role has no right to change or remove a row; whoever has every right meets a trigger."""
    column = {"audit_entries": "method", "audit_blocks": "row_count"}[table]
    statement = change.format(table, column, column)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with db.hot() as tx:
            await tx.execute(statement)
    superuser = await asyncpg.connect(postgres_server.superuser_url(database_url.rpartition("/")[2]))
    try:
        with pytest.raises(asyncpg.RestrictViolationError):
            await superuser.execute(statement)
    finally:
        await superuser.close()


async def test_sealing_and_verifying_are_bounded_and_go_on_where_they_stood(db: Database):
    """A block takes so many rows, a page so many blocks; what was verified is not read again."""
    await seal_all(db)
    before = await verified(db)
    await log_some(db, 10)
    assert 4 == await seal_all(db, max_rows=2)  # the last transaction of a block is whole in it: three rows each
    first = await verified(db, since=before.head, page_blocks=2)
    assert (5, ()) == (first.blocks, first.problems)
    await log_some(db, 1)
    await seal_all(db)
    second = await verified(db, since=first.head)
    assert (2, ()) == (second.blocks, second.problems)
    everything = await verified(db, page_blocks=3)
    assert (len(await rows(db)), 0, ()) == (everything.entries, everything.unsealed, everything.problems)


async def test_blocks_are_bound_by_sha_256(db: Database):
    """Each is made again here, out of what it says and the one before, as the database made it."""
    await log_some(db, 3)
    await seal_all(db)
    async with db.hot_read() as connection:
        first, *others = await connection.fetch("SELECT * FROM audit_blocks ORDER BY height")
    assert hashlib.sha256(b"titan audit").digest() == first["hash"] and others
    before = first["hash"]
    for block in others:
        numbers = struct.pack(">qq", block["height"], block["row_count"])
        assert (before, 32) == (block["previous_hash"], len(block["rows_hash"]))
        before = hashlib.sha256(before + numbers + block["rows_hash"]).digest()
        assert before == block["hash"]


async def test_two_sealers_make_one_chain(db: Database):
    """Replicas take no turns: both try the same height, one finds nothing to do, and nothing breaks."""
    await log_some(db, 3)
    sealed = await asyncio.gather(*(audit.seal(db) for _ in range(5)))
    await seal_all(db)
    assert sum(bool(each) for each in sealed) <= 1
    assert not (await verified(db)).problems


async def test_a_sealer_is_woken_by_a_commit_and_asks_nothing_meanwhile(db: Database, monkeypatch):
    """What a process writes is sealed soon; an idle one leaves the database alone."""
    monkeypatch.setattr(audit, "SEAL_SECONDS", 0.01)
    asked, seal = [], audit.seal

    async def counting(*arguments: Any, **more: Any) -> int:
        asked.append(1)
        return await seal(*arguments, **more)

    monkeypatch.setattr(audit, "seal", counting)
    await seal_all(db)
    following = asyncio.create_task(audit.Sealer(db).follow())
    try:
        async with asyncio.timeout(5):
            for _ in range(2):
                await log_some(db, 1)
                while (await verified(db)).unsealed:
                    await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        idle = len(asked)
        await asyncio.sleep(0.1)
        assert idle == len(asked)
    finally:
        following.cancel()


FORGERIES = {
    "a row that was changed": "UPDATE audit_entries SET resource = 'things/9' WHERE seq = {middle}",
    "an actor who was taken out": "UPDATE audit_entries SET actor_id = NULL WHERE seq = {middle}",
    "a row that moved into its neighbour's place": "UPDATE audit_entries SET recorded_at = now() WHERE seq = {middle}",
    "a row that is gone": "DELETE FROM audit_entries WHERE seq = {middle}",
    "two rows that changed places": (
        "UPDATE audit_entries SET seq = CASE seq WHEN {middle} THEN {last} ELSE {middle} END"
        " WHERE seq IN ({middle}, {last})"
    ),
    "two rows that changed transactions": (
        "UPDATE audit_entries a SET xid = b.xid FROM audit_entries b WHERE a.seq IN ({middle}, {last})"
        " AND b.seq IN ({middle}, {last}) AND a.seq <> b.seq"
    ),
    "a row that was put in": (
        "INSERT INTO audit_entries (xid, outcome, method, resource)"
        " SELECT xid, 'ACCEPTED', 'm', 'r' FROM audit_entries WHERE seq = {middle}"
    ),
    "a block that was rewritten": "UPDATE audit_blocks SET row_count = row_count + 1 WHERE height = 1",
    "a block that is gone": "DELETE FROM audit_blocks WHERE height = 1",
    "two blocks that changed places": (
        "UPDATE audit_blocks SET height = CASE height WHEN 1 THEN -2 ELSE -1 END WHERE height IN (1, 2);"
        "UPDATE audit_blocks SET height = -height WHERE height < 0"
    ),
    "a chain that begins anew": "DELETE FROM audit_blocks WHERE height = 0",
}


@asynccontextmanager
async def forged(postgres_server: Any, database_url: str, statement: str) -> AsyncIterator[asyncpg.Connection]:
    """Forge with every right and no trigger, look in the forger's own transaction, and leave all as it was."""
    superuser = await asyncpg.connect(postgres_server.superuser_url(database_url.rpartition("/")[2]))
    try:
        keep = superuser.transaction()
        await keep.start()
        await superuser.execute("SET LOCAL session_replication_role = replica")
        await superuser.execute("ALTER TABLE audit_blocks DROP CONSTRAINT audit_blocks_height_check")
        await superuser.execute("ALTER TABLE audit_entries ALTER seq SET GENERATED BY DEFAULT")
        await superuser.execute(statement)
        yield superuser
        await keep.rollback()
    finally:
        await superuser.close()


@pytest.mark.parametrize("forgery", FORGERIES)
async def test_a_forgery_is_found(db: Database, postgres_server, database_url: str, forgery: str):
    """Of a row, of its place, of a block; and without it nothing is wrong."""
    await log_some(db, 4)
    await seal_all(db, max_rows=1)
    assert not (await verified(db)).problems
    last = (await rows(db))[-1]["seq"]
    statement = FORGERIES[forgery].format(middle=last - 2, last=last)
    async with forged(postgres_server, database_url, statement) as connection:
        assert (await audit.verify(connection)).problems


async def test_a_tail_that_was_cut_off_is_missed_by_its_witness(db: Database, postgres_server, database_url: str):
    """Rows and blocks gone together look whole from inside; a head that was kept elsewhere tells."""
    await log_some(db, 4)
    await seal_all(db)
    witness = (await verified(db)).head
    assert witness is not None
    cut = (
        f"DELETE FROM audit_entries WHERE xid >= (SELECT from_xid FROM audit_blocks WHERE height = {witness.height});"
        f"DELETE FROM audit_blocks WHERE height = {witness.height}"
    )
    async with forged(postgres_server, database_url, cut) as connection:
        assert not (await audit.verify(connection)).problems
        for more in ({"since": witness}, {"witnesses": [witness]}):
            found = await audit.verify(connection, **more)
            assert (f"block {witness.height}: it was there, and is gone",) == found.problems
    another = Head(witness.height, bytes(32))
    assert "is not the block" in (await verified(db, witnesses=[another])).problems[0]


# Denials


async def denied(db: Database, since: int) -> list[tuple[Any, ...]]:
    """Return what stands of denials behind a number."""
    found = await rows(db, f"outcome = 'DENIED' AND seq > {since}")
    return [(row["method"], row["actor_id"], row["package"], row["reason"], row["left_out"]) for row in found]


async def test_whoever_is_known_and_denied_is_written_before_they_hear_of_it(db: Database):
    """A user without the role, a package that is not named; never somebody whom nobody knows."""
    since = (await rows(db))[-1]["seq"]
    services = {SAMPLE: Sample()}
    async with serve(services, known=sample_contract(), callers={SAMPLE: frozenset()}, denials=Denials(db)) as channel:
        stub = rpc.SampleServiceStub(channel)
        for sends, reason in (
            (as_user(USER), "ACCESS_DENIED"),
            ((*as_service("edge_http"), *as_user(USER, actor_id=ACTOR)), "ACCESS_DENIED"),
            ((), "UNAUTHENTICATED"),
        ):
            with pytest.raises(Exception) as refusal:
                await stub.Administer(pb.EchoRequest(text="x"), metadata=sends)
            assert reason == reason_of(refusal.value)
        with pytest.raises(Exception) as refusal:
            await stub.Internal(pb.EchoRequest(text="x"), metadata=as_service("svc_stranger"))
        assert "ACCESS_DENIED" == reason_of(refusal.value)
    assert [
        (f"{SAMPLE}.Administer", USER, None, "ACCESS_DENIED", 0),
        (f"{SAMPLE}.Administer", ACTOR, "edge_http", "ACCESS_DENIED", 0),
        (f"{SAMPLE}.Internal", None, "svc_stranger", "ACCESS_DENIED", 0),
    ] == await denied(db, since)


async def test_a_stream_that_is_denied_is_written_too(db: Database):
    """What it has sent before stays sent, and the refusal goes on to its caller."""
    since = (await rows(db))[-1]["seq"]
    method = sample_contract().methods[f"/{SAMPLE}/WatchBriefly"]

    async def inner(request: Any, call: Any) -> AsyncIterator[int]:
        yield 1
        raise AccessDenied("no more")

    with calls.detached() as call:
        call.method, call.caller = method, Caller(user_id=USER)
        seen = []
        with pytest.raises(AccessDenied):
            async for message in denying.Audit(Denials(db)).stream(method, inner)(pb.EchoRequest(), call):
                seen.append(message)
    assert [1] == seen
    assert [(method.full_name, USER, None, "ACCESS_DENIED", 0)] == await denied(db, since)


async def test_a_flood_of_denials_is_sampled_and_counted(db: Database):
    """One caller has so many rows, all callers together so many more; the next row says how many were left out."""
    since, now = (await rows(db))[-1]["seq"], [0.0]
    denials = Denials(db, now=lambda: now[0])
    refusal = AccessDenied("no")

    async def flood(user_id: UUID, times: int) -> None:
        with calls.detached() as call:
            call.method, call.caller = sample_contract().methods[f"/{SAMPLE}/Administer"], Caller(user_id=user_id)
            for _ in range(times):
                await denials.note(refusal, call)

    await flood(USER, 50)
    assert denying.CALLER_DENIALS_AT_ONCE == len(await denied(db, since))
    await flood(ACTOR, 1)
    assert (50 - denying.CALLER_DENIALS_AT_ONCE) == (await denied(db, since))[-1][-1]
    for _ in range(20):
        await flood(uuid4(), 10)
    assert denying.PROCESS_DENIALS_AT_ONCE == len(await denied(db, since))
    now[0] += 1.0
    await flood(USER, 5)
    assert denying.PROCESS_DENIALS_AT_ONCE + denying.CALLER_DENIALS_PER_SECOND == len(await denied(db, since))
    told = await denied(db, since)
    assert 50 + 1 + 200 + 5 == len(told) + sum(row[-1] for row in told) + 4, "the last four wait for the next row"


async def test_a_row_that_can_not_be_written_costs_no_answer(db: Database, database_url: str):
    """Whatever the database refuses it for: the caller hears that access is denied, and the log says what failed."""
    await log_some(db, 1)
    since = (await rows(db))[-1]["seq"]
    denials = Denials(db)

    async def note() -> None:
        with calls.detached() as call:
            call.method, call.caller = sample_contract().methods[f"/{SAMPLE}/Administer"], Caller(user_id=USER)
            await denials.note(AccessDenied("no"), call)

    owner = await asyncpg.connect(database_url)
    await owner.execute("ALTER TABLE audit_entries RENAME TO moved")
    try:
        await note()
    finally:
        await owner.execute("ALTER TABLE moved RENAME TO audit_entries")
        await owner.close()
    await note()
    assert [1] == [row[-1] for row in await denied(db, since)]


async def test_a_database_that_is_away_costs_the_row_and_not_the_answer(database_url: str):
    """The refusal is answered all the same, and the denial is counted into the next row."""
    db = await Database.connect(database_url, pool_size=1, name="away")
    denials = Denials(db)
    async with db.hot_read():  # nobody else gets a connection
        with calls.detached() as call:
            call.method, call.caller = sample_contract().methods[f"/{SAMPLE}/Administer"], Caller(user_id=USER)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(denying, "WRITE_SECONDS", 0.05)
                await denials.note(AccessDenied("no"), call)
    with calls.detached() as call:
        call.method, call.caller = sample_contract().methods[f"/{SAMPLE}/Administer"], Caller(user_id=USER)
        await denials.note(AccessDenied("no"), call)
    assert 1 == (await rows(db, "outcome = 'DENIED'"))[-1]["left_out"]
    await db.close()
