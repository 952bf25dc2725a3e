"""What `python -m rebuild` does: compares projections with their journals, or replaces them, and prints the digests."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

import asyncpg
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from control.home import Home
from control.processes import postgres_of
from mesh import postgres, projections
from mesh.projections import Outcome, Projection
from svc_inventory.inventory.store.projection import STOCK
from svc_order.order.projection import ORDERS
from svc_payment.ledger.projection import BALANCES

PROJECTIONS: Mapping[str, Projection] = {"svc_order": ORDERS, "svc_inventory": STOCK, "svc_payment": BALANCES}
"""By the package whose database they are in."""
NAME_WIDTH = 8

console = Console(highlight=False, soft_wrap=True)

Run = Callable[[asyncpg.Connection, Projection, projections.Progress], Awaitable[Outcome]]


def main() -> int:
    """Run it; the exit status is 0 when every projection was what its journal amounts to."""
    names = sorted(each.name for each in PROJECTIONS.values())
    parser = argparse.ArgumentParser(prog="rebuild", description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare only, and change nothing")
    parser.add_argument("name", nargs="*", help=f"which: {', '.join(names)}; all without one")
    options = parser.parse_args()
    if unknown := sorted(set(options.name) - set(names)):
        parser.error(f"there is no projection {', '.join(unknown)}: {', '.join(names)}")
    wanted = {package: each for package, each in PROJECTIONS.items() if not options.name or each.name in options.name}
    try:
        outcomes = asyncio.run(_all(projections.compare if options.check else projections.rebuild, wanted))
    except (OSError, asyncpg.InvalidPasswordError, asyncpg.InvalidCatalogNameError):
        console.print("rebuild: no mesh is running here: make up", style="red")
        return 1
    except asyncpg.LockNotAvailableError:
        console.print("rebuild: somebody holds a table for too long; nothing was changed", style="red")
        return 1
    except ValueError as broken:
        console.print(f"rebuild: {broken}; nothing was changed", style="red", markup=False)
        return 1
    return told(outcomes, changed=not options.check)


async def _all(run: Run, wanted: Mapping[str, Projection]) -> list[Outcome]:
    outcomes, server = [], postgres_of(Home.from_environment())
    with _progress() as shown:
        for package, projection in wanted.items():
            task = shown.add_task(projection.name, total=None)
            address, password = server.package_address(package), server.password_of(package)
            connection = await postgres.connect_alone(address, "rebuild", password=password)
            try:
                outcomes.append(
                    await run(connection, projection, lambda done, of: shown.update(task, completed=done, total=of))  # noqa: B023
                )
            finally:
                await connection.close()
            shown.stop_task(task)
    return outcomes


def told(outcomes: Sequence[Outcome], *, changed: bool) -> int:
    """Print what was found; returns the exit status."""
    for each in outcomes:
        locked = f", locked for {each.held_seconds:.2f} s" if changed else ""
        counts = f"{each.rows:,} rows of {each.entries:,} journal entries"
        console.print(f"{each.name:{NAME_WIDTH}} {counts}, {each.seconds:.1f} s{locked}")
        console.print(f"{'':{NAME_WIDTH}} found    {each.found}")
        console.print(f"{'':{NAME_WIDTH}} journal  {each.drafted}")
    for each in outcomes:
        for difference in each.differences:
            console.print(difference, style="red", markup=False)
    wrong = [each.name for each in outcomes if not each.same]
    seconds = sum(each.seconds for each in outcomes)
    if wrong:
        done = "and is made again from it" if changed else "and stands as it was found"
        console.print(f"differed from its journal, {done}: {', '.join(wrong)}", style="red")
    else:
        console.print(f"all are what their journals amount to{', and made again from them' if changed else ''}")
    console.print(f"{'time':{NAME_WIDTH}} {seconds:.1f} s")
    return 1 if wrong else 0


def _progress() -> Progress:
    return Progress(
        TextColumn(f"{{task.description:{NAME_WIDTH}}}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
    )
