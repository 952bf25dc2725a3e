"""The methods of ProductService that long jobs call: decode, put once per request id, encode."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar
from uuid import UUID

import asyncpg

from mesh import idempotency, pages
from mesh.database import Database
from mesh.refusals import Refusal
from mesh.seams import Clock, Ids, failpoint
from svc_catalog.product import store
from svc_catalog.product.wire import draft_of, to_wire
from svc_catalog.put import puts
from svc_catalog.put.rules import Outcome, Price, Put
from titan.catalog.v1 import product_service_pb2 as pb

PUT = "titan.catalog.v1.ProductService/BatchPutProducts"
SET_PRICES = "titan.catalog.v1.ProductService/BatchSetPrices"
LIST_ALL = "titan.catalog.v1.ProductService/ListAllProducts"

_OUTCOMES: dict[Outcome, Any] = {each: pb.PutOutcome.Value(f"PUT_OUTCOME_{each.value}") for each in Outcome}
_Request = TypeVar("_Request", pb.BatchPutProductsRequest, pb.BatchSetPricesRequest)
_Answers = Callable[[asyncpg.Connection], Awaitable[list[Put | Refusal]]]


class Puts:
    """What ProductServicer answers to long jobs with."""

    def __init__(self, db: Database, *, clock: Clock, ids: Ids, currencies: frozenset[str]) -> None:
        self._db = db
        self._clock = clock
        self._ids = ids
        self._currencies = currencies

    async def put(self, request: pb.BatchPutProductsRequest) -> pb.BatchPutProductsResponse:
        """Add or change products."""
        drafts = [(self._ids.new(), draft_of(each)) for each in request.products]

        async def save(tx: asyncpg.Connection) -> list[Put | Refusal]:
            return await puts.save_puts(
                tx, drafts, currencies=self._currencies, validate_only=request.validate_only, at=self._clock.now()
            )

        return pb.BatchPutProductsResponse.FromString(await self._once(PUT, request, save))

    async def set_prices(self, request: pb.BatchSetPricesRequest) -> pb.BatchSetPricesResponse:
        """Set prices."""
        prices = [_price(each) for each in request.prices]

        async def save(tx: asyncpg.Connection) -> list[Put | Refusal]:
            return await puts.save_prices(
                tx, prices, currencies=self._currencies, validate_only=request.validate_only, at=self._clock.now()
            )

        return pb.BatchSetPricesResponse.FromString(await self._once(SET_PRICES, request, save))

    async def list_all(self, request: pb.ListAllProductsRequest) -> pb.ListAllProductsResponse:
        """List products, the oldest first."""
        size = pages.page_size(request.page_size)
        named = {
            "category_id": UUID(request.category_id) if request.category_id else None,
            "product_ids": [UUID(each) for each in request.product_ids],
            "skus": list(request.skus),
        }
        # A page of all products has the token that it always had: an export may be under way.
        bound = [each for each in named.values() if each]
        after = pages.decode_number(request.page_token, LIST_ALL, *bound) or 0
        async with self._db.hot_read() as connection:
            found = await store.list_oldest(connection, after=after, limit=size + 1, **named)
        shown = pages.fitting([to_wire(each) for each in found[:size]])
        token = pages.encode(LIST_ALL, [found[len(shown) - 1].seq], *bound) if len(found) > len(shown) else ""
        return pb.ListAllProductsResponse(products=shown, next_page_token=token)

    async def _once(self, method: str, request: _Request, save: _Answers) -> bytes:
        """Return the serialized answer. What is only looked at is not kept: the next look may find something else."""

        async def answer(tx: asyncpg.Connection) -> bytes:
            return _answered(method, await save(tx))

        if request.validate_only:
            return await self._db.transact(answer)
        claim = idempotency.Claim(
            UUID(request.operation_id), method, request.request_id, idempotency.fingerprint(request)
        )
        made = await idempotency.once(self._db, claim, answer)
        await failpoint("catalog.put.after_commit")
        return made


def _price(wired: pb.SkuPrice) -> Price:
    price, expected = wired.price, wired.expected_price
    now = (expected.minor_units, expected.currency_code) if wired.HasField("expected_price") else None
    return Price(wired.sku, price.minor_units, price.currency_code, now)


def _answered(method: str, answers: Sequence[Put | Refusal]) -> bytes:
    results = [_result(each) for each in answers]
    if method == PUT:
        return pb.BatchPutProductsResponse(results=results).SerializeToString()
    return pb.BatchSetPricesResponse(results=results).SerializeToString()


def _result(answer: Put | Refusal) -> pb.PutResult:
    if isinstance(answer, Refusal):
        return pb.PutResult(error=answer.to_status())
    return pb.PutResult(outcome=_OUTCOMES[answer.outcome], product_id=str(answer.product_id))
