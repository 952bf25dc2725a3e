"""What a person sees of a replay: its sums, its files, its exit status, and the options that it takes."""

from __future__ import annotations

import csv
import io
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from rich.console import Console

from bookkeeping.file import FileLine
from replay import edge as edge_module
from replay import run
from replay.journal import Journal
from replay.run import Plan, Stopwatch
from tests.bookkeeping.files import line
from tests.replay.shop import Shop, refusal

LINES = [
    line("1001", "15A", 20, "1.25", "501"),
    line("1001", "POST", 1, "18", "501"),
    line("C1002", "15A", -2, "1.25", "501"),
    line("1003", "POST", 1, "18", ""),
    line("1004", "22", -5, "0", ""),
    line("1005", "what", 1, "0.50", ""),
]
LINES += [line(f"2{n:03}", "16", price="0.01") for n in range(1000)]


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch) -> Shop:
    monkeypatch.setattr(edge_module, "PAUSES_SECONDS", (0.0, 0.0))
    return Shop()


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    monkeypatch.setattr(run, "console", Console(file=(text := io.StringIO()), soft_wrap=True, width=200))
    return text


async def replay(shop: Shop, home: Path, lines: list[FileLine] = LINES, plan: Plan | None = None) -> int:
    journal = Journal.open(home, "run")
    try:
        return await run._replay(shop.edge(), journal, plan or Plan(Path("f")), lines, Stopwatch())
    finally:
        journal.close()


async def test_the_books_are_printed_and_written(shop: Shop, printed: io.StringIO, tmp_path: Path) -> None:
    """Every line of the file, to the tenth of a penny, and each that went nowhere by itself."""
    assert 0 == await replay(shop, tmp_path, LINES)
    text = printed.getvalue()
    assert "1002 of 1002 invoices, 1002 CONFIRMED" in text and "1002 placed now, 0 were there already" in text
    assert 2 == text.count("GBP 71.00") and "1  cancellation of an earlier invoice" in text
    assert "unclassified: 1005 what NAME OF what" in text
    (folder,) = (tmp_path / "replay").iterdir()
    assert (folder / "reconciliation.txt").read_text().strip() in text
    table = list(csv.DictReader((folder / "reconciliation.csv").open()))
    became = [row for row in table if row["section"] in ("orders", "refunds", "remainder", "rounding")]
    assert "69.000" == f"{sum(float(row['gbp']) for row in became):.3f}" and "0.000" == table[-1]["gbp"]
    exceptions = list(csv.DictReader((folder / "exceptions.csv").open()))
    assert [("1005", "unclassified")] == [(row["document"], row["why"]) for row in exceptions]
    others = list(csv.DictReader((folder / "other_lines.csv").open()))
    assert [
        ("C1002", "cancellation of an earlier invoice"),
        ("1004", "stock correction without a price"),
        ("1005", "unclassified"),
    ] == [(row["invoice"], row["class"]) for row in others]
    assert all(row["invoice"] in text for row in others)


async def test_a_repeated_replay_says_that_it_placed_nothing(shop: Shop, printed: io.StringIO, tmp_path: Path) -> None:
    """It asks for no order again; each part of the work has its time."""
    await replay(shop, tmp_path, LINES[:4])
    shop.asked.clear()
    assert 0 == await replay(shop, tmp_path, LINES[:4])
    text = printed.getvalue()
    assert "0 placed now, 2 were there already" in text and [] == shop.to("/v1/orders")
    assert all(f"{part} 0." in text for part in ("goods, customers, money", "orders and returns", "refunds looked at"))


async def test_an_order_that_was_there_before_is_no_new_one(shop: Shop, printed: io.StringIO, tmp_path: Path) -> None:
    """Whoever placed it, under the invoice's key."""
    shop.placed_at["invoice-1001"] = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    assert 0 == await replay(shop, tmp_path, LINES[:4])
    assert "1 placed now, 1 were there already" in printed.getvalue()


async def test_a_penny_of_difference_is_told(shop: Shop, printed: io.StringIO, tmp_path: Path) -> None:
    shop.short_pence = 1
    assert 1 == await replay(shop, tmp_path, LINES[:1])
    assert "DIFFERENT" in printed.getvalue() and "the books do not close" in printed.getvalue()


@pytest.mark.parametrize(
    ("stock", "reason", "status"),
    [("purchased", "OUT_OF_STOCK", 0), ("ample", "OUT_OF_STOCK", 1), ("purchased", "INSUFFICIENT_FUNDS", 1)],
)
async def test_only_a_shortage_of_a_shop_that_buys_is_expected(
    shop: Shop, printed: io.StringIO, tmp_path: Path, stock: str, reason: str, status: int
) -> None:
    """The books close either way: what was refused stands in them with its reason."""
    shop.say("/v1/orders", refusal(400, reason))
    assert status == await replay(shop, tmp_path, LINES[:4], Plan(Path("f"), stock=stock))
    text = printed.getvalue()
    assert f"orders refused: {reason}" in text and "the books do not close" not in text


async def test_money_that_no_order_shows_is_told(shop: Shop, printed: io.StringIO, tmp_path: Path) -> None:
    """What a refund's answer says is not enough."""
    shop.refunded["order of invoice-1001"] = -1
    assert 1 == await replay(shop, tmp_path, LINES[:4])
    assert "invoice 1001: its order does not show what was given back" in printed.getvalue()


async def test_a_file_without_sales_is_no_replay(shop: Shop, tmp_path: Path) -> None:
    with pytest.raises(edge_module.ReplayFailed, match="no sales"):
        await replay(shop, tmp_path, LINES[4:5])


def test_a_part_of_a_file_has_ample_stock_and_the_whole_what_the_shop_buys() -> None:
    """Unless it is chosen."""
    first = date(2010, 12, 1)
    assert ["purchased", "ample", "purchased"] == [
        plan.stocked for plan in (Plan(Path("f")), Plan(Path("f"), first), Plan(Path("f"), first, stock="purchased"))
    ]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--from", "2010-12-99"), "2010-12-99 is not a date: YYYY-MM-DD"),
        (("--days", "0"), "0 is not a number of days from 1 to 3660"),
        (("--days", "9999999"), "9999999 is not a number of days"),
        (("--days", "one"), "one is not a number of days"),
        (("--days", "2"), "--days needs a day to begin with"),
        (("--stock", "none"), "invalid choice: 'none'"),
        (("--speed", "0"), "0 is not a number of times"),
        (("--speed", "fast"), "fast is not a number of times"),
        (("--speed", "inf"), "inf is not a number of times"),
    ],
)
def test_options_that_mean_nothing_are_refused(monkeypatch, capsys, given, said):
    """In words that say what is wanted."""
    monkeypatch.setattr("sys.argv", ["replay", "--csv", "x.csv", *given])
    with pytest.raises(SystemExit):
        run.main()
    assert said in capsys.readouterr().err
