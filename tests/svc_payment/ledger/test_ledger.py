"""The ledger itself: nothing out of balance can be written, and what is forged all the same is found."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from uuid import uuid4

import asyncpg
import grpc
import pytest

from mesh.audit import Command
from mesh.seams import SystemIds
from svc_payment.ledger import audit, rules, sealer, store
from svc_payment.wallet import store as wallets
from svc_payment.wallet.rules import Credit
from tests.harness import as_user, reason_of
from tests.svc_payment.conftest import by_wallet
from titan.payment.v1 import ledger_service_pb2

NOW = datetime(2026, 11, 21, tzinfo=UTC)


def transfer(debit: rules.Account, credit: rules.Account, amount_minor: int = 100, **more) -> rules.Transfer:
    transfer_id = uuid4()
    return rules.Transfer(transfer_id, transfer_id, rules.TransferKind.CREDIT, debit, credit, amount_minor, **more)


async def test_an_empty_or_busy_ledger_is_in_balance(till):
    """The answer counts transfers, two entries each, and what is sealed."""
    user = await till.given_wallet(1000)
    intents = [by_wallet(user, 10) for _ in range(5)]
    await till.authorize(*intents)
    await till.capture(*(each.order_id for each in intents[:2]))
    await till.void(intents[2].order_id)
    found = await till.verify()
    assert (True, [], 2 * found.transfers) == (found.balanced, list(found.problems), found.entries)
    assert found.transfers >= 6


async def test_only_finance_and_admins_add_the_ledger_up(stubs):
    """It shows the whole shop."""
    request = ledger_service_pb2.VerifyLedgerRequest()
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await stubs.ledger.VerifyLedger(request, metadata=as_user())
    assert "ACCESS_DENIED" == reason_of(refusal.value)
    assert (await stubs.ledger.VerifyLedger(request, metadata=as_user(roles=("admin",)))).balanced


async def test_the_sealer_leaves_no_tail(till, db):
    """Once nothing runs, everything is sealed, and sealing again seals nothing."""
    await till.given_wallet(1)
    await seal_all(db)
    found = await till.verify()
    assert 0 == found.unsealed_transfers
    assert found.sealed_blocks > 0
    assert 0 == await sealer.seal(db)


async def test_a_transaction_that_commits_late_is_sealed_by_the_next_block(till, db):
    """A block ends before the oldest transaction that still runs, whatever its neighbours have committed."""
    user = await till.given_wallet(1)
    async with db.hot() as slow:
        late = [Credit(uuid4(), 100, "GBP")]
        await wallets.credit_wallets(slow, late, request_id="late", ids=SystemIds(), at=NOW, by=Command("a test"))
        # Only `import` is locked: another transaction commits in the meantime, and sealing runs beside both.
        await till.authorize(by_wallet(user, 1))
        await sealer.seal(db)
        assert (await till.verify()).unsealed_transfers >= 1
    await seal_all(db)
    found = await till.verify()
    assert (0, True) == (found.unsealed_transfers, found.balanced)


async def test_two_sealers_make_one_chain(till, db):
    """Both try the same height; one of them loses and nothing breaks."""
    await till.given_wallet(1)
    await asyncio.gather(*(sealer.seal(db) for _ in range(5)))
    await seal_all(db)
    assert (await till.verify()).balanced


@pytest.mark.parametrize("table", ["accounts", "transfers", "resolutions", "blocks"])
@pytest.mark.parametrize("change", ["DELETE FROM {}", "UPDATE {} SET {} = {}", "TRUNCATE {} CASCADE"])
async def test_the_ledger_is_append_only(till, db, table, change):
    """The package's own role cannot change or remove a row."""
    column = {"accounts": "code", "transfers": "amount_minor", "resolutions": "outcome", "blocks": "row_count"}[table]
    with pytest.raises(asyncpg.RestrictViolationError):
        async with db.hot() as tx:
            await tx.execute(change.format(table, column, column))


async def test_accounts_of_two_currencies_never_meet(db, parts):
    """The foreign keys force one currency on both sides, even past the rules."""
    pounds, euros = rules.wallet(uuid4(), "GBP"), rules.wallet(uuid4(), "EUR")
    with pytest.raises(asyncpg.ForeignKeyViolationError):
        async with db.hot() as tx:
            await store.open_accounts(tx, [pounds, euros], at=NOW)
            await tx.execute(
                "INSERT INTO transfers (transfer_id, group_id, kind, pending, debit_account, credit_account,"
                " amount_minor, currency, recorded_at) VALUES ($1, $1, 'credit', false, $2, $3, 1, 'GBP', now())",
                uuid4(),
                pounds.account_id,
                euros.account_id,
            )


async def test_a_wallet_below_zero_cannot_be_written(db, parts):
    """A rule that decided wrongly meets the constraint."""
    poor, rich = rules.wallet(uuid4(), "GBP"), rules.wallet(uuid4(), "GBP")
    for pending in (True, False):
        with pytest.raises(asyncpg.CheckViolationError):
            async with db.hot() as tx:
                await store.open_accounts(tx, [poor, rich], at=NOW)
                await store.post(tx, [transfer(poor, rich, pending=pending)], at=NOW)


async def test_a_pending_transfer_ends_once(db, till):
    """Posted and voided both is impossible."""
    user = await till.given_wallet(100)
    intent = by_wallet(user, 100)
    (held,) = await till.authorize(intent)
    await till.capture(intent.order_id)
    with pytest.raises(asyncpg.UniqueViolationError):
        async with db.hot() as tx:
            await tx.execute(
                "INSERT INTO resolutions (transfer_id, outcome, recorded_at) VALUES ($1, 'voided', now())",
                held.payment_id,
            )


async def test_only_a_pending_transfer_can_be_resolved(db, till):
    """A posted one is final."""
    await till.given_wallet(100)
    async with db.hot_read() as connection:
        posted = await connection.fetchval("SELECT transfer_id FROM transfers WHERE NOT pending LIMIT 1")
    with pytest.raises(asyncpg.ForeignKeyViolationError):
        async with db.hot() as tx:
            await tx.execute(
                "INSERT INTO resolutions (transfer_id, outcome, recorded_at) VALUES ($1, 'voided', now())", posted
            )


FORGERIES = {
    "a changed amount": (
        "UPDATE transfers SET amount_minor = amount_minor + 1 WHERE seq = (SELECT min(seq) FROM transfers)",
        ["balance is not the sum", "chain is broken"],
    ),
    "a changed amount with its balances": (
        "WITH t AS (UPDATE transfers SET amount_minor = amount_minor + 1 WHERE kind = 'credit' AND seq ="
        " (SELECT max(seq) FROM transfers WHERE kind = 'credit') RETURNING debit_account, credit_account)"
        " UPDATE balances SET posted_debits = posted_debits + (account_id = (SELECT debit_account FROM t))::int,"
        " posted_credits = posted_credits + (account_id = (SELECT credit_account FROM t))::int",
        ["chain is broken"],
    ),
    "a transfer that is gone": (
        "DELETE FROM transfers WHERE seq = (SELECT max(seq) FROM transfers WHERE kind = 'credit')",
        ["balance is not the sum", "chain is broken"],
    ),
    "a wallet that was helped": (
        "UPDATE balances SET posted_credits = posted_credits + 5 WHERE NOT house",
        ["balance is not the sum", "debits and credits differ"],
    ),
    "a rewritten block": ("UPDATE blocks SET row_count = row_count + 1 WHERE height = 1", ["chain is broken"]),
    "a missing block": ("DELETE FROM blocks WHERE height = 1", ["chain is broken"]),
    "a payment that claims a capture": (
        "UPDATE payments SET status = 'CAPTURED', captured_minor = amount_minor WHERE status = 'AUTHORIZED'",
        ["payment and the ledger differ"],
    ),
    "a hold that nobody will ever let go": (
        "UPDATE payments SET status = 'VOIDED' WHERE status = 'AUTHORIZED'",
        ["payment and its wallet hold differs"],
    ),
    "a credit of money that nobody promised": (
        "DELETE FROM wallet_credits",
        ["credit", "promised and the ledger differ"],
    ),
    "a top-up that never reached its wallet": (
        "INSERT INTO top_ups (top_up_id, user_id, request_id, fingerprint, provider, amount_minor, currency, status,"
        " response, created_at, changed_at) VALUES (gen_random_uuid(), gen_random_uuid(), 'k', '', 'psp_sim', 5, 'GBP',"
        " 'CREDITED', '', now(), now())",
        ["promised and the ledger differ"],
    ),
}


@pytest.mark.parametrize("forgery", FORGERIES)
async def test_a_forged_row_is_found(till, db, postgres_server, database_url, forgery):
    """Whoever owns the server can switch triggers off; adding up from scratch still tells."""
    user = await till.given_wallet(1000)
    await till.authorize(by_wallet(user, 10))
    await seal_all(db)
    statement, wanted = FORGERIES[forgery]
    name = database_url.rpartition("/")[2]
    superuser = await asyncpg.connect(postgres_server.superuser_url(name))
    try:
        keep = superuser.transaction()
        await keep.start()
        await superuser.execute("SET LOCAL session_replication_role = replica")
        await superuser.execute(statement)
        problems = await problems_seen_by(superuser)
        await keep.rollback()
    finally:
        await superuser.close()
    for each in wanted:
        assert any(each in problem for problem in problems), problems
    assert (await till.verify()).balanced


async def problems_seen_by(connection: asyncpg.Connection) -> list[str]:
    """Run every check inside the forger's own transaction, so that nothing has to be repaired afterwards."""
    return [problem for check in audit.CHECKS for problem in await audit.run_check(connection, check)]


async def seal_all(db) -> None:
    """Seal until no tail is left; a transaction elsewhere on the test server may hold the horizon for a moment."""
    for _ in range(100):
        await sealer.seal(db)
        async with db.hot_read() as connection:
            left = await connection.fetchval(
                "SELECT count(*) FROM transfers WHERE xid >= (SELECT max(to_xid) FROM blocks)"
            )
        if not left:
            return
        await asyncio.sleep(0.02)
    raise AssertionError("the tail was never sealed")
