"""The simulator under test, and a merchant that receives its webhooks."""

from tests.psp_sim.fixtures import merchant, payment_id, psp, running_merchant, running_psp

__all__ = ["merchant", "payment_id", "psp", "running_merchant", "running_psp"]
