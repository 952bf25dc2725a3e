"""The calls of a replay: goods, stock, customers and money first, then every invoice as one order."""

from __future__ import annotations

import asyncio
import hashlib
import json
import ssl
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import httpx

from replay.invoices import Invoice, ShelfItem

T = TypeVar("T")

PROFILE = "load"
"""The limits that a replay fits into: everything comes from one address, in the name of hundreds of customers."""

PRODUCTS_PER_CALL = 500
ITEMS_PER_CALL = 1000
RUNNING_CALLS = 16
"""Calls under way at once."""
STOCK_UNITS = 100_000
"""Units of each product: more than any day sells."""
CALL_SECONDS = 30.0
PAUSES_SECONDS = (0.2, 0.5, 1.0)
"""Between tries of a call whose answer was lost. Asking again is safe: it has a key, or changes nothing twice."""
UNKNOWN_ANSWERS = frozenset({502, 503, 504})
ADDRESS = {"fullName": "Invoice customer", "line1": "As on the invoice", "city": "Unknown", "countryCode": "GB"}


class ReplayFailed(Exception):
    """The mesh refused something that a replay can't do without; the message says what and why."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one invoice: the order's total in pence and when it was placed, or the reason of its refusal."""

    invoice: Invoice
    status: str = ""
    total_minor: int = 0
    placed_at: datetime | None = None
    refusal: str = ""


@dataclass
class Importer:
    """An importer's session at the edge of a running mesh."""

    http: httpx.AsyncClient
    token: str = ""
    _turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(RUNNING_CALLS))

    @classmethod
    def at(cls, endpoints: dict[str, Any]) -> Importer:
        """Return an importer for the mesh whose endpoints.json this is."""
        limits = httpx.Limits(max_connections=RUNNING_CALLS, max_keepalive_connections=RUNNING_CALLS)
        trust = ssl.create_default_context(cafile=endpoints["ca"])
        # The mesh is on this machine: a proxy that the environment names has no business here.
        return cls(
            httpx.AsyncClient(
                base_url=endpoints["edge"], verify=trust, limits=limits, timeout=CALL_SECONDS, trust_env=False
            )
        )

    async def sign_in(self, email: str, password: str) -> None:
        """Open the importer's session."""
        self.token = (await self._call("/v1/sessions", {"email": email, "password": password}))["accessToken"]

    async def stock_the_shop(self, items: Sequence[ShelfItem]) -> None:
        """Put every product on the shelf, with ample stock."""
        await asyncio.gather(*(self._create_products(chunk) for chunk in _chunks(items, PRODUCTS_PER_CALL)))
        await asyncio.gather(*(self._receive(chunk) for chunk in _chunks(items, ITEMS_PER_CALL)))

    async def make_buyers(self, invoices: Sequence[Invoice]) -> dict[str, str]:
        """Make a user for each buyer and put into their wallets what the invoices cost; returns their tokens."""
        owed: dict[str, int] = {}
        for invoice in invoices:
            owed[invoice.buyer] = owed.get(invoice.buyer, 0) + invoice.total_minor
        users: dict[str, str] = {}
        for chunk in _chunks(list(owed), ITEMS_PER_CALL):
            body = {"users": [{"externalId": buyer, "displayName": buyer} for buyer in chunk]}
            for result in (await self._call("/v1/users:batchImport", body))["results"]:
                users[result["externalId"]] = result["userId"]
        for chunk in _chunks(list(owed), ITEMS_PER_CALL):
            credits = [{"userId": users[buyer], "amount": _gbp(owed[buyer])} for buyer in chunk]
            answer = await self._call("/v1/wallets:batchCredit", {"credits": credits}, key=_key("credit", credits))
            _refuse_errors(answer["results"], "a wallet could not be credited")
        tokens = await asyncio.gather(*(self._act_for(user_id) for user_id in users.values()))
        return dict(zip(users, tokens, strict=True))

    async def place(
        self, invoices: Sequence[Invoice], tokens: dict[str, str], placed: Callable[[Outcome], None]
    ) -> list[Outcome]:
        """Place every invoice as one order; tells `placed` as each is done. The outcomes keep the invoices' order."""

        async def one(invoice: Invoice) -> Outcome:
            outcome = await self._place(invoice, tokens[invoice.buyer])
            placed(outcome)
            return outcome

        return list(await asyncio.gather(*(one(invoice) for invoice in invoices)))

    async def _place(self, invoice: Invoice, token: str) -> Outcome:
        body = {
            "expectedTotal": _gbp(invoice.total_minor),
            "shippingAddress": ADDRESS,
            "contactEmail": f"{invoice.buyer}@example.com",
            "payment": {"wallet": {}},
            "lines": [
                {"sku": line.stock_code, "quantity": line.quantity, "agreedPrice": _gbp(line.price_minor)}
                for line in invoice.lines
            ],
            "effectiveTime": invoice.at.isoformat().replace("+00:00", "Z"),
        }
        response = await self._send("/v1/orders", body, token=token, key=f"invoice-{invoice.number}")
        if response.status_code != 200:
            return Outcome(invoice, refusal=_reason(response))
        order = response.json()["order"]
        placed_at = datetime.fromisoformat(order["createTime"])
        return Outcome(invoice, order["status"], int(order["total"]["minorUnits"]), placed_at)

    async def _create_products(self, items: Sequence[ShelfItem]) -> None:
        products = [
            {"title": item.title, "variants": [{"sku": item.stock_code, "price": _gbp(item.price_minor)}]}
            for item in items
        ]
        answer = await self._call("/v1/products:batchCreate", {"products": products})
        _refuse_errors(answer["results"], "a product was refused")

    async def _receive(self, items: Sequence[ShelfItem]) -> None:
        adjustments = [{"sku": item.stock_code, "delta": STOCK_UNITS, "reason": "replay"} for item in items]
        body = {"adjustments": adjustments}
        answer = await self._call("/v1/inventory:batchAdjust", body, key=_key("stock", adjustments))
        _refuse_errors(answer["results"], "stock could not be received")

    async def _act_for(self, user_id: str) -> str:
        token: str = (await self._call("/v1/sessions:exchange", {"subjectUserId": user_id}))["accessToken"]
        return token

    async def _call(self, path: str, body: Any, *, key: str = "") -> Any:
        response = await self._send(path, body, token=self.token, key=key)
        if response.status_code != 200:
            raise ReplayFailed(f"POST {path} was refused with {response.status_code} {_reason(response)}")
        return response.json()

    async def _send(self, path: str, body: Any, *, token: str, key: str) -> httpx.Response:
        headers = {"authorization": f"Bearer {token}"} if token else {}
        if key:
            headers["idempotency-key"] = key
        async with self._turns:
            for pause in (*PAUSES_SECONDS, None):
                try:
                    response = await self.http.post(path, json=body, headers=headers)
                except httpx.TransportError as error:
                    if pause is None or isinstance(error, httpx.ConnectError):
                        name = type(error).__name__
                        raise ReplayFailed(f"POST {path}: the edge does not answer ({name})") from error
                else:
                    busy = response.status_code == 429 and _reason(response) == "OVERLOADED"
                    if response.status_code == 429 and not busy:
                        raise ReplayFailed(
                            f"the edge limits one address; start the mesh for imports: make up PROFILE={PROFILE}"
                        )
                    if pause is None or not (busy or response.status_code in UNKNOWN_ANSWERS):
                        return response
                await asyncio.sleep(pause)
        raise AssertionError("the last turn returns or raises")


def read_endpoints(home: Path) -> dict[str, Any]:
    """Return where the mesh of a home is.

    Raises:
        ReplayFailed: No mesh is running there, or one whose limits are too low for a replay.
    """
    try:
        endpoints: dict[str, Any] = json.loads((home / "endpoints.json").read_text())
    except FileNotFoundError:
        raise ReplayFailed(f"no mesh is running in {home}; start one: make up PROFILE={PROFILE}") from None
    if (running := endpoints["profile"]) != PROFILE:
        raise ReplayFailed(
            f"a replay needs the rate limits of PROFILE={PROFILE}, and the mesh of {home} runs with "
            f"PROFILE={running}: make down, then make up PROFILE={PROFILE}"
        )
    return endpoints


def _gbp(minor: int) -> dict[str, Any]:
    return {"currencyCode": "GBP", "minorUnits": str(minor)}


def _key(kind: str, content: Any) -> str:
    """Return an idempotency key made of what is asked for, so that a repeated replay asks for the same."""
    return f"replay-{kind}-{hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]}"


def _reason(response: httpx.Response) -> str:
    try:
        details = response.json()["error"]["details"]
        return next(str(each["reason"]) for each in details if "reason" in each)
    except (ValueError, KeyError, TypeError, StopIteration):
        return f"HTTP_{response.status_code}"


def _refuse_errors(results: Iterable[dict[str, Any]], what: str) -> None:
    for result in results:
        if "error" in result:
            raise ReplayFailed(f"{what}: {result['error'].get('message', result['error'])}")


def _chunks(items: Sequence[T], size: int) -> Iterator[list[T]]:
    rest = iter(items)
    while chunk := list(islice(rest, size)):
        yield chunk
