"""SplitService: decodes, calls, encodes."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from mesh import pages, powers
from mesh.database import Database
from mesh.refusals import InvalidInput, Refusal
from mesh.seams import Clock, failpoint
from svc_payment.errors import AccountNotFound
from svc_payment.split import store
from svc_payment.split.rules import Share, Sold
from svc_payment.split.store import Asked, Balance
from titan.payment.v1 import split_pb2
from titan.payment.v1 import split_service_pb2 as pb
from titan.type.v1 import money_pb2

_LIST = "SplitService.ListSellerShares"


class SplitService:
    """Who is owed what of an order."""

    def __init__(self, db: Database, clock: Clock, *, fee_basis_points: int) -> None:
        self._db = db
        self._clock = clock
        self._fee_basis_points = fee_basis_points

    async def BatchHoldShares(self, request: pb.BatchHoldSharesRequest, context: Any) -> pb.BatchHoldSharesResponse:
        """Results carry PAYMENT_NOT_FOUND, PAYMENT_NOT_CAPTURED or SHARES_CONFLICT."""
        return pb.BatchHoldSharesResponse(results=await self._split(request.orders, release=False))

    async def BatchReleaseShares(
        self, request: pb.BatchReleaseSharesRequest, context: Any
    ) -> pb.BatchReleaseSharesResponse:
        """Results carry PAYMENT_NOT_FOUND, PAYMENT_NOT_CAPTURED or SHARES_CONFLICT."""
        return pb.BatchReleaseSharesResponse(results=await self._split(request.orders, release=True))

    async def GetSellerBalance(self, request: pb.GetSellerBalanceRequest, context: Any) -> pb.GetSellerBalanceResponse:
        """Refuses with ACCOUNT_NOT_FOUND."""
        check_owner(request.seller_id)
        async with self._db.hot_read() as connection:
            found = await store.balances(connection, request.seller_id)
        if not found:
            raise AccountNotFound("nothing was sold of this seller")
        return pb.GetSellerBalanceResponse(balances=[_balance(each) for each in found])

    async def ListSellerShares(self, request: pb.ListSellerSharesRequest, context: Any) -> pb.ListSellerSharesResponse:
        """Refuses with ACCOUNT_NOT_FOUND or PAGE_TOKEN_INVALID."""
        check_owner(request.seller_id)
        before = pages.decode_id(request.page_token, _LIST, request.seller_id)
        size = pages.page_size(request.page_size)
        async with self._db.hot_read() as connection:
            found = await store.list_newest(connection, request.seller_id, before=before, limit=size + 1)
        shown = found[:size]
        more = pages.encode(_LIST, [str(shown[-1].order_id)], request.seller_id) if len(found) > size else ""
        return pb.ListSellerSharesResponse(shares=[_share(each) for each in shown], next_page_token=more)

    async def _split(self, orders: Sequence[pb.OrderShares], *, release: bool) -> list[pb.OrderSharesResult]:
        asked = [Asked(uuid.UUID(each.order_id), sold_by(each.sold)) for each in orders]
        refusals = await self._db.transact(
            lambda tx: store.split(
                tx, asked, release=release, fee_basis_points=self._fee_basis_points, at=self._clock.now()
            )
        )
        await failpoint("payment.split.after_commit")
        return [_result(each.order_id, refusal) for each, refusal in zip(orders, refusals, strict=True)]


def sold_by(amounts: Sequence[split_pb2.SellerAmount]) -> Sold:
    """Return amounts by seller.

    Raises:
        InvalidInput: A seller stands twice.
    """
    sold = {each.seller_id: each.amount_minor for each in amounts}
    if len(sold) < len(amounts):
        raise InvalidInput.of("seller_id", "stands twice")
    return sold


def check_owner(seller_id: str) -> None:
    """Let sellers read of themselves alone.

    Raises:
        AccountNotFound: It is somebody else.
    """
    if not powers.may_read_of(seller_id):
        raise AccountNotFound("nothing was sold of this seller")


def _result(order_id: str, refusal: Refusal | None) -> pb.OrderSharesResult:
    return pb.OrderSharesResult(order_id=order_id, error=None if refusal is None else refusal.to_status())


def _balance(balance: Balance) -> split_pb2.SellerBalance:
    return split_pb2.SellerBalance(
        escrow=_money(balance.escrow_minor, balance.currency),
        payable=_money(balance.payable_minor, balance.currency),
        paying_out=_money(balance.paying_out_minor, balance.currency),
    )


def _share(share: Share) -> split_pb2.SellerShare:
    held = split_pb2.SELLER_SHARE_STATUS_HELD
    wire = split_pb2.SellerShare(
        seller_id=share.seller_id,
        order_id=str(share.order_id),
        status=split_pb2.SELLER_SHARE_STATUS_RELEASED if share.released_at else held,
        sold=_money(share.sold_minor, share.currency),
        refunded=_money(share.refunded_minor, share.currency),
        fee_basis_points=share.fee_basis_points,
        fee=_money(share.fee_minor, share.currency),
        payable=_money(share.payable_minor, share.currency),
    )
    wire.hold_time.FromDatetime(share.held_at)
    if share.released_at is not None:
        wire.release_time.FromDatetime(share.released_at)
    return wire


def _money(minor_units: int, currency: str) -> money_pb2.Money:
    return money_pb2.Money(currency_code=currency, minor_units=minor_units)
