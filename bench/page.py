"""`python -m bench.page`: writes the figures of `bench/results/latest.json` into the places of docs/PERFORMANCE.md.

The page is prose and marked places; what stands in a place is made from the file and from nothing else, so that no
figure is copied by hand. Pure but for `main`.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from typing import Any

from bench.rig.cpu import CLIENT, of_the_mesh
from bench.rig.result import FORMAT, ROOT

PAGE = ROOT / "docs" / "PERFORMANCE.md"
RESULTS = ROOT / "bench" / "results"
LATEST = RESULTS / "latest.json"
LEAST_SHARE = 0.01
"""A process that takes less of an order is among all others."""

COSTS = ("orders", "orders-card")
_PLACE = "<!-- {name} -->\n{text}\n<!-- /{name} -->"


def main() -> int:
    """Write the page; returns the exit status."""
    try:
        found = json.loads(LATEST.read_text())
        PAGE.write_text(filled(PAGE.read_text(), found))
    except (FileNotFoundError, ValueError) as problem:
        print(f"The page is as it was: {problem}", file=sys.stderr)
        return 1
    return 0


def filled(page: str, found: Mapping[str, Any]) -> str:
    """Return the page with its places filled.

    Raises:
        ValueError: The file has another format, or the page lacks a place.
    """
    if found.get("format") != FORMAT:
        raise ValueError(f"results of format {found.get('format')}, not {FORMAT}")
    questions = found["questions"]
    places = {"where": where(found), "figures": figures(questions), "order": costs(questions)}
    places["pictures"] = pictures([name for name in questions if (RESULTS / f"{name}.svg").exists()], questions)
    for name, text in places.items():
        pattern = re.compile(re.escape(f"<!-- {name} -->") + ".*?" + re.escape(f"<!-- /{name} -->"), re.DOTALL)
        if not pattern.search(page):
            raise ValueError(f"the page has no place for {name}")
        made = _PLACE.format(name=name, text=text)
        page = pattern.sub(lambda _, made=made: made, page)  # type: ignore[misc]
    return page


def where(found: Mapping[str, Any]) -> str:
    """Return where and when it was measured, and what the echo did, as sentences."""
    machine, echo = found["machine"], found["echo"]
    measured = (
        f"Measured {found['date'][:10]} on {machine['cores']} cores ({machine['processor'] or 'unnamed'}), Linux "
        f"{machine['kernel']}, Python {machine['python']}, commit `{found['commit']}`; load average before: "
        f"{machine['load_before']:g}."
    )
    if not echo:
        return measured
    client, server = echo["client_cpu_seconds"] * 1000, echo["server_cpu_seconds"] * 1000
    cost = f"{client:.2f} ms of CPU a call in its client and {server:.2f} ms in its server"
    return f"{measured} The echo made {echo['per_second']:,.0f} calls/s, at {cost}."


def figures(questions: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the table of questions: each figure, its limit, and what came of it."""
    rows = ["| question | figure | limit, same run | ratio | reach, dream | |", "|---|---|---|---|---|---|"]
    for name, found in questions.items():
        sign = "≤ " if found["less_is_better"] else "≥ "
        spread = f" ± {found['spread'] / 2:.0%}" if len(found["repeats"]) > 1 else ""
        rows.append(
            f"| {found['asks']} `{name}` | {found['figure']:,g} {found['unit']}{spread} "
            f"| {found['limit']:,g} ({found['limit_is']}) | **{found['ratio']:.2f} x** "
            f"| {sign}{found['reach']:.2g}, {found['dream']:.2g} | {found['verdict']} |"
        )
    return "\n".join(rows)


def costs(questions: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the table of what an order costs, in CPU microseconds by process."""
    columns = {name: questions[name]["cpu_seconds_per_operation"] for name in COSTS if name in questions}
    if not columns:
        return "Not measured yet."
    totals = {name: of_the_mesh(each) for name, each in columns.items()}
    names: list[str] = []
    for name, each in columns.items():
        shown = [process for process, cost in each.items() if process != CLIENT and cost >= LEAST_SHARE * totals[name]]
        names += [process for process in shown if process not in names]
    titles = {"orders": "wallet", "orders-card": "card"}
    rows = [
        f"| process | {' | '.join(f'{titles[name]}, µs' for name in columns)} |",
        "|---|" + "---:|" * len(columns),
        *(_row(process, [each.get(process, 0.0) for each in columns.values()]) for process in names),
        _row("all others", [totals[n] - sum(each.get(p, 0.0) for p in names) for n, each in columns.items()]),
        _row("**the mesh**", list(totals.values())),
        _row("the load itself", [each.get(CLIENT, 0.0) for each in columns.values()]),
    ]
    return "\n".join(rows)


def pictures(names: list[str], questions: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the pictures that there are."""
    if not names:
        return "None yet."
    return "\n\n".join(f"![{questions[name]['asks']}](../bench/results/{name}.svg)" for name in names)


def _row(name: str, values: list[float]) -> str:
    return f"| {name} | {' | '.join(f'{abs(value) * 1e6:,.0f}' for value in values)} |"


if __name__ == "__main__":
    sys.exit(main())
