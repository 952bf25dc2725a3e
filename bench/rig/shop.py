"""What a load is about: products with plenty of stock, guests with wallets, and the requests they send."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from bench.rig.wire import Reply, Unwanted, Wire

PRODUCTS = 60
UNITS = 1_000_000
PRICE_MINOR = 100
POCKET_MINOR = 5_000_000
LINES_PER_ORDER = 3
AT_ONCE = 8
"""Guests that are made at the same time."""

ADDRESS = {"fullName": "Ada Byron", "line1": "1 Mill Lane", "city": "Leeds", "countryCode": "GB"}
WALLET: dict[str, Any] = {"wallet": {}}
CARD: dict[str, Any] = {"card": {"token": "tok_visa"}}


def gbp(minor: int) -> dict[str, Any]:
    """Return an amount as JSON has it."""
    return {"currencyCode": "GBP", "minorUnits": str(minor)}


@dataclass(frozen=True, slots=True)
class Product:
    """What is sold."""

    product_id: str
    sku: str


@dataclass(slots=True)
class Guest:
    """Somebody with a full wallet and a session, whose tokens are traded for the next ones before they end."""

    user_id: str
    token: str
    refresh_token: str
    until: float
    """When the token is half through its life, by the monotonic clock."""


class Shop:
    """Products and guests of one mesh; guests are made when they are first wanted, and kept."""

    def __init__(self, wire: Wire, admin: str) -> None:
        """Begin without any; `admin` is a token of the administrator."""
        self._wire = wire
        self._admin = admin
        self._guests: list[Guest] = []
        self._in_use = 0
        self.products: list[Product] = []

    @classmethod
    async def open(cls, wire: Wire, endpoints: dict[str, Any], *, products: int = PRODUCTS) -> Shop:
        """Return a shop with its products."""
        credentials = {"email": endpoints["admin_email"], "password": endpoints["admin_password"]}
        shop = cls(wire, (await wire.post("/v1/sessions", credentials))["accessToken"])
        for first in range(0, products, AT_ONCE):
            numbers = range(first, min(products, first + AT_ONCE))
            shop.products += await asyncio.gather(*(shop._product(number) for number in numbers))
        return shop

    async def guests(self, count: int) -> list[Guest]:
        """Return so many guests with full wallets, and tokens that last for a while."""
        self._in_use = count
        await self.renew()
        while len(self._guests) < count:
            batch = min(AT_ONCE, count - len(self._guests))
            self._guests += await asyncio.gather(*(self._guest() for _ in range(batch)))
        return self._guests[:count]

    async def renew(self) -> None:
        """Trade the tokens that are half through their lives, of those that were asked for last: a run is longer."""
        due = [guest for guest in self._guests[: self._in_use] if time.monotonic() > guest.until]
        for first in range(0, len(due), AT_ONCE):
            await asyncio.gather(*(self._renew(guest) for guest in due[first : first + AT_ONCE]))

    def skus(self, buyer: int, number: int, *, lines: int = LINES_PER_ORDER) -> list[str]:
        """Return the different products that a buyer's order of this number is for, spread over all."""
        first = buyer * 7 + number * 3
        return [self.products[(first + line * 13) % len(self.products)].sku for line in range(lines)]

    def order_body(self, skus: list[str], payment: dict[str, Any]) -> bytes:
        """Return the body of an order of one unit of each."""
        lines = [{"sku": sku, "quantity": 1} for sku in skus]
        return json.dumps({**self.checkout_of(len(skus), payment), "lines": lines}).encode()

    def checkout_of(self, units: int, payment: dict[str, Any]) -> dict[str, Any]:
        """Return the body of an order of what is in the cart, so many units of anything."""
        return {
            "expectedTotal": gbp(units * PRICE_MINOR),
            "shippingAddress": ADDRESS,
            "contactEmail": "bench@example.com",
            "payment": payment,
        }

    async def fill(self, guest: Guest, skus: list[str]) -> int:
        """Put one unit of each into a guest's cart; returns how many units are in it then."""
        answers = [await self.add(guest, sku) for sku in skus]
        return sum(item["quantity"] for item in json.loads(answers[-1].body)["cart"]["items"])

    async def add(self, guest: Guest, sku: str) -> Reply:
        """Put one unit into a guest's cart; returns the answer, which has the whole cart."""
        item = {"sku": sku, "quantity": 1}
        return await self._wire.send(self._wire.request("POST", "/v1/cart/items", item, token=guest.token))

    async def order(self, guest: Guest, body: bytes) -> None:
        """Place an order, which has to be confirmed."""
        confirmed(await self._wire.send(self.order_request(guest, body)))

    def order_request(self, guest: Guest, body: bytes) -> bytes:
        """Return an order as it travels, under a key of its own."""
        return self._wire.request("POST", "/v1/orders", body, token=guest.token, key=str(uuid4()))

    async def _product(self, number: int) -> Product:
        sku = f"BENCH-{number}-{uuid4().hex[:8]}"
        product = {"title": f"Bench {number}", "variants": [{"sku": sku, "price": gbp(PRICE_MINOR)}]}
        made = await self._wire.post("/v1/products", {"product": product}, token=self._admin)
        received = {"delta": UNITS, "reason": "bench", "requestId": sku}
        await self._wire.post(f"/v1/inventory/{sku}:adjust", received, token=self._admin)
        return Product(made["product"]["productId"], sku)

    async def _guest(self) -> Guest:
        session = await self._wire.post("/v1/sessions:guest", {})
        guest = Guest(session["userId"], session["accessToken"], session["refreshToken"], half_life_of(session))
        paid = {"amount": gbp(POCKET_MINOR), "cardToken": "tok_visa"}
        await self._wire.post("/v1/wallet:topUp", paid, token=guest.token, key=str(uuid4()))
        return guest

    async def _renew(self, guest: Guest) -> None:
        session = await self._wire.post("/v1/sessions:refresh", {"refreshToken": guest.refresh_token})
        guest.token, guest.refresh_token = session["accessToken"], session["refreshToken"]
        guest.until = half_life_of(session)


def half_life_of(session: dict[str, Any]) -> float:
    """Return when an access token that was given now is half through its life, by the monotonic clock."""
    return time.monotonic() + int(session["expiresInSeconds"]) / 2


def confirmed(reply: Reply) -> None:
    """Hold that an order was confirmed.

    Raises:
        Unwanted: It was not.
    """
    if b'"status":"CONFIRMED"' not in reply.body:
        raise Unwanted(f"an order was not confirmed: {reply.body[:300]!r}")
