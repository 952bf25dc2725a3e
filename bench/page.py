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
from bench.rig.result import FORMAT, ROOT, times, told

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
    places = {"where": where(questions), "figures": figures(questions), "order": costs(questions)}
    places["pictures"] = pictures([name for name in questions if (RESULTS / f"{name}.svg").exists()], questions)
    return with_places(page, places)


def with_places(page: str, places: Mapping[str, str]) -> str:
    """Return a page with another text in each of its places.

    Raises:
        ValueError: It lacks one.
    """
    for name, text in places.items():
        pattern = re.compile(re.escape(f"<!-- {name} -->") + ".*?" + re.escape(f"<!-- /{name} -->"), re.DOTALL)
        if not pattern.search(page):
            raise ValueError(f"the page has no place for {name}")
        made = _PLACE.format(name=name, text=text)
        page = pattern.sub(lambda _, made=made: made, page)  # type: ignore[misc]
    return page


def where(questions: Mapping[str, Mapping[str, Any]]) -> str:
    """Return where, when and of what each question was measured, and what the echo did, as sentences."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for name, found in questions.items():
        taken, machine = found["taken"], found["taken"]["machine"]
        on = f"{machine['cores']} cores ({machine['processor'] or 'unnamed'}), Linux {machine['kernel']}"
        key = (on, f"Python {machine['python']}", f"commit `{taken['commit']}`", taken["date"][:10])
        groups.setdefault(key, []).append(name)
    sentences: list[str] = []
    for (on, python, commit, date), names in sorted(groups.items(), key=lambda group: -len(group[1])):
        about = f"{', '.join(f'`{name}`' for name in names)} alone: measured" if sentences else "Measured"
        sentences.append(f"{about} {date} on {on}, {python}, {commit}.")
    if loads := [load for found in questions.values() if (load := found["taken"]["load_before"]) is not None]:
        sentences.append(f"Load average before a question: {_range(loads, ',.2f')}.")
    if echoes := [found["taken"]["echo"] for found in questions.values() if found["taken"]["echo"]]:
        rates = _range([echo["per_second"] for echo in echoes], ",.0f")
        client, server = (
            _range([echo[f"{side}_cpu_seconds"] * 1000 for echo in echoes], ".2f") for side in ("client", "server")
        )
        cost = f"{client} ms of CPU a call in its client and {server} ms in its server"
        sentences.append(f"The echo beside the questions made {rates} calls/s, at {cost}.")
    return "\n".join(sentences)


def figures(questions: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the table of questions: each figure, its limit, and what came of it; below it what else has to be so."""
    rows = ["| question | figure | limit, same run | ratio | reach, dream | |", "|---|---|---|---|---|---|"]
    for name, found in questions.items():
        spread = f" ± {found['spread'] / 2:.0%}" if found["spread"] is not None and len(found["repeats"]) > 1 else ""
        verdict = found["verdict"]
        if verdict != found["ratio_verdict"]:
            verdict += f" ({found['ratio_verdict']} by this figure alone)"
        rows.append(
            f"| {found['asks']} `{name}` | {told(found)}{spread} "
            f"| {found['limit']:,g} ({found['limit_is']}) | **{times(found)}** | {_goal(found)} | {verdict} |"
        )
        rows += [
            f"| … {each['what']} | {told(each)} | {each['limit']:,g} | **{times(each)}** "
            f"| {_goal(each)} | {each['verdict']} |"
            for each in found["conditions"]
        ]
    return "\n".join(rows)


def _goal(found: Mapping[str, Any]) -> str:
    return f"{'≤' if found['less_is_better'] else '≥'} {found['reach']:.2g}, {found['dream']:.2g}"


def _range(values: list[float], shape: str) -> str:
    least, most = format(min(values), shape), format(max(values), shape)
    return least if least == most else f"{least} to {most}"


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
