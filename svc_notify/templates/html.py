"""Prints a letter as a small HTML page: one column, no images, no scripts, no link but a one-time one,
readable without its styles."""

from __future__ import annotations

from html import escape

from svc_notify.templates.letters import Letter

_BODY = "font:16px/1.5 sans-serif;color:#222;max-width:640px;margin:0 auto;padding:16px"
_CELL = "padding:4px 0 4px 12px;vertical-align:top"
_NUMBER = f"{_CELL};text-align:right;white-space:nowrap"
_FIRST = "padding:4px 0;vertical-align:top"
_SMALL = "color:#666;font-size:13px"


def render(letter: Letter) -> str:
    """Return the page of a letter; everything in it is escaped."""
    parts = [
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{_(letter.subject)}</title></head>',
        f'<body style="{_BODY}"><h1 style="font-size:22px">{_(letter.heading)}</h1>',
        f"<p>{_(letter.greeting)}</p>",
        *(f"<p>{_(paragraph)}</p>" for paragraph in letter.opening),
    ]
    if letter.facts:
        parts.append("<p>" + "<br>".join(f"{_(name)}: <b>{_(value)}</b>" for name, value in letter.facts) + "</p>")
    if letter.link:
        parts.append(f'<p><a href="{_(letter.link)}" rel="noreferrer">{_(letter.link)}</a></p>')
    if letter.lines or letter.sums:
        parts.append(_table(letter))
    if letter.address:
        parts.append("<p>It goes to:<br>" + "<br>".join(_(part) for part in letter.address) + "</p>")
    parts += [f"<p>{_(paragraph)}</p>" for paragraph in letter.closing]
    parts.append(f"<p>{_(letter.signature)}</p></body></html>")
    return "\n".join(parts) + "\n"


def _table(letter: Letter) -> str:
    rows = [
        f'<tr><td style="{_FIRST}">{_(line.title)}<br><span style="{_SMALL}">{_(line.sku)}</span></td>'
        f'<td style="{_NUMBER}">{line.quantity} × {_(str(line.unit_price))}</td>'
        f'<td style="{_NUMBER}">{_(str(line.total))}</td></tr>'
        for line in letter.lines
    ]
    rows += [
        f'<tr><td style="{_NUMBER}" colspan="2">{_(name)}</td><td style="{_NUMBER}">{_(str(amount))}</td></tr>'
        for name, amount in letter.sums
    ]
    return '<table style="width:100%;border-collapse:collapse">\n' + "\n".join(rows) + "\n</table>"


def _(text: str) -> str:
    return escape(text if text.isprintable() else "".join(c if c.isprintable() else " " for c in text))
