"""SettlementService: decodes, calls, encodes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

from mesh import audit, pages
from mesh.database import Database
from mesh.refusals import InvalidInput, PageTokenInvalid
from svc_payment.providers.interface import Logged, LoggedKind
from svc_payment.reconciliation import store
from svc_payment.reconciliation.daily import Daily, is_reconciled
from svc_payment.reconciliation.rules import Difference, DifferenceKind, Side, Totals
from svc_payment.reconciliation.store import Settled
from titan.payment.v1 import settlement_pb2
from titan.payment.v1 import settlement_service_pb2 as pb
from titan.type.v1 import money_pb2

_LIST = "SettlementService.ListSettlements"
_DIFFERENCES = "SettlementService.ListSettlementDifferences"
_KINDS: Mapping[DifferenceKind, Any] = {
    kind: settlement_pb2.SettlementDifferenceKind.Value(f"SETTLEMENT_DIFFERENCE_KIND_{kind}") for kind in DifferenceKind
}
_MOVEMENTS: Mapping[LoggedKind, Any] = {
    LoggedKind.CAPTURE: settlement_pb2.SETTLEMENT_MOVEMENT_KIND_CAPTURE,
    LoggedKind.REFUND: settlement_pb2.SETTLEMENT_MOVEMENT_KIND_REFUND,
}


class SettlementService:
    """The daily settlement with payment providers."""

    def __init__(self, db: Database, daily: Daily) -> None:
        self._db = db
        self._daily = daily

    async def SettleDay(self, request: pb.SettleDayRequest, context: Any) -> pb.SettleDayResponse:
        """Refuses with PROVIDER_UNKNOWN, SETTLEMENT_DAY_OPEN or PROVIDER_UNAVAILABLE."""
        settled = await self._daily.settle(request.provider, _day(request.date), audit.command())
        return pb.SettleDayResponse(settlement=_settlement(request.provider, settled))

    async def ResettleDay(self, request: pb.ResettleDayRequest, context: Any) -> pb.ResettleDayResponse:
        """Refuses with PROVIDER_UNKNOWN, SETTLEMENT_DAY_OPEN or PROVIDER_UNAVAILABLE."""
        settled = await self._daily.settle(request.provider, _day(request.date))
        return pb.ResettleDayResponse(settlement=_settlement(request.provider, settled))

    async def GetSettlement(self, request: pb.GetSettlementRequest, context: Any) -> pb.GetSettlementResponse:
        """Refuses with SETTLEMENT_NOT_FOUND."""
        async with self._db.hot_read() as connection:
            settled = await store.get(connection, request.provider, _day(request.date))
        return pb.GetSettlementResponse(settlement=_settlement(request.provider, settled))

    async def ListSettlements(self, request: pb.ListSettlementsRequest, context: Any) -> pb.ListSettlementsResponse:
        """Refuses with PAGE_TOKEN_INVALID."""
        ordinal = pages.decode_number(request.page_token, _LIST, request.provider)
        size = pages.page_size(request.page_size)
        async with self._db.hot_read() as connection:
            found = await store.list_newest(connection, request.provider, before=_of_ordinal(ordinal), limit=size + 1)
        shown = found[:size]
        more = pages.encode(_LIST, [shown[-1].day.toordinal()], request.provider) if len(found) > size else ""
        return pb.ListSettlementsResponse(
            settlements=[_settlement(request.provider, each) for each in shown], next_page_token=more
        )

    async def ListSettlementDifferences(
        self, request: pb.ListSettlementDifferencesRequest, context: Any
    ) -> pb.ListSettlementDifferencesResponse:
        """Refuses with SETTLEMENT_NOT_FOUND or PAGE_TOKEN_INVALID."""
        day, size = _day(request.date), pages.page_size(request.page_size)
        async with self._db.hot() as tx:
            await tx.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            settled = await store.get(tx, request.provider, day)
            # A day that was settled again has other places: its tokens are of another list.
            bound = (_DIFFERENCES, request.provider, day, settled.compared_at)
            after = pages.decode_number(request.page_token, *bound) or 0
            found = await store.list_differences(tx, request.provider, day, after=after, limit=size + 1)
        shown = found[:size]
        more = pages.encode(bound[0], [after + len(shown)], *bound[1:]) if len(found) > size else ""
        return pb.ListSettlementDifferencesResponse(
            differences=[_difference(each) for each in shown], next_page_token=more
        )


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise InvalidInput.of("date", "is no day of any calendar") from None


def _of_ordinal(ordinal: int | None) -> date | None:
    try:
        return None if ordinal is None else date.fromordinal(ordinal)
    except (ValueError, OverflowError):
        raise PageTokenInvalid("the page token holds no day") from None


def _settlement(provider: str, settled: Settled) -> settlement_pb2.Settlement:
    wire = settlement_pb2.Settlement(
        provider=provider,
        date=settled.day.isoformat(),
        totals=[_totals(each) for each in settled.totals],
        counts=[
            settlement_pb2.SettlementCount(kind=_KINDS[kind], differences=number)
            for kind, number in settled.counts.items()
        ],
        reconciled=is_reconciled(settled),
    )
    wire.compare_time.FromDatetime(settled.compared_at)
    return wire


def _totals(totals: Totals) -> settlement_pb2.SettlementTotals:
    return settlement_pb2.SettlementTotals(
        theirs=_side(totals.theirs, totals.currency),
        ours=_side(totals.ours, totals.currency),
        difference=_money(totals.theirs.net_minor - totals.ours.net_minor, totals.currency),
    )


def _side(side: Side, currency: str) -> settlement_pb2.SettlementSide:
    return settlement_pb2.SettlementSide(
        captures=side.captures,
        captured=_money(side.captured_minor, currency),
        refunds=side.refunds,
        refunded=_money(side.refunded_minor, currency),
        net=_money(side.net_minor, currency),
    )


def _difference(difference: Difference) -> settlement_pb2.SettlementDifference:
    movement = difference.movement
    wire = settlement_pb2.SettlementDifference(
        kind=_KINDS[difference.kind],
        movement_kind=_MOVEMENTS[movement.kind],
        payment_id=movement.payment_id,
        movement_id=movement.movement_id,
        order_id=difference.ours.order_id if difference.ours else "",
    )
    if difference.theirs is not None:
        wire.theirs.CopyFrom(_amount(difference.theirs))
        wire.their_time.FromDatetime(difference.theirs.at)
    if difference.ours is not None:
        wire.ours.CopyFrom(_amount(difference.ours.logged))
        wire.our_time.FromDatetime(difference.ours.logged.at)
    return wire


def _amount(logged: Logged) -> money_pb2.Money:
    return _money(logged.amount_minor, logged.currency)


def _money(minor_units: int, currency: str) -> money_pb2.Money:
    return money_pb2.Money(currency_code=currency, minor_units=minor_units)
