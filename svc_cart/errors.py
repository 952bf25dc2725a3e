"""Every refusal of the cart domain; the reasons are those of `titan.cart.v1.ErrorReason`."""

from __future__ import annotations

import grpc

from mesh.refusals import Refusal


class SkuNotFound(Refusal):
    """The shop sells nothing under this SKU."""

    code = grpc.StatusCode.NOT_FOUND


class QuantityTooLarge(Refusal):
    """The line would hold more units than a line may."""

    code = grpc.StatusCode.FAILED_PRECONDITION


class CartFull(Refusal):
    """The cart has as many lines as a cart may."""

    code = grpc.StatusCode.FAILED_PRECONDITION


class CartChanged(Refusal):
    """The cart was changed since the caller's etag (AIP-154)."""

    code = grpc.StatusCode.ABORTED


class CartItemNotFound(Refusal):
    """The cart has no line of this SKU."""

    code = grpc.StatusCode.NOT_FOUND
