"""The first half of placing an order, for sets: quote, compare, record. Nothing is stored before the record.

A key that was used before is answered from what is stored under it. It asks the cart and the catalogue, never stock or
money; those are the saga's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg

from mesh import idempotency
from mesh.audit import Command
from mesh.batcher import Batcher
from mesh.clients import Clients
from mesh.database import Database
from mesh.refusals import IdempotencyKeyReused, Refusal, Unavailable
from mesh.seams import Clock, Ids, failpoint
from mesh.vault import store as keys
from mesh.vault.vault import Erased, Unreadable, Vault
from svc_order.checkout import rules, store
from svc_order.checkout.rules import NOTHING_AGREED, Agreed, Quote, Sold, Wanted
from svc_order.checkout.store import Key, Known, Recorded
from svc_order.errors import CartAlreadyOrdered, UserErased
from svc_order.order import rules as order_rules
from svc_order.order import store as orders
from svc_order.order.rules import Order, OrderStatus
from svc_order.settings import OrderSettings
from titan.cart.v1 import cart_service_pb2, cart_service_pb2_grpc
from titan.catalog.v1 import product_service_pb2, product_service_pb2_grpc

MAX_SKUS_PER_CALL = 4096
CART_WEIGHT_LINES = 16
"""What an order from a cart weighs in a batch, in lines, before anybody knows its lines."""
FINGERPRINT = b"fingerprint"
"""What fingerprints are sealed as: hashes of name, address and e-mail too, which whoever guesses these could try."""


@dataclass(frozen=True, slots=True)
class Ask:
    """A quote to give: from lines, or from the user's cart. Without a key nothing is looked up under it."""

    user_id: UUID
    lines: tuple[Wanted, ...]
    key: Key | None = None
    agreed: Agreed = NOTHING_AGREED


@dataclass(frozen=True, slots=True)
class Priced:
    """What an order would cost, and the cart that it would consume."""

    quote: Quote
    cart_id: UUID | None


@dataclass(frozen=True, slots=True)
class Placement:
    """An order to record. The personal data and the payment method come serialized, and are sealed here."""

    key: Key
    priced: Priced
    personal: bytes
    method: bytes
    effective_at: datetime | None
    by: Command


class Intake:
    """Quotes and records orders, many at a time."""

    def __init__(
        self, db: Database, clients: Clients, vault: Vault, clock: Clock, ids: Ids, settings: OrderSettings
    ) -> None:
        self._db = db
        self._vault = vault
        self._clock = clock
        self._ids = ids
        self._settings = settings
        self._carts = clients.get(cart_service_pb2_grpc.CartServiceStub)
        self._products = clients.get(product_service_pb2_grpc.ProductServiceStub)
        # Two lanes, because a batch takes as long as what it asks: carts that hang must not hold up anybody's lines.
        self._quotes_of_lines: Batcher[Ask, Known | Priced] = Batcher(
            self._quote, name="order.quote", weight=lambda ask: len(ask.lines)
        )
        self._quotes_of_carts: Batcher[Ask, Known | Priced] = Batcher(
            self._quote, name="order.quote_cart", weight=lambda _: CART_WEIGHT_LINES
        )
        self.records: Batcher[Placement, Known | Order] = Batcher(
            self._record, name="order.record", weight=lambda p: len(p.priced.quote.lines)
        )

    async def quote(self, ask: Ask) -> Known | Priced:
        """Return what was asked for would cost, or what is stored under its key.

        Raises:
            Refusal: It cannot be ordered, or nobody can be asked what it costs.
        """
        return await (self._quotes_of_lines if ask.lines else self._quotes_of_carts).submit(ask)

    async def find_known(self, key: Key) -> Known | None:
        """Return what is stored under a key now.

        Raises:
            IdempotencyKeyReused: The key was used before, with another body.
        """
        found = (await self._find([key])).get((key.user_id, key.request_id))
        if found is None:
            return None
        same = self._same(found, key)
        if isinstance(same, Exception):
            raise same
        return same

    async def close(self) -> None:
        """Let what waits be quoted and recorded, and take nothing new."""
        for batcher in (self._quotes_of_lines, self._quotes_of_carts, self.records):
            await batcher.close()

    async def _quote(self, asks: list[Ask]) -> Sequence[Known | Priced | Exception]:
        known, carts, sold = await asyncio.gather(
            self._find([ask.key for ask in asks if ask.key is not None]),
            self._read_carts({ask.user_id for ask in asks if not ask.lines}),
            self._read_variants(line.sku for ask in asks for line in ask.lines),
        )
        # What is stored under a key is answered whatever else is away.
        results: list[Known | Priced | Exception | None] = [self._stored(ask, known) for ask in asks]
        wanted: dict[int, tuple[UUID | None, tuple[Wanted, ...]]] = {}
        for place, ask in enumerate(asks):
            if results[place] is not None:
                continue
            if ask.lines:
                wanted[place] = (None, ask.lines)
            elif isinstance(carts, Refusal):
                results[place] = carts
            else:
                wanted[place] = carts[ask.user_id]
        if not isinstance(sold, Refusal):
            in_carts = {line.sku for _, lines in wanted.values() for line in lines} - sold.keys()
            more = await self._read_variants(in_carts - {line.sku for ask in asks for line in ask.lines})
            sold = more if isinstance(more, Refusal) else sold | more
        await failpoint("order.quote.before_answer")
        for place, (cart_id, lines) in wanted.items():
            results[place] = sold if isinstance(sold, Refusal) else _priced(cart_id, lines, sold, asks[place].agreed)
        return [result for result in results if result is not None]

    async def _record(self, placements: list[Placement]) -> Sequence[Known | Order | Exception]:
        await self._vault.prepare(p.key.user_id for p in placements)
        made = [self._recorded(p) for p in placements]
        items = [each for each in made if isinstance(each, Recorded)]
        first: dict[tuple[UUID, str], Recorded] = {}
        for item in items:
            first.setdefault((item.key.user_id, item.key.request_id), item)

        async def write(
            tx: asyncpg.Connection,
        ) -> tuple[set[UUID], dict[tuple[UUID, str], Known], dict[UUID, UUID], set[UUID]]:
            placed = await store.record(tx, list(first.values()), lease_seconds=self._settings.lease_seconds)
            await failpoint("order.record.before_commit")
            late = [i for i in items if i.change.order.order_id not in placed]
            if not late:
                return placed, {}, {}, set()
            carts = [i.change.order.cart_id for i in late if i.change.order.cart_id is not None]
            known = await store.find_known(tx, [i.key for i in late])
            gone = await keys.list_erased(tx, [i.key.user_id for i in late])
            return placed, known, await orders.live_order_of_cart(tx, carts), gone

        await failpoint("order.record.before")
        placed, known, live, gone = await self._db.transact(write)
        await failpoint("order.record.after")
        return [self._outcome(each, placed, known, live, gone) if isinstance(each, Recorded) else each for each in made]

    def _outcome(
        self,
        item: Recorded,
        placed: set[UUID],
        known: Mapping[tuple[UUID, str], Known],
        live: Mapping[UUID, UUID],
        gone: Container[UUID],
    ) -> Known | Order | Exception:
        order = item.change.order
        if order.order_id in placed:
            return order
        found = known.get((item.key.user_id, item.key.request_id))
        if found is not None:
            return self._same(found, item.key)
        if item.key.user_id in gone:
            return UserErased("the user was erased")
        other = live.get(order.cart_id) if order.cart_id else None
        return CartAlreadyOrdered("the cart was ordered before", order_id=other or "")

    def _recorded(self, placement: Placement) -> Recorded | Unavailable:
        """Return what to store of an order. A user whose key does not open is refused alone, and nobody beside them."""
        quote, key = placement.priced.quote, placement.key
        now, order_id = self._clock.now(), self._ids.new()
        order = Order(
            order_id=order_id,
            user_id=key.user_id,
            status=OrderStatus.PENDING,
            currency=quote.currency,
            total_minor=quote.total_minor,
            tax_minor=quote.tax_minor,
            shipping_minor=quote.shipping_minor,
            lines=quote.lines,
            cart_id=placement.priced.cart_id,
            created_at=now,
            effective_at=placement.effective_at or now,
            updated_at=now,
        )
        try:
            return Recorded(
                change=order_rules.place(order),
                key=key,
                fingerprint=self._vault.seal(key.user_id, order_id, key.fingerprint, FINGERPRINT),
                sealed=self._vault.seal(key.user_id, order_id, placement.personal),
                method=self._vault.seal(key.user_id, order_id, placement.method),
                by=placement.by,
            )
        except Unavailable as unavailable:
            return unavailable

    async def _find(self, keys: Sequence[Key]) -> dict[tuple[UUID, str], Known]:
        if not keys:
            return {}
        async with self._db.hot_read() as connection:
            known = await store.find_known(connection, keys)
        await self._vault.prepare(each.user_id for each in known.values())
        return known

    def _stored(self, ask: Ask, known: Mapping[tuple[UUID, str], Known]) -> Known | Exception | None:
        if ask.key is None:
            return None
        found = known.get((ask.user_id, ask.key.request_id))
        return None if found is None else self._same(found, ask.key)

    def _same(self, found: Known, key: Key) -> Known | Exception:
        """Return what is stored under a key if the same was asked for; its user's key is prepared."""
        try:
            fingerprint = found.fingerprint
            if len(fingerprint) != idempotency.FINGERPRINT_BYTES:  # else it was stored before they were sealed
                fingerprint = self._vault.open(found.user_id, found.order_id, fingerprint, FINGERPRINT)
        except Erased:
            return UserErased("the user was erased")
        except Unreadable as unreadable:
            return unreadable  # of this user alone
        if fingerprint != key.fingerprint:
            return IdempotencyKeyReused(
                "this idempotency key was used before, with another body", order_id=found.order_id
            )
        return found

    async def _read_carts(self, user_ids: set[UUID]) -> dict[UUID, tuple[UUID | None, tuple[Wanted, ...]]] | Refusal:
        if not user_ids:
            return {}
        request = cart_service_pb2.BatchGetCartsRequest(user_ids=[str(user_id) for user_id in sorted(user_ids)])
        try:
            response = await self._carts.BatchGetCarts(request)
        except Refusal as refusal:
            return refusal
        return {
            UUID(cart.user_id): (
                UUID(cart.cart_id) if cart.cart_id else None,
                tuple(Wanted(line.sku, line.quantity) for line in cart.lines),
            )
            for cart in response.carts
        }

    async def _read_variants(self, skus: Iterable[str]) -> dict[str, Sold] | Refusal:
        distinct = sorted(set(skus))
        calls = [
            self._products.BatchGetVariants(
                product_service_pb2.BatchGetVariantsRequest(skus=distinct[start : start + MAX_SKUS_PER_CALL])
            )
            for start in range(0, len(distinct), MAX_SKUS_PER_CALL)
        ]
        try:
            responses = await asyncio.gather(*calls)
        except Refusal as refusal:
            return refusal
        return {
            v.sku: Sold(
                sku=v.sku,
                product_id=v.product_id,
                title=v.title,
                seller_id=v.seller_id,
                price_minor=v.price.minor_units,
                currency=v.price.currency_code,
                tax_rate_basis_points=v.tax_rate_basis_points,
            )
            for response in responses
            for v in response.variants
            if v.found
        }


def _priced(
    cart_id: UUID | None, lines: Sequence[Wanted], sold: Mapping[str, Sold], agreed: Agreed
) -> Priced | Refusal:
    try:
        return Priced(rules.quote(lines, sold, agreed), cart_id)
    except Refusal as refusal:
        return refusal
