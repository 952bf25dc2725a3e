"""Rows of CSV and NDJSON files: what is read, what is told, what ends the file."""

from __future__ import annotations

import io

import pytest

from svc_bulk.errors import FileTooLarge, FileUnreadable, RowInvalid
from svc_bulk.jobs import rows

KNOWN = ("sku", "price", "note")


def read_csv(content: str | bytes) -> list[tuple[int, object]]:
    return _shown(rows.read_csv(_file(content), required=("sku",), known=KNOWN))


def read_ndjson(content: str | bytes) -> list[tuple[int, object]]:
    return _shown(rows.read_ndjson(_file(content)))


def _file(content: str | bytes) -> io.TextIOWrapper:
    data = content.encode() if isinstance(content, str) else content
    return io.TextIOWrapper(io.BytesIO(data), encoding="utf-8-sig", errors="surrogateescape", newline="")


def _shown(found) -> list[tuple[int, object]]:
    return [(row.number, row.values if row.problem is None else "problem") for row in found]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("sku\n", []),
        ("sku,price\na,1\nb,2\n", [(2, {"sku": "a", "price": "1"}), (3, {"sku": "b", "price": "2"})]),
        ("price,sku\r\n1,a", [(2, {"sku": "a", "price": "1"})]),
        (" sku , note\na,x", [(2, {"sku": "a", "note": "x"})]),
        ('sku,note\na,"two\nlines, and ""quotes"""\nb,\n', [(2, {"sku": "a", "note": 'two\nlines, and "quotes"'}),
                                                            (3, {"sku": "b", "note": ""})]),
        ("sku,price\na\nb,2,3\nc,3\n", [(2, "problem"), (3, "problem"), (4, {"sku": "c", "price": "3"})]),
        ("sku\n\na\n", [(3, {"sku": "a"})]),
        ("\ufeffsku\na\n", [(2, {"sku": "a"})]),
        (b"sku\n\xff\xfe\nb\n", [(2, "problem"), (3, {"sku": "b"})]),
        ("sku\n" + "x" * (rows.MAX_FIELD_CHARACTERS + 1) + "\nb\n", [(2, "problem"), (3, {"sku": "b"})]),
    ],
)  # fmt: skip
def test_csv_rows_have_the_numbers_of_a_spreadsheet(content, expected):
    """The header is row 1; a row that can't be read is told, and the next one goes on."""
    assert expected == read_csv(content)
    assert len(expected) == rows.count(_file(content), is_csv=True)


@pytest.mark.parametrize("header", ["", "price\n", "sku,sku\n", "sku,colour\n", "sku;price\n", '"sku\n'])
def test_a_header_that_can_not_be_read_ends_the_file(header):
    """Before the first row: a column that nobody knows is a typing error, and a whole column would be lost."""
    with pytest.raises(FileUnreadable):
        read_csv(header + "a,1\n")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('{"sku": "a", "price": 1}', {"sku": "a", "price": 1}),
        ("[1]", "problem"),
        ('{"sku": "a"', "problem"),
        ('{"sku": "a", "sku": "b"}', "problem"),
        ('{"sku": "\\ud800"}', "problem"),
        ("[" * 100_000, "problem"),
    ],
)
def test_ndjson_lines_are_objects(line, expected):
    """Line by line, with the numbers of the lines; empty ones count and say nothing."""
    content = f"\n{line}\n{{}}\n"

    assert [(2, expected), (3, {})] == read_ndjson(content)
    assert 2 == rows.count(_file(content), is_csv=False)


def test_a_line_without_an_end_ends_the_file():
    """It would have to be held in memory whole."""
    for read in (read_csv, read_ndjson):
        with pytest.raises(FileUnreadable):
            read("sku\n" + "x" * (rows.MAX_LINE_CHARACTERS + 1))


def test_a_file_has_only_so_many_rows(monkeypatch):
    """Not one more."""
    monkeypatch.setattr(rows, "MAX_ROWS", 2)

    assert 2 == len(read_csv("sku\na\nb\n")) == len(read_ndjson("{}\n{}\n"))
    with pytest.raises(FileTooLarge):
        read_csv("sku\na\nb\nc\n")
    with pytest.raises(FileTooLarge):
        read_ndjson("{}\n{}\n{}\n")


@pytest.mark.parametrize("value", ["12", 12, " 12 "])
def test_a_whole_number_is_one(value):
    """From CSV it is a text, from NDJSON a number."""
    assert 12 == rows.integer({"price": value}, "price")


@pytest.mark.parametrize("value", ["", None, "1.5", 1.5, True, "1e3", "١٢", "0x1", [1], 2**63, "9" * 30, "--1", "-"])
def test_what_is_no_whole_number_is_refused(value):
    """Nothing is rounded and nothing guessed."""
    with pytest.raises(RowInvalid):
        rows.integer({"price": value}, "price")


def test_an_empty_value_may_have_a_default():
    """Where the column is not required."""
    assert (7, "GBP") == (rows.integer({"rate": ""}, "rate", 7), rows.text({}, "currency_code", "GBP"))
    with pytest.raises(RowInvalid):
        rows.text({"note": 5}, "note")
