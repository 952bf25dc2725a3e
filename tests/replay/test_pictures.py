"""The pictures of a replay: sums alone, whole SVG documents, small."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import pytest

from replay.page import ALT, MOST_PICTURE_BYTES
from replay.pictures import drawn
from svc_bulk.report import rules
from svc_bulk.report.rules import Group, Report, SkuSales
from tests.replay.shop import table

SUMS = ("currency_code", "orders", "units", "total_minor", "refunded_minor", "net_minor")
BOOKS = [
    ("section", "title", "number", "gbp"),
    ("lines", "sale: goods", 9, "60.000"),
    ("orders", "orders", 3, "100.000"),
    ("refunds", "refunds", 1, "-40.000"),
    ("remainder", "returns unmatched: goods, above", 1, "-3.000"),
    ("remainder", "returns unmatched: goods, guest", 1, "-2.000"),
    ("remainder", "goods without a price: goods", 1, "0.000"),
    ("rounding", "prices of tenths of a penny", 1, "0.001"),
    ("difference", "difference", 0, "0.000"),
]


def sums(by: str, *amounts: tuple[str, int]) -> bytes:
    rows: list[tuple[Any, ...]] = [(name, "GBP", 2, 5, minor, 0, minor) for name, minor in amounts]
    return table([(by, *SUMS), *rows])


@pytest.fixture
def tables() -> dict[str, bytes]:
    customers = [(f"00000000-0000-4000-8000-{n:012}", 5_000 * (n + 1)) for n in range(40)]
    return {
        "sales_by_day.csv": sums("day", ("2011-01-30", 400_000), ("2011-02-02", 100_000)),
        "sales_by_country.csv": sums("country_code", ("FR", 100), ("GB", 900_000), ("ZZ", 300)),
        "sales_by_customer.csv": sums("user_id", *customers),
        "sales_by_product.csv": sums("sku", *((f"85{n:03}A", 100 * n) for n in range(1, 31))),
        "reconciliation.csv": table(list(BOOKS)),
    }


def texts(svg: str) -> list[str]:
    return [each.text or "" for each in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


def test_each_picture_of_the_page_is_drawn_and_small(tables: dict[str, bytes]) -> None:
    """In the order of the page's words for them, whichever that is."""
    found = dict(drawn(tables))
    assert set(ALT) == set(found)
    assert all(len(text) < MOST_PICTURE_BYTES / 5 and "<script" not in text for text in found.values())


def test_no_customer_is_in_a_picture(tables: dict[str, bytes]) -> None:
    """They are counted by what they spent; 40 of them, from 50 pounds to 2,000."""
    found = dict(drawn(tables))
    assert not [name for name, text in found.items() if "0000-4000-8000" in text]
    said = texts(found["sales_by_customer.svg"])
    assert "40 customers and guests; the tenth that spent most bought 19% of everything" in said
    counts = [text.strip() for text in said[2:] if text.strip().isdigit()]
    assert ["1", "4", "14", "21", "0", "0"] == counts


def test_days_without_a_sale_have_their_place_and_months_begin_where_they_do(tables: dict[str, bytes]) -> None:
    """Two columns on four days; February begins at the third."""
    svg = dict(drawn(tables))["sales_by_day.svg"]
    assert "February" in texts(svg) and "January" not in texts(svg)
    assert "4 orders, GBP 5,000 before anything went back" in texts(svg)


def test_a_country_that_leaves_no_room_is_told_and_not_drawn(tables: dict[str, bytes]) -> None:
    """By its name; a country that is none is several, or none."""
    said = texts(dict(drawn(tables))["sales_by_country.svg"])
    assert "United Kingdom, which is not drawn: GBP 9,000, 100% of all; here the largest 2 of the 2 others" in said
    assert said.index("several, or none") < said.index("France") and "United Kingdom" not in said
    tables["sales_by_country.csv"] = sums("country_code", ("FR", 100), ("GB", 90), ("IE", 80))
    assert {"France", "United Kingdom", "Ireland"} <= set(texts(dict(drawn(tables))["sales_by_country.svg"]))
    tables["sales_by_country.csv"] = sums("country_code", ("GB", 90))
    assert "United Kingdom" in texts(dict(drawn(tables))["sales_by_country.svg"])


def test_the_largest_products_are_drawn_by_their_codes(tables: dict[str, bytes]) -> None:
    said = texts(dict(drawn(tables))["sales_by_product.svg"])
    assert ["85030A", "85019A"] == [each for each in said if each.startswith("850")][::11]
    assert "the largest 12 of 30, by stock code, without postage" in said


def test_the_parts_of_the_books_are_summed_by_what_became_of_them(tables: dict[str, bytes]) -> None:
    """What amounts to nothing is left out; the total is what they come to."""
    said = texts(dict(drawn(tables))["reconciliation.svg"])
    assert ["orders", "+100 GBP", "refunds", "−40 GBP", "returns unmatched", "−5 GBP"] == said[2:8]
    assert ["rounding", "+0.001 GBP", "the file", "55 GBP"] == said[8:]


def test_a_replay_that_sold_nothing_is_drawn_too(tables: dict[str, bytes]) -> None:
    """Every order may have been refused; there is no day to draw then."""
    none = {name: content.splitlines(keepends=True)[0] for name, content in tables.items() if name.startswith("sales")}
    found = dict(drawn({**tables, **none}))
    assert set(ALT) - {"sales_by_day.svg"} == set(found)
    assert "nothing" in texts(found["sales_by_product.svg"]) and "nothing" in texts(found["sales_by_country.svg"])


def test_the_tables_that_the_bulk_worker_writes_are_drawn(tables: dict[str, bytes]) -> None:
    """By the names and the columns that it gives them."""
    made = Report()
    of = [Group(name, "GBP", 2, 3, 12_300, 0) for name in ("2011-02-01", "IE", "somebody")]
    made.add(days=of[:1], countries=of[1:2], customers=of[2:], skus=[SkuSales("85A", "Cup", "GBP", 2, 3, 0, 12_300)])
    found = dict(drawn({**tables, **dict(rules.tables(made))}))
    assert set(ALT) == set(found)
    assert "Ireland" in texts(found["sales_by_country.svg"]) and "85A" in texts(found["sales_by_product.svg"])
    assert "2 orders, GBP 123 before anything went back" in texts(found["sales_by_day.svg"])
