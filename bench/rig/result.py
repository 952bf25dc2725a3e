"""What a question found, and the shape in which it is kept: `bench/results/latest.json`. Pure but for the machine."""

from __future__ import annotations

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

from bench.rig.picture import Bars, Lines
from bench.rig.samples import paired_ratio, spread

ROOT = Path(__file__).resolve().parents[2]
FORMAT = 1
"""Of the file; a reader refuses another one."""


@dataclass(frozen=True)
class Goal:
    """What the ratio has to reach: at least it, or at most where less is better."""

    reach: float
    dream: float
    less_is_better: bool = False

    def verdict(self, ratio: float) -> str:
        """Return `dream`, `reach` or `missed`."""
        for name, bound in (("dream", self.dream), ("reach", self.reach)):
            if ratio <= bound if self.less_is_better else ratio >= bound:
                return name
        return "missed"


@dataclass(frozen=True)
class Outcome:
    """What was measured: a figure and its limit per repeat, and what an operation costs in CPU seconds by process."""

    figures: tuple[float, ...]
    limits: tuple[float, ...]
    cpu_seconds: Mapping[str, float] = field(default_factory=dict)
    more: Mapping[str, float | str] = field(default_factory=dict)
    picture: Lines | Bars | None = None

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
    """Return one question as the file has it."""
    return {
        "asks": terms.asks,
        "method": " ".join(terms.method.split()),
        "unit": terms.unit,
        "figure": _short(outcome.figure),
        "repeats": [_short(each) for each in outcome.figures],
        "spread": _short(spread(outcome.figures)),
        "limit_is": terms.limit,
        "limit": _short(outcome.limit),
        "limits": [_short(each) for each in outcome.limits],
        "ratio": _short(outcome.ratio),
        **asdict(terms.goal),
        "verdict": terms.goal.verdict(outcome.ratio),
        "cpu_seconds_per_operation": {name: _short(each) for name, each in outcome.cpu_seconds.items()},
        "more": {name: _short(each) if isinstance(each, float) else each for name, each in outcome.more.items()},
    }


def lines(name: str, found: Mapping[str, Any]) -> list[str]:
    """Return what is printed of one question: the method, and beside the figure its limit."""
    unit = found["unit"]
    compared = f"{found['figure']:,g} {unit} beside {found['limit']:,g} ({found['limit_is']}): {found['ratio']:.2f} x"
    wanted = f"{'at most' if found['less_is_better'] else 'at least'} {found['reach']:g}, dream {found['dream']:g}"
    repeats = ", ".join(f"{each:,g}" for each in found["repeats"])
    out = [f"== {name}: {found['asks']}", f"   {found['method']}", f"   {compared}; {wanted}: {found['verdict']}"]
    out.append(f"   repeats {repeats}; spread {found['spread']:.0%}")
    out += [
        f"   {what}: {value:,g}" if isinstance(value, float) else f"   {what}: {value}"
        for what, value in found["more"].items()
    ]
    cpu = found["cpu_seconds_per_operation"]
    if cpu:
        shown = ", ".join(f"{process} {each * 1000:.3g}" for process, each in cpu.items() if each >= 5e-6)
        out.append(f"   CPU of one operation in ms: {shown}")
    return out


def machine() -> dict[str, Any]:
    """Return where and of what it was measured."""
    model = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "")
    return {
        "cores": os.cpu_count(),
        "processor": model,
        "memory_bytes": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_before": round(os.getloadavg()[0], 2),
    }


@cache
def commit() -> str:
    """Return the commit that is measured, marked when the tree differs from it; empty outside a clone.

    What a measurement itself writes is no difference.
    """
    own = (":!bench/results", ":!docs/PERFORMANCE.md")
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", ".", *own)
    return _git("rev-parse", "--short=12", "HEAD") + ("-dirty" if changed else "")


def _git(*arguments: str) -> str:
    found = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return found.stdout.strip()


def stamp() -> dict[str, str]:
    """Return of what and when: each question has its own, since some may be asked again later."""
    return {"commit": commit(), "date": datetime.now(UTC).isoformat(timespec="seconds")}


def medians(slices: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the medians of what the slices of the echo found; empty where there was none."""
    if not slices:
        return {}
    return {name: _short(statistics.median(each[name] for each in slices)) for name in slices[0]}


def echo_line(echo: Mapping[str, float]) -> str:
    """Return what is printed of the echo."""
    client, server = echo["client_cpu_seconds"] * 1000, echo["server_cpu_seconds"] * 1000
    cost = f"CPU of a call {client:.2f} ms in the client, {server:.2f} ms in the server"
    return f"   the echo: {echo['per_second']:,.0f} calls/s; {cost}"


def document(
    questions: Mapping[str, Mapping[str, Any]], *, about: Mapping[str, Any], quick: bool, echo: Mapping[str, float]
) -> dict[str, Any]:
    """Return the whole file; `echo` is what all slices of the echo in this run come to."""
    return {
        "format": FORMAT,
        **stamp(),
        "machine": dict(about),
        "quick": quick,
        "echo": dict(echo),
        "questions": dict(questions),
    }


def _short(value: float) -> float:
    """Return a figure with the four digits that it is worth."""
    return float(f"{value:.4g}")
