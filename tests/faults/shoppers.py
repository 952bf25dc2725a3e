"""Seeded shoppers over HTTPS: what each wants is drawn from the seed; when they get it is up to the mesh.

A shopper lives for a dozen wishes: a guest with a little money, who orders from a wallet, by card or from the cart,
several things at a time, confirms at the bank or does not, looks, cancels, wants money back, and sometimes presses the
button five times; the clerk ships and delivers. A wish without a clear answer is sent again with its key until the
answer is known. Others only fill their carts and look into them, or sign
out and try to come in again, or ask for what is not theirs. Everything goes through the journal.
"""

from __future__ import annotations

import asyncio
import json
import math
import random
import ssl
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import httpx

from tests.faults.journal import FLEETING, Journal

CALL_SECONDS = 12.0
MOST_CONNECTIONS = 256
SETTLE_SECONDS = 90.0
"""How long a wish is asked again before it counts as unknown for ever."""

FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 1.0
SETTLING = {
    "CART_ALREADY_ORDERED",
    "CART_EMPTY",
    "INSUFFICIENT_FUNDS",
    "ORDER_CANCELLED",
    "ORDER_NOT_CANCELLABLE",
    "ORDER_NOT_DELIVERABLE",
    "ORDER_NOT_REFUNDABLE",
    "ORDER_NOT_SHIPPABLE",
    "OUT_OF_STOCK",
    "PAYMENT_DECLINED",
    "PRICE_CHANGED",
    "REFUND_EXCEEDS_ORDER",
    "SUPPORT_REQUIRED",
}
"""Reasons that say what became of a wish. Any other no leaves it open: something was away."""

ADDRESS = {"fullName": "Ada Byron", "line1": "1 Mill Lane", "city": "Leeds", "countryCode": "GB"}
PRICE_MINOR = 500
PLAIN_UNITS = 100_000
HOT_UNITS = 60
"""Few enough that hot products run out and are delivered again, over and over."""

SHELF_SECONDS = 0.5

POCKET_MINOR = 4_000
CARDS = ("tok_visa",) * 6 + ("tok_action",) * 3
CARDS += ("tok_declined", "tok_insufficient", "tok_lost_reply", "tok_processing", "tok_lost_capture")

REFRESH_SHARE = 0.5
"""Of its life, after which an access token is traded for the next one."""

PATIENCE_SECONDS = 30.0
"""How long a customer leaves the bank's page alone at most; the deadline comes first, unless the bank forgot it."""

KEEPER_PAUSE_SECONDS = 0.4
PARCEL_SECONDS, PARCEL_SHARE = 0.4, 0.5
SPREE_UNITS, SPREE_ORDERS = 6, 3
"""What an eager guest orders at once: a pocket holds enough for one of the orders."""

LEAVER_PAUSE_SECONDS, LEAVER_TRIES = 0.4, 12
TRESPASS_SECONDS = 1.5
"""Between two tries of one trespasser: seldom enough that each has a line of its own in the audit log."""

Reply = tuple[str, dict[str, Any]]
"""ok, refused or unknown, and what it said."""


@dataclass(frozen=True)
class Load:
    """How much is bought. `orders` bounds the run, `per_second` how many wishes begin in a second."""

    seed: int
    shoppers: int = 12
    orders: int = 1_000_000
    per_second: float = 25.0
    plain_products: int = 6
    hot_products: int = 2
    keepers: int = 3
    """How many do nothing but fill their carts and look into them."""

    hot_units: int = HOT_UNITS
    shelf_seconds: float = SHELF_SECONDS
    """How often the clerk looks whether hot products have run out."""

    first_pause_seconds: float = FIRST_PAUSE_SECONDS
    """How long somebody waits who was not answered, before asking again for the first time."""

    backlog_seconds: float = 0.2
    """How much of the time in which nobody could begin anything is made up for afterwards, by beginning faster."""


@dataclass
class Edge:
    """The edge of a mesh, for whoever has a token."""

    http: httpx.AsyncClient

    @classmethod
    def at(cls, endpoints: Mapping[str, Any]) -> Edge:
        """Return a client that believes the mesh's own authority alone."""
        trust = ssl.create_default_context(cafile=endpoints["ca"])
        limits = httpx.Limits(max_connections=MOST_CONNECTIONS, max_keepalive_connections=MOST_CONNECTIONS)
        return cls(
            httpx.AsyncClient(
                base_url=endpoints["edge"], verify=trust, timeout=CALL_SECONDS, limits=limits, trust_env=False
            )
        )

    async def send(self, method: str, path: str, body: Any = None, *, token: str = "", key: str = "") -> Reply:
        """Send one request. Whatever may have happened without our hearing of it is unknown."""
        headers = {"authorization": f"Bearer {token}"} if token else {}
        if key:
            headers["idempotency-key"] = key
        try:
            response = await self.http.request(method, path, json=body, headers=headers)
        except httpx.HTTPError as problem:
            return "unknown", {"reason": type(problem).__name__}
        return reply_of(response.status_code, response.content)

    async def aclose(self) -> None:
        """Close every connection."""
        await self.http.aclose()


@dataclass
class Session:
    """Somebody's tokens. Whoever has a password begins a new session with it; a guest trades the refresh token."""

    edge: Edge
    access: str = ""
    user: str = ""
    credentials: Mapping[str, str] | None = None
    refresh: str = ""
    stale_at: float = 0.0
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def token(self) -> str:
        """Return an access token that is valid for a while."""
        if time.monotonic() > self.stale_at:
            async with self._turn:
                if time.monotonic() > self.stale_at:
                    await self._renew()
        return self.access

    @property
    def is_worn(self) -> bool:
        """Whether it cannot be prolonged: whoever asks twice for the next token is taken for a thief."""
        return self.credentials is None and not self.refresh

    async def _renew(self) -> None:
        if self.credentials is not None:
            self.take(*await self.edge.send("POST", "/v1/sessions", self.credentials))
        elif self.refresh:
            spent, self.refresh = self.refresh, ""
            self.take(*await self.edge.send("POST", "/v1/sessions:refresh", {"refreshToken": spent}))

    def take(self, outcome: str, said: Mapping[str, Any]) -> bool:
        """Keep the tokens of an answer; returns whether there were any. The old ones are good for a while yet."""
        if outcome != "ok":
            self.stale_at = time.monotonic() + 1
            return False
        self.access, self.user, self.refresh = said["accessToken"], said["userId"], said.get("refreshToken", "")
        self.stale_at = time.monotonic() + REFRESH_SHARE * float(said["expiresInSeconds"])
        return True


def reply_of(status: int, body: bytes) -> Reply:
    """Return what an answer of the edge says; one that cannot be read says nothing."""
    try:
        content = json.loads(body)
    except ValueError as problem:
        return "unknown", {"reason": type(problem).__name__, "status": status}
    return ("ok", content) if status == 200 else _refused(status, content)


def _refused(status: int, content: Any) -> Reply:
    details = content.get("error", {}).get("details", []) if isinstance(content, dict) else []
    info: dict[str, Any] = next((each for each in details if str(each.get("@type")).endswith("ErrorInfo")), {})
    reason = info.get("reason", "")
    told = {"status": status, "reason": reason, **info.get("metadata", {})}
    return "refused" if reason in SETTLING else "unknown", told


@dataclass
class Shop:
    """What all shoppers share: the journal, the shelves, the pace, and how it goes."""

    edge: Edge
    journal: Journal
    load: Load
    over: asyncio.Event = field(default_factory=asyncio.Event)
    plain: list[str] = field(default_factory=list)
    hot: list[str] = field(default_factory=list)
    admin: Session = field(init=False)
    counts: Counter[str] = field(default_factory=Counter)
    confirmed_at: float = 0.0
    """When the last order was asked for that has been confirmed."""

    next_at: float = 0.0
    factor: float = 1.0
    """How much faster than usual everybody buys just now."""

    storms: int = 0
    """How many storms and migrations there were."""

    confirmed: list[str] = field(default_factory=list)
    """Orders that the clerk may still ship."""

    shipped: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.admin = Session(self.edge)

    async def send(self, who: Session, method: str, path: str, body: Any = None, *, key: str = "") -> Reply:
        """Send one request of somebody who is signed in."""
        return await self.edge.send(method, path, body, token=await who.token(), key=key)

    async def pace(self) -> None:
        """Wait for the next wish's turn."""
        earliest = time.monotonic() - self.load.backlog_seconds
        self.next_at = max(self.next_at + 1 / (self.load.per_second * self.factor), earliest)
        await asyncio.sleep(self.next_at - time.monotonic())

    async def wish(
        self,
        worker: str,
        kind: str,
        arguments: Mapping[str, Any],
        send: Callable[[], Awaitable[Reply]],
        *,
        key: str = "",
        at_once: int = 1,
    ) -> Reply:
        """Send until the answer is known, `at_once` times side by side, and return it.

        An attempt that was not heard of may still be under way: until it can't be any more, a fleeting no is not
        believed.
        """
        number, attempt = self.journal.begin(worker, kind, arguments, key=key, at_once=at_once), 0
        deadline, pause = time.monotonic() + SETTLE_SECONDS, self.load.first_pause_seconds
        open_until = 0.0

        async def ask(attempt: int) -> Reply:
            asked_at = time.monotonic()
            self.journal.invoke(number, attempt)
            outcome, said = await send()
            if said.get("status") == "PENDING" and kind == "place":
                outcome = "unknown"  # nobody knows yet what becomes of it
            self.journal.end(number, attempt, outcome, said)
            if kind == "place" and outcome == "ok":
                self.confirmed_at = max(self.confirmed_at, asked_at)
            return outcome, said

        while True:
            replies = await asyncio.gather(*(ask(attempt + each) for each in range(at_once)))
            attempt += at_once
            known = sorted((reply for reply in replies if reply[0] != "unknown"), key=_is_fleeting)
            open_until = time.monotonic() + CALL_SECONDS if len(known) < len(replies) else open_until
            is_told = bool(known) and (not _is_fleeting(known[0]) or time.monotonic() > open_until)
            if is_told or time.monotonic() > deadline:
                reply = known[0] if known else replies[0]
                self.counts[f"{kind} {reply[0]}"] += 1
                return reply
            self.counts["asked again"] += 1
            at_once = 1
            await asyncio.sleep(pause)
            pause = max(pause, min(2 * pause, LONGEST_PAUSE_SECONDS))


def _is_fleeting(reply: Reply) -> bool:
    return reply[0] == "refused" and reply[1].get("reason") in FLEETING


class Stuck(Exception):
    """The shop could not be opened."""


async def open_shop(shop: Shop, endpoints: Mapping[str, Any]) -> None:
    """Put the products on the shelf; what is delivered stands in the journal like everything else.

    Raises:
        Stuck: The mesh would not take it.
    """
    dice = random.Random(f"{shop.load.seed}/shop")
    credentials = {"email": endpoints["admin_email"], "password": endpoints["admin_password"]}
    shop.admin.credentials = credentials
    shop.admin.take("ok", await _insist(shop, "POST", "/v1/sessions", credentials))
    name = f"{dice.randrange(16**6):06x}"
    shop.plain = [f"PLAIN-{name}-{number}" for number in range(shop.load.plain_products)]
    shop.hot = [f"HOT-{name}-{number}" for number in range(shop.load.hot_products)]
    for sku in (*shop.plain, *shop.hot):
        variant = {"sku": sku, "price": gbp(PRICE_MINOR)}
        product = {"product": {"title": sku, "variants": [variant]}}
        await _insist(shop, "POST", "/v1/products", product, shop.admin.access)
        units = shop.load.hot_units if sku in shop.hot else PLAIN_UNITS
        await deliver(shop, "opening", sku, units, key=f"opening-{sku}")


async def _insist(shop: Shop, method: str, path: str, body: Any, token: str = "") -> dict[str, Any]:
    deadline = time.monotonic() + SETTLE_SECONDS
    while True:
        outcome, said = await shop.edge.send(method, path, body, token=token)
        if outcome == "ok":
            return said
        if time.monotonic() > deadline:
            raise Stuck(f"{method} {path}: {said}")
        await asyncio.sleep(LONGEST_PAUSE_SECONDS / 2)


async def deliver(shop: Shop, worker: str, sku: str, units: int, *, key: str) -> None:
    """Receive units of a product."""
    body = {"delta": units, "reason": "delivery", "requestId": key}

    async def send() -> Reply:
        outcome, said = await shop.send(shop.admin, "POST", f"/v1/inventory/{sku}:adjust", body)
        return outcome, _stock(said) if outcome == "ok" else said

    await shop.wish(worker, "deliver", {"sku": sku, "units": units}, send, key=key)


async def keep_shelves(shop: Shop) -> None:
    """Look at the hot products and deliver more when they have run out, until the shop closes."""
    number = 0
    while not shop.over.is_set():
        for sku in shop.hot:

            async def look(sku: str = sku) -> Reply:
                outcome, said = await shop.send(shop.admin, "GET", f"/v1/inventory/{sku}")
                return outcome, _stock(said) if outcome == "ok" else said

            outcome, said = await shop.wish("clerk", "stock", {"sku": sku}, look)
            if outcome == "ok" and said["available"] == 0:
                number += 1
                await deliver(shop, "clerk", sku, shop.load.hot_units, key=f"delivery-{number}")
        await _sleep(shop, shop.load.shelf_seconds)


async def buy(shop: Shop) -> None:
    """Let everybody buy until the shop closes and every wish is settled."""
    workers = [asyncio.create_task(_lives(shop, f"s{number}")) for number in range(shop.load.shoppers)]
    keepers = [asyncio.create_task(CartKeeper(shop, f"keeper{number}").live()) for number in range(shop.load.keepers)]
    await asyncio.gather(
        keep_shelves(shop), send_parcels(shop), *keepers, *workers, sign_out(shop, "leaver"), trespass(shop)
    )


async def send_parcels(shop: Shop) -> None:
    """Ship and deliver some of what was ordered, until the shop closes."""
    dice = random.Random(f"{shop.load.seed}/parcels")
    while not shop.over.is_set():
        await _sleep(shop, PARCEL_SECONDS)
        for waiting, kind, verb in ((shop.confirmed, "ship", "ship"), (shop.shipped, "arrive", "deliver")):
            if waiting and dice.random() < PARCEL_SHARE:
                order = waiting.pop(dice.randrange(len(waiting)))

                async def send(path: str = f"/v1/orders/{order}:{verb}") -> Reply:
                    outcome, said = await shop.send(shop.admin, "POST", path, {})
                    return outcome, _order(said["order"]) if outcome == "ok" else said

                outcome, _ = await shop.wish("clerk", kind, {"order": order}, send)
                if kind == "ship" and outcome == "ok":
                    shop.shipped.append(order)


async def sign_out(shop: Shop, name: str) -> None:
    """Sign out, and try again and again to come in with the tokens of before; then the same with another session."""
    while not shop.over.is_set():
        session = await _insist(shop, "POST", "/v1/sessions:guest", {})
        arguments, spent = {"user": session["userId"]}, {"refreshToken": session["refreshToken"]}
        leave = partial(shop.edge.send, "POST", "/v1/sessions:revoke", spent)
        look = partial(_tried, shop, "GET", "/v1/users/me", token=session["accessToken"])
        refresh = partial(_tried, shop, "POST", "/v1/sessions:refresh", spent)
        outcome, _ = await _once(shop, name, "sign out", arguments, leave)
        for _ in range(LEAVER_TRIES if outcome == "ok" else 0):
            await _once(shop, name, "look in", arguments, look)
            await _once(shop, name, "come back", arguments, refresh)
            await _sleep(shop, LEAVER_PAUSE_SECONDS)
            if shop.over.is_set():
                break


async def trespass(shop: Shop) -> None:
    """Ask again and again for what only finance may see, until the shop closes."""
    session = Session(shop.edge)
    while not shop.over.is_set():
        if session.is_worn:
            session.take("ok", await _insist(shop, "POST", "/v1/sessions:guest", {}))
        token = await session.token()
        look = partial(_tried, shop, "GET", "/v1/ledger:verify", token=token, denied=403)
        await _once(shop, "trespasser", "trespass", {"user": session.user}, look)
        await _sleep(shop, TRESPASS_SECONDS)


async def _tried(shop: Shop, method: str, path: str, body: Any = None, *, token: str = "", denied: int = 401) -> Reply:
    outcome, said = await shop.edge.send(method, path, body, token=token)
    if outcome == "ok":
        return outcome, {}
    return ("refused" if said.get("status") == denied else outcome), said


async def _once(
    shop: Shop, worker: str, kind: str, arguments: Mapping[str, Any], send: Callable[[], Awaitable[Reply]]
) -> Reply:
    """Send a wish that is not asked again, whatever becomes of it."""
    number = shop.journal.begin(worker, kind, arguments)
    shop.journal.invoke(number, 0)
    outcome, said = await send()
    shop.journal.end(number, 0, outcome, said)
    shop.counts[f"{kind} {outcome}"] += 1
    return outcome, said


async def _lives(shop: Shop, worker: str) -> None:
    life = 0
    while not shop.over.is_set() and shop.counts["place"] < shop.load.orders:
        life += 1
        await visit(shop, f"{worker}.{life}")


async def visit(shop: Shop, name: str, *, eager: bool = False, until: float = math.inf) -> None:
    """Let one guest come, wish and go; an eager one sends every wish two to ten times side by side.

    After `until`, on the monotonic clock, the guest wishes for nothing more.
    """
    guest = Guest(shop, name, random.Random(f"{shop.load.seed}/{name}"), eager=eager)
    await guest.live(until)


class Guest:
    """One shopper, from the first visit to the last look into the wallet."""

    pocket_minor = POCKET_MINOR

    def __init__(self, shop: Shop, name: str, dice: random.Random, *, eager: bool = False) -> None:
        """Describe a guest who has not come yet."""
        self._eager = eager
        self._shop = shop
        self._name = name
        self._dice = dice
        self._session = Session(shop.edge)
        self._user = ""
        self._orders: list[str] = []
        self._keys = 0

    async def live(self, until: float = math.inf) -> None:
        """Come, pay in, wish for things in twos and threes, and look at the wallet once more."""
        await self.come()
        if self._eager:  # the same money several times at once
            spree = (self._order(self._shop.plain[:1], SPREE_UNITS, {"wallet": {}}, 1) for _ in range(SPREE_ORDERS))
            await asyncio.gather(*spree)
        for _ in range(self._dice.randint(2, 5)):
            if self._shop.over.is_set() or time.monotonic() > until or self._session.is_worn:
                break
            await asyncio.gather(*(self._choose() for _ in range(self._dice.randint(1, 3))))
        await self._look_into_wallet()

    async def come(self) -> None:
        """Begin a session and pay into the wallet."""
        self._session.take("ok", await _insist(self._shop, "POST", "/v1/sessions:guest", {}))
        self._user = self._session.user
        await self._top_up()

    def _choose(self) -> Awaitable[None]:
        """Draw the next wish. All dice are rolled here, so that the answers of the mesh do not change the sequence."""
        kind, units = self._dice.random(), self._dice.randint(1, 3)
        skus = [self._dice.choice(self._shop.hot if self._dice.random() < 0.7 else self._shop.plain)]
        if self._dice.random() < 0.2:
            skus = sorted({*skus, self._dice.choice(self._shop.plain)})
        at_once = self._dice.randint(2, 10) if self._eager or self._dice.random() < 0.15 else 1
        card, place, refunds = self._dice.choice(CARDS), self._dice.random(), self._dice.random()
        if kind < 0.35:
            return self._order(skus, units, {"wallet": {}}, at_once)
        if kind < 0.60:
            return self._order(skus, units, {"card": {"token": card}}, at_once)
        if kind < 0.70:
            return self._order_cart(skus[0], units, at_once)
        if kind < 0.77:
            return self._cancel(place, at_once)
        if kind < 0.84:
            return self._refund(place, units, support=refunds < 0.5, rest=refunds % 0.5 < 0.25, at_once=at_once)
        if kind < 0.90:
            return self._read(place)
        if kind < 0.95:
            return self._look_into_wallet()
        return self._top_up()

    async def _order(self, skus: list[str], units: int, payment: dict[str, Any], at_once: int) -> None:
        lines = [{"sku": sku, "quantity": units} for sku in skus]
        body = {"lines": lines, **_order_body(units * len(skus), payment)}
        await self._place(body, {"lines": [[sku, units] for sku in skus]}, payment, at_once)

    async def _order_cart(self, sku: str, units: int, at_once: int) -> None:
        """Order what lies in the cart. It may have been ordered or doubled meanwhile: then the price differs."""
        outcome, said = await self._send("POST", "/v1/cart/items", {"sku": sku, "quantity": units})
        if outcome != "ok":
            return
        items = [[item["sku"], int(item["quantity"])] for item in said["cart"]["items"]]
        payment = {"wallet": {}}
        body = _order_body(sum(units for _, units in items), payment)
        await self._place(body, {"lines": items, "cart": True}, payment, at_once)

    async def _place(self, body: Any, wanted: dict[str, Any], payment: dict[str, Any], at_once: int) -> None:
        await self._shop.pace()
        self._keys += 1
        key = f"{self._name}-{self._keys}"

        customer = Customer(self._dice.choice((":confirm", ":confirm", ":fail", "")))

        async def send() -> Reply:
            outcome, said = await self._send("POST", "/v1/orders", body, key=key)
            if outcome == "ok" and said["order"].get("nextAction"):
                await customer.go_to_bank(self._shop.edge, said["order"]["nextAction"]["url"])
            return outcome, _order(said["order"]) if outcome == "ok" else said

        by = payment.get("card", {}).get("token", "wallet")
        arguments = {"user": self._user, **wanted, "total": int(body["expectedTotal"]["minorUnits"]), "by": by}
        self._shop.counts["place"] += 1
        outcome, said = await self._shop.wish(self._name, "place", arguments, send, key=key, at_once=at_once)
        if outcome == "ok":
            self._orders.append(said["order"])
            self._shop.confirmed.append(said["order"])

    async def _cancel(self, place: float, at_once: int) -> None:
        if not self._orders:
            return
        order = self._orders[int(place * len(self._orders))]
        await self._shop.pace()

        async def send() -> Reply:
            outcome, said = await self._send("POST", f"/v1/orders/{order}:cancel", {})
            return outcome, _order(said["order"]) if outcome == "ok" else said

        await self._shop.wish(self._name, "cancel", {"user": self._user, "order": order}, send, at_once=at_once)

    async def _refund(self, place: float, units: int, *, support: bool, rest: bool, at_once: int) -> None:
        """Want money back: all that is left, or some of it; from the shop's support, or without asking anybody."""
        if not self._orders:
            return
        order = self._orders[int(place * len(self._orders))]
        await self._shop.pace()
        self._keys += 1
        key = f"{self._name}-{self._keys}-{order}"  # support's keys are one account's, over all runs on one mesh
        amount = None if rest else units * PRICE_MINOR // 2
        body = {} if amount is None else {"amount": gbp(amount)}
        who = self._shop.admin if support else self._session

        async def send() -> Reply:
            outcome, said = await self._shop.send(who, "POST", f"/v1/orders/{order}/refunds", body, key=key)
            if outcome != "ok":
                return outcome, said
            return outcome, {"refund": said["refund"]["refundId"], "amount": _minor(said["refund"]["amount"])}

        arguments = {"user": self._user, "order": order, "amount": amount, "by": "support" if support else "owner"}
        await self._shop.wish(self._name, "refund", arguments, send, key=key, at_once=at_once)

    async def _send(self, method: str, path: str, body: Any = None, *, key: str = "") -> Reply:
        return await self._shop.send(self._session, method, path, body, key=key)

    async def _read(self, place: float) -> None:
        if not self._orders:
            return
        order = self._orders[int(place * len(self._orders))]
        await self._shop.pace()

        async def send() -> Reply:
            outcome, said = await self._send("GET", f"/v1/orders/{order}")
            return outcome, _order(said["order"]) if outcome == "ok" else said

        await self._shop.wish(self._name, "read", {"user": self._user, "order": order}, send)

    async def _look_into_wallet(self) -> None:
        await self._shop.pace()

        async def send() -> Reply:
            outcome, said = await self._send("GET", "/v1/wallet")
            return outcome, {"balance": _minor(said["wallet"]["balance"])} if outcome == "ok" else said

        await self._shop.wish(self._name, "wallet", {"user": self._user}, send)

    async def _top_up(self) -> None:
        await self._shop.pace()
        self._keys += 1
        key = f"{self._name}-{self._keys}"
        body = {"amount": gbp(self.pocket_minor), "cardToken": "tok_visa"}

        async def send() -> Reply:
            outcome, said = await self._send("POST", "/v1/wallet:topUp", body, key=key)
            return outcome, {"balance": _minor(said["wallet"]["balance"])} if outcome == "ok" else said

        arguments = {"user": self._user, "amount": self.pocket_minor}
        await self._shop.wish(self._name, "top_up", arguments, send, key=key)


@dataclass
class Customer:
    """Somebody who has to confirm a payment at the bank: says yes, or no, or leaves the page alone."""

    answer: str
    first_at: float = field(default_factory=time.monotonic)
    is_done: bool = False

    async def go_to_bank(self, edge: Edge, url: str) -> None:
        """Answer on the bank's page; what did not get there is said again at the next look."""
        answer = self.answer or (":fail" if time.monotonic() > self.first_at + PATIENCE_SECONDS else "")
        if answer and not self.is_done:
            try:
                self.is_done = (await edge.http.post(f"{url}{answer}")).status_code < 500
            except httpx.HTTPError:
                pass


class CartKeeper:
    """A guest who fills a cart and looks into it, one thing after the other, for as long as the shop is open."""

    def __init__(self, shop: Shop, name: str) -> None:
        """Describe a guest who has not come yet."""
        self._shop = shop
        self._name = name
        self._dice = random.Random(f"{shop.load.seed}/{name}")
        self._session = Session(shop.edge)
        self._etag = ""
        self._lines: Mapping[str, int] = {}

    async def live(self) -> None:
        """Come again whenever the session cannot be prolonged."""
        while not self._shop.over.is_set():
            self._session = Session(self._shop.edge)
            self._session.take("ok", await _insist(self._shop, "POST", "/v1/sessions:guest", {}))
            await self._look()
            while not self._shop.over.is_set() and not self._session.is_worn:
                await (self._change() if self._dice.random() < 0.6 else self._look())
                await _sleep(self._shop, self._dice.uniform(0, 2 * KEEPER_PAUSE_SECONDS))
            await self._look()

    async def _change(self) -> None:
        """Change what was seen last. The etag makes it safe to ask again: what was done once is refused then."""
        etag, what, units = self._etag, self._dice.random(), self._dice.randint(1, 3)
        if what < 0.6 or not self._lines:
            sku = self._dice.choice(self._shop.plain)
            body = {"sku": sku, "quantity": units, "etag": etag}
            request: tuple[str, str, dict[str, Any] | None] = ("POST", "/v1/cart/items", body)
        else:
            sku = self._dice.choice(sorted(self._lines))
            units = units if what < 0.8 else 0
            path = f"/v1/cart/items/{sku}"
            setting = "PATCH", path, {"quantity": units, "etag": etag}
            request = setting if units else ("DELETE", f"{path}?etag={etag}", None)
        await self._ask("cart", {"sku": sku, "units": units}, *request)

    async def _look(self) -> None:
        await self._ask("look", {}, "GET", "/v1/cart", None)

    async def _ask(self, kind: str, arguments: Mapping[str, Any], method: str, path: str, body: Any) -> None:
        async def send() -> Reply:
            outcome, said = await self._shop.send(self._session, method, path, body)
            if outcome == "ok":
                return outcome, _cart(said["cart"])
            settled = said.get("reason") in ("CART_CHANGED", "CART_ITEM_NOT_FOUND", "QUANTITY_TOO_LARGE")
            return "refused" if settled else outcome, said

        outcome, said = await self._shop.wish(self._name, kind, {"user": self._session.user, **arguments}, send)
        if outcome == "ok":
            self._etag, self._lines = said["etag"], said["lines"]
        elif kind == "cart":
            await self._look()


def gbp(minor: int) -> dict[str, str]:
    """Return an amount in pence as the edge reads it."""
    return {"currencyCode": "GBP", "minorUnits": str(minor)}


def _order_body(units: int, payment: dict[str, Any]) -> dict[str, Any]:
    return {
        "expectedTotal": gbp(units * PRICE_MINOR),
        "shippingAddress": ADDRESS,
        "contactEmail": "ada@example.com",
        "payment": payment,
    }


def _order(order: Mapping[str, Any]) -> dict[str, Any]:
    lines = [[line["sku"], int(line["quantity"])] for line in order["lines"]]
    return {"order": order["orderId"], "status": order["status"], "total": _minor(order["total"]), "lines": lines}


def _cart(cart: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is in a cart, and the version in front of the dash of its etag."""
    lines = {item["sku"]: int(item["quantity"]) for item in cart.get("items", [])}
    return {"version": int(cart["etag"].partition("-")[0], 16), "etag": cart["etag"], "lines": lines}


def _stock(said: Mapping[str, Any]) -> dict[str, Any]:
    stock = said["stock"]
    return {name: int(stock[name]) for name in ("onHand", "reserved", "available")}


def _minor(amount: Mapping[str, Any]) -> int:
    return int(amount.get("minorUnits", 0))


async def _sleep(shop: Shop, seconds: float) -> None:
    """Sleep, but not past the closing of the shop."""
    try:
        await asyncio.wait_for(shop.over.wait(), seconds)
    except TimeoutError:
        pass
