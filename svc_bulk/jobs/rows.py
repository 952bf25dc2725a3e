"""Rows of CSV and NDJSON files, one at a time: what can't be read is told with its number, and the next one goes on."""

from __future__ import annotations

import csv
import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, TextIO

from svc_bulk.errors import FileTooLarge, FileUnreadable, RowInvalid

MAX_ROWS = 500_000
MAX_LINE_CHARACTERS = 1024 * 1024
MAX_FIELD_CHARACTERS = 131_072
"""The limit of the csv module, which a quote that nobody closed runs into."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row: its number as a spreadsheet counts it, and its values by the names of their columns, or why not."""

    number: int
    values: dict[str, Any] | None = None
    problem: RowInvalid | None = None


def read_csv(file: TextIO, *, required: Collection[str], known: Collection[str]) -> Iterator[Row]:
    """Yield the rows below the header, each value a text. The file is open with `newline=""` and `surrogateescape`.

    Raises:
        FileUnreadable: The header lacks a required column, names one twice or one that nobody knows; or a line is
            longer than `MAX_LINE_CHARACTERS`.
        FileTooLarge: There are more than `MAX_ROWS`.
    """
    reader = csv.reader(_lines(file))
    try:
        header = [name.strip() for name in next(reader, [])]
    except csv.Error as error:
        raise FileUnreadable(f"the header can't be read: {error}") from None
    for problem, names in (
        ("lacks", [name for name in required if name not in header]),
        ("has unknown columns:", [name for name in header if name not in known]),
        ("has columns twice:", [name for name in header if header.count(name) > 1]),
    ):
        if names:
            raise FileUnreadable(f"the header {problem} {', '.join(map(repr, names))}"[:300])
    return _below(reader, header)


def _below(reader: Any, header: list[str]) -> Iterator[Row]:
    number = 1
    while True:
        number += 1
        try:
            values = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield Row(number, problem=RowInvalid(str(error)))
            continue
        if number > MAX_ROWS + 1:
            raise FileTooLarge(f"a file has at most {MAX_ROWS:,} rows")
        if not values:
            continue  # an empty line is no row, but it has a number
        if len(values) != len(header):
            yield Row(number, problem=RowInvalid(f"has {len(values)} values for {len(header)} columns"))
        else:
            yield _checked(number, dict(zip(header, values, strict=True)), "".join(values))


def read_ndjson(file: TextIO) -> Iterator[Row]:
    """Yield the lines, each an object.

    Raises:
        FileUnreadable: A line is longer than `MAX_LINE_CHARACTERS`.
        FileTooLarge: There are more than `MAX_ROWS`.
    """
    for number, line in enumerate(_lines(file), start=1):
        if number > MAX_ROWS:
            raise FileTooLarge(f"a file has at most {MAX_ROWS:,} rows")
        if not line.strip():
            continue
        try:
            values = json.loads(line, object_pairs_hook=_each_name_once)
        except (ValueError, RecursionError):
            yield Row(number, problem=RowInvalid("is no JSON, or names something twice"))
            continue
        if isinstance(values, dict):
            yield _checked(number, values, json.dumps(values, ensure_ascii=False))
        else:
            yield Row(number, problem=RowInvalid("is not a JSON object"))


def count(file: TextIO, *, is_csv: bool) -> int:
    """Return how many rows a file has below its header, or how many lines; as many as are read, and much faster.

    Raises:
        FileUnreadable: A line is longer than `MAX_LINE_CHARACTERS`.
    """
    if not is_csv:
        return sum(1 for line in _lines(file) if line.strip())
    found, reader = -1, csv.reader(_lines(file))
    while True:
        try:
            found += bool(next(reader))
        except StopIteration:
            return max(0, found)
        except csv.Error:
            found += 1


def integer(values: dict[str, Any], name: str, otherwise: int | None = None) -> int:
    """Return a whole number of a row; an empty one is `otherwise`.

    Raises:
        RowInvalid: It is missing, or no whole number of 64 bits.
    """
    value = values.get(name)
    if value is None or value == "":
        if otherwise is None:
            raise RowInvalid(f"{name}: is missing")
        return otherwise
    try:
        number = value if type(value) is int else _decimal(value)
    except ValueError:
        raise RowInvalid(f"{name}: must be a whole number") from None
    if not -(2**63) <= number < 2**63:
        raise RowInvalid(f"{name}: is too large")
    return number


def text(values: dict[str, Any], name: str, otherwise: str = "") -> str:
    """Return a text of a row; an empty one is `otherwise`.

    Raises:
        RowInvalid: It is no text.
    """
    value = values.get(name)
    if value is None or value == "":
        return otherwise
    if not isinstance(value, str):
        raise RowInvalid(f"{name}: must be a text")
    return value


def only(values: dict[str, Any], known: Collection[str]) -> None:
    """Check that a row names nothing else.

    Raises:
        RowInvalid: It does.
    """
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise RowInvalid(f"unknown: {', '.join(unknown)}"[:300])


def _decimal(value: Any) -> int:
    if not isinstance(value, str):
        raise ValueError
    digits = value.strip().removeprefix("-")
    if len(digits) > 20 or not (digits.isascii() and digits.isdecimal()):
        raise ValueError
    return int(value.strip())


def _checked(number: int, values: dict[str, Any], whole: str) -> Row:
    """Return a row, or its problem where it is not UTF-8: what is not was read as surrogates."""
    try:
        whole.encode()
    except UnicodeEncodeError:
        return Row(number, problem=RowInvalid("is not UTF-8"))
    return Row(number, values)


def _each_name_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError
    return values


def _lines(file: TextIO) -> Iterator[str]:
    while line := file.readline(MAX_LINE_CHARACTERS + 1):
        if len(line) > MAX_LINE_CHARACTERS:
            raise FileUnreadable(f"a line has more than {MAX_LINE_CHARACTERS:,} characters")
        yield line
