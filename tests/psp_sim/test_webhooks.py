"""Deliveries: signed, repeated, and wrong on demand."""

import hashlib
import hmac

from tests.psp_sim import running
from tests.psp_sim.running import SECRETS, Merchant, Simulator, until


def is_signed(header: str, body: bytes, secret: bytes) -> bool:
    moment, *marks = header.split(",")
    message = moment.removeprefix("t=").encode() + b"." + body
    return "v1=" + hmac.new(secret, message, hashlib.sha256).hexdigest() in marks


def deliveries(psp: Simulator, payment_id: str) -> list[str | None]:
    return [line.get("delivery") for line in psp.log(payment_id)]


async def test_events_are_signed_and_numbered(psp, payment_id, merchant: Merchant):
    """Every secret of the file signs, so that secrets can be exchanged without a gap."""
    await psp.authorize(payment_id, webhook_url=merchant.url)
    await until(lambda: len(merchant.received) == 1)
    await psp.capture(payment_id)
    await until(lambda: len(merchant.received) == 2)

    assert ["payment.authorized", "payment.captured"] == [event["type"] for event in merchant.events()]
    assert [1, 2] == [event["sequence"] for event in merchant.events()]
    assert (payment_id, "c1", 1000, "GBP") == tuple(
        merchant.events()[1][name] for name in ("payment_id", "operation_id", "amount_minor", "currency")
    )
    for header, body in merchant.received:
        assert all(is_signed(header, body, secret) for secret in SECRETS)


async def test_a_merchant_that_fails_is_asked_again(psp, payment_id, merchant: Merchant):
    """The retries of one event carry one event id, and end with the first success."""
    merchant.answers = [500, 503]

    await psp.authorize(payment_id, "tok_declined", webhook_url=merchant.url)
    await until(lambda: "delivered" in deliveries(psp, payment_id))

    assert ["payment.failed"] * 3 == [event["type"] for event in merchant.events()]
    assert 1 == len({event["event_id"] for event in merchant.events()})


async def test_deliveries_are_bounded(psp, payment_id, merchant: Merchant):
    """After the last attempt the event is given up, and the log says so."""
    merchant.answers = [500] * 10

    await psp.authorize(payment_id, webhook_url=merchant.url)
    await until(lambda: "given_up" in deliveries(psp, payment_id))

    assert 5 == len(merchant.received)


async def test_faults_strike_deliveries(psp, payment_id, merchant: Merchant):
    """Twice, with a wrong amount, with a bad signature, or not at all."""
    await psp.control(webhooks={"duplicate": 1, "wrong_amount": 1, "bad_signature": 1, "shuffle": 0.5}, seed=1)
    await psp.authorize(payment_id, webhook_url=merchant.url)
    await until(lambda: len(merchant.received) == 2)

    header, body = merchant.received[0]
    assert not is_signed(header, body, SECRETS[0])
    assert [1001, 1001] == [event["amount_minor"] for event in merchant.events()]
    await psp.control(webhooks={"drop": 1})
    await psp.authorize(f"{payment_id}.2", webhook_url=merchant.url)
    await until(lambda: "dropped" in deliveries(psp, f"{payment_id}.2"))


async def test_a_restart_delivers_what_was_left(tmp_path, merchant: Merchant):
    """An event that was on its way when the process ended arrives from the next one, under its id."""
    settings = running.settings_for(tmp_path)
    async with running.simulator(settings) as psp:
        await psp.control(webhooks={"delay_seconds": 60})
        await psp.authorize("p1", webhook_url=merchant.url)
    assert [] == merchant.received

    async with running.simulator(settings) as psp:
        await until(lambda: len(merchant.received) == 1)
        assert psp.log()[0]["event_id"] == merchant.events()[0]["event_id"]
