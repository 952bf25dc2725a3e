"""Stock: units on hand as the rows of a file say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TextIO
from uuid import UUID

from google.protobuf.message import Message

from mesh.refusals import Refusal
from svc_bulk.errors import RowInvalid
from svc_bulk.file.store import Format
from svc_bulk.jobs import messages, rows
from svc_bulk.jobs.table import CALL_SECONDS, Done, Table, Thing
from svc_bulk.operation.work import Work
from titan.inventory.v1 import inventory_service_pb2 as pb

COLUMNS = ("sku", "on_hand", "delta", "warehouse_id", "reason")


def read(file: TextIO, format: Format) -> Iterator[Thing]:
    """Yield the changes of a file."""
    if format is Format.CSV:
        return messages.things(rows.read_csv(file, required=("sku",), known=COLUMNS), _change)
    return messages.things(rows.read_ndjson(file), _change)


class Changes:
    """Asks the inventory for changes."""

    def __init__(self, inventory: Any) -> None:
        self._inventory = inventory

    async def __call__(
        self, operation_id: UUID, request_id: str, wanted: Sequence[Message], dry_run: bool
    ) -> list[Done | Refusal]:
        """Change units on hand under a request id; one answer each."""
        request = pb.BatchSetStockRequest(operation_id=str(operation_id), request_id=request_id, validate_only=dry_run)
        request.changes.extend(wanted)  # type: ignore[arg-type]
        answer = await self._inventory.BatchSetStock(request, timeout=CALL_SECONDS)
        return [_done(each) for each in answer.results]


class StockUpdate:
    """Changes units on hand as the rows of a file say."""

    def __init__(self, table: Table) -> None:
        self._table = table

    async def run(self, work: Work) -> None:
        """Carry over what has not been yet."""
        await self._table.run(work, await work.source(work.job.stock_update.dry_run))


def _change(values: dict[str, Any]) -> pb.StockChange:
    rows.only(values, COLUMNS)
    given = [name for name in ("on_hand", "delta") if values.get(name) not in (None, "")]
    if len(given) != 1:
        raise RowInvalid("exactly one must be given: on_hand or delta")
    change = pb.StockChange(
        sku=rows.text(values, "sku"),
        reason=rows.text(values, "reason", "bulk update"),
        warehouse_id=rows.text(values, "warehouse_id"),
    )
    setattr(change, given[0], rows.integer(values, given[0]))
    return change


def _done(result: pb.SetStockResult) -> Done | Refusal:
    if result.HasField("error"):
        return Refusal.from_status(result.error)
    return Done.UPDATED if result.on_hand_delta else Done.UNCHANGED
