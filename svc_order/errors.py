"""Every refusal of the order domain."""

from __future__ import annotations

import grpc

from mesh.refusals import Refusal


class CartEmpty(Refusal):
    """The cart has no lines, and the request brought none."""


class CartAlreadyOrdered(Refusal):
    """The cart was ordered before; the metadata names the order."""

    code = grpc.StatusCode.ALREADY_EXISTS


class UserErased(Refusal):
    """The user was erased; what they order could not be opened any more."""


class SkuNotSold(Refusal):
    """The shop sells nothing under a SKU of the order."""


class PriceChanged(Refusal):
    """The total differs from what the customer expects; the metadata holds the new one."""


class TotalTooLarge(Refusal):
    """The total is more than ten thousand million minor units."""


class CurrencyMixed(Refusal):
    """The lines are priced in more than one currency."""


class ImporterRequired(Refusal):
    """Only importers may set an effective time, or bring prices, shipping and discounts."""

    code = grpc.StatusCode.PERMISSION_DENIED


class OrderCancelled(Refusal):
    """The order was cancelled before it was confirmed."""


class OrderNotFound(Refusal):
    """No such order, or somebody else's."""

    code = grpc.StatusCode.NOT_FOUND


class OrderNotCancellable(Refusal):
    """The parcel has left, or money went back already."""


class OrderNotShippable(Refusal):
    """The order is not confirmed."""


class OrderNotDeliverable(Refusal):
    """The order has not shipped."""


class OrderNotRefundable(Refusal):
    """Nothing was taken for the order, or it was cancelled."""


class OrderNotReturnable(Refusal):
    """The parcel has not left, so nothing of it can have come back."""


class ReturnExceedsLine(Refusal):
    """More units of a line would come back than were bought and have not come back yet."""


class SupportRequired(Refusal):
    """The parcel has left, or would leave with a part of its price taken back: its buyer does not decide on it."""

    code = grpc.StatusCode.PERMISSION_DENIED


class TrackingCodeConflict(Refusal):
    """The parcel left under another tracking code; the metadata holds it."""

    code = grpc.StatusCode.ALREADY_EXISTS


class RefundExceedsOrder(Refusal):
    """More would go back than is left of the order's total."""


class RefundLimitExceeded(Refusal):
    """More would have gone back of the order than the caller's role decides on: admin does."""

    code = grpc.StatusCode.PERMISSION_DENIED


class RefundAmountInvalid(Refusal):
    """The amount is not more than zero, or in another currency."""

    code = grpc.StatusCode.INVALID_ARGUMENT


class OrdersUnderWay(Refusal):
    """An order of the user has not come to its end; the metadata names one."""
