"""The page of a report."""

from __future__ import annotations

from datetime import date, timedelta
from html.parser import HTMLParser

from svc_bulk.report import page
from svc_bulk.report.rules import Group, Report, SkuSales


class Reader(HTMLParser):
    """Reads what a page is made of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def report(days: int = 3, title: str = "Cup") -> Report:
    made = Report()
    first = date(2026, 1, 1)
    for number in range(days):
        if number % 2 == 0:
            day, country, customer = (
                [Group(name, "GBP", 1, 1, 123_450, 50)] for name in (str(first + timedelta(days=number)), "GB", "ada")
            )
            made.add(days=day, countries=country, customers=customer)
    made.add(skus=[SkuSales("cup-1", title, "GBP", 1, 1, 0, 99)])
    return made


def read(made: Report) -> Reader:
    return Reader(page.render(made, period="January").decode())


def test_a_page_shows_the_sums_and_a_column_a_day():
    """Also of the days on which nothing was sold, so that a gap is seen."""
    found = read(report(5))

    assert "GBP 3,703.50" in found.text and "GBP 1.50" in found.text and "January" in found.text
    columns = [attrs for tag, attrs in found.tags if tag == "rect"][:5]
    assert [True, False, True, False, True] == [float(attrs["height"] or 0) > 0 for attrs in columns]


def test_a_country_is_named():
    """Beside its code; what has no code of a country has its letters alone."""
    made = report(1)
    made.add(countries=[Group("ZZ", "GBP", 1, 1, 100, 0), Group("IE", "GBP", 1, 1, 200, 0)])
    text = read(made).text
    assert "GB United Kingdom" in text and "IE Ireland" in text and "ZZ" in text


def test_a_long_time_is_drawn_by_months():
    """Thousands of columns say nothing."""
    assert "Sold by month" in read(report(1000)).text and "Sold by day" in read(report(10)).text


def test_what_products_are_called_is_text():
    """A title is whatever a supplier's feed says."""
    found = read(report(title='<script>alert(1)</script>"><img src=x onerror=alert(1)>'))

    assert not {"script", "img", "iframe"} & {tag for tag, _ in found.tags}
    assert not [name for _, attrs in found.tags for name in attrs if name.startswith("on") or name in ("src", "href")]
    assert "<script>" in found.text


def test_a_report_of_nothing_says_so():
    """It is no error that nothing was sold."""
    assert "Nothing was sold" in read(Report()).text


def test_amounts_have_the_digits_of_their_currency():
    """A yen has no pence."""
    assert ["GBP 1,234.05", "JPY 1,234", "KWD 1.234", "GBP -0.05"] == [
        page.amount(123_405, "GBP"),
        page.amount(1_234, "JPY"),
        page.amount(1_234, "KWD"),
        page.amount(-5, "GBP"),
    ]
