"""The ledger as it stood at any time: the trial balance, accounts, and statements, over the real chain."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from mesh import pages
from svc_payment.ledger import rules
from tests.harness import as_user, reason_of
from tests.svc_payment.conftest import by_wallet, refund_of
from titan.payment.v1 import ledger_service_pb2 as pb

pytestmark = pytest.mark.usefixtures("honest")

FINANCE = as_user(roles=("finance",))


def stamp(at: datetime) -> Timestamp:
    made = Timestamp()
    made.FromDatetime(at)
    return made


def now() -> datetime:
    return datetime.now(UTC)


async def refused(call) -> str:
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await call
    return reason_of(refusal.value)


async def trial(stubs, as_of: datetime | None = None) -> dict[str, tuple[int, int, int, int]]:
    """Return debits, credits and what is pending of both, by code; in balance."""
    request = pb.GetTrialBalanceRequest(as_of_time=stamp(as_of) if as_of else None)
    answer = await stubs.ledger.GetTrialBalance(request, metadata=FINANCE)
    assert answer.balanced
    sums = {line.code: line.sums for line in answer.lines}
    return {
        code: tuple(
            getattr(each, name).minor_units for name in ("debits", "credits", "pending_debits", "pending_credits")
        )
        for code, each in sums.items()
    }


async def statement(stubs, account: rules.Account, **asked) -> pb.ListAccountEntriesResponse:
    request = pb.ListAccountEntriesRequest(account_id=str(account.account_id), **asked)
    return await stubs.ledger.ListAccountEntries(request, metadata=FINANCE)


async def a_day(till) -> tuple[rules.Account, list[datetime]]:
    """Credit 1000, hold 300 twice, take one, let the other go, give 100 back; returns the wallet, and when each was."""
    user, times = await till.given_wallet(1000), [now()]
    intents = [by_wallet(user, 300) for _ in range(2)]
    await till.authorize(*intents)
    times.append(now())
    await till.capture(intents[0].order_id)
    await till.void(intents[1].order_id)
    times.append(now())
    await till.refund(refund_of(intents[0].order_id, 100))
    times.append(now())
    return rules.wallet(user, "GBP"), times


async def test_a_trial_balance_is_of_any_time(till, stubs):
    """What was pending then is pending there, also where it was posted or let go later."""
    first = await trial(stubs, now())
    _, times = await a_day(till)
    before = first.get("wallet", (0, 0, 0, 0))
    then = [(await trial(stubs, at))["wallet"] for at in times]
    assert [(0, 1000, 0, 0), (0, 1000, 600, 0), (300, 1000, 0, 0), (300, 1100, 0, 0)] == [
        tuple(after - was for after, was in zip(each, before, strict=True)) for each in then
    ]
    assert (await trial(stubs))["wallet"] == then[-1]
    assert {} == await trial(stubs, datetime(2000, 1, 1, tzinfo=UTC))


async def test_an_account_is_listed_as_it_stood(till, stubs):
    """By code and id, in pages of one moment: what happens between two pages is in neither."""
    users = [await till.given_wallet(10 + n) for n in range(3)]
    seen: dict[str, int] = {}
    request = pb.ListAccountsRequest(code="wallet", page_size=2)
    while True:
        page = await stubs.ledger.ListAccounts(request, metadata=FINANCE)
        assert len(page.accounts) <= 2 and {"wallet"} == {each.code for each in page.accounts}
        seen |= {each.user_id: each.sums.balance.minor_units for each in page.accounts}
        request.page_token = page.next_page_token
        if not page.next_page_token:
            break
        await till.credit([(users[0], 1000), (users[1], 1000), (users[2], 1000)])
    assert [10, 11, 12] == [seen[str(user)] for user in users]
    early = pb.ListAccountsRequest(as_of_time=stamp(datetime(2000, 1, 1, tzinfo=UTC)))
    assert not (await stubs.ledger.ListAccounts(early, metadata=FINANCE)).accounts
    every = await stubs.ledger.ListAccounts(pb.ListAccountsRequest(page_size=100), metadata=FINANCE)
    codes = {"clearing.psp_sim", "fees", "import", "payouts", "sales", "wallet"}
    assert codes == {each.code for each in every.accounts}


async def test_a_statement_goes_from_one_balance_to_the_other(till, stubs):
    """Posted entries alone, the oldest first; each balance is the one before and its amount."""
    wallet, times = await a_day(till)
    whole = await statement(stubs, wallet)
    assert [("credit", 1000, 1000), ("payment", -300, 700), ("refund", 100, 800)] == [
        (each.kind, each.amount.minor_units, each.balance.minor_units) for each in whole.entries
    ]
    assert (0, 800) == (whole.opening_balance.minor_units, whole.account.sums.balance.minor_units)
    assert str(rules.sales("GBP").account_id) == whole.entries[1].counter_account_id
    part = await statement(stubs, wallet, from_time=stamp(times[1]), as_of_time=stamp(times[2]))
    assert (1000, 700) == (part.opening_balance.minor_units, part.account.sums.balance.minor_units)
    assert [-300] == [each.amount.minor_units for each in part.entries]
    at_once = whole.entries[2].post_time
    edge = await statement(stubs, wallet, from_time=at_once, as_of_time=at_once)
    assert (700, [100]) == (edge.opening_balance.minor_units, [each.amount.minor_units for each in edge.entries])


async def test_a_statement_in_pages_is_the_whole_one(till, stubs):
    """Of the moment that the first page was asked for, with running balances."""
    user = await till.given_wallet(100)
    wallet = rules.wallet(user, "GBP")
    for _ in range(4):
        await till.credit([(user, 1)])
    balances, token = [], ""
    while True:
        page = await statement(stubs, wallet, page_size=2, page_token=token)
        assert (0, 104) == (page.opening_balance.minor_units, page.account.sums.balance.minor_units)
        balances += [each.balance.minor_units for each in page.entries]
        if not (token := page.next_page_token):
            break
        await till.credit([(user, 1)])
    assert [100, 101, 102, 103, 104] == balances


async def test_what_nobody_can_know_or_have_is_refused(till, stubs):
    """The future, an end before its beginning, an account that is none, and another statement's token."""
    user = await till.given_wallet(1)
    await till.credit([(user, 1)])
    account = rules.wallet(user, "GBP")
    later = stamp(now() + timedelta(hours=1))
    ledger = stubs.ledger
    assert "INVALID_INPUT" == await refused(
        ledger.GetTrialBalance(pb.GetTrialBalanceRequest(as_of_time=later), metadata=FINANCE)
    )
    assert "INVALID_INPUT" == await refused(
        ledger.ListAccounts(pb.ListAccountsRequest(as_of_time=later), metadata=FINANCE)
    )
    assert "INVALID_INPUT" == await refused(statement(stubs, account, as_of_time=later))
    assert "INVALID_INPUT" == await refused(statement(stubs, account, from_time=later))
    assert "ACCOUNT_NOT_FOUND" == await refused(statement(stubs, rules.wallet(uuid4(), "GBP")))
    early = stamp(datetime(2000, 1, 1, tzinfo=UTC))
    assert "ACCOUNT_NOT_FOUND" == await refused(statement(stubs, account, as_of_time=early))
    token = (await statement(stubs, account, page_size=1)).next_page_token
    other = rules.wallet(await till.given_wallet(1), "GBP")
    assert "PAGE_TOKEN_INVALID" == await refused(statement(stubs, other, page_token=token))
    entries = ("LedgerService.ListAccountEntries", account.account_id)
    no_times = (Timestamp().ToJsonString(),) * 2
    for forged in ([1], [1, 2, "x"], ["x", 2, 3], [2**62, 2, 3], [1, None, 3]):
        token = pages.encode(entries[0], forged, entries[1], *no_times)
        assert "PAGE_TOKEN_INVALID" == await refused(statement(stubs, account, page_token=token))
    for forged in ([1, "wallet", "no id"], [1]):
        token = pages.encode("LedgerService.ListAccounts", forged, no_times[0], "")
        request = pb.ListAccountsRequest(page_token=token)
        assert "PAGE_TOKEN_INVALID" == await refused(ledger.ListAccounts(request, metadata=FINANCE))


async def test_the_books_are_for_finance_and_admins(stubs):
    """They show the whole shop."""
    account_id = str(rules.sales("GBP").account_id)
    calls = (
        (stubs.ledger.GetTrialBalance, pb.GetTrialBalanceRequest()),
        (stubs.ledger.ListAccounts, pb.ListAccountsRequest()),
        (stubs.ledger.ListAccountEntries, pb.ListAccountEntriesRequest(account_id=account_id)),
    )
    for call, request in calls:
        for roles in (("customer",), ("support",), ("importer",)):
            assert "ACCESS_DENIED" == await refused(call(request, metadata=as_user(roles=roles)))
        await call(request, metadata=as_user(roles=("admin",)))
