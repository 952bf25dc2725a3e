"""What an order costs, without a server."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mesh.refusals import InvalidInput
from svc_order.checkout import rules
from svc_order.checkout.rules import Agreed, Sold, Wanted
from svc_order.errors import CartEmpty, CurrencyMixed, PriceChanged, SkuNotSold, TotalTooLarge


def sold(sku: str, price_minor: int, *, currency: str = "GBP", rate: int = 2000) -> Sold:
    return Sold(sku, "p", sku.title(), "house", price_minor, currency, rate)


SHELF = {s.sku: s for s in (sold("mug", 500), sold("tea", 250, rate=0), sold("fan", 900, currency="EUR"))}


def test_a_quote_is_the_sum_of_its_lines() -> None:
    quote = rules.quote([Wanted("mug", 2), Wanted("tea", 3)], SHELF)
    assert (quote.total_minor, quote.tax_minor, quote.currency) == (1750, 167, "GBP")
    assert [line.number for line in quote.lines] == [1, 2]


def test_a_sku_may_stand_in_an_order_twice_at_two_prices() -> None:
    quote = rules.quote([Wanted("mug", 1, 499, "GBP"), Wanted("mug", 1, 1, "GBP")], SHELF)
    assert [line.line_total_minor for line in quote.lines] == [499, 1]


def test_an_agreed_price_of_nothing_is_a_price() -> None:
    assert rules.quote([Wanted("mug", 1, 0, "GBP")], SHELF).total_minor == 0


def test_agreed_shipping_is_in_the_total_and_taxed_like_the_goods() -> None:
    """A sixth of the mugs is tax and nothing of the tea: of 1500 for both 167, so of 300 for shipping 33."""
    quote = rules.quote([Wanted("mug", 2), Wanted("tea", 2)], SHELF, Agreed(300, 0, frozenset({"GBP"})))
    assert (1800, 300, 167 + 33) == (quote.total_minor, quote.shipping_minor, quote.tax_minor)
    free = rules.quote([Wanted("mug", 1, 0, "GBP")], SHELF, Agreed(300, 0, frozenset({"GBP"})))
    assert (300, 0) == (free.total_minor, free.tax_minor)


def test_an_agreed_discount_is_shared_out_over_the_lines() -> None:
    """In proportion, to the last penny, and the tax is of what is left."""
    quote = rules.quote([Wanted("mug", 1), Wanted("mug", 1), Wanted("tea", 2)], SHELF, Agreed(0, 100))
    assert [(34, 466, 78), (33, 467, 78), (33, 467, 0)] == [
        (line.discount_minor, line.line_total_minor, line.tax_minor) for line in quote.lines
    ]
    assert (1400, 156) == (quote.total_minor, quote.tax_minor)


def test_a_discount_of_everything_is_taken_and_a_penny_more_is_not() -> None:
    """Shipping is never discounted."""
    assert 300 == rules.quote([Wanted("mug", 1)], SHELF, Agreed(300, 500)).total_minor
    with pytest.raises(InvalidInput):
        rules.quote([Wanted("mug", 1)], SHELF, Agreed(300, 501))


def test_what_was_agreed_is_in_the_currency_of_the_lines() -> None:
    with pytest.raises(CurrencyMixed):
        rules.quote([Wanted("mug", 1)], SHELF, Agreed(1, 0, frozenset({"EUR"})))


def test_shipping_counts_for_the_largest_total() -> None:
    with pytest.raises(TotalTooLarge):
        rules.quote([Wanted("mug", 1, 10_000_000_000, "GBP")], SHELF, Agreed(1))


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 999)), min_size=1, max_size=9), st.data())
def test_no_discount_is_lost_or_more_than_its_line(wanted: list[tuple[int, int]], data: st.DataObject) -> None:
    """Whatever the lines cost."""
    lines = [Wanted("mug", units, price, "GBP") for units, price in wanted]
    before = rules.quote(lines, SHELF)
    discount_minor = data.draw(st.integers(0, before.total_minor))
    after = rules.quote(lines, SHELF, Agreed(0, discount_minor))
    assert (
        before.total_minor - discount_minor == after.total_minor == sum(each.line_total_minor for each in after.lines)
    )
    assert discount_minor == sum(each.discount_minor for each in after.lines)
    assert all(0 <= each.discount_minor and 0 <= each.tax_minor <= each.line_total_minor for each in after.lines)


def test_nothing_is_not_an_order() -> None:
    with pytest.raises(CartEmpty):
        rules.quote([], SHELF)


def test_an_unknown_sku_is_named() -> None:
    with pytest.raises(SkuNotSold) as refusal:
        rules.quote([Wanted("mug", 1), Wanted("Mug", 1)], SHELF)
    assert refusal.value.metadata == {"sku": "Mug"}


def test_one_order_has_one_currency() -> None:
    with pytest.raises(CurrencyMixed):
        rules.quote([Wanted("mug", 1), Wanted("fan", 1)], SHELF)


def test_the_largest_total_is_taken_and_one_penny_more_is_not() -> None:
    assert rules.quote([Wanted("mug", 1, 10_000_000_000, "GBP")], SHELF).total_minor == rules.MAX_TOTAL_MINOR
    with pytest.raises(TotalTooLarge):
        rules.quote([Wanted("mug", 1, 10_000_000_000, "GBP"), Wanted("mug", 1, 1, "GBP")], SHELF)


@pytest.mark.parametrize(("minor", "currency"), [(499, "GBP"), (501, "GBP"), (500, "EUR")])
def test_another_total_than_the_expected_is_refused_with_the_new_one(minor: int, currency: str) -> None:
    quote = rules.quote([Wanted("mug", 1)], SHELF)
    with pytest.raises(PriceChanged) as refusal:
        rules.check_expected(quote, expected_minor=minor, expected_currency=currency)
    assert refusal.value.metadata == {"total_minor": "500", "currency": "GBP"}
    rules.check_expected(quote, expected_minor=500, expected_currency="GBP")


@given(st.integers(0, 10**10), st.integers(0, 10_000))
@example(1, 10_000)  # a half goes down to nothing
@example(3, 10_000)  # and up to two
@example(2, 5_000)
def test_included_tax_is_rounded_once_half_to_even(gross_minor: int, rate: int) -> None:
    """Python rounds a Fraction half to even, and is exact."""
    exact = Fraction(gross_minor * rate, 10_000 + rate)
    assert rules.included_tax_minor(gross_minor, rate) == round(exact)
