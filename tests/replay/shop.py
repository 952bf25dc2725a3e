"""A shop behind an edge, in memory: it says yes, keeps what it was asked, and remembers what it did under which key."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from collections import defaultdict
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import httpx

from bookkeeping import books, file, invoices, matching, report
from bookkeeping.invoices import CreditNote
from bookkeeping.matching import ShopOrder, ShopRefund
from replay.edge import Edge, reason_of

FILE_PART_BYTES = 1000
"""Of a file that is read, in one answer."""


def refusal(status: int, reason: str) -> httpx.Response:
    """Return a refusal as the edge writes it."""
    return httpx.Response(status, json={"error": {"details": [{"reason": reason}]}})


@dataclass(frozen=True)
class Asked:
    """One call."""

    path: str
    key: str
    authorization: str
    body: dict[str, Any]


@dataclass
class Shop:
    """Stock is counted once it was delivered; an order that finds too little is refused."""

    asked: list[Asked] = field(default_factory=list)
    stock: dict[str, int] = field(default_factory=dict)
    refunded: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    placed_at: dict[str, str] = field(default_factory=dict)
    short_pence: int = 0
    dies_after: int | None = None
    """How many calls it answers before its edge is gone."""
    held: dict[str, str] = field(default_factory=dict)
    """Keys whose calls are answered only once the call with another key has come."""
    lines: bytes = b""
    """The file that it was sent."""
    jobs: list[dict[str, Any]] = field(default_factory=list)
    """The operations that it was asked for."""
    orders: dict[str, ShopOrder] = field(default_factory=dict)
    _came: dict[str, asyncio.Event] = field(default_factory=lambda: defaultdict(asyncio.Event))
    _instead: dict[str, list[httpx.Response | Exception]] = field(default_factory=lambda: defaultdict(list))
    _answers: dict[str, dict[str, Any]] = field(default_factory=dict)
    _written: dict[str, bytes] = field(default_factory=dict)

    def edge(self) -> Edge:
        """Return the way in."""
        http = httpx.AsyncClient(base_url="https://shop.test", transport=httpx.MockTransport(self._answer))
        return Edge(http, "importer@titan.local", "secret")

    def say(self, path: str, *answers: httpx.Response | Exception) -> None:
        """Answer the next calls of a path with these instead."""
        self._instead[path] = list(answers)

    def keep(self, file_id: str, content: bytes) -> None:
        """Have a file."""
        self._written[file_id] = content

    def to(self, path: str) -> list[Asked]:
        """Return the calls of a path."""
        return [each for each in self.asked if each.path == path]

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        if self.dies_after is not None:
            if not self.dies_after:
                raise httpx.ConnectError("gone")
            self.dies_after -= 1
        path, is_file = request.url.path, request.headers.get("content-type") == "text/csv"
        body = {"content": request.content} if is_file else json.loads(request.content or b"{}")
        key = request.headers.get("idempotency-key", "")
        self.asked.append(Asked(path, key, request.headers.get("authorization", ""), body))
        self._came[key].set()
        if key in self.held:
            await self._came[self.held[key]].wait()
        if self._instead[path]:
            said = self._instead[path].pop(0)
            if isinstance(said, Exception):
                raise said
            if path == "/v1/orders" and said.status_code == 400:
                self._note(f"refused {key}", key, body, refusal=reason_of(said))
            return said
        if key in self._answers:
            return httpx.Response(200, json=self._answers[key])
        answer = self._do(path, body, key, request.url.params)
        if isinstance(answer, httpx.Response):
            return answer
        if key:
            self._answers[key] = answer
        return httpx.Response(200, json=answer)

    def _do(
        self, path: str, body: dict[str, Any], key: str, params: httpx.QueryParams
    ) -> dict[str, Any] | httpx.Response:
        match path.split("/")[2:]:
            case ["files"]:
                self.lines = body["content"]
                return {"file": {"fileId": "f"}}
            case ["files", "f:append"]:
                assert len(self.lines) == int(params["offset"])
                self.lines += body["content"]
                return {"file": {"fileId": "f"}}
            case ["files", name]:
                content = self._written[name.removesuffix(":read")]
                return httpx.Response(200, content=content[int(params["offset"]) :][:FILE_PART_BYTES])
            case ["operations"]:
                self.jobs.append(body["job"])
                return {"operation": {"operationId": "o", "done": False}}
            case ["operations", "o:wait"]:
                return {"operation": self._done()}
            case ["sessions"]:
                return {"accessToken": "importer"}
            case ["sessions:exchange"]:
                return {"accessToken": f"for {body['subjectUserId']}"}
            case ["users:batchImport"]:
                return {"results": [{**user, "userId": f"user of {user['externalId']}"} for user in body["users"]]}
            case ["inventory:batchAdjust"]:
                for each in body["adjustments"]:
                    self.stock[each["sku"]] = self.stock.get(each["sku"], 0) + each["delta"]
            case ["orders"]:
                return self._place(body, key)
            case ["orders", order_id, "refunds"]:
                self.refunded[order_id] += (minor := int(body["amount"]["minorUnits"]))
                back = ShopRefund(datetime.fromisoformat(body["effectiveTime"]), minor)
                order = self.orders.get(order_id)
                if order is not None:
                    self.orders[order_id] = replace(order, refunds=(*order.refunds, back))
                return {"refund": {"amount": body["amount"]}}
            case ["orders", order_id] if ":" not in order_id:
                refunded = str(self.refunded[order_id])
                return {"order": {"paymentStatus": "PARTIALLY_REFUNDED", "refunded": {"minorUnits": refunded}}}
        return {"results": []}

    def _place(self, body: dict[str, Any], key: str) -> dict[str, Any] | httpx.Response:
        for each in body["lines"]:
            if self.stock.get(each["sku"], 0) < each["quantity"]:
                self._note(f"refused {key}", key, body, refusal="OUT_OF_STOCK")
                return refusal(400, "OUT_OF_STOCK")
        for each in body["lines"]:
            self.stock[each["sku"]] -= each["quantity"]
        total = {**body["expectedTotal"]}
        total["minorUnits"] = str(int(total["minorUnits"]) - self.short_pence)
        self._note(order_id := f"order of {key}", key, body, total_minor=int(total["minorUnits"]))
        at = self.placed_at.get(key) or datetime.now(UTC).isoformat().replace("+00:00", "Z")
        return {"order": {"orderId": order_id, "status": "CONFIRMED", "total": total, "createTime": at}}

    def _note(self, order_id: str, key: str, body: dict[str, Any], *, total_minor: int = 0, refusal: str = "") -> None:
        at = datetime.fromisoformat(body["effectiveTime"])
        self.orders[order_id] = ShopOrder(order_id, key, at, total_minor, refusal)

    def _done(self) -> dict[str, Any]:
        """Return the operation that was asked for last, done."""
        made = self._sums() if "salesReport" in self.jobs[-1] else self._books()
        self._written |= made
        files = [{"name": name, "fileId": name, "sizeBytes": str(len(content))} for name, content in made.items()]
        rows = len(self.lines.splitlines()) - 1 if self.lines else len(self.orders)
        progress = {"rowsDone": str(rows)}
        return {"operationId": "o", "done": True, "state": "SUCCEEDED", "files": files, "progress": progress}

    def _sums(self) -> dict[str, bytes]:
        counts = [each for each in self.orders.values() if not each.refusal]
        day = (str(counts[0].at.date()), "GBP", len(counts), 1, sum(each.total_minor for each in counts), 0, 0)
        head = ("currency_code", "orders", "units", "total_minor", "refunded_minor", "net_minor")
        tables = {
            "sales_by_day.csv": [("day", *head), day],
            "sales_by_country.csv": [("country_code", *head), ("IE", *day[1:])],
            "sales_by_customer.csv": [("user_id", *head), ("somebody", *day[1:])],
            "sales_by_product.csv": [("sku", "total_minor"), ("15A", 5)],
        }
        return {name: table(rows) for name, rows in tables.items()}

    def _books(self) -> dict[str, bytes]:
        """Return what the operation of the bulk worker writes of the file that was sent."""
        _, *rows = csv.reader(io.StringIO(self.lines.decode(), newline=""))
        lines = [file.parse(row) for row in rows]
        documents = invoices.documents(lines)
        held = matching.hold(documents, self.orders.values())
        notes = [each for each in documents if isinstance(each, CreditNote)]
        closed = books.reconcile(lines, notes, held.placed, held.returned, held.leftovers, held.beyond)
        return dict(report.tables(lines, closed, held.placed, held.returned, held.leftovers))


def table(rows: list[tuple[Any, ...]]) -> bytes:
    """Return rows as a CSV file."""
    csv.writer(text := io.StringIO()).writerows(rows)
    return text.getvalue().encode()
