"""The ways through the mesh that the crash matrix sends somebody, and what must be true at the end of each.

A walk is used once. `prepare` goes up to the fault, `go` goes through it and asks until it knows the answer, `missing`
says what is not done yet, and `wrong` what is not as it must be: with a user and a product of its own, nothing that
happens to others matters.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import math
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID

import asyncpg
import httpx

from tests.faults.evidence import read_charges
from tests.faults.shoppers import ADDRESS, Edge, gbp

PRICE_MINOR = 500
UNITS = 2
TOTAL_MINOR = UNITS * PRICE_MINOR
STOCKED_UNITS = 10
POCKET_MINOR = 4_000
PART_MINOR = 300
FEE_MINOR = TOTAL_MINOR // 10
"""The platform's part of what another seller sold, once it has arrived."""
PAUSE_SECONDS = 0.1
SETTLE_SECONDS = 40.0
"""How long an answer is asked for before somebody gives up."""

SIGN_IN_SECONDS = 240.0

Said = tuple[str, dict[str, Any]]


class NoAnswer(Exception):
    """What was asked was never answered; the message is the last thing that was heard."""


@dataclass
class Stage:
    """What all walks share."""

    edge: Edge
    endpoints: Mapping[str, Any]
    databases: Mapping[str, asyncpg.Pool]
    name: str
    admin: str = ""
    importer: str = ""
    signed_in_at: float = -math.inf
    numbers: Any = field(default_factory=itertools.count)

    async def open(self) -> None:
        """Sign in those who run the shop, unless they did a moment ago: their tokens last for ten minutes."""
        if time.monotonic() < self.signed_in_at + SIGN_IN_SECONDS:
            return
        self.signed_in_at = time.monotonic()
        for role in ("admin", "importer"):
            who = {"email": self.endpoints[f"{role}_email"], "password": self.endpoints[f"{role}_password"]}
            _, said = await self.ask("POST", "/v1/sessions", who)
            setattr(self, role, said["accessToken"])

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str = "",
        key: str = "",
        known: Callable[[str, dict[str, Any]], bool] = lambda outcome, said: outcome != "unknown",
    ) -> Said:
        """Ask until the answer is known.

        Raises:
            NoAnswer: It never was.
        """
        deadline = time.monotonic() + SETTLE_SECONDS
        while True:
            outcome, said = await self.edge.send(method, path, body, token=token, key=key)
            if known(outcome, said):
                return outcome, said
            if time.monotonic() > deadline:
                raise NoAnswer(f"{method} {path}: {outcome} {json.dumps(said)[:300]}")
            await asyncio.sleep(PAUSE_SECONDS)

    async def value(self, package: str, statement: str, *values: object) -> Any:
        """Return the one value of a statement."""
        return await self.databases[package].fetchval(statement, *values)

    async def guest(self) -> tuple[str, str]:
        """Return the token and id of a new guest."""
        _, said = await self.ask("POST", "/v1/sessions:guest", {})
        return said["accessToken"], said["userId"]

    async def product(self, units: int = STOCKED_UNITS, *, seller: str = "") -> str:
        """Put a new product of a seller, the house's without one, on the shelf, and return its SKU."""
        sku = f"{self.name}-{next(self.numbers)}"
        variant = {"sku": sku, "price": gbp(PRICE_MINOR)}
        body = {"product": {"title": sku, "sellerId": seller, "variants": [variant]}}
        await self.ask("POST", "/v1/products", body, token=self.admin)
        if units:
            await self.deliver(sku, units)
        return sku

    async def deliver(self, sku: str, units: int) -> Said:
        """Receive units, under a key of the SKU's own."""
        body = {"delta": units, "reason": "delivery", "requestId": f"in-{sku}"}
        return await self.ask("POST", f"/v1/inventory/{sku}:adjust", body, token=self.admin)


class Walk(Protocol):
    """One way through the mesh."""

    async def prepare(self) -> None:
        """Come to where the fault will be."""
        ...

    async def go(self) -> None:
        """Go through it, and ask until everything is known."""
        ...

    async def missing(self) -> str:
        """Say what the mesh has still to do; empty when it rests."""
        ...

    async def wrong(self) -> list[str]:
        """Say what is not as it must be."""
        ...


class Ordering:
    """An order, from its placing to whatever comes after it."""

    def __init__(
        self,
        stage: Stage,
        card: str = "",
        *,
        cart: bool = False,
        basket: bool = False,
        then: str = "",
        prepared: bool = False,
        letter: bool = False,
        sealed: bool = False,
        sold: bool = False,
    ) -> None:
        """Describe one.

        Args:
            card: The card's token; the wallet pays without one.
            cart: It is ordered from the cart; with `basket` the cart is filled where the fault is.
            then: What follows: confirm, cancel, ship, refund, return (of a shipped unit), deliver (a shipped one).
            prepared: The fault is in what follows, not in the placing.
            letter: It is over when its receipt was sent and its events were published.
            sealed: It is over when its money is in the sealed chain.
            sold: What it buys is another seller's, whose share is held and released.
        """
        self._stage = stage
        self._card = card
        self._cart = cart or basket
        self._basket = basket
        self._then = then
        self._prepared = prepared
        self._letter = letter
        self._sealed = sealed
        self._seller = f"{stage.name}-seller-{next(stage.numbers)}" if sold else ""
        self._sku = self._token = self._user = self._order = ""
        self._units = UNITS
        self._answer: Said = ("", {})
        self._final: Said = ("", {})

    async def prepare(self) -> None:
        """Come, and pay in; order already where the fault comes later."""
        stage = self._stage
        self._sku = await stage.product(seller=self._seller)
        self._token, self._user = await stage.guest()
        if not self._card:
            body = {"amount": gbp(POCKET_MINOR), "cardToken": "tok_visa"}
            await stage.ask("POST", "/v1/wallet:topUp", body, token=self._token, key="pocket")
        if self._cart and not self._basket:
            await self._fill()
        if self._prepared:
            await self._place()
            await self._rest()
        if self._then in ("return", "deliver"):
            await self._ship()
            await self._rest()

    async def go(self) -> None:
        """Order, or do what comes after it."""
        if self._basket:
            await self._fill()
        if not self._prepared:
            await self._place()
        match self._then:
            case "confirm" if self._prepared:
                await self._confirm()
            case "cancel":
                await self._follow(f"/v1/orders/{self._order}:cancel", {}, self._token)
                if self._card == "tok_action":  # a PENDING answer is kept under no key
                    self._answer = await self._send()
            case "ship":
                await self._ship()
            case "deliver":
                await self._follow(f"/v1/orders/{self._order}:deliver", {}, self._stage.admin)
            case "refund":
                await self._refund({"amount": gbp(PART_MINOR)})
            case "return":
                back = [{"lineNumber": 1, "quantity": 1}]
                await self._refund({"amount": gbp(PART_MINOR), "lines": back, "restock": True})

    async def _ship(self) -> None:
        await self._follow(f"/v1/orders/{self._order}:ship", {"trackingCode": "TRACK-1"}, self._stage.admin)

    async def _refund(self, body: dict[str, Any]) -> None:
        await self._follow(f"/v1/orders/{self._order}/refunds", body, self._stage.admin, key=f"r-{self._order}")

    async def missing(self) -> str:
        """Say what is unfinished in the databases."""
        stage, user = self._stage, UUID(self._user)
        waits = " AND (decided_at IS NOT NULL OR action_url IS NULL)" if self._waits_at_the_bank else ""
        sagas = await stage.value(
            "svc_order",
            f"SELECT (SELECT count(*) FROM checkouts WHERE user_id = $1 AND finished_at IS NULL{waits})"
            " + (SELECT count(*) FROM order_effects JOIN orders USING (order_id)"
            " WHERE user_id = $1 AND finished_at IS NULL)",
            user,
        )
        if sagas:
            return f"{sagas} sagas or effects"
        orders = [row["order_id"] for row in await self._rows("svc_order", "SELECT order_id FROM orders", user)]
        work = await stage.value(
            "svc_payment",
            "SELECT count(*) FROM provider_work WHERE subject_id IN ("
            " SELECT payment_id FROM payments WHERE order_id = ANY($1)"
            " UNION ALL SELECT refund_id FROM refunds WHERE order_id = ANY($1))",
            orders,
        )
        if work and not self._waits_at_the_bank:
            return f"{work} calls of the provider"
        if self._letter:
            return await self._unsent(orders)
        if self._sealed:
            loose = await stage.value(
                "svc_payment",
                "SELECT count(*) FROM transfers WHERE order_id = ANY($1) AND xid >= (SELECT max(to_xid) FROM blocks)",
                orders,
            )
            return f"{loose} transfers in no block" if loose else ""
        return ""

    async def wrong(self) -> list[str]:
        """Compare with what must be."""
        stage, user, found = self._stage, UUID(self._user), []
        if self._then == "confirm" and not self._prepared:
            await self._confirm()
            await self._rest()

        def expect(what: str, is_now: object, must_be: object) -> None:
            if is_now != must_be:
                found.append(f"{what} is {is_now}, not {must_be}")

        refused = self._card == "tok_declined"
        after = {"cancel": "CANCELLED", "ship": "SHIPPED", "return": "SHIPPED", "deliver": "DELIVERED"}
        status = after.get(self._then, "CANCELLED" if refused else "CONFIRMED")
        total = self._units * PRICE_MINOR
        worth = 0 if status == "CANCELLED" else total - (PART_MINOR if self._then in ("refund", "return") else 0)
        rows = await self._rows("svc_order", "SELECT order_id, status, total_minor FROM orders", user)
        expect("orders", [(row["status"], row["total_minor"]) for row in rows], [(status, total)])
        if len(rows) != 1:
            return found
        order = rows[0]["order_id"]
        held = self._units if status == "CONFIRMED" else 0
        gone = self._units if status in ("SHIPPED", "DELIVERED") else 0
        left = STOCKED_UNITS - gone + (self._then == "return")
        stock = await stage.databases["svc_inventory"].fetchrow(
            "SELECT on_hand, reserved, (SELECT sum(on_hand_delta) FROM stock_movements WHERE sku = $1) AS moved,"
            " (SELECT sum(reserved_delta) FROM stock_movements WHERE sku = $1) AS claimed FROM stock WHERE sku = $1",
            self._sku,
        )
        expect("stock and its journal", tuple(stock), (left, held, left, held))
        ledger = await stage.databases["svc_payment"].fetchrow(
            "SELECT COALESCE(sum(CASE kind WHEN 'payment' THEN amount_minor WHEN 'refund' THEN -amount_minor END)"
            "   FILTER (WHERE NOT t.pending OR outcome = 'posted'), 0)::bigint AS moved,"
            " COALESCE(sum(amount_minor) FILTER (WHERE t.pending AND outcome IS NULL), 0)::bigint AS held,"
            " count(*) FILTER (WHERE kind = 'payment') AS payments"
            " FROM transfers t LEFT JOIN resolutions USING (transfer_id) WHERE order_id = $1",
            order,
        )
        expect("what the ledger moved and holds", (ledger["moved"], ledger["held"]), (worth, 0))
        if ledger["payments"] > 1:
            found.append(f"{ledger['payments']} payments in the ledger")
        if self._card:
            found += await self._wrong_at_the_bank(order, worth)
        else:
            _, said = await stage.ask("GET", "/v1/wallet", token=self._token)
            expect("the wallet", int(said["wallet"]["balance"].get("minorUnits", 0)), POCKET_MINOR - worth)
        if self._cart:
            _, said = await stage.ask("GET", "/v1/cart", token=self._token)
            expect("the cart", said["cart"].get("items", []), [])
        if self._seller:
            arrived = self._then == "deliver"
            _, said = await stage.ask("GET", f"/v1/sellers/{self._seller}/balance", token=stage.admin)
            has = [
                (int(each["escrow"].get("minorUnits", 0)), int(each["payable"].get("minorUnits", 0)))
                for each in said.get("balances", [])
            ]
            expect("what the seller has", has, [(0, worth - FEE_MINOR) if arrived else (worth, 0)])
        found += await self._wrong_answers()
        return found

    @property
    def _waits_at_the_bank(self) -> bool:
        """Whether nobody has said yes or no to the bank yet, so that the order rests unfinished."""
        return self._card == "tok_action" and self._final == ("", {})

    async def _wrong_at_the_bank(self, order: UUID, worth: int) -> list[str]:
        payments = await self._stage.databases["svc_payment"].fetch(
            "SELECT payment_id::text FROM payments WHERE order_id = $1", order
        )
        if len(payments) != 1:
            return [f"{len(payments)} payments"]
        log = await asyncio.to_thread(read_charges, Path(self._stage.endpoints["psp_log"]))
        kinds = [(each.kind, each.amount_minor) for each in log if each.payment_id == payments[0]["payment_id"]]
        sums = {kind: sum(minor for each, minor in kinds if each == kind) for kind in {kind for kind, _ in kinds}}
        taken = sums.get("capture", 0) - sums.get("refund", 0)
        held = sums.get("authorize", 0) - sums.get("capture", 0) - sums.get("void", 0)
        found = [] if (taken, held) == (worth, 0) else [f"the provider took {taken} and holds {held}, not {worth}"]
        for kind in ("authorize", "capture", "refund"):
            count = sum(each == kind for each, _ in kinds)
            found += [f"the provider did {kind} {count} times"] if count > 1 else []
        return found

    async def _wrong_answers(self) -> list[str]:
        """Ask again with the same key: the answer must be the one that was given."""
        again = await self._send()
        if again != self._answer:
            return [f"the key answered {_short(self._answer)}, and now {_short(again)}"]
        return []

    async def _rows(self, package: str, statement: str, user: UUID) -> list[Any]:
        return await self._stage.databases[package].fetch(f"{statement} WHERE user_id = $1", user)

    async def _rest(self) -> None:
        deadline = time.monotonic() + SETTLE_SECONDS
        while left := await self.missing():
            if time.monotonic() > deadline:
                raise NoAnswer(f"order {self._order}: {left}")
            await asyncio.sleep(PAUSE_SECONDS)

    async def _fill(self) -> None:
        """Put something into the cart. Nobody knows whether a lost call did, so the cart is looked at first."""
        while True:
            _, said = await self._stage.ask("GET", "/v1/cart", token=self._token)
            if items := said["cart"].get("items"):
                self._units = sum(int(item["quantity"]) for item in items)
                return
            body = {"sku": self._sku, "quantity": UNITS}
            await self._stage.edge.send("POST", "/v1/cart/items", body, token=self._token)

    async def _place(self) -> None:
        self._answer = await self._send()
        if self._answer[0] == "ok":
            self._order = self._answer[1]["order"]["orderId"]

    async def _send(self) -> Said:
        body = {
            "expectedTotal": gbp(self._units * PRICE_MINOR),
            "shippingAddress": ADDRESS,
            "contactEmail": "ada@example.com",
            "payment": {"card": {"token": self._card}} if self._card else {"wallet": {}},
        }
        if not self._cart:
            body["lines"] = [{"sku": self._sku, "quantity": self._units}]

        def known(outcome: str, said: dict[str, Any]) -> bool:
            if outcome != "ok" or said["order"]["status"] != "PENDING":
                return outcome != "unknown"
            return "nextAction" in said["order"]

        return await self._stage.ask("POST", "/v1/orders", body, token=self._token, key="order", known=known)

    async def _confirm(self) -> None:
        """Say yes on the bank's page, and look until the order heard of it."""
        url = self._answer[1]["order"]["nextAction"]["url"]
        async with httpx.AsyncClient(timeout=5) as bank:
            (await bank.post(f"{url}:confirm")).raise_for_status()

        def known(outcome: str, said: dict[str, Any]) -> bool:
            return outcome == "ok" and said["order"]["status"] == "CONFIRMED"

        await self._stage.ask("GET", f"/v1/orders/{self._order}", token=self._token, known=known)
        self._answer = await self._send()  # from now on it is the stored one
        self._final = self._answer

    async def _follow(self, path: str, body: Any, token: str, key: str = "") -> None:
        self._final = await self._stage.ask("POST", path, body, token=token, key=key)
        if self._final[0] != "ok":
            raise NoAnswer(f"{path}: {self._final}")

    async def _unsent(self, orders: list[UUID]) -> str:
        left = await self._stage.value(
            "svc_order",
            "SELECT count(*) FROM outbox WHERE aggregate_id = ANY($1::text[]) AND published_at IS NULL",
            [str(order) for order in orders],
        )
        if left:
            return f"{left} events to publish"
        sent = await self._stage.value(
            "svc_notify",
            "SELECT count(*) FROM notifications WHERE order_id = ANY($1) AND status = 'SENT'",
            orders,
        )
        return "" if sent == 1 else f"{sent} letters were sent"


class TopUp:
    """Money into a wallet: all of it, or nothing where the bank refuses."""

    def __init__(self, stage: Stage, card: str = "tok_visa", *, refused: bool = False) -> None:
        """Describe one."""
        self._stage = stage
        self._card = card
        self._refused = refused
        self._token = self._user = ""
        self._answer: Said = ("", {})

    async def prepare(self) -> None:
        """Come."""
        self._token, self._user = await self._stage.guest()

    async def go(self) -> None:
        """Pay in."""
        self._answer = await self._pay_in()

    async def missing(self) -> str:
        """Say what the provider still has to be asked."""
        left = await self._stage.value(
            "svc_payment",
            "SELECT count(*) FROM provider_work JOIN top_ups ON top_up_id = subject_id WHERE user_id = $1",
            UUID(self._user),
        )
        return f"{left} calls of the provider" if left else ""

    async def wrong(self) -> list[str]:
        """Compare the wallet, the bank and the answer with what must be."""
        rows = await self._stage.databases["svc_payment"].fetch(
            "SELECT top_up_id::text, status FROM top_ups WHERE user_id = $1", UUID(self._user)
        )
        if len(rows) != 1:
            return [f"{len(rows)} top-ups"]
        worth = 0 if self._refused else POCKET_MINOR
        _, said = await self._stage.ask("GET", "/v1/wallet", token=self._token)
        has = int(said["wallet"]["balance"].get("minorUnits", 0))
        log = await asyncio.to_thread(read_charges, Path(self._stage.endpoints["psp_log"]))
        captured = [each.amount_minor for each in log if (each.kind, each.payment_id) == ("capture", rows[0][0])]
        found = [] if has == worth else [f"the wallet has {has}, not {worth}"]
        found += [] if sum(captured) == worth and len(captured) <= 1 else [f"the provider captured {captured}"]
        again = await self._pay_in()
        return found + ([] if again == self._answer else [f"answered {_short(self._answer)}, now {_short(again)}"])

    async def _pay_in(self) -> Said:
        body = {"amount": gbp(POCKET_MINOR), "cardToken": self._card}
        return await self._stage.ask("POST", "/v1/wallet:topUp", body, token=self._token, key="top-up")


class Asking:
    """One call of the staff that changes something once: it is asked until it answers, and looked at."""

    def __init__(
        self,
        prepare: Callable[[], Awaitable[Any]],
        ask: Callable[[Any], Awaitable[Said]],
        seen: Callable[[Any], Awaitable[object]],
        must_be: object,
        *,
        repeatable: bool = True,
    ) -> None:
        """Describe one: what it needs, the call, what shows its effect, and how that must be."""
        self._prepare, self._ask, self._seen, self._must_be = prepare, ask, seen, must_be
        self._repeatable = repeatable
        self._about: Any = None
        self._answer: Said = ("", {})

    async def prepare(self) -> None:
        """Make what the call is about."""
        self._about = await self._prepare()

    async def go(self) -> None:
        """Call until it answers."""
        self._answer = await self._ask(self._about)

    async def missing(self) -> str:
        """Nothing goes on after the answer."""
        return ""

    async def wrong(self) -> list[str]:
        """Look, and ask again."""
        seen = await self._seen(self._about)
        found = [] if seen == self._must_be else [f"{seen}, not {self._must_be}"]
        found += [] if self._answer[0] == "ok" else [f"answered {_short(self._answer)}"]
        if self._repeatable and (again := await self._ask(self._about)) != self._answer:
            found.append(f"answered {_short(self._answer)}, now {_short(again)}")
        return found


def _delivery(stage: Stage) -> Walk:
    async def seen(sku: str) -> object:
        return await stage.value("svc_inventory", "SELECT sum(on_hand) FROM stock WHERE sku = $1", sku)

    return Asking(lambda: stage.product(units=0), lambda sku: stage.deliver(sku, STOCKED_UNITS), seen, STOCKED_UNITS)


def _credit(stage: Stage) -> Walk:
    async def seen(guest: tuple[str, str]) -> object:
        _, said = await stage.ask("GET", "/v1/wallet", token=guest[0])
        return int(said["wallet"]["balance"].get("minorUnits", 0))

    async def ask(guest: tuple[str, str]) -> Said:
        body = {"credits": [{"userId": guest[1], "amount": gbp(POCKET_MINOR)}]}
        return await stage.ask("POST", "/v1/wallets:batchCredit", body, token=stage.importer, key=f"c-{guest[1]}")

    return Asking(stage.guest, ask, seen, POCKET_MINOR)


def _product(stage: Stage) -> Walk:
    """A product has no key but its SKU, so whoever lost the answer hears that the SKU is taken."""

    async def name() -> str:
        return f"{stage.name}-{next(stage.numbers)}"

    async def ask(sku: str) -> Said:
        body = {"product": {"title": sku, "variants": [{"sku": sku, "price": gbp(PRICE_MINOR)}]}}
        return await stage.ask("POST", "/v1/products", body, token=stage.admin)

    async def seen(sku: str) -> object:
        return await stage.value("svc_catalog", "SELECT count(*) FROM variants WHERE sku = $1", sku)

    return Asking(name, ask, seen, 1, repeatable=False)


def _price(stage: Stage) -> Walk:
    async def make() -> str:
        sku = await stage.product(units=0)
        return str(await stage.value("svc_catalog", "SELECT product_id FROM variants WHERE sku = $1", sku))

    async def ask(product: str) -> Said:
        body = {"product": {"title": "Changed"}, "updateMask": "title"}
        return await stage.ask("PATCH", f"/v1/products/{product}", body, token=stage.admin)

    async def seen(product: str) -> object:
        return await stage.value("svc_catalog", "SELECT version FROM products WHERE product_id = $1", UUID(product))

    return Asking(make, ask, seen, 2)


def _session(stage: Stage) -> Walk:
    """A refresh token is traded once, so this is not asked again: the second time it is a thief's."""

    async def make() -> dict[str, Any]:
        return (await stage.ask("POST", "/v1/sessions:guest", {}))[1]

    async def ask(session: dict[str, Any]) -> Said:
        said = await stage.ask("POST", "/v1/sessions:refresh", {"refreshToken": session["refreshToken"]})
        session["accessToken"] = said[1].get("accessToken", "")
        return said

    async def seen(session: dict[str, Any]) -> object:
        return (await stage.ask("GET", "/v1/wallet", token=session["accessToken"]))[0]

    return Asking(make, ask, seen, "ok", repeatable=False)


WALKS: Mapping[str, Callable[[Stage], Walk]] = {
    "wallet": Ordering,
    "card": lambda stage: Ordering(stage, "tok_visa"),
    "cart": lambda stage: Ordering(stage, cart=True),
    "basket": lambda stage: Ordering(stage, basket=True),
    "declined": lambda stage: Ordering(stage, "tok_declined"),
    "waits": lambda stage: Ordering(stage, "tok_action", then="confirm"),
    "confirmed late": lambda stage: Ordering(stage, "tok_action", then="confirm", prepared=True),
    "waiting cancelled": lambda stage: Ordering(stage, "tok_action", then="cancel", prepared=True),
    "cancelled": lambda stage: Ordering(stage, then="cancel", prepared=True),
    "card cancelled": lambda stage: Ordering(stage, "tok_visa", then="cancel", prepared=True),
    "shipped": lambda stage: Ordering(stage, then="ship", prepared=True),
    "refunded": lambda stage: Ordering(stage, "tok_visa", then="refund", prepared=True),
    "returned": lambda stage: Ordering(stage, "tok_visa", then="return", prepared=True),
    "sold": lambda stage: Ordering(stage, sold=True),
    "arrived": lambda stage: Ordering(stage, then="deliver", prepared=True, sold=True),
    "letter": lambda stage: Ordering(stage, letter=True),
    "sealed": lambda stage: Ordering(stage, sealed=True),
    "top-up": TopUp,
    "top-up refused": lambda stage: TopUp(stage, "tok_action", refused=True),
    "top-up slow": lambda stage: TopUp(stage, "tok_processing"),
    "delivery": _delivery,
    "credit": _credit,
    "product": _product,
    "price": _price,
    "session": _session,
}


def _short(said: Said) -> str:
    return f"{said[0]} {json.dumps(said[1], sort_keys=True)[:200]}"
