"""What `python -m replay` does: plays a file, or some days of it, into a running mesh, and closes the books."""

from __future__ import annotations

import argparse
import asyncio
import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from bookkeeping import books, file, invoices, report
from bookkeeping.books import Books
from bookkeeping.countries import UNKNOWN, code_of
from bookkeeping.file import FileLine, mills, pounds
from bookkeeping.invoices import CreditNote, Invoice
from replay import deliveries
from replay.edge import Edge, ReplayFailed, read_endpoints
from replay.figures import Figures, ShopSays
from replay.importer import Importer, wire_time
from replay.jobs import MOST_LINES, Jobs
from replay.journal import Journal, digest
from replay.pictures import drawn
from replay.walk import Pace, Walk

MOST_DAYS = 3660
"""Ten years: more is a slip of the finger, and far more is no date any more."""
MOST_LISTED_LINES = 500
"""How many lines that are no sale are printed one by one; all of them stand in a table beside the reconciliation."""
STOCK = {"ample": deliveries.ample, "purchased": deliveries.purchased}
SHORTAGE = "OUT_OF_STOCK"
ORDERS = "orders and returns"
OWN_TABLE = f"own_{report.TABLE}"
"""The same table, as the shop closes the books by its own orders."""

console = Console(highlight=False, soft_wrap=True)


@dataclass
class Stopwatch:
    """The seconds that each part of a replay took, in the order of the parts."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def on(self, part: str) -> Iterator[None]:
        """Time a part."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.seconds[part] = time.monotonic() - began


@dataclass(frozen=True, slots=True)
class Plan:
    """A file, or some days of it, and how it is replayed: with which stock, and how many times as fast as it was."""

    csv: Path
    first: date | None = None
    days: int | None = None
    stock: str = ""
    speed: float = 0.0

    @property
    def stocked(self) -> str:
        """The stock that was chosen. A part of a file has no demand before it that a shop could buy by."""
        return self.stock or ("purchased" if self.first is None else "ample")

    def read(self) -> list[FileLine]:
        """Return the lines."""
        if self.first is None:
            return list(file.read(self.csv))
        return list(file.read(self.csv, first=self.first, days=self.days or 1))

    def journal(self, home: Path, ca: Path) -> Journal:
        """Return what was heard of this plan on this mesh so far. The speed makes no other replay of it."""
        return Journal.open(home, digest(self.csv), digest(ca), self.first, self.days, self.stocked)


def main() -> int:
    """Run a replay; the exit status is 0 when the books close and nothing but a shortage was refused."""
    plan = _arguments()
    home = Path(os.environ.get("TITAN_HOME") or ".titan").expanduser().absolute()
    watch = Stopwatch()
    try:
        endpoints = read_endpoints(home)
        with watch.on("reading the file"):
            lines = plan.read()
        journal = plan.journal(home, Path(endpoints["ca"]))
        try:
            return asyncio.run(_replay(Edge.at(endpoints), journal, plan, lines, watch))
        finally:
            journal.close()
    except (OSError, EOFError, ValueError, ReplayFailed) as problem:
        return _complain(str(problem))
    except KeyError as missing:
        return _complain(f"an answer, or endpoints.json, has no {missing}")


def _complain(problem: str) -> int:
    console.print(f"replay: {problem}", style="red", markup=False)
    return 1


def _arguments() -> Plan:
    parser = argparse.ArgumentParser(prog="replay", description=__doc__)
    parser.add_argument("--csv", type=Path, required=True, help="the file, plain or gzipped")
    parser.add_argument("--from", dest="first", metavar="YYYY-MM-DD", type=_date, help="a part of it, from this day")
    parser.add_argument("--days", metavar="NUMBER", type=_days, help="how many days, with --from; otherwise 1")
    parser.add_argument("--stock", choices=sorted(STOCK), help="ample, or what the shop buys by its rule of purchase")
    parser.add_argument("--speed", metavar="TIMES", type=_speed, default=0.0, help="as fast as it goes without one")
    options = parser.parse_args()
    if options.days is not None and options.first is None:
        parser.error("--days needs a day to begin with: --from")
    return Plan(options.csv, options.first, options.days, options.stock or "", options.speed)


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is not a date: YYYY-MM-DD") from None


def _days(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MOST_DAYS:
        raise argparse.ArgumentTypeError(f"{text} is not a number of days from 1 to {MOST_DAYS}")
    return int(text)


def _speed(text: str) -> float:
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 1 <= speed < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a number of times, 1 for as slow as it was")
    return speed


async def _replay(edge: Edge, journal: Journal, plan: Plan, lines: Sequence[FileLine], watch: Stopwatch) -> int:
    began_at, heard = datetime.now(UTC), len(journal.orders)
    documents = invoices.documents(lines)
    orders = [each for each in documents if isinstance(each, Invoice) and each.orderable]
    if not orders:
        raise ReplayFailed("the file has no sales on these days")
    walk, folder = Walk(Importer(edge), journal, Pace(plan.speed)), journal.folder
    async with edge.http:
        with _progress() as progress:
            with watch.on("goods, customers, money"):
                await _prepare(walk.importer, lines, orders)
            placing = progress.add_task(ORDERS, total=len(documents))
            with watch.on(ORDERS):
                await walk.through(documents, STOCK[plan.stocked](orders), lambda: progress.advance(placing))
            with watch.on("refunds looked at"):
                unsettled = await walk.unsettled(orders)
        notes = [each for each in documents if isinstance(each, CreditNote)]
        closed = books.reconcile(lines, notes, walk.placed, walk.returned, walk.leftovers)
        tables = _write(folder, lines, closed, walk)
        console.print()
        console.print(report.text(closed), markup=False)
        console.print()
        _print_other_lines(lines)
        _print_orders(walk, orders, began_at)
        _print_times(watch, fresh=len(journal.orders) - heard)
        shop = await _ask_the_shop(Jobs(edge), lines, tables, folder)
    if not heard:
        Figures.of(plan.stocked, len(lines), len(journal.orders), watch.seconds, shop).write(folder)
    console.print(f"written          {folder}")
    return _status(closed, walk, plan, unsettled, shop)


def _write(folder: Path, lines: Sequence[FileLine], closed: Books, walk: Walk) -> dict[str, bytes]:
    """Write the reconciliation, the same as tables, and everything that did not go through; returns the tables."""
    (folder / report.TEXT).write_text(report.text(closed) + "\n", encoding="utf-8")
    tables = dict(report.tables(lines, closed, walk.placed, walk.returned, walk.leftovers))
    for name, content in tables.items():
        (folder / name).write_bytes(content)
    return tables


async def _ask_the_shop(jobs: Jobs, lines: Sequence[FileLine], tables: Mapping[str, bytes], folder: Path) -> ShopSays:
    """Have the shop sum what it sold in the file's time, and close the books of the file by its own orders."""
    bounds = {"fromTime": wire_time(min(line.at for line in lines))}
    bounds["toTime"] = wire_time(max(line.at for line in lines) + timedelta(seconds=1))
    sold = await jobs.run(salesReport=bounds)
    console.print(f"sales report     {sold.rows:,} orders in {sold.seconds:.1f} s")
    for name, content in sold.files.items():
        (folder / name).write_bytes(content)
    for name, picture in drawn({**sold.files, **tables}):
        (folder / name).write_text(picture, encoding="utf-8")
    if len(lines) > MOST_LINES:
        console.print(f"the shop's books were not asked for: an operation takes {MOST_LINES:,} lines at most")
        return ShopSays(sold.seconds)
    own = await jobs.run(reconciliation={"fileId": await jobs.send("shop.csv", file.written(lines))})
    (folder / OWN_TABLE).write_bytes(own.files[report.TABLE])
    alike = _of_the_file(own.files[report.TABLE]) == _of_the_file(tables[report.TABLE])
    says, style = ("the same, line by line", "") if alike else (f"DIFFERENT, see {OWN_TABLE}", "red")
    console.print(f"the shop's books {says}; {own.rows:,} lines in {own.seconds:.1f} s", style=style)
    return ShopSays(sold.seconds, own.seconds, alike)


def _of_the_file(table: bytes) -> list[str]:
    """Return the rows of a reconciliation but for what the shop has beyond the file."""
    return [row for row in table.decode().splitlines() if not row.startswith("beyond,")]


async def _prepare(importer: Importer, lines: Sequence[FileLine], orders: Sequence[Invoice]) -> None:
    await importer.put_on_the_shelf(invoices.shelf(lines, orders))
    await importer.make_buyers(orders)


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description:20}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
    )


def _print_other_lines(lines: Sequence[FileLine]) -> None:
    others = list(report.other_lines(lines))
    if 0 < len(others) <= MOST_LISTED_LINES:
        table = Table("invoice", "stock code", "quantity", "price", "class", title="Lines that are no sale", box=None)
        for line, kind in others:
            table.add_row(line.invoice, line.stock_code, str(line.quantity), mills(line.price_mills), kind)
        console.print(table)
    for kind, count in Counter(kind for _, kind in others).most_common():
        console.print(f"  {count:6}  {kind}")


def _print_orders(walk: Walk, orders: Sequence[Invoice], began_at: datetime) -> None:
    """Print what became of the invoices; an order is new when the mesh placed it after the replay began."""
    placed = [each for each in walk.placed if not each.refusal]
    confirmed = sum(walk.orders[each.invoice.number].status == "CONFIRMED" for each in placed)
    new = sum(walk.orders[each.invoice.number].placed_since(began_at) for each in placed)
    of_file = sum(each.invoice.total_minor for each in placed)
    of_orders = sum(each.total_minor for each in placed)
    console.print()
    console.print(f"orders           {len(placed)} of {len(walk.placed)} invoices, {confirmed} CONFIRMED")
    console.print(f"                 {new} placed now, {len(placed) - new} were there already")
    for reason, count in Counter(each.refusal for each in walk.placed if each.refusal).most_common():
        console.print(f"orders refused   {count}  {reason}", style="red")
    nowhere = Counter(each.country or "(none)" for each in orders if code_of(each.country) == UNKNOWN)
    if nowhere:
        named = ", ".join(f"{name} {count}" for name, count in nowhere.most_common())
        console.print(f"of no country    {sum(nowhere.values())} invoices: {named}", markup=False)
    console.print(f"lines            {sum(len(each.invoice.lines) for each in placed)}")
    console.print(f"sum of orders    {pounds(of_orders)}")
    console.print(f"sum of the file  {pounds(of_file)}" + ("" if of_orders == of_file else "   DIFFERENT"))


def _print_times(watch: Stopwatch, *, fresh: int) -> None:
    parts = ", ".join(f"{part} {seconds:.1f} s" for part, seconds in watch.seconds.items())
    console.print(f"time             {sum(watch.seconds.values()):.1f} s: {parts}")
    console.print(f"rate             {fresh / max(watch.seconds[ORDERS], 0.001):.0f} orders answered/s")


def _status(closed: Books, walk: Walk, plan: Plan, unsettled: Sequence[str], shop: ShopSays) -> int:
    expected = {SHORTAGE} if plan.stocked == "purchased" else set()
    refusals = {each.refusal for each in walk.placed} | {each.refusal for each in walk.returned}
    for number in unsettled:
        console.print(f"invoice {number}: its order does not show what was given back", style="red")
    for reason in sorted(refusals := refusals - expected - {""}):
        console.print(f"refused, and not for a shortage: {reason}", style="red")
    if not closed.closed:
        console.print("the books do not close", style="red")
    return 0 if closed.closed and not refusals and not unsettled and shop.alike is not False else 1
