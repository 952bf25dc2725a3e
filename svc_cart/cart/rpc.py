"""CartService on the wire: decode, call, encode."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from mesh import audit
from mesh.identity import caller_of
from mesh.seams import Ids
from svc_cart.cart import rules
from svc_cart.cart.carts import Carts, Change
from svc_cart.cart.prices import Prices, Variants
from svc_cart.cart.rules import Cart
from svc_cart.errors import SkuNotFound
from titan.cart.v1 import cart_pb2
from titan.cart.v1 import cart_service_pb2 as pb
from titan.type.v1 import money_pb2

DEFAULT_CURRENCY = "GBP"


class CartServicer:
    """Serves titan.cart.v1.CartService."""

    def __init__(self, carts: Carts, prices: Prices, ids: Ids) -> None:
        self._carts = carts
        self._prices = prices
        self._ids = ids

    async def GetCart(self, request: pb.GetCartRequest, context: Any) -> pb.GetCartResponse:
        """Has no refusals of its own."""
        cart = await self._carts.get(caller_of(context).require_user_id())
        return pb.GetCartResponse(cart=to_wire(cart, await self._prices.of(cart.lines)))

    async def AddItem(self, request: pb.AddItemRequest, context: Any) -> pb.AddItemResponse:
        """Refuses with SKU_NOT_FOUND, QUANTITY_TOO_LARGE, CART_FULL or CART_CHANGED."""

        def add(cart: Cart) -> Cart:
            return rules.add(
                cart,
                request.sku,
                request.quantity,
                etag=request.etag,
                new_id=self._ids.new(),
                at_microseconds=self._carts.now_microseconds(),
            )

        return pb.AddItemResponse(cart=await self._change(context, add, sold=request.sku))

    async def UpdateItem(self, request: pb.UpdateItemRequest, context: Any) -> pb.UpdateItemResponse:
        """Refuses with CART_ITEM_NOT_FOUND or CART_CHANGED."""

        def set_quantity(cart: Cart) -> Cart:
            at = self._carts.now_microseconds()
            return rules.set_quantity(cart, request.sku, request.quantity, etag=request.etag, at_microseconds=at)

        return pb.UpdateItemResponse(cart=await self._change(context, set_quantity))

    async def RemoveItem(self, request: pb.RemoveItemRequest, context: Any) -> pb.RemoveItemResponse:
        """Refuses with CART_CHANGED."""

        def remove(cart: Cart) -> Cart:
            at = self._carts.now_microseconds()
            return rules.remove(cart, request.sku, etag=request.etag, at_microseconds=at)

        return pb.RemoveItemResponse(cart=await self._change(context, remove))

    async def BatchGetCarts(self, request: pb.BatchGetCartsRequest, context: Any) -> pb.BatchGetCartsResponse:
        """Has no refusals of its own."""
        user_ids = [UUID(user_id) for user_id in request.user_ids]
        carts = await self._carts.get_for_orders(list(dict.fromkeys(user_ids)))
        return pb.BatchGetCartsResponse(carts=[to_contents(carts[user_id]) for user_id in user_ids])

    async def BatchCloseCarts(self, request: pb.BatchCloseCartsRequest, context: Any) -> pb.BatchCloseCartsResponse:
        """Has no refusals of its own; closing twice, or a cart that is unknown, is safe."""
        ordered = {UUID(cart.cart_id): quantities(cart.lines) for cart in reversed(request.carts) if cart.lines}
        left = list(dict.fromkeys((UUID(cart.user_id), UUID(cart.cart_id)) for cart in request.carts))
        while left:
            # One statement closes one cart per user; a second cart of the same user waits for the next one.
            now = dict(reversed(left))
            await self._carts.close(now, {cart_id: ordered[cart_id] for cart_id in now.values() if cart_id in ordered})
            left = [(user_id, cart_id) for user_id, cart_id in left if now[user_id] != cart_id]
        return pb.BatchCloseCartsResponse()

    async def _change(self, context: Any, change: Change, *, sold: str = "") -> cart_pb2.Cart:
        """Change the caller's cart, with the prices first: a change that is made must not fail for want of a price.

        Raises:
            SkuNotFound: The shop does not sell what has to be sold.
        """
        seen = await self._carts.get(caller_of(context).require_user_id())
        prices = await self._prices.of({*seen.lines, sold} if sold else seen.lines)
        if sold and sold not in prices:
            raise SkuNotFound("the shop sells nothing under this SKU", sku=sold)
        cart = await self._carts.change(seen, change, audit.command())
        if not cart.lines.keys() <= seen.lines.keys() | {sold}:
            prices = await self._prices.of(cart.lines)  # another device was at it as well
        return to_wire(cart, prices)


def to_wire(cart: Cart, prices: Variants) -> cart_pb2.Cart:
    """Return a cart as shoppers see it. It has one currency, that of its first line which is sold.

    Its etag stands for what is shown, prices and all, or a client that asks whether anything is new would go on showing
    yesterday's price. Changes mind the version in front of the dash alone.
    """
    currency = next((prices[sku].price.currency_code for sku in cart.lines if sku in prices), DEFAULT_CURRENCY)
    items, subtotal = [], 0
    for sku, quantity in cart.lines.items():
        item = cart_pb2.CartItem(sku=sku, quantity=quantity)
        variant = prices.get(sku)
        if variant is not None and variant.price.currency_code == currency:
            total = variant.price.minor_units * quantity
            item.unit_price.CopyFrom(variant.price)
            item.line_total.CopyFrom(money_pb2.Money(currency_code=currency, minor_units=total))
            item.title, item.sellable = variant.title, True
            subtotal += total
        items.append(item)
    wire = cart_pb2.Cart(
        cart_id=str(cart.cart_id or ""),
        items=items,
        subtotal=money_pb2.Money(currency_code=currency, minor_units=subtotal),
        etag=f"{cart.etag}-{_digest(items)}" if items else cart.etag,
    )
    if cart.updated_microseconds:
        wire.update_time.FromMicroseconds(cart.updated_microseconds)
    return wire


def _digest(items: Sequence[cart_pb2.CartItem]) -> str:
    return hashlib.blake2b(b"".join(item.SerializeToString() for item in items), digest_size=4).hexdigest()


def quantities(lines: Iterable[cart_pb2.CartLine]) -> dict[str, int]:
    """Return the quantities of lines by SKU; a SKU may stand in several."""
    counted: Counter[str] = Counter()
    for line in lines:
        counted[line.sku] += line.quantity
    return dict(counted)


def to_contents(cart: Cart) -> cart_pb2.CartContents:
    """Return a cart as the order path needs it."""
    return cart_pb2.CartContents(
        user_id=str(cart.user_id),
        cart_id=str(cart.cart_id or ""),
        lines=[cart_pb2.CartLine(sku=sku, quantity=quantity) for sku, quantity in cart.lines.items()],
        etag=cart.etag,
    )
