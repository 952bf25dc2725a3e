"""The simulator over HTTP, as a merchant and a customer meet it."""

import asyncio
import time

import httpx
import pytest

from psp_sim.app import listen, trusted
from psp_sim.settings import BadSettings, load
from tests.psp_sim import running
from tests.psp_sim.running import until


async def test_a_payment_from_authorization_to_refund(psp, payment_id):
    """Each step answers with the payment as it then stands."""
    authorized = (await psp.authorize(payment_id)).json()
    captured = (await psp.capture(payment_id)).json()
    refunded = (await psp.refund(payment_id, 300)).json()

    assert ("authorized", 1000, "GBP", None) == tuple(
        authorized[name] for name in ("status", "amount_minor", "currency", "action")
    )
    assert ("captured", 1000, {"id": "c1", "amount_minor": 1000}) == tuple(
        captured[name] for name in ("status", "captured_minor", "operation")
    )
    assert 300 == refunded["refunded_minor"]
    assert {**refunded, "operation": None} == (await psp.http.get(f"/v1/payments/{payment_id}")).json()
    assert [1000, 1000, 300] == [psp.moved_minor(kind, payment_id) for kind in ("authorize", "capture", "refund")]


async def test_repeated_calls_move_money_once(psp, payment_id):
    """Ten callers at once with the same ids get the same answer and one effect."""
    for call, kind in ((psp.authorize, "authorize"), (psp.capture, "capture"), (psp.refund, "refund")):
        replies = await asyncio.gather(*(call(payment_id) for _ in range(10)))

        assert {200} == {reply.status_code for reply in replies}
        assert 1 == len({reply.text for reply in replies})
        lines = [line for line in psp.log(payment_id) if line["kind"] == kind]
        assert (10, 1) == (len(lines), sum(line["effect"] for line in lines))


async def test_other_content_is_a_conflict(psp, payment_id):
    """A reused id is refused with 409 and its code."""
    await psp.authorize(payment_id)

    reply = await psp.authorize(payment_id, amount_minor=1)

    assert (409, "id_reused") == (reply.status_code, reply.json()["error"]["code"])


async def test_a_void_wins_over_a_later_authorization(psp, payment_id):
    """The tombstone of an unknown payment declines what arrives after it, restart or not."""
    assert "voided" == (await psp.void(payment_id)).json()["status"]

    late = (await psp.authorize(payment_id)).json()

    assert ("declined", "voided_before") == (late["status"], late["decline_code"])
    assert 0 == psp.moved_minor("authorize", payment_id)


async def test_a_restart_keeps_every_answer(tmp_path):
    """After a restart repeats are still repeats, and refusals are still refused."""
    settings = running.settings_for(tmp_path)
    async with running.simulator(settings) as psp:
        before = (await psp.authorize("p1")).json()
        await psp.capture("p1")
        await psp.void("p2")
    async with running.simulator(settings) as psp:
        after = (await psp.authorize("p1")).json()
        assert 1000 == (await psp.capture("p1")).json()["captured_minor"]
        assert 409 == (await psp.capture("p1", capture_id="c2")).status_code
        assert "declined" == (await psp.authorize("p2")).json()["status"]
        assert before["provider_reference"] == after["provider_reference"]
        assert (1000, 1000) == (psp.moved_minor("authorize", "p1"), psp.moved_minor("capture", "p1"))


@pytest.mark.parametrize(
    ("token", "lost", "kind"),
    [("tok_lost_reply", "authorize", "authorize"), ("tok_lost_capture", "capture", "capture")],
)
async def test_a_lost_reply_did_its_work(psp, payment_id, token, lost, kind):
    """The connection closes without a byte; the repetition answers and moves nothing."""
    if lost == "capture":
        await psp.authorize(payment_id, token)

    async def call() -> httpx.Response:
        return await (psp.authorize(payment_id, token) if lost == "authorize" else psp.capture(payment_id))

    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        await call()
    assert 200 == (await call()).status_code
    assert 1000 == psp.moved_minor(kind, payment_id)


async def test_an_error_after_a_capture_did_its_work(psp, payment_id):
    """A 500 says nothing: the money was taken, and once."""
    await psp.authorize(payment_id, "tok_error_after_capture")

    assert [500, 200] == [(await psp.capture(payment_id)).status_code for _ in range(2)]
    assert 1000 == psp.moved_minor("capture", payment_id)


async def test_a_slow_authorization_meets_a_void(psp, payment_id):
    """A void that overtakes a slow authorization wins."""
    await psp.control(slow_seconds=0.2)
    slow = asyncio.create_task(psp.authorize(payment_id, "tok_slow"))
    await asyncio.sleep(0.05)
    await psp.void(payment_id)

    assert "voided_before" == (await slow).json()["decline_code"]


async def test_processing_settles_by_itself(psp, payment_id):
    """A payment in processing is authorized later, without another call."""
    await psp.control(processing_seconds=0.05)

    assert "processing" == (await psp.authorize(payment_id, "tok_processing")).json()["status"]
    await until(lambda: 1000 == psp.moved_minor("authorize", payment_id))


@pytest.mark.parametrize(("answer", "status"), [("confirm", "authorized"), ("fail", "declined")])
async def test_the_customer_answers(psp, payment_id, answer, status):
    """A browser is sent back to the shop, a program reads JSON, and the answer counts once."""
    action = (await psp.authorize(payment_id, "tok_action", return_url="https://shop.test/back?o=1")).json()["action"]

    async with httpx.AsyncClient(trust_env=False) as customer:
        page = await customer.get(action["url"])
        browser = await customer.post(f"{action['url']}:{answer}", headers={"accept": "text/html"})
        program = await customer.post(f"{action['url']}:{answer}")

    assert f'action="/v1/actions/{payment_id}:{answer}"' in page.text
    assert 303 == browser.status_code
    assert f"https://shop.test/back?o=1&payment_id={payment_id}&status={status}" == browser.headers["location"]
    assert status == program.json()["status"]
    assert 1 == sum(line["effect"] for line in psp.log(payment_id) if line["kind"] in ("authorize", "decline"))


BAD_BODIES = [
    b"{",
    b"[]",
    b"[" * 16_000,
    b'{"payment_id": "p:1", "amount_minor": 1, "currency": "GBP", "token": "tok_visa"}',
    b'{"payment_id": "p1", "amount_minor": 0, "currency": "GBP", "token": "tok_visa"}',
    b'{"payment_id": "p1", "amount_minor": true, "currency": "GBP", "token": "tok_visa"}',
    b'{"payment_id": "p1", "amount_minor": 1.5, "currency": "GBP", "token": "tok_visa"}',
    b'{"payment_id": "p1", "amount_minor": 1, "currency": "gbp", "token": "tok_visa"}',
    b'{"payment_id": "p1", "amount_minor": 1, "currency": "GBP", "token": "4111 1111 1111 1111"}',
    b'{"payment_id": "p1", "amount_minor": 1, "currency": "GBP", "token": "t", "return_url": "javascript:1"}',
]


async def test_bad_input_is_named_and_changes_nothing(psp):
    """A request that cannot be read is 400, never shows what it held, and leaves no line."""
    before = psp.log()
    for body in BAD_BODIES:
        reply = await psp.http.post("/v1/payments", content=body)

        assert (400, "malformed") == (reply.status_code, reply.json()["error"]["code"])
        assert "4111" not in reply.text
    assert before == psp.log()


async def test_a_large_body_is_cut_short(psp):
    """More than 16 KiB is 413."""
    assert 413 == (await psp.http.post("/v1/payments", content=b" " * 20_000)).status_code


async def test_a_wrong_key_is_refused(psp, payment_id):
    """Without the merchant's key nothing about a payment is told."""
    for headers in ({"authorization": "Bearer guess"}, {"authorization": "Basic x"}, {"authorization": ""}):
        assert 401 == (await psp.http.get(f"/v1/payments/{payment_id}", headers=headers)).status_code


async def test_control_refuses_what_it_does_not_know(psp):
    """A misspelt fault would make a test pass for nothing."""
    for wanted in ({"lose_reply": 1}, {"lose_replies": 2}, {"webhooks": {"dorp": 1}}, {"webhooks": 1}, {"seed": "x"}):
        assert 400 == (await psp.http.post("/control", json=wanted)).status_code


async def test_replies_are_lost_on_demand(psp, payment_id):
    """With every reply lost, every call still ends after one repetition; a reset ends the fault."""
    await psp.control(lose_replies=True, fail_after_capture=True, seed=7)
    with pytest.raises(httpx.TransportError):
        await psp.authorize(payment_id)
    assert 200 == (await psp.authorize(payment_id)).status_code
    assert 500 == (await psp.capture(payment_id)).status_code
    await psp.control(unavailable=True)
    assert 503 == (await psp.authorize(f"{payment_id}.2")).status_code
    await psp.http.delete("/control")
    assert 200 == (await psp.authorize(f"{payment_id}.2")).status_code


async def test_replies_leave_at_once(psp, payment_id):
    """No reply waits for the acknowledgement of a packet, which would cost 40 ms each."""
    took = []
    for _ in range(20):
        start = time.monotonic()
        await psp.http.get("/healthz")
        took.append(time.monotonic() - start)

    assert min(took) < 0.03  # the quickest one: each would wait, and a busy machine makes some wait for other reasons


def test_a_port_that_is_taken_is_said_so():
    """The message names the setting and the address."""
    taken = listen("127.0.0.1", 0)
    taken.listen()
    with pytest.raises(BadSettings, match="TITAN_PSP_LISTEN: cannot listen on"):
        listen("127.0.0.1", taken.getsockname()[1])
    taken.close()


def test_settings_want_their_secret_files(tmp_path):
    """A missing key is named by its setting; a complete environment loads."""
    with pytest.raises(BadSettings, match="TITAN_PSP_API_KEY_FILE"):
        load({"TITAN_HOME": str(tmp_path)})
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets/psp_api_key").write_text("k\n")
    (tmp_path / "secrets/psp_webhook_secret").write_text("new\nold\n")

    settings = load({"TITAN_HOME": str(tmp_path), "TITAN_PSP_LISTEN": "127.0.0.1:1234"})

    assert ("127.0.0.1", 1234, "k", (b"new", b"old")) == (
        settings.host,
        settings.port,
        settings.api_key,
        settings.webhook_secrets,
    )


def test_authorities_that_cannot_be_read_stop_the_start(tmp_path):
    """The message names the setting."""
    settings = running.settings_for(tmp_path, webhook_ca_path=tmp_path / "none.pem")
    with pytest.raises(BadSettings, match="TITAN_PSP_WEBHOOK_CA_FILE"):
        trusted(settings)
