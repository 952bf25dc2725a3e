"""PayoutService: decodes, calls, encodes."""

from __future__ import annotations

import csv
import io
import uuid
from collections.abc import Sequence
from typing import Any

from google.api import httpbody_pb2

from mesh import pages
from mesh.database import Database
from mesh.refusals import PageTokenInvalid
from mesh.seams import Clock, Ids, failpoint
from svc_payment.errors import AccountNotFound, PayoutNotFound
from svc_payment.payout import store
from svc_payment.payout.rules import Batch, Payout, PayoutStatus, Wanted
from svc_payment.payout.store import Entry, Payable
from svc_payment.split.rpc import check_owner
from titan.payment.v1 import payout_pb2
from titan.payment.v1 import payout_service_pb2 as pb
from titan.type.v1 import money_pb2

COLUMNS = ("payout_id", "seller_id", "currency_code", "amount_minor", "period")
_LIST, _LINES, _PAYABLE = (
    "PayoutService.ListPayouts",
    "PayoutService.ListPayoutLines",
    "PayoutService.ListPayableSellers",
)
_STATUSES: dict[PayoutStatus, Any] = {
    each: payout_pb2.PayoutStatus.Value(f"PAYOUT_STATUS_{each.value}") for each in PayoutStatus
}


class PayoutService:
    """Pays sellers out."""

    def __init__(self, db: Database, clock: Clock, ids: Ids) -> None:
        self._db = db
        self._clock = clock
        self._ids = ids

    async def CreatePayout(self, request: pb.CreatePayoutRequest, context: Any) -> pb.CreatePayoutResponse:
        """Refuses with ACCOUNT_NOT_FOUND or NOTHING_PAYABLE."""
        payout_id, wanted = self._ids.new(), Wanted(request.seller_id, request.currency_code, request.period)
        made = await self._db.transact(lambda tx: store.create(tx, payout_id, wanted, at=self._clock.now()))
        await failpoint("payment.payout.after_commit")
        return pb.CreatePayoutResponse(payout=_to_wire(made))

    async def CreatePayoutBatch(
        self, request: pb.CreatePayoutBatchRequest, context: Any
    ) -> pb.CreatePayoutBatchResponse:
        """Refuses with NO_PAYOUT_PENDING or IDEMPOTENCY_KEY_REUSED."""
        batch_id = self._ids.new()
        made = await self._db.transact(
            lambda tx: store.send(tx, batch_id, request.request_id, request.period, at=self._clock.now())
        )
        await failpoint("payment.payout.after_commit")
        return pb.CreatePayoutBatchResponse(batch=_batch(made))

    async def ReadBankFile(self, request: pb.ReadBankFileRequest, context: Any) -> pb.ReadBankFileResponse:
        """Refuses with PAYOUT_BATCH_NOT_FOUND."""
        async with self._db.hot_read() as connection:
            found = await store.list_sent(connection, uuid.UUID(request.batch_id))
        body = httpbody_pb2.HttpBody(content_type="text/csv; charset=utf-8", data=_file(found))
        return pb.ReadBankFileResponse(body=body)

    async def SettlePayout(self, request: pb.SettlePayoutRequest, context: Any) -> pb.SettlePayoutResponse:
        """Refuses with PAYOUT_NOT_FOUND, PAYOUT_NOT_SENT or PAYOUT_SETTLED."""
        payout_id = uuid.UUID(request.payout_id)
        status = next(each for each, number in _STATUSES.items() if number == request.status)
        settled = await self._db.transact(
            lambda tx: store.settle(tx, payout_id, status, request.bank_reference, at=self._clock.now())
        )
        await failpoint("payment.payout.after_commit")
        return pb.SettlePayoutResponse(payout=_to_wire(settled))

    async def ListPayableSellers(
        self, request: pb.ListPayableSellersRequest, context: Any
    ) -> pb.ListPayableSellersResponse:
        """Refuses with PAGE_TOKEN_INVALID."""
        after, size = _place(pages.decode(request.page_token, _PAYABLE)), pages.page_size(request.page_size)
        async with self._db.hot_read() as connection:
            found = await store.list_payable(connection, after=after, limit=size + 1)
        shown, token = found[:size], ""
        if len(found) > size:
            token = pages.encode(_PAYABLE, [shown[-1].seller_id, shown[-1].currency])
        return pb.ListPayableSellersResponse(sellers=[_payable(each) for each in shown], next_page_token=token)

    async def ListPayouts(self, request: pb.ListPayoutsRequest, context: Any) -> pb.ListPayoutsResponse:
        """Refuses with ACCOUNT_NOT_FOUND or PAGE_TOKEN_INVALID."""
        check_owner(request.seller_id)
        before = pages.decode_id(request.page_token, _LIST, request.seller_id)
        size = pages.page_size(request.page_size)
        async with self._db.hot_read() as connection:
            found = await store.list_newest(connection, request.seller_id, before=before, limit=size + 1)
        shown = found[:size]
        token = pages.encode(_LIST, [str(shown[-1].payout_id)], request.seller_id) if len(found) > size else ""
        return pb.ListPayoutsResponse(payouts=[_to_wire(each) for each in shown], next_page_token=token)

    async def ListPayoutLines(self, request: pb.ListPayoutLinesRequest, context: Any) -> pb.ListPayoutLinesResponse:
        """Refuses with PAYOUT_NOT_FOUND or PAGE_TOKEN_INVALID."""
        payout_id, size = uuid.UUID(request.payout_id), pages.page_size(request.page_size)
        after = pages.decode_number(request.page_token, _LINES, payout_id) or 0
        async with self._db.hot_read() as connection:
            payout = await store.get(connection, payout_id)
            _check_owner(payout)
            found = await store.list_entries(connection, payout_id, after=after, limit=size + 1)
        shown = found[:size]
        token = pages.encode(_LINES, [shown[-1].seq], payout_id) if len(found) > size else ""
        return pb.ListPayoutLinesResponse(lines=[_line(each, payout.currency) for each in shown], next_page_token=token)


def _check_owner(payout: Payout) -> None:
    """Let sellers read of themselves alone.

    Raises:
        PayoutNotFound: It is somebody else's.
    """
    try:
        check_owner(payout.seller_id)
    except AccountNotFound:
        raise PayoutNotFound("no such payout", payout_id=payout.payout_id) from None


def _place(position: Sequence[str | int | None] | None) -> tuple[str, str] | None:
    if position is None:
        return None
    match position:
        case [str(seller_id), str(currency)]:
            return seller_id, currency
    raise PageTokenInvalid("the page token names no seller")


def _file(payouts: Sequence[Payout]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    writer.writerows(
        (each.payout_id, each.seller_id, each.currency, each.amount_minor, each.period) for each in payouts
    )
    return text.getvalue().encode()


def _to_wire(payout: Payout) -> payout_pb2.Payout:
    wire = payout_pb2.Payout(
        payout_id=str(payout.payout_id),
        seller_id=payout.seller_id,
        period=payout.period,
        amount=_money(payout.amount_minor, payout.currency),
        status=_STATUSES[payout.status],
        batch_id=str(payout.batch_id or ""),
        bank_reference=payout.bank_reference,
    )
    wire.create_time.FromDatetime(payout.created_at)
    if payout.settled_at is not None:
        wire.settle_time.FromDatetime(payout.settled_at)
    return wire


def _batch(batch: Batch) -> payout_pb2.PayoutBatch:
    wire = payout_pb2.PayoutBatch(batch_id=str(batch.batch_id), period=batch.period, payouts=batch.payouts)
    wire.create_time.FromDatetime(batch.created_at)
    return wire


def _line(entry: Entry, currency: str) -> payout_pb2.PayoutLine:
    wire = payout_pb2.PayoutLine(
        transfer_id=str(entry.transfer_id),
        kind=entry.kind,
        order_id=str(entry.order_id),
        amount=_money(entry.amount_minor, currency),
    )
    wire.record_time.FromDatetime(entry.recorded_at)
    return wire


def _payable(payable: Payable) -> payout_pb2.PayableSeller:
    return payout_pb2.PayableSeller(
        seller_id=payable.seller_id, payable=_money(payable.available_minor, payable.currency)
    )


def _money(minor_units: int, currency: str) -> money_pb2.Money:
    return money_pb2.Money(currency_code=currency, minor_units=minor_units)
