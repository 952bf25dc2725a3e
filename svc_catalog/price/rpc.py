"""PriceService on the wire: decodes, calls the store, encodes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from mesh import pages
from mesh.database import Database
from mesh.refusals import PageTokenInvalid
from svc_catalog.price import store
from svc_catalog.price.store import Historic, PriceSource
from titan.catalog.v1 import price_pb2, price_service_pb2_grpc
from titan.catalog.v1 import price_service_pb2 as pb
from titan.type.v1 import money_pb2

_LIST = "PriceService.ListPrices"
_FIRST_MINUTE = datetime(1, 1, 1, tzinfo=UTC)
_MINUTE = timedelta(minutes=1)
_SOURCES: Mapping[PriceSource, Any] = {
    source: price_pb2.PriceSource.Value(f"PRICE_SOURCE_{source}") for source in PriceSource
}


class PriceServicer(price_service_pb2_grpc.PriceServiceServicer):
    """Serves PriceService from the catalogue's database."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def ListPrices(self, request: pb.ListPricesRequest, context: Any) -> pb.ListPricesResponse:
        """Refuses with PAGE_TOKEN_INVALID."""
        bound = (request.sku, request.as_of_time.ToJsonString() if request.HasField("as_of_time") else "")
        before = _minute(pages.decode_number(request.page_token, _LIST, *bound))
        as_of = request.as_of_time.ToDatetime(tzinfo=UTC) if request.HasField("as_of_time") else None
        size = pages.page_size(request.page_size)
        async with self._db.hot_read() as connection:
            found = await store.list_changes(connection, request.sku, as_of=as_of, before=before, limit=size + 1)
        shown, token = found[:size], ""
        if len(found) > size:
            token = pages.encode(_LIST, [(shown[-1].minute - _FIRST_MINUTE) // _MINUTE], *bound)
        return pb.ListPricesResponse(prices=[_price(each) for each in shown], next_page_token=token)


def _minute(number: int | None) -> datetime | None:
    try:
        return None if number is None else _FIRST_MINUTE + number * _MINUTE
    except OverflowError:
        raise PageTokenInvalid("the page token holds no minute") from None


def _price(historic: Historic) -> price_pb2.HistoricPrice:
    price = price_pb2.HistoricPrice(
        price=money_pb2.Money(currency_code=historic.currency_code, minor_units=historic.price_minor),
        source=_SOURCES[historic.source],
    )
    price.effective_time.FromDatetime(historic.minute)
    return price
