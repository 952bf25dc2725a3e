"""What of a captured order is which seller's, and where that money is: pure decisions.

What other sellers than the house sold is held in escrow from the capture on. When the parcel has arrived, the fee is
the platform's and the rest is the seller's. A refund is borne out of escrow before that, and after it by the seller
and, in proportion, by the platform; one that was decided before anything was held comes off what is held later. The
fee is always that on what was sold and did not go back, so it does not matter in how many steps money went back. **The
fee is rounded down** to the minor unit: the seller has the fraction.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from mesh.proportion import apportion
from svc_payment.errors import PaymentNotCaptured, SharesConflict
from svc_payment.ledger import rules as ledger
from svc_payment.ledger.rules import Account, Transfer, TransferKind
from svc_payment.payment.rules import Payment, Status

BASIS_POINTS = 10_000
"""The whole, in hundredths of a percent."""

Sold = Mapping[str, int]
"""Seller -> minor units with tax; never the house's."""


@dataclass(frozen=True, slots=True)
class Share:
    """What one seller sold of one order."""

    order_id: uuid.UUID
    seller_id: str
    currency: str
    sold_minor: int
    refunded_minor: int
    fee_basis_points: int
    held_at: datetime
    released_at: datetime | None = None

    @property
    def left_minor(self) -> int:
        """What did not go back."""
        return self.sold_minor - self.refunded_minor

    @property
    def fee_minor(self) -> int:
        """The platform's part of what is left, once it is released."""
        return self.left_minor * self.fee_basis_points // BASIS_POINTS if self.released_at else 0

    @property
    def payable_minor(self) -> int:
        """The seller's part of what is left, once it is released."""
        return self.left_minor - self.fee_minor if self.released_at else 0

    @property
    def escrow_minor(self) -> int:
        """What is held."""
        return 0 if self.released_at else self.left_minor


Shares = Mapping[str, Share]
"""The shares of one order, by seller."""

Earlier = Sequence[tuple[int, Sold]]
"""The refunds of one order so far, the oldest first: what went back, and who was said to bear what of it."""


def hold(
    payment: Payment, sold: Sold, known: Shares, *, earlier: Earlier = (), fee_basis_points: int, at: datetime
) -> Shares:
    """Return the shares of a captured order; those that are known already come back as they are.

    Refunds that were decided before are borne as if the shares had been held then.

    Raises:
        PaymentNotCaptured: There is no money to hold yet, or none any more.
        SharesConflict: They were others before, or are more than was paid.
    """
    if known:
        refuse_other(known, sold)
        return known
    if payment.status is not Status.CAPTURED:
        raise PaymentNotCaptured(f"nothing was taken: the payment is {payment.status}")
    assert payment.amount_minor is not None and payment.currency is not None
    if sum(sold.values()) > payment.amount_minor:
        raise SharesConflict("more would be split than was paid")
    shares: Shares = {
        seller: Share(payment.order_id, seller, payment.currency, minor, 0, fee_basis_points, at)
        for seller, minor in sold.items()
    }
    before = replace(payment, refunded_minor=0, refunding_minor=0)
    for amount_minor, borne in earlier:
        shares = bear(before, shares, amount_minor, borne)
        before = replace(before, refunded_minor=before.refunded_minor + amount_minor)
    return shares


def refuse_other(known: Shares, sold: Sold) -> None:
    """Hold what is said to have been sold against the shares that are known, if there are any.

    Raises:
        SharesConflict: They were others before.
    """
    if known and {seller: share.sold_minor for seller, share in known.items()} != dict(sold):
        raise SharesConflict("the order was split before in another way")


def release(shares: Shares, *, at: datetime) -> Shares:
    """Return the shares as released; those that are come back as they are."""
    return {seller: share if share.released_at else replace(share, released_at=at) for seller, share in shares.items()}


def bear(payment: Payment, shares: Shares, amount_minor: int, borne: Sold) -> Shares:
    """Return the shares with their part of a refund of this amount; `payment` is as it was before the refund.

    A seller bears what is said, and no more than is left of its share; the house bears the rest, and of that no more
    than is left of its own part. What is then still to bear, all of it where nothing is said, is borne in proportion to
    what is left.
    """
    assert payment.amount_minor is not None
    left = [share.left_minor for share in shares.values()]
    of_house = payment.amount_minor - payment.refunded_minor - payment.refunding_minor - sum(left)
    parts = [0] * (len(left) + 1)
    if borne:
        asked = [min(borne.get(seller, 0), share.left_minor) for seller, share in shares.items()]
        asked = apportion(min(amount_minor, sum(asked)), asked)
        parts = [*asked, min(of_house, amount_minor - sum(asked))]
    still = [has - part for has, part in zip([*left, of_house], parts, strict=True)]
    parts = [part + more for part, more in zip(parts, apportion(amount_minor - sum(parts), still), strict=True)]
    return {
        seller: replace(share, refunded_minor=share.refunded_minor + part)
        for (seller, share), part in zip(shares.items(), parts, strict=False)
    }


def transfers(
    before: Share | None, after: Share, *, group_id: uuid.UUID, refund_id: uuid.UUID | None = None
) -> list[Transfer]:
    """Return the movements that make a share what it has become; `before` is None for one that was not held yet.

    Their ids follow from the order, or the refund, and the seller: the same step can't be booked twice.
    """
    return [
        Transfer(
            transfer_id=uuid.uuid5(after.order_id if refund_id is None else refund_id, f"{step}/{after.seller_id}"),
            group_id=group_id,
            kind=kind,
            debit=debit,
            credit=credit,
            amount_minor=amount_minor,
            order_id=after.order_id,
        )
        for step, kind, debit, credit, amount_minor in _movements(before, after)
        if amount_minor
    ]


def _movements(before: Share | None, after: Share) -> Iterator[tuple[str, TransferKind, Account, Account, int]]:
    currency = after.currency
    sales, fees = ledger.sales(currency), ledger.fees(currency)
    escrow, payable = ledger.escrow(after.seller_id, currency), ledger.payable(after.seller_id, currency)
    if before is None:
        # What was given back before it was held never leaves the house's account.
        yield "hold", TransferKind.HOLD, sales, escrow, after.left_minor
        before = replace(after, released_at=None)
    if before.released_at:
        yield "take back", TransferKind.TAKE_BACK, payable, sales, before.payable_minor - after.payable_minor
        yield "take fee back", TransferKind.TAKE_BACK, fees, sales, before.fee_minor - after.fee_minor
        return
    yield "take back", TransferKind.TAKE_BACK, escrow, sales, before.left_minor - after.left_minor
    yield "release", TransferKind.RELEASE, escrow, payable, after.payable_minor
    yield "fee", TransferKind.FEE, escrow, fees, after.fee_minor


def accounts(shares: Sequence[Share]) -> list[Account]:
    """Return the accounts that shares need."""
    return [
        account
        for each in shares
        for account in (ledger.escrow(each.seller_id, each.currency), ledger.payable(each.seller_id, each.currency))
    ]
