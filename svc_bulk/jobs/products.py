"""Products: read from files, put into the catalogue, and written to files again."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from typing import Any, TextIO
from uuid import UUID

from google.protobuf import json_format
from google.protobuf.message import Message

from mesh.refusals import Refusal
from svc_bulk.errors import RowInvalid
from svc_bulk.file import wire as file_wire
from svc_bulk.file.store import Format
from svc_bulk.jobs import messages, rows
from svc_bulk.jobs.rows import Row
from svc_bulk.jobs.table import CALL_SECONDS, Done, Table, Thing
from svc_bulk.operation.store import Step
from svc_bulk.operation.work import Work
from titan.catalog.v1 import product_pb2
from titan.catalog.v1 import product_service_pb2 as pb
from titan.type.v1 import money_pb2

REQUIRED = ("sku", "price_minor", "title")
COLUMNS = (
    "product",
    "sku",
    "price_minor",
    "currency_code",
    "tax_rate_basis_points",
    "title",
    "description",
    "category_ids",
    "seller_id",
    "attributes",
)
"""Of a CSV file, in the order in which an export writes them."""
MAX_ROWS_A_PRODUCT = 100
EXPORT_PRODUCTS = 50
"""Products of one call of an export."""
OUTCOMES = {
    pb.PUT_OUTCOME_CREATED: Done.CREATED,
    pb.PUT_OUTCOME_UPDATED: Done.UPDATED,
    pb.PUT_OUTCOME_UNCHANGED: Done.UNCHANGED,
}
_END = "end"
"""The place of an export that has written its last row; before that it is the token of the next page."""


def read(file: TextIO, format: Format) -> Iterator[Thing]:
    """Yield the products of a file."""
    if format is Format.CSV:
        return _grouped(rows.read_csv(file, required=REQUIRED, known=COLUMNS))
    return messages.things(rows.read_ndjson(file), _from_json)


class Puts:
    """Asks the catalogue for products."""

    def __init__(self, products: Any) -> None:
        self._products = products

    async def __call__(
        self, operation_id: UUID, request_id: str, wanted: Sequence[Message], dry_run: bool
    ) -> list[Done | Refusal]:
        """Put products under a request id; one answer each."""
        request = pb.BatchPutProductsRequest(
            operation_id=str(operation_id), request_id=request_id, validate_only=dry_run
        )
        request.products.extend(wanted)  # type: ignore[arg-type]
        answer = await self._products.BatchPutProducts(request, timeout=CALL_SECONDS)
        return [done_of(each) for each in answer.results]


def done_of(result: pb.PutResult) -> Done | Refusal:
    """Return what became of a product or a price."""
    return Refusal.from_status(result.error) if result.HasField("error") else OUTCOMES[result.outcome]


class ProductImport:
    """Adds and changes products as the rows of a file say."""

    def __init__(self, table: Table) -> None:
        self._table = table

    async def run(self, work: Work) -> None:
        """Carry over what has not been yet."""
        wanted = work.job.product_import
        await self._table.run(work, await work.source(wanted.dry_run))


class ProductExport:
    """Writes all products to a file."""

    def __init__(self, products: Any) -> None:
        self._products = products

    async def run(self, work: Work) -> None:
        """Write the pages that are not written yet."""
        format = file_wire.format_of(work.job.product_export.format)
        name = f"products.{format.value.lower()}"
        place, position, done = work.operation.place, work.operation.position, work.operation.progress.rows_done
        while place != _END:
            with work.timed() as rest:
                request = pb.ListAllProductsRequest(page_size=EXPORT_PRODUCTS, page_token=place)
                page = await self._products.ListAllProducts(request, timeout=CALL_SECONDS)
                content, written = write(page.products, format, header=not position)
                place, position, done = page.next_page_token or _END, position + 1, done + written
                step = Step(position, place, rows_done=done, rows_total=done if place == _END else 0)
                await work.save(step, outputs=[(name, format, content)])
            await rest()


def write(products: Sequence[product_pb2.Product], format: Format, *, header: bool) -> tuple[bytes, int]:
    """Return products as rows of a file, and how many rows they are."""
    text = io.StringIO()
    if format is Format.NDJSON:
        for product in products:
            text.write(json.dumps(_to_json(product), ensure_ascii=False, separators=(",", ":")) + "\n")
        return text.getvalue().encode(), len(products)
    writer = csv.writer(text)
    if header:
        writer.writerow(COLUMNS)
    lines = [line for product in products for line in _lines_of(product)]
    writer.writerows(lines)
    return text.getvalue().encode(), len(lines)


def _grouped(found: Iterator[Row]) -> Iterator[Thing]:
    """Yield the products of CSV rows: rows that follow one another with the same `product` are one."""
    group: list[Row] = []
    for row in found:
        if group and not (_key(row) and _key(row) == _key(group[0]) and len(group) < MAX_ROWS_A_PRODUCT):
            yield _product(group)
            group = []
        group.append(row)
    if group:
        yield _product(group)


def _key(row: Row) -> str:
    return (row.values or {}).get("product") or ""


def _product(group: Sequence[Row]) -> Thing:
    variants = []
    for row in group:
        if row.values is None:
            return Thing(row.number, len(group), problem=row.problem)
        try:
            variants.append(messages.checked(_variant(row.values)))
        except RowInvalid as problem:
            return Thing(row.number, len(group), problem=problem)
    first = group[0].values or {}

    def make() -> product_pb2.Product:
        return product_pb2.Product(
            title=rows.text(first, "title"),
            description=rows.text(first, "description"),
            category_ids=filter(None, rows.text(first, "category_ids").split("|")),
            seller_id=rows.text(first, "seller_id"),
            variants=variants,
        )

    return messages.thing(group[0].number, len(group), make)


def _variant(values: dict[str, Any]) -> product_pb2.Variant:
    rate = rows.integer(values, "tax_rate_basis_points", -1)
    return product_pb2.Variant(
        sku=rows.text(values, "sku"),
        price=price_of(values),
        attributes=_attributes(rows.text(values, "attributes", "{}")),
        tax_rate_basis_points=None if rate == -1 else _small(rate, "tax_rate_basis_points"),
    )


def price_of(values: dict[str, Any]) -> money_pb2.Money:
    """Return the price of a row.

    Raises:
        RowInvalid: It is missing, or no whole number of minor units.
    """
    return money_pb2.Money(
        currency_code=rows.text(values, "currency_code", "GBP"), minor_units=rows.integer(values, "price_minor")
    )


def _small(number: int, name: str) -> int:
    if not -(2**31) <= number < 2**31:
        raise RowInvalid(f"{name}: is too large")
    return number


def _attributes(text: str) -> dict[str, str]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise RowInvalid("attributes: must be a JSON object of texts")
    return found


def _from_json(values: dict[str, Any]) -> product_pb2.Product:
    try:
        product: product_pb2.Product = json_format.ParseDict(values, product_pb2.Product())
    except json_format.ParseError as problem:
        raise RowInvalid(str(problem)) from None
    return product


def _to_json(product: product_pb2.Product) -> dict[str, Any]:
    """Return what an import needs of a product: not its id, its times and its etag, which are this shop's."""
    kept = product_pb2.Product()
    kept.CopyFrom(product)
    for name in ("product_id", "create_time", "update_time", "etag"):
        kept.ClearField(name)  # type: ignore[arg-type]
    written: dict[str, Any] = json_format.MessageToDict(kept)
    return written


def _lines_of(product: product_pb2.Product) -> Iterator[tuple[object, ...]]:
    for variant in product.variants:
        yield (
            product.product_id,
            variant.sku,
            variant.price.minor_units,
            variant.price.currency_code,
            variant.tax_rate_basis_points,
            product.title,
            product.description,
            "|".join(product.category_ids),
            product.seller_id,
            json.dumps(dict(sorted(variant.attributes.items())), ensure_ascii=False) if variant.attributes else "",
        )
