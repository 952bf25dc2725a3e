"""What a question found, and the shape in which it is kept: `bench/results/latest.json`. Pure but for the machine."""

from __future__ import annotations

import math
import os
import platform
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from bench.rig.picture import Picture
from bench.rig.samples import paired_ratio, spread

ROOT = Path(__file__).resolve().parents[2]
FORMAT = 2
"""Of the file; a reader refuses another one."""

VERDICTS = ("dream", "reach", "missed")
"""The best first."""


class Unmeasured(Exception):
    """What was measured is no figure; the message says why."""


@dataclass(frozen=True)
class Goal:
    """What the ratio has to reach: at least it, or at most where less is better."""

    reach: float
    dream: float
    less_is_better: bool = False

    def verdict(self, ratio: float) -> str:
        """Return `dream`, `reach` or `missed`."""
        for name, bound in zip(VERDICTS, (self.dream, self.reach), strict=False):
            if ratio <= bound if self.less_is_better else ratio >= bound:
                return name
        return VERDICTS[-1]


@dataclass(frozen=True)
class Condition:
    """What else has to be so, in words that name its unit: a figure, its limit, and what their ratio has to reach."""

    what: str
    figure: float
    limit: float
    goal: Goal

    @property
    def ratio(self) -> float:
        """The figure in units of its limit."""
        return self.figure / self.limit

    @property
    def verdict(self) -> str:
        """Return `dream`, `reach` or `missed`."""
        return self.goal.verdict(self.ratio)


@dataclass(frozen=True)
class Outcome:
    """What was measured: a figure and its limit per repeat, and what an operation costs in CPU seconds by process.

    A figure may be infinite: the time of what was never answered. Then `failed` says of how many that is so.
    """

    figures: tuple[float, ...]
    limits: tuple[float, ...]
    cpu_seconds: Mapping[str, float] = field(default_factory=dict)
    more: Mapping[str, float | str] = field(default_factory=dict)
    picture: Picture | None = None
    conditions: tuple[Condition, ...] = ()
    limit_is: str = ""
    """What the limit is, where only the measurement knows; else the terms say it."""

    failed: float = 0.0
    """The share of operations that failed in all repeats."""

    @property
    def figure(self) -> float:
        """The median of the repeats."""
        return statistics.median(self.figures)

    @property
    def limit(self) -> float:
        """The median of what was measured beside them."""
        return statistics.median(self.limits)

    @property
    def ratio(self) -> float:
        """The median of the repeats' ratios."""
        return paired_ratio(self.figures, self.limits)


@dataclass(frozen=True)
class Terms:
    """What is asked: the question, how it is measured, in which unit, beside which limit, and what it should reach."""

    name: str
    asks: str
    method: str
    unit: str
    limit: str
    goal: Goal


def entry(terms: Terms, outcome: Outcome) -> dict[str, Any]:
    """Return one question as the file has it. The verdict is the worst of the ratio's and the conditions'."""
    own = terms.goal.verdict(outcome.ratio)
    return {
        "asks": terms.asks,
        "method": " ".join(terms.method.split()),
        "unit": terms.unit,
        "figure": _short(outcome.figure),
        "repeats": [_short(each) for each in outcome.figures],
        "spread": _short(spread(outcome.figures)),
        "failed": _short(outcome.failed),
        "limit_is": outcome.limit_is or terms.limit,
        "limit": _short(outcome.limit),
        "limits": [_short(each) for each in outcome.limits],
        "ratio": _short(outcome.ratio),
        **asdict(terms.goal),
        "ratio_verdict": own,
        "conditions": [
            {
                "what": each.what,
                "figure": _short(each.figure),
                "limit": _short(each.limit),
                "ratio": _short(each.ratio),
                **asdict(each.goal),
                "verdict": each.verdict,
            }
            for each in outcome.conditions
        ],
        "verdict": max([own, *(each.verdict for each in outcome.conditions)], key=VERDICTS.index),
        "cpu_seconds_per_operation": {name: _short(each) for name, each in outcome.cpu_seconds.items()},
        "more": {name: _short(each) if isinstance(each, float) else each for name, each in outcome.more.items()},
    }


def lines(name: str, found: Mapping[str, Any]) -> list[str]:
    """Return what is printed of one question: the method, and beside each figure its limit."""
    compared = f"{told(found)} beside {found['limit']:,g} ({found['limit_is']}): {times(found)}"
    repeats = ", ".join("never" if each is None else f"{each:,g}" for each in found["repeats"])
    spread_of = "" if found["spread"] is None else f"; spread {found['spread']:.0%}"
    out = [f"== {name}: {found['asks']}", f"   {found['method']}"]
    out.append(f"   {compared}; {_wanted(found)}: {found['ratio_verdict']}")
    out += [
        f"   {each['what']} {told(each)} beside {each['limit']:,g}: {times(each)}; {_wanted(each)}: {each['verdict']}"
        for each in found["conditions"]
    ]
    if found["conditions"]:
        out.append(f"   all together: {found['verdict']}")
    out.append(f"   repeats {repeats}{spread_of}")
    out += [
        f"   {what}: {value:,g}" if isinstance(value, float) else f"   {what}: {'never' if value is None else value}"
        for what, value in found["more"].items()
    ]
    cpu = found["cpu_seconds_per_operation"]
    if cpu:
        shown = ", ".join(f"{process} {each * 1000:.3g}" for process, each in cpu.items() if each >= 5e-6)
        out.append(f"   CPU of one operation in ms: {shown}")
    return out


def told(found: Mapping[str, Any]) -> str:
    """Return a figure as it is shown; of one that is infinite the share that failed."""
    if found["figure"] is None:
        return f"failed {found['failed']:.0%}" if "failed" in found else "never"
    return f"{found['figure']:,g} {found['unit']}" if "unit" in found else f"{found['figure']:,g}"


def times(found: Mapping[str, Any]) -> str:
    """Return a ratio as it is shown; one that is infinite has none."""
    return "none" if found["ratio"] is None else f"{found['ratio']:.2f} x"


def _wanted(found: Mapping[str, Any]) -> str:
    return f"{'at most' if found['less_is_better'] else 'at least'} {found['reach']:.3g}, dream {found['dream']:.3g}"


def machine() -> dict[str, Any]:
    """Return where and of what it was measured."""
    model = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "")
    return {
        "cores": os.cpu_count(),
        "processor": model,
        "memory_bytes": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def load_average() -> float:
    """Return how many processes wanted to run in the last minute."""
    return round(os.getloadavg()[0], 2)


@cache
def commit() -> str:
    """Return the commit that is measured, marked when the tree differs from it; empty outside a clone.

    What a measurement itself writes is no difference.
    """
    own = (":!bench/results", ":!docs/PERFORMANCE.md")
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", ".", *own)
    return _git("rev-parse", "--short=12", "HEAD") + ("-dirty" if changed else "")


def _git(*arguments: str) -> str:
    try:
        found = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return found.stdout.strip()


def stamp(*, load_before: float, echo: Mapping[str, float]) -> dict[str, Any]:
    """Return where, when and of what one question was measured, and what the echo did meanwhile.

    Each question has its own: some are asked again later, of another commit or on another machine.
    """
    taken = {"commit": commit(), "date": datetime.now(UTC).isoformat(timespec="seconds"), "machine": machine()}
    return {"taken": {**taken, "load_before": load_before, "echo": dict(echo)}}


def medians(slices: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the medians of what the slices of the echo found; empty where there was none."""
    if not slices:
        return {}
    return {name: _digits(statistics.median(each[name] for each in slices)) for name in slices[0]}


def echo_line(echo: Mapping[str, float]) -> str:
    """Return what is printed of the echo."""
    client, server = echo["client_cpu_seconds"] * 1000, echo["server_cpu_seconds"] * 1000
    cost = f"CPU of a call {client:.2f} ms in the client, {server:.2f} ms in the server"
    return f"   the echo: {echo['per_second']:,.0f} calls/s; {cost}"


def document(questions: Mapping[str, Mapping[str, Any]], *, order: Sequence[str], quick: bool) -> dict[str, Any]:
    """Return the whole file, its questions in this order."""
    ordered = {name: dict(questions[name]) for name in order if name in questions}
    return {"format": FORMAT, "quick": quick, "questions": ordered}


def _short(value: float) -> float | None:
    """Return a figure as the file has it; None for what is no number, or none that JSON has."""
    return _digits(value) if math.isfinite(value) else None


def _digits(value: float) -> float:
    """Return a figure with the four digits that it is worth."""
    return float(f"{value:.4g}")
