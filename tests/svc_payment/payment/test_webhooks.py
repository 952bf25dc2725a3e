"""Notices of providers and customers who come back: in any order, twice or late, with the same end."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import grpc
import pytest
from google.api import httpbody_pb2

from svc_payment.providers.interface import Outcome
from tests.harness import reason_of
from tests.svc_payment.asking import authorized, captured, until, voided
from tests.svc_payment.conftest import by_card
from titan.payment.v1 import payment_pb2, payment_service_pb2

pytestmark = pytest.mark.usefixtures("honest")

ACTION_REQUIRED = payment_pb2.PAYMENT_STATUS_ACTION_REQUIRED
AUTHORIZED = payment_pb2.PAYMENT_STATUS_AUTHORIZED


async def notify(stubs, kind, payment_id, amount_minor, *, notice_id="", signature="good", provider="psp_sim"):
    body = f"{notice_id or uuid4().hex} {kind} {payment_id} {amount_minor}".encode()
    return await send(stubs, body, signature=signature, provider=provider)


async def send(stubs, body: bytes, *, signature="good", provider="psp_sim"):
    request = payment_service_pb2.HandleWebhookRequest(
        provider=provider,
        payload=httpbody_pb2.HttpBody(content_type="application/json", data=body),
        signature=signature,
    )
    return await stubs.payments.HandleWebhook(request)


async def test_a_notice_makes_titan_ask_and_settles_the_payment(till, stubs, provider):
    """The customer confirmed: the notice comes long before the next poll."""
    intent = by_card(700, token="tok_action")
    waiting = await authorized(till, intent, ACTION_REQUIRED)
    provider.settle(waiting.payment_id, Outcome.AUTHORIZED)
    await notify(stubs, "authorized", waiting.payment_id, 700)

    async def ask():
        return (await till.authorize(intent))[0]

    await until(ask, lambda result: result.status == AUTHORIZED, seconds=1.5)


async def test_a_notice_alone_changes_nothing(till, stubs, provider):
    """Titan believes the provider's answer, not the notice."""
    intent = by_card(700, token="tok_action")
    waiting = await authorized(till, intent, ACTION_REQUIRED)
    await notify(stubs, "authorized", waiting.payment_id, 700)
    await asyncio.sleep(0.3)
    assert [ACTION_REQUIRED] == [each.status for each in await till.authorize(intent)]
    await voided(till, intent.order_id)


async def test_the_same_notice_twice_asks_once(till, stubs, provider, db):
    """The notice id tells a repetition."""
    intent = by_card(700, token="tok_action")
    waiting = await authorized(till, intent, ACTION_REQUIRED)
    for _ in range(3):
        await notify(stubs, "authorized", waiting.payment_id, 700, notice_id=f"n{waiting.payment_id}")
    async with db.hot_read() as connection:
        kept = await connection.fetchval(
            "SELECT count(*) FROM webhook_events WHERE payment_id = $1", waiting.payment_id
        )
    assert 1 == kept
    await voided(till, intent.order_id)


async def test_a_success_that_comes_after_the_void_is_voided_again(till, stubs, provider):
    """Late by a day: the money does not stay held."""
    intent = by_card(700, token="tok_action")
    waiting = await authorized(till, intent, ACTION_REQUIRED)
    await voided(till, intent.order_id)
    provider.payments[waiting.payment_id] = type(provider.payments[waiting.payment_id])(700, "GBP")
    await notify(stubs, "authorized", waiting.payment_id, 700)
    await until(lambda: asyncio.sleep(0, provider.payments[waiting.payment_id]), lambda stored: stored.is_voided)


async def test_what_is_known_is_not_asked_again(till, stubs, provider):
    """The notices of an ordinary life cause no calls, in whatever order they come."""
    intent = by_card(700)
    held = await authorized(till, intent)
    await captured(till, intent.order_id)
    calls = provider.calls["query"]
    for kind in ("captured", "authorized", "refunded", "other"):
        await notify(stubs, kind, held.payment_id, 700)
    await asyncio.sleep(0.1)
    assert calls == provider.calls["query"]


async def test_a_notice_of_another_amount_only_makes_titan_ask(till, stubs, provider):
    """A wrong amount is never taken over."""
    intent = by_card(700)
    held = await authorized(till, intent)
    calls = provider.calls["query"]
    await notify(stubs, "authorized", held.payment_id, 701)
    await until(lambda: asyncio.sleep(0, provider.calls["query"]), lambda now: now == calls + 1)
    assert [AUTHORIZED] == [each.status for each in await till.authorize(intent)]


async def test_a_notice_about_nothing_of_ours_is_taken_quietly(stubs):
    """The provider must not send it for ever."""
    await notify(stubs, "authorized", uuid4(), 1)


@pytest.mark.parametrize(
    ("body", "signature", "provider_name", "reason"),
    [
        (b"n1 authorized 0192f3a0-5d1c-7c53-9a4e-6f2b1c0d9e11 1", "bad", "psp_sim", "WEBHOOK_SIGNATURE_INVALID"),
        (b"nonsense", "good", "psp_sim", "WEBHOOK_INVALID"),
        (b"n1 authorized not-a-uuid 1", "good", "psp_sim", "WEBHOOK_INVALID"),
        (b"n1 authorized 0192f3a0-5d1c-7c53-9a4e-6f2b1c0d9e11 1", "good", "nobody", "PROVIDER_UNKNOWN"),
        (b"x" * 70_000, "good", "psp_sim", "WEBHOOK_INVALID"),
    ],
)
async def test_a_notice_that_cannot_be_believed_is_refused(stubs, body, signature, provider_name, reason):
    """Each has its reason."""
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await send(stubs, body, signature=signature, provider=provider_name)
    assert reason == reason_of(refusal.value)


async def test_a_customer_who_comes_back_sees_the_end(till, stubs, provider):
    """The return asks the provider, and trusts nothing of the browser; coming twice is safe."""
    intent = by_card(700, token="tok_action")
    waiting = await authorized(till, intent, ACTION_REQUIRED)
    request = payment_service_pb2.ReturnFromProviderRequest(payment_id=waiting.payment_id)

    early = await stubs.payments.ReturnFromProvider(request)
    provider.settle(waiting.payment_id, Outcome.AUTHORIZED)
    back = await stubs.payments.ReturnFromProvider(request)
    again = await stubs.payments.ReturnFromProvider(request)

    assert (intent.order_id, ACTION_REQUIRED) == (early.order_id, early.status)
    assert AUTHORIZED == back.status == again.status


async def test_coming_back_from_an_unknown_payment_is_refused(stubs):
    """PAYMENT_NOT_FOUND."""
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await stubs.payments.ReturnFromProvider(payment_service_pb2.ReturnFromProviderRequest(payment_id=str(uuid4())))
    assert "PAYMENT_NOT_FOUND" == reason_of(refusal.value)


async def test_a_success_after_the_void_is_voided_although_the_provider_was_away_when_asked(till, stubs, provider):
    """The notice was acknowledged and never comes again, so the question it raised outlives a failed call."""
    intent = by_card(700, token="tok_action")
    waiting = await authorized(till, intent, ACTION_REQUIRED)
    await voided(till, intent.order_id)
    provider.payments[waiting.payment_id] = type(provider.payments[waiting.payment_id])(700, "GBP")
    calls = provider.calls["query"]
    provider.unreachable = True
    await notify(stubs, "authorized", waiting.payment_id, 700)
    await until(lambda: asyncio.sleep(0, provider.calls["query"]), lambda now: now > calls)
    await asyncio.sleep(0.1)
    provider.unreachable = False
    await until(lambda: asyncio.sleep(0, provider.payments[waiting.payment_id]), lambda stored: stored.is_voided)
