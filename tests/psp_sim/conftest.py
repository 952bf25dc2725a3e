"""One running simulator for each module, and fresh payment ids and well-behaved defaults for each test."""

import uuid
from collections.abc import AsyncIterator

import pytest

from tests.psp_sim import running
from tests.psp_sim.running import Merchant, Simulator


@pytest.fixture(scope="module")
async def running_psp(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Simulator]:
    async with running.simulator(running.settings_for(tmp_path_factory.mktemp("psp"))) as simulator:
        yield simulator


@pytest.fixture
async def psp(running_psp: Simulator) -> Simulator:
    await running_psp.http.delete("/control")
    return running_psp


@pytest.fixture
def payment_id() -> str:
    return str(uuid.uuid4())


@pytest.fixture(scope="module")
async def running_merchant() -> AsyncIterator[Merchant]:
    async with running.merchant() as merchant:
        yield merchant


@pytest.fixture
def merchant(running_merchant: Merchant) -> Merchant:
    running_merchant.received.clear()
    running_merchant.answers.clear()
    return running_merchant
