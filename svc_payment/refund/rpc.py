"""RefundService: decodes, calls, encodes."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from mesh.database import Database
from mesh.refusals import Refusal
from mesh.seams import Clock, failpoint
from svc_payment.payment.rpc import status_of
from svc_payment.refund import rules, store
from svc_payment.refund.rules import Asked, RefundStatus
from svc_payment.refund.store import Outcome
from svc_payment.settlement.worker import Worker
from svc_payment.split.rpc import sold_by
from titan.payment.v1 import refund_pb2, refund_service_pb2
from titan.type.v1 import money_pb2

_WIRE: Mapping[RefundStatus, refund_pb2.RefundStatus] = {
    RefundStatus.IN_PROGRESS: refund_pb2.REFUND_STATUS_IN_PROGRESS,
    RefundStatus.DONE: refund_pb2.REFUND_STATUS_DONE,
}


class RefundService:
    """Sends captured money back; orders decide it."""

    def __init__(self, db: Database, clock: Clock, worker: Worker) -> None:
        self._db = db
        self._clock = clock
        self._worker = worker

    async def BatchRefund(
        self, request: refund_service_pb2.BatchRefundRequest, context: Any
    ) -> refund_service_pb2.BatchRefundResponse:
        """Results carry PAYMENT_NOT_FOUND, PAYMENT_NOT_CAPTURED, REFUND_TOO_LARGE, REFUND_CONFLICT or
        SHARES_CONFLICT."""
        asked = [_checked(each) for each in request.intents]
        wanted = [each for each in asked if isinstance(each, Asked)]
        done: list[Outcome | Refusal] = []
        if wanted:
            done, work = await self._db.transact(lambda tx: store.refund(tx, wanted, at=self._clock.now()))
            await failpoint("payment.refund.after_commit")
            self._worker.start(work)
        outcomes = iter(done)
        return refund_service_pb2.BatchRefundResponse(
            results=[
                _result(wire.refund_id, next(outcomes) if isinstance(each, Asked) else each)
                for wire, each in zip(request.intents, asked, strict=True)
            ]
        )


def _checked(wire: refund_service_pb2.RefundIntent) -> Asked | Refusal:
    has_amount = wire.HasField("amount")
    try:
        asked = Asked(
            refund_id=uuid.UUID(wire.refund_id),
            order_id=uuid.UUID(wire.order_id),
            amount_minor=wire.amount.minor_units if has_amount else None,
            currency=wire.amount.currency_code if has_amount else None,
            sold=sold_by(wire.sold),
            borne=sold_by(wire.borne),
        )
        rules.check(asked)
    except Refusal as refusal:
        return refusal
    return asked


def _result(refund_id: str, outcome: Outcome | Refusal) -> refund_service_pb2.RefundResult:
    if isinstance(outcome, Refusal):
        return refund_service_pb2.RefundResult(refund_id=refund_id, error=outcome.to_status())
    return refund_service_pb2.RefundResult(
        refund_id=refund_id,
        status=_WIRE[outcome.refund.status],
        amount=money_pb2.Money(currency_code=outcome.refund.currency, minor_units=outcome.refund.amount_minor),
        payment_status=status_of(outcome.payment),
    )
