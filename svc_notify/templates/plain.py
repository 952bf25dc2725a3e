"""Prints a letter as plain text, 72 columns wide where it can be."""

from __future__ import annotations

import textwrap

from svc_notify.templates.facts import Line
from svc_notify.templates.letters import Letter

LINE_COLUMNS = 72
_MONEY_COLUMNS = 14
_UNITS_COLUMNS = 7


def render(letter: Letter) -> str:
    """Return the text of a letter. What shoppers and sellers wrote stays within its line."""
    blocks = [letter.heading, "=" * len(letter.heading), "", _clean(letter.greeting), ""]
    for paragraph in letter.opening:
        blocks += [*_wrap(paragraph, LINE_COLUMNS), ""]
    blocks += [f"{name + ':':<15}{_clean(value)}" for name, value in letter.facts]
    if letter.lines:
        blocks += ["", "-" * LINE_COLUMNS]
        for line in letter.lines:
            blocks += _line(line)
        blocks.append("-" * LINE_COLUMNS)
    blocks += [f"{name:>{LINE_COLUMNS - _MONEY_COLUMNS}}{amount!s:>{_MONEY_COLUMNS}}" for name, amount in letter.sums]
    if letter.link:
        blocks.append(_clean(letter.link))
    if letter.address:
        blocks += ["", "It goes to:", *(f"  {_clean(part)}" for part in letter.address)]
    for paragraph in letter.closing:
        blocks += ["", *_wrap(paragraph, LINE_COLUMNS)]
    return "\n".join([*blocks, "", _clean(letter.signature), ""])


def _line(line: Line) -> list[str]:
    """Return a line of the order: its title wrapped on the left, quantity, price and sum on the right of the first."""
    width = LINE_COLUMNS - _UNITS_COLUMNS - 2 * _MONEY_COLUMNS - 1
    title = _wrap(line.title, width) or [line.sku]
    price, total = f"{line.unit_price!s:>{_MONEY_COLUMNS - 2}}", f"{line.total!s:>{_MONEY_COLUMNS}}"
    figures = f"{line.quantity:>{_UNITS_COLUMNS}} x{price}{total}"
    return [f"{title[0]:<{width}} {figures}".rstrip(), *(f"{more}" for more in title[1:]), f"  {_clean(line.sku)}"]


def _clean(text: str) -> str:
    printable = text if text.isprintable() else "".join(c if c.isprintable() else " " for c in text)
    return " ".join(printable.split())


def _wrap(text: str, columns: int) -> list[str]:
    """Return the lines of a text; most fit into one, and the library takes long to see that."""
    cleaned = _clean(text)
    return ([cleaned] if cleaned else []) if len(cleaned) <= columns else textwrap.wrap(cleaned, columns)
