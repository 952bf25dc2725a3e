"""The real simulator, and the adapter connected to it."""

from collections.abc import AsyncIterator

import pytest

from svc_payment.providers.psp_sim import PspSim
from tests.psp_sim.fixtures import merchant, payment_id, psp, running_merchant, running_psp
from tests.psp_sim.running import API_KEY, SECRETS, Simulator

__all__ = ["merchant", "payment_id", "psp", "running_merchant", "running_psp"]


@pytest.fixture
async def provider(psp: Simulator) -> AsyncIterator[PspSim]:
    """The adapter, as the package constructs it."""
    adapter = PspSim(psp.url, api_key=API_KEY, webhook_secrets=lambda: SECRETS[1:])
    yield adapter
    await adapter.close()
