"""What a replay asks of the shop: goods, deliveries, buyers and their money, orders, and refunds of what came back."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Any, TypeVar

from bookkeeping.countries import code_of
from bookkeeping.invoices import Invoice, ShelfItem
from bookkeeping.returns import Part, Refund
from replay.deliveries import Delivery
from replay.edge import Edge, Refused, ReplayFailed

T = TypeVar("T")

PRODUCTS_PER_CALL = 500
ITEMS_PER_CALL = 1000
DECIDED_TRIES = 12
"""How often an order is asked for that is still being decided; each time its key waits for seconds."""
SETTLED_TRIES, SETTLED_PAUSE_SECONDS = 60, 0.5
"""How often an order is looked at until its money is back."""
ADDRESS = {"fullName": "Invoice customer", "line1": "As on the invoice", "city": "Unknown"}
"""All that a file knows of an address but its country."""
MAILBOX = re.compile("[A-Za-z0-9-]{1,64}")
OVER = "ORDER_NOT_SHIPPABLE"
"""What an order says to a shipment that is over, or was never confirmed."""
REFUNDED = frozenset({"PARTIALLY_REFUNDED", "REFUNDED"})


@dataclass(frozen=True, slots=True)
class Order:
    """An order as the shop tells it, or the reason of its refusal; the total in pence."""

    order_id: str = ""
    status: str = ""
    total_minor: int = 0
    placed_at: str = ""
    refusal: str = ""

    def placed_since(self, began_at: datetime) -> bool:
        """Whether the shop placed it after that moment."""
        return bool(self.placed_at) and datetime.fromisoformat(self.placed_at) >= began_at


@dataclass(frozen=True, slots=True)
class GivenBack:
    """A refund as the shop tells it, or the reason of its refusal; the amount in pence."""

    amount_minor: int = 0
    refusal: str = ""


@dataclass
class Importer:
    """The importer of a shop. Whatever it does carries a key made of what it is, so that it may be done again."""

    edge: Edge
    users: dict[str, str] = field(default_factory=dict)
    """User ids by buyer."""
    _shipped: set[str] = field(default_factory=set)

    async def put_on_the_shelf(self, items: Sequence[ShelfItem]) -> None:
        """Make every product that there is not."""

        async def create(chunk: list[ShelfItem]) -> None:
            products = [
                {"title": item.title, "variants": [{"sku": item.stock_code, "price": _gbp(item.price_minor)}]}
                for item in chunk
            ]
            await self.edge.needed("/v1/products:batchCreate", {"products": products})

        await asyncio.gather(*(create(chunk) for chunk in _chunks(items, PRODUCTS_PER_CALL)))

    async def receive(self, delivery: Delivery) -> None:
        """Take in the goods of a delivery."""
        for chunk in _chunks(list(delivery.units.items()), ITEMS_PER_CALL):
            reason = f"delivery of {delivery.on}"
            adjustments = [{"sku": code, "delta": units, "reason": reason} for code, units in chunk]
            body = {"adjustments": adjustments}
            await self.edge.needed("/v1/inventory:batchAdjust", body, key=_key("stock", adjustments))

    async def make_buyers(self, invoices: Sequence[Invoice]) -> None:
        """Make a user for each buyer, and put into their wallets what the invoices cost."""
        owed: dict[str, int] = {}
        for invoice in invoices:
            owed[invoice.buyer] = owed.get(invoice.buyer, 0) + invoice.total_minor
        for chunk in _chunks(list(owed), ITEMS_PER_CALL):
            body = {"users": [{"externalId": buyer, "displayName": buyer} for buyer in chunk]}
            for result in (await self.edge.needed("/v1/users:batchImport", body))["results"]:
                self.users[result["externalId"]] = result["userId"]
        for chunk in _chunks(list(owed), ITEMS_PER_CALL):
            credits = [{"userId": self.users[buyer], "amount": _gbp(owed[buyer])} for buyer in chunk]
            await self.edge.needed("/v1/wallets:batchCredit", {"credits": credits}, key=_key("credit", credits))

    async def place(self, invoice: Invoice) -> Order:
        """Place an invoice as one order; a refusal is an answer like any other."""
        body = {
            "expectedTotal": _gbp(invoice.total_minor),
            "shippingAddress": {**ADDRESS, "countryCode": code_of(invoice.country)},
            "contactEmail": f"{_mailbox(invoice.buyer)}@example.com",
            "payment": {"wallet": {}},
            "lines": [
                {"sku": line.stock_code, "quantity": line.quantity, "agreedPrice": _gbp(line.price_minor)}
                for line in invoice.lines
            ],
            "effectiveTime": wire_time(invoice.at),
        }
        if invoice.shipping_minor:
            body["agreedShipping"] = _gbp(invoice.shipping_minor)
        if invoice.discount_minor:
            body["agreedDiscount"] = _gbp(invoice.discount_minor)
        key, user_id = invoice.key, self.users[invoice.buyer]
        for _ in range(DECIDED_TRIES):
            try:
                order = (await self.edge.call("/v1/orders", body, key=key, user_id=user_id))["order"]
            except Refused as refusal:
                return Order(refusal=str(refusal))
            if order["status"] != "PENDING":
                total_minor = int(order["total"]["minorUnits"])
                return Order(order["orderId"], order["status"], total_minor, order["createTime"])
        raise ReplayFailed(f"invoice {invoice.number} is still being decided; the same command goes on from here")

    async def give_back(self, refund: Refund) -> GivenBack:
        """Send money back of an order, with the units that came back; goods go on the shelf again."""
        body: dict[str, Any] = {
            "amount": _gbp(refund.amount_minor),
            "reason": f"credit note {refund.note}",
            "effectiveTime": wire_time(refund.at),
        }
        try:
            if refund.units:
                await self._has_left(refund)
                body["lines"] = [{"lineNumber": number, "quantity": units} for number, units in refund.units]
                body["restock"] = refund.part is Part.GOODS
            answer = await self.edge.call(f"/v1/orders/{refund.order_id}/refunds", body, key=refund.key)
        except Refused as refusal:
            return GivenBack(refusal=str(refusal))
        return GivenBack(int(answer["refund"]["amount"]["minorUnits"]))

    async def refunded_minor(self, order_id: str, buyer: str) -> int:
        """Return what an order says went back, once its money is back, or as it stands when that takes too long."""
        for attempt in range(SETTLED_TRIES):
            answer = await self.edge.call(f"/v1/orders/{order_id}", method="GET", user_id=self.users[buyer])
            if answer["order"]["paymentStatus"] in REFUNDED:
                return int(answer["order"]["refunded"]["minorUnits"])
            if attempt + 1 < SETTLED_TRIES:
                await asyncio.sleep(SETTLED_PAUSE_SECONDS)
        return 0

    async def _has_left(self, refund: Refund) -> None:
        """What comes back has left before; the file has no day for it, so that it counts as late as it can.

        An order that this very refund has ended, when its answer was lost, does not leave again: its key knows better.
        """
        if refund.order_id not in self._shipped:
            try:
                await self.edge.call(f"/v1/orders/{refund.order_id}:ship", {"effectiveTime": wire_time(refund.at)})
            except Refused as refusal:
                if str(refusal) != OVER:
                    raise
            self._shipped.add(refund.order_id)


def wire_time(at: datetime) -> str:
    """Return a time as JSON has it."""
    return at.isoformat().replace("+00:00", "Z")


def _mailbox(buyer: str) -> str:
    """Return a name that a mailbox may have; a shop may number its customers as it likes."""
    return buyer if MAILBOX.fullmatch(buyer) else f"buyer-{hashlib.sha256(buyer.encode()).hexdigest()[:32]}"


def _gbp(minor: int) -> dict[str, Any]:
    return {"currencyCode": "GBP", "minorUnits": str(minor)}


def _key(kind: str, content: Any) -> str:
    """Return an idempotency key made of what is asked for, so that a repeated replay asks for the same."""
    return f"replay-{kind}-{hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]}"


def _chunks(items: Sequence[T], size: int) -> Iterator[list[T]]:
    rest = iter(items)
    while chunk := list(islice(rest, size)):
        yield chunk
