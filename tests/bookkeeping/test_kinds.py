"""The tables that say what a stock code stands for and what becomes of a line."""

from __future__ import annotations

import pytest

from bookkeeping.file import FileLine
from bookkeeping.kinds import Kind, LineClass, classify, kind_of
from tests.bookkeeping.files import line


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("85123A", Kind.GOODS),
        ("15056bl", Kind.GOODS),
        ("DCGS0003", Kind.GOODS),
        ("DCGSSBOY", Kind.GOODS),
        ("PADS", Kind.GOODS),
        ("gift_0001_50", Kind.VOUCHER),
        ("M", Kind.BY_HAND),
        ("m", Kind.BY_HAND),
        ("POST", Kind.SHIPPING),
        ("DOT", Kind.SHIPPING),
        ("C2", Kind.SHIPPING),
        ("D", Kind.DISCOUNT),
        ("AMAZONFEE", Kind.MARKETPLACE),
        ("BANK CHARGES", Kind.BANK),
        ("S", Kind.SAMPLES),
        ("CRUK", Kind.CHARITY),
        ("B", Kind.BAD_DEBT),
        ("ADJUST", Kind.ADJUSTMENT),
        ("ADJUST2", Kind.ADJUSTMENT),
        ("GIFT", Kind.VOUCHER),
        ("TEST", Kind.UNKNOWN),
        ("", Kind.UNKNOWN),
        ("POSTER", Kind.UNKNOWN),
        ("٣٤", Kind.UNKNOWN),
        ("ſ", Kind.UNKNOWN),
    ],
)
def test_a_stock_code_stands_for_one_kind(code: str, kind: Kind) -> None:
    """A code that is only like a known one is unknown."""
    assert kind is kind_of(code)


@pytest.mark.parametrize(
    ("of", "kind"),
    [
        (line(), LineClass.SALE),
        (line(price="0.29"), LineClass.SALE),
        (line(price="0.001"), LineClass.SALE),
        (line(code="POST"), LineClass.SALE),
        (line(code="M"), LineClass.SALE),
        (line(code="gift_0001_10"), LineClass.SALE),
        (line(code="D", quantity=-1), LineClass.SALE),
        (line(code="D"), LineClass.NEGATIVE),
        (line("C1", quantity=-1), LineClass.CANCELLATION),
        (line("C1", code="POST", quantity=-1), LineClass.CANCELLATION),
        (line("C1", code="D", quantity=-1), LineClass.CANCELLATION),
        (line("C1"), LineClass.NEGATIVE),
        (line("C1", code="AMAZONFEE", quantity=-1), LineClass.BOOKED),
        (line(code="AMAZONFEE"), LineClass.BOOKED),
        (line("A1", code="B"), LineClass.ADJUSTMENT),
        (line(price="0.0"), LineClass.FREE),
        (line(price="0", quantity=-3), LineClass.STOCK_CORRECTION),
        (line(price="0", code="what is this"), LineClass.FREE),
        (line(quantity=-1), LineClass.NEGATIVE),
        (line(price="-1"), LineClass.NEGATIVE),
        (line(code="TEST"), LineClass.UNCLASSIFIED),
        (line("C1", code="TEST", quantity=-1), LineClass.UNCLASSIFIED),
        (line("A1"), LineClass.ADJUSTMENT),
        (line("X1"), LineClass.UNCLASSIFIED),
        (line("1b"), LineClass.UNCLASSIFIED),
        (line("C"), LineClass.UNCLASSIFIED),
        (line("²"), LineClass.UNCLASSIFIED),
        (line("", code="AMAZONFEE"), LineClass.UNCLASSIFIED),
    ],
)
def test_every_line_has_a_class(of: FileLine, kind: LineClass) -> None:
    assert classify(of) is kind
