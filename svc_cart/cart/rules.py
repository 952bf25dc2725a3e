"""Pure decisions about a cart: how it changes, and when a change is refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from uuid import UUID, uuid5

from svc_cart.errors import CartChanged, CartFull, CartItemNotFound, QuantityTooLarge

MAX_LINES = 100
MAX_QUANTITY = 10_000


@dataclass(frozen=True)
class Cart:
    """A cart as stored: quantities by SKU, in the order in which they were added.

    `version` grows with every change, also over a Redis that lost everything: it is the time of the change in
    microseconds, or one more than the version before where clocks disagree. Without a `cart_id` there are no lines.
    """

    user_id: UUID
    cart_id: UUID | None = None
    version: int = 0
    lines: Mapping[str, int] = field(default_factory=dict)
    updated_microseconds: int = 0

    @property
    def etag(self) -> str:
        """Changes with every change of the cart. On the wire a dash and what it shows follow, which no change minds."""
        return f"{self.version:x}"


def add(cart: Cart, sku: str, quantity: int, *, etag: str, new_id: UUID, at_microseconds: int) -> Cart:
    """Return the cart with more of a SKU; opens a cart where there is none.

    Raises:
        CartChanged: The etag is not that of the cart.
        QuantityTooLarge: The line would hold more than 10,000 units.
        CartFull: The cart has 100 lines already.
    """
    _mind(cart, etag)
    wanted = cart.lines.get(sku, 0) + quantity
    if wanted > MAX_QUANTITY:
        raise QuantityTooLarge(f"a line holds at most {MAX_QUANTITY} units", maximum=MAX_QUANTITY, sku=sku)
    if sku not in cart.lines and len(cart.lines) >= MAX_LINES:
        raise CartFull(f"a cart has at most {MAX_LINES} lines", maximum=MAX_LINES)
    return _changed(
        replace(cart, cart_id=cart.cart_id or new_id), {**cart.lines, sku: wanted}, at_microseconds=at_microseconds
    )


def set_quantity(cart: Cart, sku: str, quantity: int, *, etag: str, at_microseconds: int) -> Cart:
    """Return the cart with this quantity, one at least, of a SKU that it holds.

    Asking for what is so already changes nothing, whatever the etag, so that asking again is safe.

    Raises:
        CartItemNotFound: The cart has no such line.
        QuantityTooLarge: A line holds at most 10,000 units.
        CartChanged: The etag is not that of the cart.
    """
    if sku not in cart.lines:
        raise CartItemNotFound("the cart has no line of this SKU", sku=sku)
    if quantity > MAX_QUANTITY:
        raise QuantityTooLarge(f"a line holds at most {MAX_QUANTITY} units", maximum=MAX_QUANTITY, sku=sku)
    if cart.lines[sku] == quantity:
        return cart
    _mind(cart, etag)
    return _changed(cart, {**cart.lines, sku: quantity}, at_microseconds=at_microseconds)


def remove(cart: Cart, sku: str, *, etag: str, at_microseconds: int) -> Cart:
    """Return the cart without a SKU; one that it does not hold changes nothing, whatever the etag.

    Raises:
        CartChanged: The etag is not that of the cart.
    """
    if sku not in cart.lines:
        return cart
    _mind(cart, etag)
    left = {other: quantity for other, quantity in cart.lines.items() if other != sku}
    return _changed(cart, left, at_microseconds=at_microseconds)


def after_close(cart: Cart, ordered: Mapping[str, int] | None) -> Cart:
    """Return the cart that follows one that was ordered: what it held beyond the ordered quantities by SKU.

    Without `ordered`, everything was. The next cart's id follows from that of the closed one, so that whoever closes it
    again, in any process, comes to the same cart and moves nothing twice. The version is the next one, whatever the
    time: any change that this close has not seen has at least that version, and is known by it.
    """
    assert cart.cart_id is not None, "only a cart that is open can be closed"
    kept = {} if ordered is None else {sku: quantity - ordered.get(sku, 0) for sku, quantity in cart.lines.items()}
    left = {sku: quantity for sku, quantity in kept.items() if quantity > 0}
    next_id = uuid5(cart.cart_id, "next") if left else None
    return replace(cart, cart_id=next_id, version=cart.version + 1, lines=left)


def _mind(cart: Cart, etag: str) -> None:
    if etag and etag.partition("-")[0] != cart.etag:
        raise CartChanged("the cart was changed since", etag=cart.etag)


def _changed(cart: Cart, lines: Mapping[str, int], *, at_microseconds: int) -> Cart:
    version = max(cart.version + 1, at_microseconds)
    return replace(cart, lines=lines, version=version, updated_microseconds=at_microseconds)
