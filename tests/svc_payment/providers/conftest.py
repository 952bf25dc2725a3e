"""The real simulator, and the adapter connected to it."""

import uuid
from collections.abc import AsyncIterator

import pytest

from svc_payment.providers.psp_sim import PspSim
from tests.psp_sim import running
from tests.psp_sim.running import API_KEY, SECRETS, Merchant, Simulator


@pytest.fixture(scope="package")
async def running_psp(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Simulator]:
    async with running.simulator(running.settings_for(tmp_path_factory.mktemp("psp"))) as simulator:
        yield simulator


@pytest.fixture
async def psp(running_psp: Simulator) -> Simulator:
    await running_psp.http.delete("/control")
    return running_psp


@pytest.fixture(scope="package")
async def merchant() -> AsyncIterator[Merchant]:
    async with running.merchant() as merchant:
        yield merchant


@pytest.fixture
async def provider(psp: Simulator) -> AsyncIterator[PspSim]:
    adapter = PspSim(psp.url, api_key=API_KEY, webhook_secrets=lambda: SECRETS[1:])
    yield adapter
    await adapter.close()


@pytest.fixture
def payment_id() -> str:
    return str(uuid.uuid4())
