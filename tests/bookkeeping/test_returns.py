"""Of which orders a credit note gives back what."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from bookkeeping.file import FileLine
from bookkeeping.invoices import CreditNote, Invoice, documents
from bookkeeping.returns import Matched, Part, Purchases, Unmatched
from tests.bookkeeping.files import line

CODES = ("101A", "102", "M", "POST", "D")


def matched(*lines: FileLine) -> list[Matched]:
    """What becomes of each credit note when everything before it was bought."""
    purchases, made = Purchases(), []
    for each in documents(lines):
        if isinstance(each, CreditNote):
            made.append(purchases.match(each))
        elif each.orderable:
            purchases.add(each, f"order {each.number}")
    return made


def refunds(of: Matched) -> list[tuple]:
    return [(each.invoice, each.part, each.amount_minor, each.units) for each in of.refunds]


def leftovers(of: Matched) -> list[tuple]:
    return [(each.why, each.units, each.amount_minor) for each in of.leftovers]


def test_the_newest_purchase_comes_back_first() -> None:
    """And what it has not, of the one before; each order's part is a refund with a key of its own."""
    lines = [line("1", quantity=5), line("2", quantity=2), line("2", code="102"), line("C3", quantity=-4)]
    (back,) = matched(*lines)
    assert [("2", Part.GOODS, 300, ((1, 2),)), ("1", Part.GOODS, 300, ((1, 2),))] == refunds(back)
    assert [] == leftovers(back) and ["return-C3-2-goods", "return-C3-1-goods"] == [r.key for r in back.refunds]
    assert "order 2" == back.refunds[0].order_id


def test_nothing_comes_back_twice() -> None:
    """Two units were bought; the third that comes back was bought elsewhere."""
    first, second = matched(line("1", quantity=2), line("C2", quantity=-1), line("C3", quantity=-2))
    assert [("1", Part.GOODS, 150, ((1, 1),))] == refunds(first) == refunds(second)
    assert [(Unmatched.NOT_BOUGHT, 1, 150)] == leftovers(second)


def test_other_buyers_and_other_codes_are_no_match() -> None:
    """A code that differs by case is another product."""
    (back,) = matched(line("1", customer="8"), line("2", code="102"), line("3", code="101a"), line("C4", quantity=-1))
    assert [] == refunds(back) and [(Unmatched.NOT_BOUGHT, 1, 150)] == leftovers(back)


def test_a_return_before_the_purchase_is_no_match() -> None:
    (back,) = matched(line("C1", quantity=-1), line("2"))
    assert [(Unmatched.NOT_BOUGHT, 1, 150)] == leftovers(back)


def test_a_guest_returns_nobodys_purchase() -> None:
    (back,) = matched(line("1", customer=""), line("C2", quantity=-1, customer=""))
    assert [] == refunds(back) and [(Unmatched.GUEST, 1, 150)] == leftovers(back)


def test_no_unit_gives_back_more_than_it_cost() -> None:
    """A lower price is given back as it stands; what is above is told."""
    dear, cheap = matched(
        line("1", quantity=3), line("C2", quantity=-2, price="2"), line("C3", quantity=-1, price="0.5")
    )
    assert [("1", Part.GOODS, 300, ((1, 2),))] == refunds(dear) and [(Unmatched.ABOVE_PAID, 0, 100)] == leftovers(dear)
    assert [("1", Part.GOODS, 50, ((1, 1),))] == refunds(cheap) and [] == leftovers(cheap)


def test_a_unit_of_a_discounted_order_cost_less() -> None:
    """A tenth off 15.00 is a tenth off each unit."""
    lines = [line("1", quantity=10), line("1", code="D", quantity=-1), line("C2", quantity=-1)]
    (back,) = matched(*lines)
    assert [("1", Part.GOODS, 135, ((1, 1),))] == refunds(back) and [(Unmatched.ABOVE_PAID, 0, 15)] == leftovers(back)


def test_two_lines_of_a_note_share_a_refund() -> None:
    """An order is asked once for each part."""
    (back,) = matched(line("1", quantity=3), line("C2", quantity=-1), line("C2", quantity=-1, price="1"))
    assert [("1", Part.GOODS, 250, ((1, 2),))] == refunds(back)


def test_postage_goes_back_of_postage() -> None:
    """The newest first; also of postage that was billed alone; never of the goods' money."""
    lines = [line("1"), line("1", code="POST", price="5"), line("2", code="POST", price="2")]
    (back,) = matched(*lines, line("C3", code="POST", quantity=-1, price="8"))
    assert [("2", Part.SHIPPING, 200, ()), ("1", Part.SHIPPING, 500, ())] == refunds(back)
    assert [(Unmatched.ABOVE_PAID, 0, 100)] == leftovers(back)


def test_a_discount_goes_back_of_whatever_was_paid_and_leaves_less_for_returns() -> None:
    """Never is more sent back of an order than was captured for it."""
    lines = [line("1", quantity=2), line("C2", code="D", quantity=-1, price="2")]
    discount, back = matched(*lines, line("C3", quantity=-2))
    assert [("1", Part.DISCOUNT, 200, ())] == refunds(discount)
    assert [("1", Part.GOODS, 100, ((1, 2),))] == refunds(back) and [(Unmatched.ABOVE_PAID, 0, 200)] == leftovers(back)


def test_what_came_back_leaves_less_for_discounts() -> None:
    _, discount = matched(line("1", quantity=2), line("C2", quantity=-1), line("C3", code="D", quantity=-1, price="2"))
    assert [("1", Part.DISCOUNT, 150, ())] == refunds(discount)
    assert [(Unmatched.ABOVE_PAID, 0, 50)] == leftovers(discount)


def test_a_charge_comes_back_without_goods() -> None:
    (back,) = matched(line("1", code="M"), line("C2", code="M", quantity=-1))
    assert [("1", Part.CHARGES, 150, ((1, 1),))] == refunds(back)


SALES = st.builds(
    line,
    invoice=st.sampled_from("123"),
    code=st.sampled_from(CODES[:4]),
    quantity=st.integers(1, 5),
    price=st.sampled_from(("0.01", "1.5", "20")),
    customer=st.just("7"),
)
CREDITS = st.builds(
    line,
    invoice=st.sampled_from(("C1", "C2")),
    code=st.sampled_from(CODES),
    quantity=st.integers(-5, -1),
    price=st.sampled_from(("0.01", "1.5", "20")),
    customer=st.just("7"),
)


@settings(deadline=None)
@given(st.lists(SALES | CREDITS, max_size=12))
def test_refunds_and_leftovers_are_the_note_and_no_order_gives_more_than_it_took(lines: list[FileLine]) -> None:
    """Whatever was bought and is returned, in whichever order."""
    made = documents(lines)
    orders = {each.number: each for each in made if isinstance(each, Invoice)}
    notes = {each.number: each for each in made if isinstance(each, CreditNote)}
    gone: dict[str, int] = {}
    units: dict[tuple[str, int], int] = {}
    for back, note in zip(matched(*lines), notes.values(), strict=True):
        given_back = sum(r.amount_minor for r in back.refunds) + sum(each.amount_minor for each in back.leftovers)
        assert sum(each.total_minor for each in note.lines) == given_back
        for refund in back.refunds:
            gone[refund.invoice] = gone.get(refund.invoice, 0) + refund.amount_minor
            for number, of in refund.units:
                units[refund.invoice, number] = units.get((refund.invoice, number), 0) + of
    assert all(amount <= orders[number].total_minor for number, amount in gone.items())
    assert all(of <= orders[number].lines[at - 1].quantity for (number, at), of in units.items())
