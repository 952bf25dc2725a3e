"""The whole process of svc_payment beside the real provider simulator."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from types import SimpleNamespace
from uuid import uuid4

import asyncpg
import grpc
import httpx
import pytest

from control.atomic_file import replace_text
from mesh import settings as mesh_settings
from mesh.runtime import Process
from mesh.seams import SystemClock, SystemIds
from svc_payment.app import assemble, build
from svc_payment.providers.psp_sim import PspSim
from tests.harness import serve, told_of
from tests.psp_sim import running
from tests.psp_sim.running import API_KEY, SECRETS
from tests.svc_payment.asking import authorized, captured, end_leases, until, voided
from tests.svc_payment.conftest import CALLERS, Till, by_card, reason_in, refund_of, settings_for_tests
from titan.payment.v1 import payment_pb2, payment_service_pb2_grpc, refund_service_pb2_grpc

REFUSED = payment_pb2.PAYMENT_STATUS_REFUSED
ACTION_REQUIRED = payment_pb2.PAYMENT_STATUS_ACTION_REQUIRED


@pytest.fixture(scope="module")
async def simulator(tmp_path_factory):
    async with running.simulator(running.settings_for(tmp_path_factory.mktemp("psp"))) as simulator:
        yield simulator


@pytest.fixture(scope="module")
def provider(simulator) -> PspSim:
    """The real adapter on the real simulator, in place of the fake."""
    return PspSim(simulator.url, api_key=API_KEY, webhook_secrets=lambda: SECRETS)


@pytest.fixture(scope="module")
async def parts(db, provider):
    assembled = await assemble(db, SystemClock(), SystemIds(), {provider.name: provider}, settings_for_tests())
    sweeper = asyncio.create_task(assembled.worker.sweep())
    yield assembled
    sweeper.cancel()
    await assembled.close()
    await provider.close()


@pytest.mark.parametrize("token", ["tok_visa", "tok_lost_reply", "tok_lost_capture", "tok_error_after_capture"])
async def test_money_moves_once_at_the_provider_whatever_gets_lost(till, simulator, token):
    """Counted in the provider's own log: one authorization, one capture, one refund."""
    intent = by_card(1500, token=token)
    held = await authorized(till, intent)
    await captured(till, intent.order_id)
    back = refund_of(intent.order_id, 400)

    async def ask():
        return (await till.refund(back))[0]

    await until(ask, lambda result: result.status == 2)
    moved = [simulator.moved_minor(kind, held.payment_id) for kind in ("authorize", "capture", "refund")]
    assert [1500, 1500, 400] == moved


@pytest.mark.parametrize("token", ["tok_declined", "tok_insufficient", "tok_nonsense"])
async def test_the_providers_no_is_a_decline(till, token):
    """PAYMENT_DECLINED, whatever its own word for it."""
    assert "PAYMENT_DECLINED" == reason_in(await authorized(till, by_card(1500, token=token), REFUSED))


async def test_a_confirmed_customer_comes_back_authorized(till, db):
    """Through the provider's own page."""
    intent = by_card(1500, token="tok_action")
    waiting = await authorized(till, intent, ACTION_REQUIRED)
    async with httpx.AsyncClient(trust_env=False) as browser:
        reply = await browser.post(f"{waiting.next_action.url}:confirm")
    assert reply.status_code < 400
    await end_leases(db)
    await authorized(till, intent)


async def test_a_voided_card_is_free_at_the_provider(till, simulator):
    """What was held is let go."""
    intent = by_card(1500)
    held = await authorized(till, intent)
    await voided(till, intent.order_id)
    assert 1500 == simulator.moved_minor("void", held.payment_id)


async def test_the_process_serves_a_card_order_without_a_broker(fresh_database, simulator):
    """From its settings to its last answer; events wait in the outbox until the broker is back, and old notices go."""
    with tempfile.TemporaryDirectory(prefix="titan-") as home:
        secrets = Path(home) / "secrets"
        secrets.mkdir()
        replace_text(secrets / "psp_api_key", API_KEY)
        replace_text(secrets / "psp_webhook_secret", "\n".join(each.decode() for each in SECRETS))
        database_url = await fresh_database("svc_payment")
        await given_notices(database_url, old=1500)
        settings = mesh_settings.read(
            "svc_payment",
            {
                "TITAN_HOME": home,
                **told_of("DATABASE", database_url, secrets),
                "TITAN_KAFKA": "127.0.0.1:9",
                "TITAN_LAME_DUCK_SECONDS": "0",
                "TITAN_LOG_LEVEL": "ERROR",
            },
        )
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("TITAN_PSP_URL", simulator.url)
            process = Process("svc_payment", build, settings=settings, auth_patience_seconds=0.0)
            await process.start()
        try:
            async with grpc.aio.insecure_channel(settings.listen) as channel:
                stubs = SimpleNamespace(
                    payments=payment_service_pb2_grpc.PaymentServiceStub(channel),
                    refunds=refund_service_pb2_grpc.RefundServiceStub(channel),
                )
                till = Till(stubs)
                intent = by_card(700, user_id=uuid4())
                await authorized(till, intent)
                await captured(till, intent.order_id)
            await until(lambda: notices_in(database_url), lambda left: left == ["young"])
        finally:
            await process.stop()


async def given_notices(database_url: str, *, old: int) -> None:
    """Leave so many notices of last month, more than one transaction forgets, and one of today."""
    connection = await asyncpg.connect(database_url)
    await connection.execute(
        "INSERT INTO webhook_events (provider, event_id, payment_id, type, received_at)"
        " SELECT 'psp_sim', n::text, gen_random_uuid(), 'captured', now() - interval '31 days'"
        " FROM generate_series(1, $1) n UNION ALL SELECT 'psp_sim', 'young', gen_random_uuid(), 'captured', now()",
        old,
    )
    await connection.close()


async def notices_in(database_url: str) -> list[str]:
    connection = await asyncpg.connect(database_url)
    rows = await connection.fetch("SELECT event_id FROM webhook_events LIMIT 2")
    await connection.close()
    return [row["event_id"] for row in rows]


async def test_every_service_of_the_contract_is_served(parts):
    """The table of services and the topology's callers name the same ones."""
    async with serve(parts.servicers(), callers=CALLERS):
        assert set(CALLERS) == set(parts.servicers())
