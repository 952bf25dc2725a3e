"""`python -m replay --csv FILE [--from 2010-12-01] [--days 1]`: places the invoices of some days, and adds up."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from replay import rules
from replay.importer import Importer, Outcome, ReplayFailed, read_endpoints
from replay.rules import FileLine, Invoice, LineClass, pounds

console = Console(highlight=False, soft_wrap=True)


def main() -> int:
    """Run a replay; the exit status is 0 when every invoice is confirmed and both sums agree."""
    arguments = _arguments()
    home = Path(os.environ.get("TITAN_HOME") or ".titan")
    try:
        lines = list(rules.read(arguments.csv, first=arguments.first, days=arguments.days))
        return asyncio.run(_replay(read_endpoints(home), lines))
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
    parser.add_argument("--from", dest="first", type=date.fromisoformat, default=date(2010, 12, 1))
    parser.add_argument("--days", type=int, default=1)
    return parser.parse_args()


async def _replay(endpoints: dict[str, Any], lines: Sequence[FileLine]) -> int:
    began = time.monotonic()
    sales = [line for line in lines if rules.classify(line) is LineClass.SALE]
    invoices = rules.invoices(sales)
    if not invoices:
        raise ReplayFailed("the file has no sales on these days")
    importer = Importer.at(endpoints)
    async with importer.http:
        await importer.sign_in(endpoints["importer_email"], endpoints["importer_password"])
        with _progress() as progress:
            preparing = progress.add_task("goods, stock, customers, money", total=2)
            await importer.stock_the_shop(rules.shelf(sales))
            progress.advance(preparing)
            tokens = await importer.make_buyers(invoices)
            progress.advance(preparing)
            placing = progress.add_task("orders", total=len(invoices))
            ready = time.monotonic()
            outcomes = await importer.place(invoices, tokens, lambda _: progress.advance(placing))
            placed = time.monotonic()
    _print_other_lines(lines)
    return _print_sums(invoices, outcomes, preparing_seconds=ready - began, placing_seconds=placed - ready)


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description:32}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=console
    )


def _print_other_lines(lines: Sequence[FileLine]) -> None:
    others = [(line, kind) for line in lines if (kind := rules.classify(line)) is not LineClass.SALE]
    if not others:
        return
    table = Table("invoice", "stock code", "quantity", "price", "class", title="Lines that are no sale", box=None)
    for line, kind in others:
        table.add_row(line.invoice, line.stock_code, str(line.quantity), str(line.price), kind.value)
    console.print(table)
    for kind, count in Counter(kind for _, kind in others).most_common():
        console.print(f"  {count:6}  {kind.value}")


def _print_sums(
    invoices: Sequence[Invoice], outcomes: Sequence[Outcome], *, preparing_seconds: float, placing_seconds: float
) -> int:
    placed = [outcome for outcome in outcomes if not outcome.refusal]
    confirmed = [outcome for outcome in placed if outcome.status == "CONFIRMED"]
    refused = Counter(outcome.refusal for outcome in outcomes if outcome.refusal)
    of_file = sum(invoice.total_minor for invoice in invoices)
    of_orders = sum(outcome.total_minor for outcome in placed)
    console.print()
    console.print(f"orders placed    {len(placed)} of {len(invoices)} invoices, {len(confirmed)} CONFIRMED")
    for reason, count in refused.most_common():
        console.print(f"orders refused   {count}  {reason}", style="red")
    console.print(f"lines            {sum(len(outcome.invoice.lines) for outcome in placed)}")
    console.print(f"sum of orders    {pounds(of_orders)}")
    console.print(f"sum of the file  {pounds(of_file)}" + ("" if of_orders == of_file else "   DIFFERENT"))
    console.print(
        f"time             {preparing_seconds:.1f} s for goods and customers, {placing_seconds:.1f} s for orders"
    )
    console.print(f"rate             {len(placed) / max(placing_seconds, 0.001):.0f} orders/s")
    return 0 if len(confirmed) == len(invoices) and of_orders == of_file else 1


if __name__ == "__main__":
    sys.exit(main())
