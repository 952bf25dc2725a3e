"""What `python -m replay` does: places the invoices of some days of a file, and adds up."""

from __future__ import annotations

import argparse
import asyncio
import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from replay import file, invoices
from replay.file import FileLine, mills, pounds
from replay.importer import Importer, Outcome, ReplayFailed, read_endpoints
from replay.invoices import Invoice
from replay.kinds import LineClass, classify

MOST_DAYS = 3660
"""Ten years: more is a slip of the finger, and far more is no date any more."""

ORDERS = "orders"

console = Console(highlight=False, soft_wrap=True)


@dataclass
class Stopwatch:
    """The seconds that each part of a replay took, in the order of the parts."""

    seconds: dict[str, float]

    @contextmanager
    def on(self, part: str) -> Iterator[None]:
        """Time a part."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.seconds[part] = time.monotonic() - began


def main() -> int:
    """Run a replay; the exit status is 0 when every invoice is confirmed and both sums agree."""
    arguments = _arguments()
    home = Path(os.environ.get("TITAN_HOME") or ".titan").expanduser().absolute()
    began = time.monotonic()
    try:
        endpoints = read_endpoints(home)
        lines = list(file.read(arguments.csv, first=arguments.first, days=arguments.days))
        return asyncio.run(_replay(endpoints, lines, reading_seconds=time.monotonic() - began))
    except (OSError, EOFError, ValueError, ReplayFailed) as problem:
        return _complain(str(problem))
    except KeyError as missing:
        return _complain(f"an answer, or endpoints.json, has no {missing}")


def _complain(problem: str) -> int:
    console.print(f"replay: {problem}", style="red", markup=False)
    return 1


def _arguments() -> Any:
    parser = argparse.ArgumentParser(prog="replay", description=__doc__)
    parser.add_argument("--csv", type=Path, required=True, help="the file, plain or gzipped")
    parser.add_argument("--from", dest="first", metavar="YYYY-MM-DD", type=_date, default=date(2010, 12, 1))
    parser.add_argument("--days", metavar="NUMBER", type=_days, default=1)
    return parser.parse_args()


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is not a date: YYYY-MM-DD") from None


def _days(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MOST_DAYS:
        raise argparse.ArgumentTypeError(f"{text} is not a number of days from 1 to {MOST_DAYS}")
    return int(text)


async def _replay(endpoints: dict[str, Any], lines: Sequence[FileLine], *, reading_seconds: float = 0.0) -> int:
    spent = Stopwatch({"reading the file": reading_seconds})
    began_at = datetime.now(UTC)
    sales = [line for line in lines if classify(line) is LineClass.SALE]
    orders = invoices.invoices(sales)
    if not orders:
        raise ReplayFailed("the file has no sales on these days")
    importer = Importer.at(endpoints)
    async with importer.http:
        await importer.sign_in(endpoints["importer_email"], endpoints["importer_password"])
        with _progress() as progress:
            preparing = progress.add_task("goods, stock, customers, money", total=2)
            with spent.on("goods and stock"):
                await importer.stock_the_shop(invoices.shelf(sales, orders))
            progress.advance(preparing)
            with spent.on("customers and money"):
                tokens = await importer.make_buyers(orders)
            progress.advance(preparing)
            placing = progress.add_task("orders", total=len(orders))
            with spent.on(ORDERS):
                outcomes = await importer.place(orders, tokens, lambda _: progress.advance(placing))
    _print_other_lines(lines)
    status = _print_sums(orders, outcomes, began_at)
    _print_times(spent, orders=sum(not outcome.refusal for outcome in outcomes))
    return status


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description:32}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=console
    )


def _print_other_lines(lines: Sequence[FileLine]) -> None:
    others = [(line, kind) for line in lines if (kind := classify(line)) is not LineClass.SALE]
    if not others:
        return
    table = Table("invoice", "stock code", "quantity", "price", "class", title="Lines that are no sale", box=None)
    for line, kind in others:
        table.add_row(line.invoice, line.stock_code, str(line.quantity), mills(line.price_mills), kind.value)
    console.print(table)
    for kind, count in Counter(kind for _, kind in others).most_common():
        console.print(f"  {count:6}  {kind.value}")


def _print_sums(invoices: Sequence[Invoice], outcomes: Sequence[Outcome], began_at: datetime) -> int:
    """Print what became of the invoices; an order is new when the mesh placed it after the replay began."""
    placed = [outcome for outcome in outcomes if not outcome.refusal]
    new = sum(outcome.placed_at is not None and outcome.placed_at >= began_at for outcome in placed)
    confirmed = [outcome for outcome in placed if outcome.status == "CONFIRMED"]
    refused = Counter(outcome.refusal for outcome in outcomes if outcome.refusal)
    of_file = sum(invoice.total_minor for invoice in invoices)
    of_orders = sum(outcome.total_minor for outcome in placed)
    console.print()
    console.print(f"orders           {len(placed)} of {len(invoices)} invoices, {len(confirmed)} CONFIRMED")
    console.print(f"                 {new} placed now, {len(placed) - new} were there already")
    for reason, count in refused.most_common():
        console.print(f"orders refused   {count}  {reason}", style="red")
    console.print(f"lines            {sum(len(outcome.invoice.lines) for outcome in placed)}")
    console.print(f"sum of orders    {pounds(of_orders)}")
    console.print(f"sum of the file  {pounds(of_file)}" + ("" if of_orders == of_file else "   DIFFERENT"))
    return 0 if len(confirmed) == len(invoices) and of_orders == of_file else 1


def _print_times(spent: Stopwatch, *, orders: int) -> None:
    parts = ", ".join(f"{part} {seconds:.1f} s" for part, seconds in spent.seconds.items())
    console.print(f"time             {sum(spent.seconds.values()):.1f} s: {parts}")
    console.print(f"rate             {orders / max(spent.seconds[ORDERS], 0.001):.0f} orders answered/s")
