"""`python -m replay.page [FOLDER]`: writes what a replay came to into docs/REPLAY.md, and its pictures beside it.

The folder is the one that the replay names at its end; without one it is the last whole run of the mesh of TITAN_HOME.
What stands in the page's places is made from that folder and from nothing else, so that no figure is copied by hand.
It holds sums alone: no line of the file, and no customer. Pure but for `main`.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from bench.page import with_places
from bench.rig.result import ROOT
from bookkeeping import report
from replay.figures import NAME, Figures
from replay.run import ORDERS

PAGE = ROOT / "docs" / "REPLAY.md"
PICTURES = ROOT / "docs" / "replay"
MOST_PICTURE_BYTES = 100_000
ALT = {
    "reconciliation.svg": "What became of the file, part by part",
    "sales_by_day.svg": "Sold by day, and the mean of seven days",
    "sales_by_country.svg": "Sold by country",
    "sales_by_product.svg": "The products that sold most",
    "sales_by_customer.svg": "Customers by what they spent",
}
"""The pictures of the page, in their order, in words."""


def main() -> int:
    """Write the page and the pictures; returns the exit status."""
    try:
        folder = Path(sys.argv[1]) if len(sys.argv) > 1 else newest(_home() / "replay")
        page = filled(PAGE.read_text(), Figures.read(folder), (folder / report.TEXT).read_text())
        pictures = {name: (folder / name).read_text() for name in ALT}
        if large := [name for name, text in pictures.items() if len(text.encode()) > MOST_PICTURE_BYTES]:
            raise ValueError(f"{', '.join(large)} would be more than {MOST_PICTURE_BYTES // 1000} kB")
    except (OSError, ValueError) as problem:
        print(f"The page is as it was: {problem}", file=sys.stderr)
        return 1
    PICTURES.mkdir(exist_ok=True)
    for name, text in pictures.items():
        (PICTURES / name).write_text(text, encoding="utf-8")
    PAGE.write_text(page)
    print(f"Written: {PAGE} and {len(pictures)} pictures in {PICTURES}")
    return 0


def newest(replays: Path) -> Path:
    """Return the folder of the whole run that ended last.

    Raises:
        FileNotFoundError: None has.
    """
    ended = sorted(replays.glob(f"*/{NAME}"), key=lambda path: path.stat().st_mtime)
    if not ended:
        raise FileNotFoundError(f"no replay has run in {replays} from its beginning to its end")
    return ended[-1].parent


def filled(page: str, figures: Figures, books: str) -> str:
    """Return the page with its places filled.

    Raises:
        ValueError: The page lacks a place, or the shop says otherwise than the replay.
    """
    if not figures.shop.alike:
        raise ValueError("the shop's own books are not those of this replay")
    pictures = "\n\n".join(f"![{words}](replay/{name})" for name, words in ALT.items())
    books = "\n".join(line for line in books.rstrip().splitlines() if not line.startswith("unclassified: "))
    return with_places(page, {"run": run(figures), "books": f"```\n{books}\n```", "pictures": pictures})


def run(figures: Figures) -> str:
    """Return what was run, where, and how long it took, as a paragraph."""
    taken, shop = figures.taken, figures.shop
    machine = taken["machine"]
    per_second = figures.orders_answered / max(figures.seconds[ORDERS], 0.001)
    parts = ", ".join(f"{part} {seconds:,.0f} s" for part, seconds in figures.seconds.items())
    return "\n".join(
        (
            f"`make replay CSV=... STOCK={figures.stock}` of {figures.lines:,} lines, measured {taken['date'][:10]} on "
            f"{machine['cores']} cores ({machine['processor'] or 'unnamed'}),",
            f"Linux {machine['kernel']}, Python {machine['python']}, commit `{taken['commit']}`: "
            f"**{figures.whole_seconds:,.0f} s** ({parts}), **{per_second:.0f} orders/s**.",
            f"The sales report over its time took **{shop.report_seconds:.1f} s**, the shop's own books of the file "
            f"{shop.books_seconds:.1f} s: the same, line by line.",
        )
    )


def _home() -> Path:
    return Path(os.environ.get("TITAN_HOME") or ".titan").expanduser().absolute()


if __name__ == "__main__":
    sys.exit(main())
