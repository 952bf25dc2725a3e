"""LedgerService: decodes, calls, encodes."""

from __future__ import annotations

from typing import Any

from mesh.database import Database
from svc_payment.ledger import audit
from titan.payment.v1 import ledger_service_pb2


class LedgerService:
    """Adds the ledger up from scratch."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def VerifyLedger(
        self, request: ledger_service_pb2.VerifyLedgerRequest, context: Any
    ) -> ledger_service_pb2.VerifyLedgerResponse:
        """Refuses nothing of its own: a ledger that is out of balance is an answer."""
        found = await audit.verify(self._db)
        return ledger_service_pb2.VerifyLedgerResponse(
            balanced=not found.problems,
            transfers=found.transfers,
            entries=2 * found.transfers,
            sealed_blocks=found.sealed_blocks,
            unsealed_transfers=found.unsealed_transfers,
            problems=found.problems[: audit.MAX_PROBLEMS],
        )
