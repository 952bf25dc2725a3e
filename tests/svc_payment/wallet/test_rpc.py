"""Wallets over the real chain: top-ups charge once, credits are known by their key, movements are listed in pages."""

from __future__ import annotations

import asyncio
import time
from uuid import uuid4

import grpc
import pytest

from mesh.seams import failpoints
from svc_payment.settlement.worker import MAX_WAITING_CALLS
from tests.harness import as_service, as_user, reason_of
from tests.svc_payment.asking import end_leases
from tests.svc_payment.conftest import by_wallet, money, reason_in, refund_of
from titan.payment.v1 import wallet_pb2, wallet_service_pb2

pytestmark = pytest.mark.usefixtures("honest")


def charged_minor(provider, amount_minor: int) -> int:
    """Return what was captured of payments of that amount; every test uses an amount of its own."""
    return sum(each.captured_minor for each in provider.payments.values() if each.amount_minor == amount_minor)


async def refused(call) -> str:
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await call
    return reason_of(refusal.value)


async def test_an_unused_wallet_is_empty(till):
    """Nobody needs to open a wallet."""
    assert (0, 0) == await till.wallet(uuid4())


async def test_a_top_up_charges_the_card_and_credits_the_wallet(till, provider):
    """The answer is the wallet as it was then."""
    user = uuid4()
    response = await till.top_up(user, 5001)
    assert (5001, 0) == (response.wallet.balance.minor_units, response.wallet.pending.minor_units)
    assert (5001, 0) == await till.wallet(user)
    assert 5001 == charged_minor(provider, 5001)


async def test_the_same_key_gives_the_same_answer_byte_for_byte(till, provider):
    """Even after the wallet has moved on; the card is charged once."""
    user, key = uuid4(), uuid4().hex
    first = await till.top_up(user, 5002, key=key)
    await till.top_up(user, 17)
    again = await till.top_up(user, 5002, key=key)
    assert first.SerializeToString() == again.SerializeToString()
    assert 5002 == charged_minor(provider, 5002)


async def test_the_same_key_at_once_charges_once(till, provider):
    """Twins join the first."""
    user, key = uuid4(), uuid4().hex
    answers = await asyncio.gather(*(till.top_up(user, 5003, key=key) for _ in range(10)))
    assert 1 == len({each.SerializeToString() for each in answers})
    assert (5003, 0) == await till.wallet(user)
    assert 5003 == charged_minor(provider, 5003)


async def test_the_same_key_with_another_body_is_refused(till):
    """IDEMPOTENCY_KEY_REUSED."""
    user, key = uuid4(), uuid4().hex
    await till.top_up(user, 100, key=key)
    assert "IDEMPOTENCY_KEY_REUSED" == await refused(till.top_up(user, 101, key=key))
    assert "IDEMPOTENCY_KEY_REUSED" == await refused(till.top_up(user, 100, key=key, token="tok_other"))


async def test_another_user_may_use_the_same_key(till):
    """Keys belong to their user."""
    key = uuid4().hex
    for user in (uuid4(), uuid4()):
        await till.top_up(user, 100, key=key)
        assert (100, 0) == await till.wallet(user)


async def test_a_declined_card_is_told_again(till, provider):
    """PAYMENT_DECLINED is stored."""
    user, key = uuid4(), uuid4().hex
    assert "PAYMENT_DECLINED" == await refused(till.top_up(user, 100, key=key, token="tok_declined"))
    calls = provider.calls["authorize"]
    assert "PAYMENT_DECLINED" == await refused(till.top_up(user, 100, key=key, token="tok_declined"))
    assert calls == provider.calls["authorize"]
    assert (0, 0) == await till.wallet(user)


async def test_a_card_that_wants_a_confirmation_is_declined_and_let_go(till, provider):
    """A top-up has no page to send its user to."""
    user = uuid4()
    assert "PAYMENT_DECLINED" == await refused(till.top_up(user, 5004, token="tok_action"))
    assert [True] == [each.is_voided for each in provider.payments.values() if each.amount_minor == 5004]


async def test_another_currency_is_refused(till):
    """CURRENCY_NOT_SUPPORTED."""
    assert "CURRENCY_NOT_SUPPORTED" == await refused(till.top_up(uuid4(), 100, currency="EUR"))


async def test_bad_input_is_refused(till, stubs):
    """No amount, too much, a card number in place of a token, no key."""
    assert "INVALID_INPUT" == await refused(till.top_up(uuid4(), 0))
    assert "INVALID_INPUT" == await refused(till.top_up(uuid4(), 10_000_001))
    assert "INVALID_INPUT" == await refused(till.top_up(uuid4(), 100, token="4111111111111111"))
    request = wallet_service_pb2.TopUpWalletRequest(card_token="tok_visa")
    assert "IDEMPOTENCY_KEY_REQUIRED" == await refused(stubs.wallets.TopUpWallet(request, metadata=as_user()))


async def test_a_provider_that_is_slow_finishes_without_the_caller(till, provider):
    """TOP_UP_IN_PROGRESS at the deadline; asked again with the same key, the answer, charged once."""
    provider.hold["authorize"] = asyncio.Event()
    user, key = uuid4(), uuid4().hex
    assert "TOP_UP_IN_PROGRESS" == await refused(till.top_up(user, 5005, key=key, timeout=1.0))
    provider.hold["authorize"].set()
    response = await till.top_up(user, 5005, key=key)
    assert 5005 == response.wallet.balance.minor_units
    assert 5005 == charged_minor(provider, 5005)


async def test_a_provider_that_hangs_takes_no_more_than_some_places(till, provider):
    """Top-ups beyond those that may wait are told at once, wallet orders keep their time, each is charged once."""
    user = await till.given_wallet(1000)
    provider.hold["authorize"] = asyncio.Event()
    users = [uuid4() for _ in range(MAX_WAITING_CALLS + 20)]
    asked = [asyncio.create_task(refused(till.top_up(each, 5013, key="k", timeout=15))) for each in users]
    async with asyncio.timeout(10):
        while len(told := [each for each in asked if each.done()]) < 20:
            await asyncio.sleep(0.02)
    assert {"TOP_UP_IN_PROGRESS"} == {each.result() for each in told}

    took = []
    for _ in range(20):
        began = time.monotonic()
        (held,) = await till.authorize(by_wallet(user, 1))
        took.append(time.monotonic() - began)
        assert "" == reason_in(held)
    assert sorted(took)[10] < 0.2

    for each in asked:
        each.cancel()
    provider.hold.pop("authorize").set()
    for each in users:
        assert 5013 == (await till.top_up(each, 5013, key="k")).wallet.balance.minor_units
    assert 5013 * len(users) == charged_minor(provider, 5013)


async def test_a_provider_that_is_away_is_told_and_the_top_up_finishes_later(till, provider):
    """PROVIDER_UNAVAILABLE; the intent waits in the database."""
    provider.unreachable = True
    user, key = uuid4(), uuid4().hex
    assert "PROVIDER_UNAVAILABLE" == await refused(till.top_up(user, 5006, key=key))
    provider.unreachable = False
    await till.top_up(user, 5006, key=key)
    assert (5006, 0) == await till.wallet(user)
    assert 5006 == charged_minor(provider, 5006)


@pytest.mark.parametrize(("call", "amount_minor"), [("authorize", 5007), ("capture", 5008)])
async def test_a_lost_reply_charges_once(till, provider, call, amount_minor):
    """The call is made again under the same id, within the same top-up."""
    provider.lose[call] = 1
    user = uuid4()
    response = await till.top_up(user, amount_minor)
    assert amount_minor == response.wallet.balance.minor_units
    assert amount_minor == charged_minor(provider, amount_minor)


@pytest.mark.parametrize(
    ("place", "amount_minor"),
    [
        ("settle.before_call", 5009),
        ("top_up.after_authorize", 5010),
        ("top_up.after_capture", 5011),
        ("top_up.before_store", 5012),
    ],
)
async def test_a_crash_in_the_middle_charges_and_credits_once(till, provider, db, place, amount_minor):
    """Whichever line it dies at, the sweeper finishes it."""
    failpoints.arm(f"payment.{place}", "raise*1")
    user, key = uuid4(), uuid4().hex
    # On a busy machine the caller's own clock may be the quicker one; what is asked here is how it ends.
    assert await refused(till.top_up(user, amount_minor, key=key, timeout=0.6)) in {
        "TOP_UP_IN_PROGRESS",
        "DEADLINE_EXCEEDED",
    }
    await end_leases(db)
    response = await till.top_up(user, amount_minor, key=key)
    assert amount_minor == response.wallet.balance.minor_units
    assert (amount_minor, 0) == await till.wallet(user)
    assert amount_minor == charged_minor(provider, amount_minor)


async def test_an_importer_credits_many_wallets(till):
    """One result each, in the order of the request, with the wallet after it."""
    users = [uuid4() for _ in range(5)]
    results = await till.credit([(user, 10 * (n + 1)) for n, user in enumerate(users)])
    assert [str(user) for user in users] == [each.user_id for each in results]
    assert [10, 20, 30, 40, 50] == [each.wallet.balance.minor_units for each in results]


async def test_crediting_again_under_the_same_key_changes_nothing(till):
    """The stored answer; another amount is refused, and its neighbours are not."""
    first, second, key = uuid4(), uuid4(), uuid4().hex
    done = await till.credit([(first, 100), (second, 200)], request_id=key)
    await till.credit([(first, 1)])
    again = await till.credit([(second, 200), (first, 100)], request_id=key)
    assert [done[1], done[0]] == list(again)
    changed, same = await till.credit([(first, 101), (second, 200)], request_id=key)
    assert ("IDEMPOTENCY_KEY_REUSED", done[1]) == (reason_in(changed), same)
    assert [(101, 0), (200, 0)] == [await till.wallet(user) for user in (first, second)]


async def test_crediting_at_once_under_the_same_key_credits_once(till):
    """Twins wait for each other."""
    user, key = uuid4(), uuid4().hex
    await asyncio.gather(*(till.credit([(user, 100)], request_id=key) for _ in range(10)))
    assert (100, 0) == await till.wallet(user)


async def test_a_user_stands_in_one_request_once(till):
    """The second would be taken for a repetition of the first, so it is refused."""
    user = uuid4()
    first, second = await till.credit([(user, 100), (user, 100)])
    assert ["", "INVALID_INPUT"] == [reason_in(each) for each in (first, second)]
    assert (100, 0) == await till.wallet(user)


async def test_a_credit_in_another_currency_is_refused(till):
    """CURRENCY_NOT_SUPPORTED."""
    (result,) = await till.credit([(uuid4(), 100)], currency="EUR")
    assert "CURRENCY_NOT_SUPPORTED" == reason_in(result)


async def test_a_credit_without_a_key_is_refused(till, stubs):
    """A call that moves money has to be repeatable."""
    user = uuid4()
    credit = wallet_service_pb2.WalletCredit(user_id=str(user), amount=money(100))
    request = wallet_service_pb2.BatchCreditWalletsRequest(credits=[credit])
    call = stubs.wallets.BatchCreditWallets(request, metadata=as_user(roles=("importer",)))
    assert "IDEMPOTENCY_KEY_REQUIRED" == await refused(call)
    assert (0, 0) == await till.wallet(user)


async def test_only_an_importer_may_credit(stubs):
    """Money does not come from nowhere for anybody else."""
    request = wallet_service_pb2.BatchCreditWalletsRequest(request_id="k")
    call = stubs.wallets.BatchCreditWallets(request, metadata=as_user(roles=("admin",)))
    assert "ACCESS_DENIED" == await refused(call)


async def test_movements_are_listed_the_newest_first_in_pages(till, stubs):
    """What was posted, with its sign and its order; what is pending or was voided is not there."""
    user = uuid4()
    await till.top_up(user, 1000)
    await till.credit([(user, 500)])
    paid, voided, pending = by_wallet(user, 300), by_wallet(user, 50), by_wallet(user, 60)
    await till.authorize(paid, voided, pending)
    await till.capture(paid.order_id)
    await till.void(voided.order_id)
    await till.refund(refund_of(paid.order_id, 100))

    seen, token = [], ""
    while True:
        request = wallet_service_pb2.ListWalletTransfersRequest(page_size=3, page_token=token)
        page = await stubs.wallets.ListWalletTransfers(request, metadata=as_user(user))
        seen += page.transfers
        if not (token := page.next_page_token):
            break

    kinds = wallet_pb2.WalletTransferKind.Name
    told = [(kinds(each.kind).rpartition("KIND_")[2], each.amount.minor_units, each.order_id) for each in seen]
    assert [
        ("REFUND", 100, paid.order_id),
        ("PAYMENT", -300, paid.order_id),
        ("CREDIT", 500, ""),
        ("TOP_UP", 1000, ""),
    ] == told
    assert all(each.create_time.seconds for each in seen)


async def test_a_page_token_of_somebody_else_is_refused(till, stubs):
    """PAGE_TOKEN_INVALID."""
    user = uuid4()
    for _ in range(2):
        await till.credit([(user, 1)])
    request = wallet_service_pb2.ListWalletTransfersRequest(page_size=1)
    page = await stubs.wallets.ListWalletTransfers(request, metadata=as_user(user))
    request.page_token = page.next_page_token
    assert "PAGE_TOKEN_INVALID" == await refused(stubs.wallets.ListWalletTransfers(request, metadata=as_user(uuid4())))


async def test_events_of_a_wallet_have_no_gap(till, db):
    """WalletCredited for top-ups and credits, counted per wallet."""
    user = uuid4()
    await asyncio.gather(*(till.credit([(user, 1)]) for _ in range(5)), till.top_up(user, 7))
    async with db.hot_read() as connection:
        rows = await connection.fetch(
            "SELECT version, type FROM outbox WHERE aggregate_id = $1 ORDER BY seq", str(user)
        )
    assert list(range(1, 7)) == [row["version"] for row in rows]
    assert {"titan.payment.v1.WalletCredited"} == {row["type"] for row in rows}


async def statement(till, user_id, **fields):
    asked = wallet_service_pb2.GetUserStatementRequest(user_id=str(user_id), **fields)
    return await till.stubs.wallets.GetUserStatement(asked, metadata=as_service("svc_auth"))


async def test_a_statement_has_the_wallet_and_its_movements_page_by_page(till):
    """For the export of a user's data: the newest first, each on one page, and nobody else's token counts."""
    user = await till.given_wallet(700)
    for amount in (31, 32):
        await till.top_up(user, amount)
    first = await statement(till, user, page_size=2)
    second = await statement(till, user, page_size=2, page_token=first.next_page_token)
    amounts = [each.amount.minor_units for each in (*first.transfers, *second.transfers)]
    assert (763, False) == (first.wallet.balance.minor_units, first.top_up_in_progress)
    assert [32, 31, 700] == amounts and not second.next_page_token
    assert "PAGE_TOKEN_INVALID" == await refused(statement(till, uuid4(), page_token=first.next_page_token))


async def test_a_statement_says_that_money_is_on_its_way(till, db):
    """A card was asked, and its answer is not there yet: whoever erases the user has to know."""
    user = uuid4()
    assert "PAYMENT_DECLINED" == await refused(till.top_up(user, 33, token="tok_declined"))
    for status in ("AUTHORIZING", "CAPTURING"):
        async with db.hot() as tx:
            await tx.execute("UPDATE top_ups SET status = $2 WHERE user_id = $1", user, status)
        assert (await statement(till, user)).top_up_in_progress
    async with db.hot() as tx:
        await tx.execute("UPDATE top_ups SET status = 'DECLINED' WHERE user_id = $1", user)
    assert not (await statement(till, user)).top_up_in_progress
