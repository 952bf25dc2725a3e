"""Payments by card: the provider is asked after the commit, and whatever it does, money moves at most once."""

from __future__ import annotations

import asyncio
import time
from typing import Any
from uuid import UUID, uuid4

import pytest

from mesh.seams import SystemClock, SystemIds, failpoints
from svc_payment.app import assemble
from svc_payment.providers.interface import Outcome
from svc_payment.settlement.store import SubjectKind, Work
from tests.svc_payment.asking import authorized, captured, end_leases, until, voided
from tests.svc_payment.conftest import by_card, by_wallet, reason_in, settings_for_tests
from titan.payment.v1 import payment_pb2

IN_PROGRESS = payment_pb2.PAYMENT_STATUS_IN_PROGRESS
ACTION_REQUIRED = payment_pb2.PAYMENT_STATUS_ACTION_REQUIRED
AUTHORIZED = payment_pb2.PAYMENT_STATUS_AUTHORIZED
CAPTURED = payment_pb2.PAYMENT_STATUS_CAPTURED
REFUSED = payment_pb2.PAYMENT_STATUS_REFUSED
VOIDED = payment_pb2.PAYMENT_STATUS_VOIDED


pytestmark = pytest.mark.usefixtures("honest")


async def open_work(db) -> list[Any]:
    async with db.hot_read() as connection:
        return await connection.fetch("SELECT * FROM provider_work")


async def end_of(till, order_id) -> tuple[int, bool]:
    (result,) = await till.void(order_id)
    return result.status, result.done


async def test_a_card_order_is_authorized_and_captured(till, provider, db):
    """IN_PROGRESS at once; asked again, AUTHORIZED; the token is gone then, and the capture goes the same way."""
    intent = by_card(1999)
    (asked,) = await till.authorize(intent)
    assert (IN_PROGRESS, "") == (asked.status, reason_in(asked))

    held = await authorized(till, intent)
    assert [] == await open_work(db)
    (taking,) = await till.capture(intent.order_id)
    assert (AUTHORIZED, False) == (taking.status, taking.done)
    assert CAPTURED == (await captured(till, intent.order_id)).status
    stored = provider.payments[held.payment_id]
    assert (1999, 1999, "GBP") == (stored.amount_minor, stored.captured_minor, stored.currency)
    assert [] == await open_work(db)


async def test_a_declined_card_is_refused_for_good(till, provider):
    """PAYMENT_DECLINED, and asking again does not ask the provider again."""
    intent = by_card(500, token="tok_declined")
    refused = await authorized(till, intent, REFUSED)
    assert "PAYMENT_DECLINED" == reason_in(refused)
    calls = provider.calls["authorize"]
    assert [refused] == list(await till.authorize(intent))
    assert calls == provider.calls["authorize"]


async def test_an_unknown_provider_is_refused(till):
    """PROVIDER_UNKNOWN; nothing is stored, so nothing has to be undone."""
    (result,) = await till.authorize(by_card(500, provider="nobody"))
    assert (REFUSED, "PROVIDER_UNKNOWN") == (result.status, reason_in(result))


async def test_another_card_for_the_same_order_is_a_conflict(till):
    """The card belongs to what was asked."""
    intent = by_card(500)
    await authorized(till, intent)
    other = by_card(500, token="tok_other", order_id=intent.order_id, user_id=intent.user_id)
    assert ["PAYMENT_CONFLICT"] == [reason_in(each) for each in await till.authorize(other)]


async def test_a_slow_provider_holds_up_no_wallet(till, provider):
    """Wallet items of the same batch are decided while the card's answer is far away."""
    provider.hold["authorize"] = asyncio.Event()
    user = await till.given_wallet(1000)
    card, wallet = by_card(100), by_wallet(user, 100)

    began = time.monotonic()
    results = await till.authorize(card, wallet)
    assert time.monotonic() - began < 1.0
    assert [IN_PROGRESS, AUTHORIZED] == [each.status for each in results]
    assert [(CAPTURED, True)] == [(each.status, each.done) for each in await till.capture(wallet.order_id)]

    provider.hold["authorize"].set()
    await authorized(till, card)


async def test_a_customer_who_has_to_confirm_is_told_where(till, provider, db):
    """ACTION_REQUIRED with the page and its end; the confirmation is found by asking the provider."""
    intent = by_card(700, token="tok_action")
    waiting = await authorized(till, intent, ACTION_REQUIRED)
    assert waiting.next_action.url == f"https://psp.test/{waiting.payment_id}"
    assert waiting.next_action.expire_time.seconds > time.time()

    provider.settle(waiting.payment_id, Outcome.AUTHORIZED)
    await end_leases(db)
    assert (await authorized(till, intent)).next_action.url == ""


async def test_the_token_is_not_kept_once_the_provider_knows_the_payment(till, provider, db):
    """A payment that waits for its customer needs no token any more."""
    intent = by_card(700, token="tok_action")
    waiting = await authorized(till, intent, ACTION_REQUIRED)
    assert [None] == [row["card_token"] for row in await open_work(db) if str(row["subject_id"]) == waiting.payment_id]
    await voided(till, intent.order_id)


async def test_an_authorization_that_takes_its_time_is_asked_again(till, provider):
    """A provider that is still processing is polled."""
    intent = by_card(700, token="tok_processing")
    (asked,) = await till.authorize(intent)
    await until(lambda: asyncio.sleep(0, provider.calls["authorize"]), lambda _: asked.payment_id in provider.payments)
    provider.settle(asked.payment_id, Outcome.AUTHORIZED)
    await authorized(till, intent)


@pytest.mark.parametrize("call", ["authorize", "capture", "void"])
async def test_a_lost_reply_is_asked_for_again(till, provider, call):
    """The work was done, the answer got lost: the second call repeats it under the same id, without effect."""
    provider.lose[call] = 1
    intent = by_card(800)
    held = await authorized(till, intent)
    if call == "void":
        await voided(till, intent.order_id)
        assert provider.payments[held.payment_id].is_voided
    else:
        await captured(till, intent.order_id)
        assert 800 == provider.payments[held.payment_id].captured_minor


async def test_a_provider_that_is_away_is_tried_until_it_is_back(till, provider):
    """The intent waits in the database."""
    provider.unreachable = True
    intent = by_card(900)
    await till.authorize(intent)
    await asyncio.sleep(0.3)
    assert [IN_PROGRESS] == [each.status for each in await till.authorize(intent)]
    provider.unreachable = False
    await authorized(till, intent)


async def test_another_amount_at_the_provider_is_never_accepted(till, provider):
    """The payment stays undecided and a person is called; it can still be voided."""
    provider.lie_minor = 1
    intent = by_card(900)
    await till.authorize(intent)
    await asyncio.sleep(0.5)
    assert [IN_PROGRESS] == [each.status for each in await till.authorize(intent)]
    await voided(till, intent.order_id)


async def test_a_crash_after_the_commit_is_taken_up_by_the_sweeper(till, provider, db):
    """The intent was stored; whoever sweeps after its lease asks the provider."""
    failpoints.arm("payment.settle.before_call", "raise*1")
    intent = by_card(900)
    await till.authorize(intent)
    await asyncio.sleep(0.2)
    assert [IN_PROGRESS] == [each.status for each in await till.authorize(intent)]
    await end_leases(db)
    await authorized(till, intent)


@pytest.mark.parametrize("place", ["after_authorize", "after_capture", "after_commit"])
async def test_a_crash_between_the_call_and_its_commit_moves_money_once(till, provider, db, place):
    """The provider did it and nobody wrote it down: it is asked again under the same id."""
    failpoints.arm(f"payment.settle.{place}", "raise*1")
    intent = by_card(900)
    (asked,) = await till.authorize(intent)
    await asyncio.sleep(0.2)
    await end_leases(db)
    await authorized(till, intent)
    await till.capture(intent.order_id)
    await asyncio.sleep(0.2)
    await end_leases(db)
    await captured(till, intent.order_id)
    assert 900 == provider.payments[asked.payment_id].captured_minor


async def test_a_void_while_the_provider_is_asked_wins(till, provider):
    """VOIDED is decided at once and done when the provider let go, although its success came after the void."""
    provider.hold["authorize"] = asyncio.Event()
    intent = by_card(1200)
    (asked,) = await till.authorize(intent)
    (decided,) = await till.void(intent.order_id)
    assert (VOIDED, False) == (decided.status, decided.done)
    assert ["PAYMENT_VOIDED"] == [reason_in(each) for each in await till.authorize(intent)]

    provider.hold["authorize"].set()
    await voided(till, intent.order_id)
    assert provider.payments[asked.payment_id].is_voided


async def test_a_success_that_another_process_reports_after_the_void_is_let_go_too(till, provider, db):
    """A process sits on the provider's yes while another one voids and is done: the late yes ends voided as well."""
    provider.hold["authorize"] = asyncio.Event()
    intent = by_card(1200)
    (asked,) = await till.authorize(intent)
    await until(lambda: asyncio.sleep(0, provider.calls["authorize"]), lambda calls: calls > 0)
    other = await assemble(db, SystemClock(), SystemIds(), {provider.name: provider}, settings_for_tests())
    await till.void(intent.order_id)
    other.worker.start([Work(SubjectKind.PAYMENT, UUID(asked.payment_id), provider.name)])
    await voided(till, intent.order_id)
    await other.close()

    # The provider lets the held call through after the void, as if it had never seen one.
    del provider.payments[asked.payment_id]
    provider.hold.pop("authorize").set()
    stored = await until(
        lambda: asyncio.sleep(0, provider.payments.get(asked.payment_id)), lambda stored: stored and stored.is_voided
    )
    assert 0 == stored.captured_minor
    assert (VOIDED, True) == await end_of(till, intent.order_id)
    assert [] == await open_work(db)


async def test_a_void_before_the_authorize_leaves_the_card_alone(till, provider):
    """The tombstone refuses the late authorize without a call to the provider."""
    intent = by_card(1200)
    calls = provider.calls["authorize"]
    assert [(VOIDED, True)] == [(each.status, each.done) for each in await till.void(intent.order_id)]
    assert ["PAYMENT_VOIDED"] == [reason_in(each) for each in await till.authorize(intent)]
    await asyncio.sleep(0.05)
    assert calls == provider.calls["authorize"]


async def test_void_against_authorize_of_a_card_ends_voided_whoever_is_first(till, provider):
    """Raced twenty times: nothing stays held at the provider."""
    intents = [by_card(100) for _ in range(20)]
    await asyncio.gather(*(call for each in intents for call in (till.authorize(each), till.void(each.order_id))))
    for each in intents:
        await voided(till, each.order_id)
    results = await till.authorize(*intents)
    assert {"PAYMENT_VOIDED"} == {reason_in(each) for each in results}
    for each in results:
        stored = provider.payments.get(each.payment_id)
        assert stored is None or stored.is_voided


async def test_void_while_a_capture_is_under_way_says_to_refund(till, provider):
    """The capture was decided: PAYMENT_CAPTURED."""
    intent = by_card(1200)
    await authorized(till, intent)
    provider.hold["capture"] = asyncio.Event()
    await till.capture(intent.order_id)
    (result,) = await till.void(intent.order_id)
    assert ("PAYMENT_CAPTURED", AUTHORIZED) == (reason_in(result), result.status)
    provider.hold["capture"].set()
    await captured(till, intent.order_id)


async def test_capture_twice_at_once_takes_the_money_once(till, provider):
    """Both calls decide the same capture, under one id."""
    intent = by_card(1200)
    held = await authorized(till, intent)
    await asyncio.gather(*(till.capture(intent.order_id) for _ in range(10)))
    await captured(till, intent.order_id)
    assert 1200 == provider.payments[held.payment_id].captured_minor


async def test_what_was_taken_after_a_void_goes_back(till, provider, db):
    """Somebody captured by hand what was let go here: it is refunded, once."""
    intent = by_card(1200)
    held = await authorized(till, intent)
    await provider.capture(held.payment_id, capture_id="by hand", amount_minor=1200, currency="GBP")
    await voided(till, intent.order_id)
    stored = provider.payments[held.payment_id]
    assert (1200, 1200) == (stored.captured_minor, stored.refunded_minor)


async def test_an_order_of_nothing_asks_no_provider(till, provider):
    """Nothing to hold, nothing to take."""
    calls = dict(provider.calls)
    intent = by_card(0)
    assert [AUTHORIZED] == [each.status for each in await till.authorize(intent)]
    assert [(CAPTURED, True)] == [(each.status, each.done) for each in await till.capture(intent.order_id)]
    assert calls == dict(provider.calls)


async def test_the_card_token_reaches_the_provider_and_no_log(till, provider, capfd):
    """The token is sent once and written nowhere."""
    token = f"tok_secret{uuid4().hex}"
    await authorized(till, by_card(100, token=token))
    assert token in provider.tokens
    assert token not in capfd.readouterr().out
