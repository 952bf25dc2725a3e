"""How a cart changes, without a server."""

from __future__ import annotations

from uuid import UUID

import pytest

from svc_cart.cart import rules
from svc_cart.cart.rules import Cart
from svc_cart.errors import CartChanged, CartFull, CartItemNotFound, QuantityTooLarge

ADA, OPENED, OTHER = UUID(int=1), UUID(int=2), UUID(int=3)
EMPTY = Cart(ADA)
CART = Cart(ADA, OPENED, 50, {"a": 1, "b": 2})


def add(cart: Cart, sku: str, quantity: int = 1, etag: str = "", at: int = 100) -> Cart:
    return rules.add(cart, sku, quantity, etag=etag, new_id=OTHER, at_microseconds=at)


def test_the_first_add_opens_a_cart_and_later_ones_keep_it():
    """An order consumes a cart by its id, so the id must not change under it."""
    first = add(EMPTY, "a", 3)
    second = add(first, "b", 1)

    assert (OTHER, {"a": 3}) == (first.cart_id, first.lines)
    assert (OPENED, {"a": 1, "b": 2, "c": 1}) == (add(CART, "c").cart_id, add(CART, "c").lines)
    assert ["a", "b"] == list(second.lines)


def test_adding_adds_to_the_line():
    """A line keeps its place."""
    assert {"a": 6, "b": 2} == add(CART, "a", 5).lines


def test_the_version_is_the_time_and_grows_even_if_a_clock_is_behind():
    """A cart that comes back from Postgres a second old is followed by a version above any that was lost."""
    assert 100 == add(CART, "a", at=100).version
    assert 51 == add(CART, "a", at=7).version


@pytest.mark.parametrize("quantity", [9_999, 10_000])
def test_a_line_holds_ten_thousand(quantity):
    """One more is refused, however it comes about."""
    with pytest.raises(QuantityTooLarge):
        add(Cart(ADA, OPENED, 1, {"a": 10_001 - quantity}), "a", quantity)
    assert 10_000 == add(Cart(ADA, OPENED, 1, {"a": 10_000 - quantity}), "a", quantity).lines["a"]


def test_a_cart_holds_a_hundred_lines():
    """A line that is there already can still grow."""
    full = Cart(ADA, OPENED, 1, {str(number): 1 for number in range(100)})

    with pytest.raises(CartFull):
        add(full, "one more")
    assert 2 == add(full, "7").lines["7"]


def test_a_stale_etag_is_refused():
    """Whatever the change; the refusal names the present etag."""
    for change in (
        lambda: add(CART, "a", etag="stale"),
        lambda: rules.set_quantity(CART, "a", 5, etag="stale", at_microseconds=100),
        lambda: rules.remove(CART, "a", etag="stale", at_microseconds=100),
    ):
        with pytest.raises(CartChanged) as refusal:
            change()
        assert {"etag": CART.etag} == refusal.value.metadata
    assert add(CART, "a", etag=CART.etag).lines["a"] == 2
    assert add(CART, "a", etag=f"{CART.etag}-5f3a90c1").lines["a"] == 2


def test_setting_and_removing_again_changes_nothing_even_with_the_old_etag():
    """A client that lost the answer may send the same call again."""
    fewer = rules.set_quantity(CART, "b", 1, etag=CART.etag, at_microseconds=100)
    gone = rules.remove(fewer, "b", etag="", at_microseconds=200)

    assert rules.set_quantity(fewer, "b", 1, etag=CART.etag, at_microseconds=300) is fewer
    assert rules.remove(gone, "b", etag=CART.etag, at_microseconds=300) is gone


def test_only_a_line_that_is_there_can_be_set():
    """Setting never adds."""
    with pytest.raises(CartItemNotFound):
        rules.set_quantity(CART, "c", 1, etag="", at_microseconds=100)
    with pytest.raises(QuantityTooLarge):
        rules.set_quantity(CART, "a", 10_001, etag="", at_microseconds=100)


def test_an_emptied_cart_keeps_its_id():
    """It is still the live cart, only without lines."""
    emptied = rules.remove(rules.remove(CART, "a", etag="", at_microseconds=1), "b", etag="", at_microseconds=2)

    assert (OPENED, {}) == (emptied.cart_id, emptied.lines)


@pytest.mark.parametrize(
    ("ordered", "left"),
    [
        (None, {}),
        ({"a": 1, "b": 2}, {}),
        ({"a": 1}, {"b": 2}),
        ({"b": 1}, {"a": 1, "b": 1}),
        ({"a": 5, "b": 2, "gone": 1}, {}),
        ({"gone": 1}, {"a": 1, "b": 2}),
    ],
)
def test_what_was_not_ordered_is_left_in_the_next_cart(ordered, left):
    """Whole lines, and of a line the units beyond the ordered ones; what was taken out since is not owed."""
    after = rules.after_close(CART, ordered)

    assert left == after.lines and list(left) == list(after.lines)
    assert (CART.user_id, 51, bool(left)) == (after.user_id, after.version, after.cart_id is not None)
    assert CART.cart_id != after.cart_id


def test_a_cart_closed_again_has_the_same_next_cart_and_each_cart_another():
    """Two processes that close a cart at once agree without a word between them."""
    again = rules.after_close(add(CART, "c"), {"a": 1, "b": 2})
    second = rules.after_close(again, {})

    assert rules.after_close(CART, {"a": 1}).cart_id == again.cart_id
    assert 3 == len({CART.cart_id, again.cart_id, second.cart_id})
