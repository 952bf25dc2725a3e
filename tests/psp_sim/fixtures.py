"""The fixtures of whoever tests against the real simulator: it runs once per module and behaves well in each test."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator

import pytest

from tests.psp_sim import running
from tests.psp_sim.running import Merchant, Simulator


@pytest.fixture(scope="module")
async def running_psp(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Simulator]:
    """The simulator of a test module."""
    async with running.simulator(running.settings_for(tmp_path_factory.mktemp("psp"))) as simulator:
        yield simulator


@pytest.fixture
async def psp(running_psp: Simulator) -> Simulator:
    """The simulator, with its well-behaved defaults."""
    await running_psp.http.delete("/control")
    return running_psp


@pytest.fixture(scope="module")
async def running_merchant() -> AsyncIterator[Merchant]:
    """The receiver of webhooks of a test module."""
    async with running.merchant() as merchant:
        yield merchant


@pytest.fixture
def merchant(running_merchant: Merchant) -> Merchant:
    """A merchant that has received nothing yet."""
    running_merchant.received.clear()
    running_merchant.answers.clear()
    return running_merchant


@pytest.fixture
def payment_id() -> str:
    """A payment that nobody has seen."""
    return str(uuid.uuid4())
