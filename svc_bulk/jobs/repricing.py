"""Repricing: prices by a rule, reckoned first and then carried out.

A price by a percentage must not be reckoned twice, and a worker that takes over can't tell whether the price that it
reads is the old one or the new one. So the operation first writes down what each SKU costs and is to cost, page by
page, changing nothing; that file is then carried over as any other, each row once, and only from the price that it
was reckoned from.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice
from typing import Any, TextIO
from uuid import UUID

from mesh.database import Database
from mesh.seams import failpoint
from svc_bulk.errors import FileTooLarge, NothingSelected, RowInvalid
from svc_bulk.file import store as file_store
from svc_bulk.file.store import Format
from svc_bulk.jobs import messages, rows
from svc_bulk.jobs.table import CALL_SECONDS, Table, Thing
from svc_bulk.operation.store import Step
from svc_bulk.operation.work import Source, Work
from svc_bulk.repricing.rules import Rounding, Rule
from titan.bulk.v1 import operation_pb2
from titan.catalog.v1 import product_pb2
from titan.catalog.v1 import product_service_pb2 as pb
from titan.type.v1 import money_pb2

PLAN = "repricing.csv"
COLUMNS = ("sku", "currency_code", "costs_minor", "price_minor", "problem")
PAGE_PRODUCTS = 100
"""Products of one call, and names: what is named is asked for so many at a time."""
_PLANNED = "planned"
"""The place of an operation that carries its plan out; before that it says which page comes next."""
_ROUNDINGS: dict[Any, Rounding] = {
    operation_pb2.PRICE_ROUNDING_UNSPECIFIED: Rounding.NEAREST,
    operation_pb2.PRICE_ROUNDING_UP: Rounding.UP,
    operation_pb2.PRICE_ROUNDING_DOWN: Rounding.DOWN,
}
Planned = tuple[str, str, object, object, str]
"""A row of the plan, in the order of `COLUMNS`."""


@dataclass(frozen=True, slots=True)
class Page:
    """What a step of planning asks for: products of a request, and of these all variants or those of some SKUs."""

    request: pb.ListAllProductsRequest
    skus: frozenset[str] = frozenset()


class Repricing:
    """Reckons prices, and sets them."""

    def __init__(self, db: Database, products: Any, table: Table) -> None:
        self._db = db
        self._products = products
        self._table = table

    async def run(self, work: Work) -> None:
        """Write the plan, unless that was done, and carry over what has not been yet.

        Raises:
            NothingSelected: There is no product to reprice.
            FileTooLarge: There are more than a file may have rows.
        """
        file_id = work.operation.source_file_id or await self._plan(work)
        source = Source(file_id, Format.CSV, work.job.repricing.dry_run)
        await self._table.run(work, source, place=_PLANNED)

    async def _plan(self, work: Work) -> UUID:
        wanted, place = work.job.repricing, work.operation.place
        rule, pages, planned = rule_of(wanted), pages_of(wanted), work.operation.progress.rows_total
        at, token = json.loads(place or '[0, ""]')
        while at < len(pages):
            with work.timed() as rest:
                found, next_token = await self._read(pages[at], rule, token)
                planned += len(found)
                if planned > rows.MAX_ROWS:
                    raise FileTooLarge(f"a repricing is of at most {rows.MAX_ROWS:,} SKUs")
                content = _written(found, header=not place)
                at, token = (at, next_token) if next_token else (at + 1, "")
                place = json.dumps([at, token])
                # The position stays at nothing: it counts the rows that were carried out.
                await work.save(Step(0, place, rows_total=planned), outputs=[(PLAN, Format.CSV, content)])
            await rest()
        if not planned:
            raise NothingSelected("no product is named that there is")
        async with self._db.hot_read() as connection:
            [plan] = await file_store.list_results(connection, work.operation_id)
        await work.save(Step(0, _PLANNED, rows_total=planned, source_file_id=plan.file_id))
        await failpoint("bulk.repricing.planned")
        return plan.file_id

    async def _read(self, page: Page, rule: Rule, token: str) -> tuple[list[Planned], str]:
        """Return the rows of a page of the plan, and the token of the next one of the same products."""
        request = pb.ListAllProductsRequest()
        request.CopyFrom(page.request)
        request.page_size, request.page_token = PAGE_PRODUCTS, token
        found: list[Planned] = []
        named = {*request.product_ids, *page.skus}
        while True:
            answer = await self._products.ListAllProducts(request, timeout=CALL_SECONDS)
            for product in answer.products:
                named.discard(product.product_id)
                for variant in product.variants:
                    if not page.skus or variant.sku in page.skus:
                        named.discard(variant.sku)
                        found.append(_reckoned(variant, rule))
            request.page_token = answer.next_page_token
            # Of what is named all pages are read at once, a hundred products at most, to say what there is not.
            if not (request.page_token and (request.product_ids or page.skus)):
                break
        found += [(name, "", "", "", "there is no such product or SKU") for name in sorted(named)]
        return found, answer.next_page_token


def read(file: TextIO, format: Format) -> Iterator[Thing]:
    """Yield the prices of a plan."""
    return messages.things(rows.read_csv(file, required=COLUMNS, known=COLUMNS), _price)


def rule_of(wanted: operation_pb2.Repricing) -> Rule:
    """Return the rule of a job."""
    return Rule(
        percent=Decimal(wanted.percent),
        step_minor=wanted.round_to_minor or 1,
        ending_minor=wanted.ending_minor,
        rounding=_ROUNDINGS[wanted.rounding],
    )


def pages_of(wanted: operation_pb2.Repricing) -> list[Page]:
    """Return what is asked for, one after the other."""
    match wanted.WhichOneof("selection"):
        case "products":
            ids = [each.lower() for each in wanted.products.product_ids]
            products = [Page(pb.ListAllProductsRequest(product_ids=some)) for some in _chunks(ids)]
            skus = _chunks(wanted.products.skus)
            return products + [Page(pb.ListAllProductsRequest(skus=some), frozenset(some)) for some in skus]
        case "category_id":
            return [Page(pb.ListAllProductsRequest(category_id=wanted.category_id))]
        case _:
            return [Page(pb.ListAllProductsRequest())]


def _chunks(names: Sequence[str]) -> Iterator[list[str]]:
    rest = iter(names)
    while some := list(islice(rest, PAGE_PRODUCTS)):
        yield some


def _reckoned(variant: product_pb2.Variant, rule: Rule) -> Planned:
    costs = variant.price.minor_units
    price = rule.price_of(costs)
    problem = "it would cost nothing" if costs and not price else ""
    return variant.sku, variant.price.currency_code, costs, price, problem


def _written(planned: Sequence[Planned], *, header: bool) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text)
    if header:
        writer.writerow(COLUMNS)
    writer.writerows(planned)
    return text.getvalue().encode()


def _price(values: dict[str, Any]) -> pb.SkuPrice:
    if values["problem"]:
        raise RowInvalid(f"{values['sku']}: {values['problem']}")
    currency = values["currency_code"]
    return pb.SkuPrice(
        sku=values["sku"],
        price=money_pb2.Money(currency_code=currency, minor_units=rows.integer(values, "price_minor")),
        expected_price=money_pb2.Money(currency_code=currency, minor_units=rows.integer(values, "costs_minor")),
    )
