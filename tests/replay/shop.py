"""A shop behind an edge, in memory: it says yes, keeps what it was asked, and remembers what it did under which key."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx

from replay.edge import Edge


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
    _came: dict[str, asyncio.Event] = field(default_factory=lambda: defaultdict(asyncio.Event))
    _instead: dict[str, list[httpx.Response | Exception]] = field(default_factory=lambda: defaultdict(list))
    _answers: dict[str, dict[str, Any]] = field(default_factory=dict)

    def edge(self) -> Edge:
        """Return the way in."""
        http = httpx.AsyncClient(base_url="https://shop.test", transport=httpx.MockTransport(self._answer))
        return Edge(http, "importer@titan.local", "secret")

    def say(self, path: str, *answers: httpx.Response | Exception) -> None:
        """Answer the next calls of a path with these instead."""
        self._instead[path] = list(answers)

    def to(self, path: str) -> list[Asked]:
        """Return the calls of a path."""
        return [each for each in self.asked if each.path == path]

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        if self.dies_after is not None:
            if not self.dies_after:
                raise httpx.ConnectError("gone")
            self.dies_after -= 1
        path, body = request.url.path, json.loads(request.content or b"{}")
        key = request.headers.get("idempotency-key", "")
        self.asked.append(Asked(path, key, request.headers.get("authorization", ""), body))
        self._came[key].set()
        if key in self.held:
            await self._came[self.held[key]].wait()
        if self._instead[path]:
            said = self._instead[path].pop(0)
            if isinstance(said, Exception):
                raise said
            return said
        if key in self._answers:
            return httpx.Response(200, json=self._answers[key])
        answer = self._do(path, body, key)
        if isinstance(answer, httpx.Response):
            return answer
        if key:
            self._answers[key] = answer
        return httpx.Response(200, json=answer)

    def _do(self, path: str, body: dict[str, Any], key: str) -> dict[str, Any] | httpx.Response:
        match path.split("/")[2:]:
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
                self.refunded[order_id] += int(body["amount"]["minorUnits"])
                return {"refund": {"amount": body["amount"]}}
            case ["orders", order_id] if ":" not in order_id:
                refunded = str(self.refunded[order_id])
                return {"order": {"paymentStatus": "PARTIALLY_REFUNDED", "refunded": {"minorUnits": refunded}}}
        return {"results": []}

    def _place(self, body: dict[str, Any], key: str) -> dict[str, Any] | httpx.Response:
        for each in body["lines"]:
            if self.stock.get(each["sku"], 0) < each["quantity"]:
                return refusal(400, "OUT_OF_STOCK")
        for each in body["lines"]:
            self.stock[each["sku"]] -= each["quantity"]
        total = {**body["expectedTotal"]}
        total["minorUnits"] = str(int(total["minorUnits"]) - self.short_pence)
        at = self.placed_at.get(key) or datetime.now(UTC).isoformat().replace("+00:00", "Z")
        return {"order": {"orderId": f"order of {key}", "status": "CONFIRMED", "total": total, "createTime": at}}
