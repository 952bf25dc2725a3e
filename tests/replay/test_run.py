"""What a person sees of a replay: its sums, its files, its exit status, and the options that it takes."""

from __future__ import annotations

import csv
import io
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from rich.console import Console

from bookkeeping import file
from bookkeeping.file import FileLine
from bookkeeping.matching import ShopOrder
from replay import edge as edge_module
from replay import run
from replay.figures import Figures
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


async def test_the_shop_sums_and_closes_the_books_itself(shop: Shop, printed: io.StringIO, tmp_path: Path) -> None:
    """Of the file's own time, and of the very lines that were played; both are printed with their seconds and drawn."""
    assert 0 == await replay(shop, tmp_path, LINES[:4])
    bounds, _ = shop.jobs[0]["salesReport"], shop.jobs[1]["reconciliation"]
    assert {"fromTime": "2010-12-01T08:26:00Z", "toTime": "2010-12-01T08:26:01Z"} == bounds
    _, *rows = csv.reader(io.StringIO(shop.lines.decode()))
    assert LINES[:4] == [file.parse(row) for row in rows]
    text = printed.getvalue()
    assert "sales report     2 orders in 0." in text and "the same, line by line; 4 lines in 0." in text
    (folder,) = (tmp_path / "replay").iterdir()
    assert (folder / "own_reconciliation.csv").read_bytes() == (folder / "reconciliation.csv").read_bytes()
    assert {"sales_by_day.svg", "reconciliation.svg"} <= {each.name for each in folder.iterdir()}


async def test_only_a_whole_run_has_figures(shop: Shop, printed: io.StringIO, tmp_path: Path) -> None:
    """One that goes on where another was interrupted took only what was left."""
    await replay(shop, tmp_path, LINES[:4])
    (folder,) = (tmp_path / "replay").iterdir()
    kept = Figures.read(folder)
    assert (4, 2, True) == (kept.lines, kept.orders_answered, kept.shop.alike)
    assert kept.whole_seconds == sum(kept.seconds.values()) > 0
    await replay(shop, tmp_path, LINES[:4])
    assert kept == Figures.read(folder)
    (folder / "figures.json").unlink()
    await replay(shop, tmp_path, LINES[:4])
    assert not (folder / "figures.json").exists()


async def test_books_of_the_shop_that_differ_are_told(shop: Shop, printed: io.StringIO, tmp_path: Path) -> None:
    """What the shop has beyond the file is no difference; an order that it lost is one."""
    await replay(shop, tmp_path, LINES[:1])
    at = LINES[0].at
    shop.orders["stranger"] = ShopOrder("stranger", "invoice-9", at, 100)
    assert 0 == await replay(shop, tmp_path, LINES[:1])
    shop.orders.pop("order of invoice-1001")
    assert 1 == await replay(shop, tmp_path, LINES[:1])
    assert 1 == printed.getvalue().count("DIFFERENT, see own_reconciliation.csv")


async def test_a_file_that_no_operation_takes_is_played_all_the_same(
    shop: Shop, printed: io.StringIO, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its books are closed by what was heard alone, and that is said."""
    monkeypatch.setattr(run, "MOST_LINES", 3)
    assert 0 == await replay(shop, tmp_path, LINES[:4])
    assert "were not asked for: an operation takes 3 lines" in printed.getvalue() and not shop.lines


async def test_countries_that_are_none_are_told(shop: Shop, printed: io.StringIO, tmp_path: Path) -> None:
    """With how many invoices name them; the others are where the orders go."""
    countries = ("EIRE", "Channel Islands", "", "Channel Islands")
    await replay(shop, tmp_path, [line(f"10{n}", country=country) for n, country in enumerate(countries)])
    assert "of no country    3 invoices: Channel Islands 2, (none) 1" in printed.getvalue()
    sent = [each.body["shippingAddress"]["countryCode"] for each in shop.to("/v1/orders")]
    assert ["IE", "ZZ", "ZZ", "ZZ"] == sent


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
