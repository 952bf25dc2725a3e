"""What is read of a file, and what is refused."""

from __future__ import annotations

import csv
import io
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bookkeeping import file
from bookkeeping.file import FileLine
from tests.bookkeeping.files import line

HEAD = ",".join(file.COLUMNS)


def test_a_file_with_other_columns_is_refused(tmp_path: Path) -> None:
    (tmp_path / "f.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="has other columns"):
        list(file.read(tmp_path / "f.csv"))


@pytest.mark.parametrize(("quantity", "price"), [("many", "1.0"), ("1", "one"), ("1", "1.0005"), ("1", "NaN")])
def test_a_line_that_can_not_be_read_is_named(tmp_path: Path, quantity: str, price: str) -> None:
    """A price finer than a tenth of a penny too: no sum would hold it."""
    (tmp_path / "f.csv").write_text(f"{HEAD}\n1,A,,{quantity},2010-12-01 08:00:00,{price},,UK\n")
    with pytest.raises(ValueError, match="line 2"):
        list(file.read(tmp_path / "f.csv"))


@pytest.mark.parametrize(
    "values",
    [
        ("1", "A", "", "1", "2010-12-01 08:00:00", "1.0", "", "UK", "more"),
        ("1" * 65, "A", "", "1", "2010-12-01 08:00:00", "1.0", "", "UK"),
        ("1", "A", "", "1000000001", "2010-12-01 08:00:00", "1.0", "", "UK"),
        ("1", "A", "", "1", "2010-12-01 08:00:00", "1E999999999", "", "UK"),
        ("1", "A", "", "1", "0001-01-01 00:00:00", "1.0", "", "UK"),
        ("1", "A", "", "1", "yesterday", "1.0", "", "UK"),
    ],
)
def test_values_beyond_every_trade_are_no_line(values: tuple[str, ...]) -> None:
    """Whoever sends a file can't make a sum of it that nobody could hold."""
    with pytest.raises(ValueError):
        file.parse(values)


def test_a_part_of_a_file_is_whole_days(tmp_path: Path) -> None:
    days = [f"{n},A,,1,2010-12-0{n} 23:59:00,1.0,,UK" for n in (1, 2, 3)]
    (tmp_path / "f.csv").write_text("\n".join([HEAD, *days]))
    read = [each.invoice for each in file.read(tmp_path / "f.csv", first=date(2010, 12, 2), days=1)]
    assert (["2"], 3) == (read, len(list(file.read(tmp_path / "f.csv"))))


@pytest.mark.parametrize(
    ("quantity", "price", "mills", "pence"),
    [(3, "2.55", 7650, 255), (-2, "0.29", -580, 29), (7, "0.001", 7, 0), (1, "0.025", 25, 2), (1, "0.035", 35, 4)],
)
def test_a_line_is_summed_in_tenths_of_a_penny_and_charged_in_pence(quantity, price, mills, pence) -> None:
    """Half a penny goes to the even one."""
    of = line(quantity=quantity, price=price)
    assert (mills, pence) == (of.mills, of.price_minor)


def test_amounts_are_written_as_people_read_them() -> None:
    assert ("GBP 1,234.05", "-1,234.056", "0.001") == (file.pounds(123405), file.mills(-1234056), file.mills(1))


TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=8).map(str.strip)


@given(
    st.lists(
        st.builds(
            FileLine,
            invoice=TEXT,
            stock_code=TEXT,
            description=TEXT,
            quantity=st.integers(-file.MOST_UNITS, file.MOST_UNITS),
            at=st.datetimes(datetime(1900, 1, 1), datetime(2999, 1, 1), timezones=st.just(UTC)),
            price_mills=st.integers(-file.MOST_MILLS, file.MOST_MILLS),
            customer=TEXT,
            country=TEXT,
        ),
        max_size=5,
    )
)
def test_lines_that_are_written_are_read_as_they_were(lines: list[FileLine]) -> None:
    """Whatever they say, to the tenth of a penny."""
    header, *rows = csv.reader(io.StringIO(file.written(lines).decode(), newline=""))
    assert (list(file.COLUMNS), lines) == (header, [file.parse(row) for row in rows])
