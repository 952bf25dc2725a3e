"""Every refusal of the catalogue domain."""

from __future__ import annotations

import grpc

from mesh.refusals import Refusal


class ProductNotFound(Refusal):
    """No such product."""

    code = grpc.StatusCode.NOT_FOUND


class ProductChanged(Refusal):
    """The product was changed since the caller's etag."""

    code = grpc.StatusCode.ABORTED


class SkuTaken(Refusal):
    """A SKU belongs to another product, or stands in the request twice."""

    code = grpc.StatusCode.ALREADY_EXISTS


class CategoryNotFound(Refusal):
    """No such category."""

    code = grpc.StatusCode.NOT_FOUND


class CategoryExists(Refusal):
    """The parent has a category of that title."""

    code = grpc.StatusCode.ALREADY_EXISTS


class CategoryTooDeep(Refusal):
    """The tree would be deeper than eight levels."""


class PriceInvalid(Refusal):
    """A price is negative, or in a currency that the shop does not sell in."""

    code = grpc.StatusCode.INVALID_ARGUMENT
