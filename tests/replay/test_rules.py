"""What lines of a shop's file are, on invented lines; and on the real file where it is at hand."""

from __future__ import annotations

import os
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from replay import rules
from replay.rules import FileLine, LineClass

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "online_retail_2010-12_to_2011-05.csv.gz"
REAL = Path(os.environ.get("TITAN_REPLAY_CSV") or SHARED).absolute()
needs_the_real_file = pytest.mark.skipif(
    not REAL.exists(), reason=f"there is no {REAL.name} here: name the retailer's file in TITAN_REPLAY_CSV"
)


def line(invoice: str = "1", code: str = "A1", quantity: int = 1, price: str = "1.5", customer: str = "7") -> FileLine:
    at = datetime(2010, 12, 1, 8, 26, tzinfo=UTC)
    return FileLine(invoice, code, f"NAME OF {code}", quantity, at, Decimal(price), customer, "United Kingdom")


@pytest.mark.parametrize(
    ("of", "kind"),
    [
        (line(), LineClass.SALE),
        (line("C1", quantity=-1), LineClass.CANCELLATION),
        (line("A1"), LineClass.ADJUSTMENT),
        (line(price="0.0"), LineClass.FREE),
        (line(price="0", quantity=-3), LineClass.STOCK_CORRECTION),
        (line(quantity=-1), LineClass.NEGATIVE),
        (line(quantity=0), LineClass.NEGATIVE),
        (line(price="-1"), LineClass.NEGATIVE),
        (line(price="0.001"), LineClass.FRACTION),
        (line(price="0.29"), LineClass.SALE),
    ],
)
def test_every_line_has_a_class(of: FileLine, kind: LineClass) -> None:
    assert rules.classify(of) is kind


def test_an_invoice_may_hold_a_product_twice_at_two_prices() -> None:
    invoice = rules.invoices([line(price="2.10"), line(price="1.99", quantity=3), line("2")])[0]
    assert [(each.quantity, each.price_minor) for each in invoice.lines] == [(1, 210), (3, 199)]
    assert invoice.total_minor == 807


def test_codes_that_differ_by_case_are_two_products() -> None:
    assert [item.stock_code for item in rules.shelf([line(code="a"), line(code="A"), line(code="a")])] == ["a", "A"]


def test_an_invoice_without_a_customer_is_a_guest_of_its_own() -> None:
    first, second = rules.invoices([line("1", customer=""), line("2", customer="")])
    assert first.buyer != second.buyer


def test_a_file_with_other_columns_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "f.csv"
    file.write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="has other columns"):
        list(rules.read(file, first=date(2010, 12, 1), days=1))


def test_a_line_that_can_not_be_read_is_named(tmp_path: Path) -> None:
    file = tmp_path / "f.csv"
    file.write_text(",".join(rules.COLUMNS) + "\n1,A,,many,2010-12-01 08:00:00,1.0,,UK\n")
    with pytest.raises(ValueError, match="line 2"):
        list(rules.read(file, first=date(2010, 12, 1), days=1))


@needs_the_real_file
def test_the_first_day_of_the_real_file() -> None:
    """127 invoices, GBP 58,960.79; the figures of the file's own first trading day."""
    lines = list(rules.read(REAL, first=date(2010, 12, 1), days=1))
    sales = [each for each in lines if rules.classify(each) is LineClass.SALE]
    invoices = rules.invoices(sales)
    assert (len(lines), len(sales), len(invoices)) == (3108, 3072, 127)
    assert sum(invoice.total_minor for invoice in invoices) == 5_896_079
    assert max(len(invoice.lines) for invoice in invoices) == 592
