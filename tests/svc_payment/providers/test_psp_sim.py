"""The adapter against the real simulator: answers, unknown outcomes, and notices."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from psp_sim.app import listen
from psp_sim.webhooks import sign
from svc_payment.providers.interface import (
    AuthorizationRequest,
    LoggedKind,
    NoticeInvalid,
    NoticeKind,
    Outcome,
    Provider,
    ProviderMismatch,
    ProviderRefused,
    ProviderUnavailable,
    SignatureInvalid,
)
from svc_payment.providers.psp_sim import MAX_REPLY_BYTES, PspSim
from tests.psp_sim import running
from tests.psp_sim.running import API_KEY, SECRETS, until


def asked(payment_id: str, token: str = "tok_visa", **changes) -> AuthorizationRequest:
    return AuthorizationRequest(
        **{"payment_id": payment_id, "amount_minor": 1000, "currency": "GBP", "token": token, **changes}
    )


@pytest.mark.parametrize(
    ("token", "outcome", "refusal_code"),
    [
        ("tok_visa", Outcome.AUTHORIZED, None),
        ("tok_declined", Outcome.REFUSED, "card_declined"),
        ("tok_insufficient", Outcome.REFUSED, "insufficient_funds"),
        ("tok_never_heard_of", Outcome.REFUSED, "unknown_token"),
        ("tok_processing", Outcome.IN_PROGRESS, None),
        ("tok_action", Outcome.ACTION_REQUIRED, None),
    ],
)
async def test_an_authorization_has_four_outcomes(provider: Provider, payment_id, token, outcome, refusal_code):
    """A declined card is an answer, not an error; asked again, the answer is the same."""
    authorization = await provider.authorize(asked(payment_id, token))

    assert (outcome, refusal_code) == (authorization.outcome, authorization.refusal_code)
    assert (outcome is Outcome.ACTION_REQUIRED) == (authorization.action is not None)
    assert authorization == await provider.authorize(asked(payment_id, token))


async def test_a_payment_to_its_refund(provider: Provider, psp, payment_id):
    """Captures and refunds say what they moved, and the query adds it up."""
    await provider.authorize(asked(payment_id))
    captured = await provider.capture(payment_id, capture_id="c1", amount_minor=1000, currency="GBP")
    refunded = await provider.refund(payment_id, refund_id="r1", amount_minor=250, currency="GBP")

    assert [("c1", 1000), ("r1", 250)] == [(each.movement_id, each.amount_minor) for each in (captured, refunded)]
    assert captured == await provider.capture(payment_id, capture_id="c1", amount_minor=1000, currency="GBP")
    payment = await provider.query(payment_id)
    assert (1000, 250, True) == (payment.captured_minor, payment.refunded_minor, payment.is_of(1000, "GBP"))
    assert 1000 == psp.moved_minor("capture", payment_id)


async def test_a_void_wins(provider: Provider, payment_id):
    """A payment that was voided before it arrived is refused; voiding twice is safe."""
    assert await provider.query(payment_id) is None
    await provider.void(payment_id)
    await provider.void(payment_id)
    assert (await provider.query(payment_id)).is_voided

    authorization = await provider.authorize(asked(payment_id))

    assert (Outcome.REFUSED, "voided_before") == (authorization.outcome, authorization.refusal_code)


async def test_an_authorization_that_was_voided_is_refused_when_asked_again(provider: Provider, payment_id):
    """The saga that asks again after its void reads the end of the payment."""
    await provider.authorize(asked(payment_id))
    await provider.void(payment_id)

    authorization = await provider.authorize(asked(payment_id))

    assert (Outcome.REFUSED, "voided") == (authorization.outcome, authorization.refusal_code)


async def test_refusals_carry_their_code(provider: Provider, payment_id):
    """A definite no is never mistaken for an unknown outcome."""

    async def code_of(call) -> str:
        with pytest.raises(ProviderRefused) as refusal:
            await call
        return refusal.value.code

    capture = {"capture_id": "c1", "amount_minor": 1000, "currency": "GBP"}
    assert "payment_not_found" == await code_of(provider.capture(payment_id, **capture))
    await provider.authorize(asked(payment_id))
    assert "id_reused" == await code_of(provider.authorize(asked(payment_id, amount_minor=1)))
    refund = {"refund_id": "r1", "amount_minor": 1, "currency": "GBP"}
    assert "refund_above_capture" == await code_of(provider.refund(payment_id, **refund))
    await provider.capture(payment_id, **capture)
    assert "already_captured" == await code_of(provider.void(payment_id))
    assert "malformed" == await code_of(provider.authorize(asked(payment_id, currency="pounds")))


@pytest.mark.parametrize("token", ["tok_lost_reply", "tok_lost_capture", "tok_error_after_capture"])
async def test_an_unknown_outcome_is_settled_by_asking_again(provider: Provider, psp, payment_id, token):
    """Whatever is lost, the same ids bring the answer, and money moves once."""
    lost = 0

    async def settled(call):
        nonlocal lost
        try:
            return await call()
        except ProviderUnavailable as unknown:
            assert unknown.sent
            lost += 1
            return await call()

    await settled(lambda: provider.authorize(asked(payment_id, token)))
    await settled(lambda: provider.capture(payment_id, capture_id="c1", amount_minor=1000, currency="GBP"))

    assert 1 == lost
    assert [1000, 1000] == [psp.moved_minor(kind, payment_id) for kind in ("authorize", "capture")]


async def test_a_slow_provider_ends_at_the_deadline(provider: Provider, psp, payment_id):
    """The caller gets its time back; the provider still does the work."""
    await psp.control(slow_seconds=0.5)
    start = time.monotonic()
    with pytest.raises(ProviderUnavailable) as unknown:
        await provider.authorize(asked(payment_id, "tok_slow"), timeout_seconds=0.1)

    assert unknown.value.sent
    assert time.monotonic() - start < 0.4
    await until(lambda: 1000 == psp.moved_minor("authorize", payment_id))


async def test_more_calls_than_the_pool_takes_are_turned_away(psp, payment_id):
    """One runs, one waits until its deadline, the third leaves at once; none but the first was sent."""
    await psp.control(latency_seconds=0.4)
    provider = PspSim(psp.url, api_key=API_KEY, webhook_secrets=lambda: SECRETS, max_running=1, max_waiting=1)
    calls = [
        asyncio.create_task(provider.authorize(asked(f"{payment_id}.{number}"), timeout_seconds=seconds))
        for number, seconds in enumerate((5, 0.1, 5))
    ]

    first, second, third = await asyncio.gather(*calls, return_exceptions=True)

    assert Outcome.AUTHORIZED is first.outcome
    assert [False, False] == [second.sent, third.sent]
    assert [] == psp.log(f"{payment_id}.1") + psp.log(f"{payment_id}.2")
    await provider.close()


async def test_nobody_there_means_not_sent(payment_id):
    """A refused connection is known to have done nothing."""
    bound = listen("127.0.0.1", 0)
    port = bound.getsockname()[1]
    bound.close()
    provider = PspSim(f"http://127.0.0.1:{port}", api_key=API_KEY, webhook_secrets=lambda: SECRETS)

    with pytest.raises(ProviderUnavailable) as unknown:
        await provider.authorize(asked(payment_id))

    assert not unknown.value.sent
    await provider.close()


async def test_a_wrong_key_is_not_a_declined_card(psp, payment_id):
    """A fault of our own settings refuses no customer."""
    provider = PspSim(psp.url, api_key="wrong", webhook_secrets=lambda: SECRETS)
    with pytest.raises(ProviderUnavailable):
        await provider.authorize(asked(payment_id))
    await provider.close()


GOOD_REPLY = {
    "payment_id": "p1",
    "provider_reference": "psp_1",
    "status": "authorized",
    "amount_minor": 1000,
    "currency": "GBP",
    "captured_minor": 0,
    "refunded_minor": 0,
    "decline_code": None,
    "action": None,
    "operation": {"id": "c1", "amount_minor": 1000},
}


@contextlib.asynccontextmanager
async def liar(
    replies: list[str], *, status_code: int = 200, asked_for: list[str] | None = None, path: str = "", **headers: str
) -> AsyncIterator[PspSim]:
    """Serve a provider that answers the first of `replies` to everything; what it was asked for is kept.

    `path` stands in its address, before its own.
    """

    async def answer(request: Request) -> Response:
        if asked_for is not None:
            asked_for.append(request.url.path)
        return PlainTextResponse(replies[0], status_code, headers)

    bound = listen("127.0.0.1", 0)
    server = uvicorn.Server(
        uvicorn.Config(Starlette(routes=[Route("/{path:path}", answer, methods=["POST"])]), log_config=None)
    )
    url = f"http://127.0.0.1:{bound.getsockname()[1]}{path}"
    provider = PspSim(url, api_key=API_KEY, webhook_secrets=lambda: SECRETS)
    async with running.serve(server, bound):
        yield provider
        await provider.close()


@pytest.mark.parametrize("status_code", [400, 404, 409, 413])
async def test_a_no_that_is_not_the_providers_own_is_an_unknown_outcome(status_code):
    """A gateway's page must not decline a card whose first try may hold the money; only the provider's code does."""
    replies: list[str] = []
    async with liar(replies, status_code=status_code) as provider:
        for garbage in ("", "<html>Not Found</html>", "[]", "{}", '{"error": "no"}', '{"error": {"code": "\\u0000"}}'):
            replies[:] = [garbage]
            with pytest.raises(ProviderUnavailable) as unknown:
                await provider.authorize(asked("p1"))
            assert unknown.value.sent


async def test_nobody_is_followed_elsewhere():
    """The card token and the merchant's key would go along."""
    seen: list[str] = []
    async with liar([""], status_code=307, asked_for=seen, location="/elsewhere") as provider:
        with pytest.raises(ProviderUnavailable) as unknown:
            await provider.authorize(asked("p1"))
    assert unknown.value.sent
    assert ["/v1/payments"] == seen


@pytest.mark.parametrize("path", ["", "/", "/acme/psp", "/acme/psp/"])
async def test_a_provider_behind_a_gateway_is_asked_below_its_path(path):
    """With or without the last stroke."""
    seen: list[str] = []
    async with liar([""], status_code=503, asked_for=seen, path=path) as provider:
        with pytest.raises(ProviderUnavailable):
            await provider.authorize(asked("p1"))
    assert [f"{path.rstrip('/')}/v1/payments"] == seen


async def test_a_reply_without_an_end_is_none():
    """What is too long is not kept, even where it would be a good reply."""
    async with liar([json.dumps(GOOD_REPLY | {"more": "x" * MAX_REPLY_BYTES})]) as provider:
        with pytest.raises(ProviderUnavailable) as unknown:
            await provider.authorize(asked("p1"))
    assert unknown.value.sent


async def test_the_providers_words_are_not_repeated():
    """They may hold what was sent, the card token too; the code is enough."""
    async with liar(['{"error": {"code": "malformed", "message": "what is tok_visa?"}}'], status_code=400) as provider:
        with pytest.raises(ProviderRefused) as refusal:
            await provider.authorize(asked("p1"))
    assert "malformed" == refusal.value.code
    assert "tok_visa" not in str(refusal.value)


@pytest.mark.parametrize(
    ("url", "taken"),
    [
        ("https://bank.example/3ds?x=1", True),
        ("http://127.0.0.1:18448/actions/p1", True),
        ("http://[::1]:18448/actions/p1", True),
        ("http://localhost/p1", True),
        ("http://bank.example/3ds", False),
        ("http://127.0.0.1.bank.example/3ds", False),
        ("javascript:alert(1)", False),
        ("JavaScript://bank.example/%0aalert(1)", False),
        ("data:text/html,<script>", False),
        ("//bank.example/3ds", False),
        ("https:///3ds", False),
        ("https://[bank/3ds", False),
    ],
)
async def test_a_shopper_is_sent_to_a_page_over_https_alone(url: str, taken: bool):
    """Or to the simulator on this machine: what a shop's page opens must be no script, and read by nobody underway."""
    action = {"url": url, "expires_at": "2026-11-21T10:00:00+00:00"}
    async with liar([json.dumps(GOOD_REPLY | {"status": "requires_action", "action": action})]) as provider:
        if taken:
            assert url == (await provider.authorize(asked("p1"))).action.url
            return
        with pytest.raises(ProviderUnavailable) as unknown:
            await provider.authorize(asked("p1"))
        assert unknown.value.sent


async def test_a_wrong_reply_is_never_believed():
    """Another payment, amount or currency is a mismatch; what cannot be read is an unknown outcome."""
    replies: list[str] = []
    async with liar(replies) as provider:
        for change in ({"payment_id": "p2"}, {"amount_minor": 999}, {"currency": "EUR"}):
            replies[:] = [json.dumps(GOOD_REPLY | change)]
            with pytest.raises(ProviderMismatch):
                await provider.authorize(asked("p1"))
        for change in ({"payment_id": "p2"}, {"operation": {"id": "c1", "amount_minor": 1}}, {"currency": "EUR"}):
            replies[:] = [json.dumps(GOOD_REPLY | change)]
            with pytest.raises(ProviderMismatch):
                await provider.capture("p1", capture_id="c1", amount_minor=1000, currency="GBP")
        for change in ({"decline_code": "a\0"}, {"decline_code": 7}, {"provider_reference": "a" * 3000}):
            replies[:] = [json.dumps(GOOD_REPLY | change)]
            with pytest.raises(ProviderUnavailable):
                await provider.authorize(asked("p1"))
        for garbage in ("", "<html>", "[]", "{}", json.dumps(GOOD_REPLY | {"status": "new", "operation": 1})):
            replies[:] = [garbage]
            with pytest.raises(ProviderUnavailable):
                await provider.authorize(asked("p1"))
            with pytest.raises(ProviderUnavailable):
                await provider.capture("p1", capture_id="c1", amount_minor=1000, currency="GBP")


async def test_notices_of_the_simulator_are_read(provider: Provider, psp, merchant, payment_id):
    """What the provider signs with two secrets is accepted by who knows one of them."""
    merchant.received.clear()
    await provider.authorize(asked(payment_id, webhook_url=merchant.url))
    await until(lambda: len(merchant.received) == 1)
    signature, body = merchant.received[0]

    notice = provider.read_notice(body, signature, at=datetime.now(UTC))

    assert (NoticeKind.AUTHORIZED, payment_id, 1) == (notice.kind, notice.payment_id, notice.sequence)
    assert notice.is_of(1000, "GBP")
    with pytest.raises(SignatureInvalid):
        provider.read_notice(body + b" ", signature, at=datetime.now(UTC))


async def test_a_wrong_amount_shows(provider: Provider, psp, merchant, payment_id):
    """A signed notice of another amount is readable, and not of ours."""
    merchant.received.clear()
    await psp.control(webhooks={"wrong_amount": 1})
    await provider.authorize(asked(payment_id, webhook_url=merchant.url))
    await until(lambda: len(merchant.received) == 1)
    signature, body = merchant.received[0]

    assert not provider.read_notice(body, signature, at=datetime.now(UTC)).is_of(1000, "GBP")


NOTICE = {
    "event_id": "e",
    "type": "payment.captured",
    "payment_id": "p",
    "provider_reference": None,
    "operation_id": None,
    "amount_minor": 1,
    "currency": "GBP",
    "sequence": 1,
    "decline_code": None,
    "occurred_at": "2026-01-02T03:04:05+00:00",
}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'"text"',
        b"[" * 100_000,
        *(
            json.dumps(NOTICE | change).encode()
            for change in ({"event_id": 1}, {"event_id": "e\0"}, {"event_id": "e" * 3000}, {"decline_code": "\ud800"})
        ),
    ],
)
async def test_a_signed_text_that_is_no_notice(provider: Provider, body):
    """The signature is checked first, then the content."""
    now = datetime.now(UTC)

    with pytest.raises(NoticeInvalid):
        provider.read_notice(body, sign(body, at_seconds=int(now.timestamp()), secrets=SECRETS), at=now)


async def test_an_unknown_kind_of_notice_is_readable(provider: Provider):
    """A provider may add kinds; they are told apart, not refused."""
    body = json.dumps(NOTICE | {"type": "payment.disputed"}).encode()
    now = datetime.now(UTC)

    notice = provider.read_notice(body, sign(body, at_seconds=int(now.timestamp()), secrets=SECRETS), at=now)

    assert NoticeKind.OTHER is notice.kind


async def test_the_log_has_every_capture_and_refund_of_a_time(psp, provider: Provider, payment_id):
    """Once each, however often it was asked for; authorizations and voids move no money."""
    begins_at = datetime.now(UTC)
    for each in (payment_id, f"{payment_id}-other"):
        await provider.authorize(asked(each))
        for _ in range(2):
            await provider.capture(each, capture_id=each, amount_minor=1000, currency="GBP")
    await provider.refund(payment_id, refund_id="r1", amount_minor=300, currency="GBP")
    await provider.authorize(asked(f"{payment_id}-void"))
    await provider.void(f"{payment_id}-void")
    ends_at = datetime.now(UTC)

    logged = await provider.list_log(begins_at=begins_at, ends_at=ends_at)

    assert [
        (LoggedKind.CAPTURE, payment_id, payment_id, 1000, "GBP"),
        (LoggedKind.CAPTURE, f"{payment_id}-other", f"{payment_id}-other", 1000, "GBP"),
        (LoggedKind.REFUND, payment_id, "r1", 300, "GBP"),
    ] == [(each.kind, each.payment_id, each.movement_id, each.amount_minor, each.currency) for each in logged]
    assert all(begins_at <= each.at < ends_at for each in logged)
    assert [logged[0], logged[2]] == await provider.list_log_of(payment_id)
    assert [] == await provider.list_log(begins_at=ends_at, ends_at=datetime.now(UTC))
    assert logged[1:] == await provider.list_log(begins_at=logged[1].at, ends_at=ends_at)
    assert logged[:2] == await provider.list_log(begins_at=begins_at, ends_at=logged[2].at)


async def test_a_long_log_comes_whole(psp, provider: Provider, payment_id, monkeypatch):
    """Page after page; its answers are no larger than an answer may be."""
    monkeypatch.setattr("psp_sim.wire.MOVEMENTS_PER_PAGE", 2)
    await provider.authorize(asked(payment_id))
    for part in range(5):
        await provider.capture(payment_id, capture_id=f"c{part}", amount_minor=100 + part, currency="GBP")
    assert [100, 101, 102, 103, 104] == [each.amount_minor for each in await provider.list_log_of(payment_id)]


@pytest.mark.parametrize(
    "query", ["from=yesterday", "until=2026-11-21T00:00:00", "after=-1", "after=x", "payment_id=a/b"]
)
async def test_what_is_no_time_or_place_of_the_log_is_refused(psp, query):
    reply = await psp.http.get(f"/v1/movements?{query}")
    assert (400, "malformed") == (reply.status_code, reply.json()["error"]["code"])
