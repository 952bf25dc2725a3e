"""Prices as the rows of a file say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TextIO
from uuid import UUID

from google.protobuf.message import Message

from mesh.refusals import Refusal
from svc_bulk.file.store import Format
from svc_bulk.jobs import messages, rows
from svc_bulk.jobs.products import done_of, price_of
from svc_bulk.jobs.table import CALL_SECONDS, Done, Table, Thing
from svc_bulk.operation.work import Work
from titan.catalog.v1 import product_service_pb2 as pb

REQUIRED = ("sku", "price_minor")
COLUMNS = (*REQUIRED, "currency_code")


def read(file: TextIO, format: Format) -> Iterator[Thing]:
    """Yield the prices of a file."""
    if format is Format.CSV:
        return messages.things(rows.read_csv(file, required=REQUIRED, known=COLUMNS), _price)
    return messages.things(rows.read_ndjson(file), _price)


class Prices:
    """Asks the catalogue for prices."""

    def __init__(self, products: Any) -> None:
        self._products = products

    async def __call__(
        self, operation_id: UUID, request_id: str, wanted: Sequence[Message], dry_run: bool
    ) -> list[Done | Refusal]:
        """Set prices under a request id; one answer each."""
        request = pb.BatchSetPricesRequest(operation_id=str(operation_id), request_id=request_id, validate_only=dry_run)
        request.prices.extend(wanted)  # type: ignore[arg-type]
        answer = await self._products.BatchSetPrices(request, timeout=CALL_SECONDS)
        return [done_of(each) for each in answer.results]


class PriceUpdate:
    """Changes prices as the rows of a file say."""

    def __init__(self, table: Table) -> None:
        self._table = table

    async def run(self, work: Work) -> None:
        """Carry over what has not been yet."""
        await self._table.run(work, await work.source(work.job.price_update.dry_run))


def _price(values: dict[str, Any]) -> pb.SkuPrice:
    rows.only(values, COLUMNS)
    return pb.SkuPrice(sku=rows.text(values, "sku"), price=price_of(values))
