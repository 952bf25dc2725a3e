"""Every failpoint of the source stands in the table, and everything in the table is a failpoint of the source."""

from __future__ import annotations

import ast
import asyncio
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mesh.seams import failpoint, failpoints
from tests.faults.mesh import ROOT
from tests.faults.places import MOMENTS, PLACES
from tests.faults.walks import WALKS

PRODUCT = ("mesh", "svc_*", "edge_http", "psp_sim", "control")
STEPS = ("step", "_until")
"""The functions of `svc_order.checkout.steps` that make `saga.{name}.before` and `.after` of their step's name."""

SPARE = 6
"""How many awaits of an empty coroutine a failpoint that is off may cost at most; it is less than two."""

ROUNDS = 20_000


def sources() -> Iterator[ast.AST]:
    for pattern in PRODUCT:
        for folder in ROOT.glob(pattern):
            for file in folder.rglob("*.py"):
                yield ast.parse(file.read_text())


def text_of(node: ast.expr) -> str:
    """Return a constant or f-string with `{}` for what is filled in; empty for anything else."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)  # type: ignore[misc]
    return ""


def names_in_source() -> tuple[set[str], set[str]]:
    """Return the names of failpoints as the source writes them, and the names of the saga's steps."""
    names: set[str] = set()
    steps: set[str] = set()
    for tree in sources():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                words = [text_of(argument) for argument in node.args]
                if node.func.id == "failpoint":
                    names.update(words)
                elif node.func.id in STEPS:
                    steps.update(word for word in words if word)
            # Subjects of the settlement say theirs as class attributes.
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                if node.targets[0].id in ("after_call", "after_commit"):
                    names.add(re.sub(r"\{\w+\}", "{}", text_of(node.value)))
    return names - {""}, steps


def test_the_table_and_the_source_name_the_same_failpoints() -> None:
    names, steps = names_in_source()
    expected = {name for name in names if "{}" not in name}
    for pattern in names - expected:
        if pattern.startswith("saga.{}"):
            expected |= {pattern.replace("{}", step) for step in steps}
    open_ended = [re.compile(re.escape(name).replace(r"\{\}", r"\w+")) for name in names if "{}" in name]
    known = {place.name for place in PLACES}
    assert expected <= known, f"not in the table: {sorted(expected - known)}"
    strangers = {name for name in known - expected if not any(each.fullmatch(name) for each in open_ended)}
    assert not strangers, f"not in the source: {sorted(strangers)}"
    for pattern in open_ended:
        assert any(pattern.fullmatch(name) for name in known), f"nothing in the table is a {pattern.pattern}"


def test_every_place_has_a_walk_or_a_reason() -> None:
    assert len({place.name for place in PLACES}) == len(PLACES)
    for place in PLACES:
        assert place.moment in MOMENTS
        assert (place.walk in WALKS) != bool(place.why), place.name
        assert place.walk in WALKS or not place.walk, place.name
        assert Path(ROOT, place.package).is_dir()


@pytest.mark.timeout(30)
def test_a_failpoint_that_is_off_costs_next_to_nothing() -> None:
    """Against a coroutine that does nothing at all: no lock, no environment, no logging hides in it."""

    async def nothing(name: str) -> None:
        pass

    async def seconds(call: object) -> float:
        began = time.perf_counter()
        for _ in range(ROUNDS):
            await call("payment.capture.before_commit")  # type: ignore[operator]
        return time.perf_counter() - began

    assert not failpoints.armed
    off, bare = (min(asyncio.run(seconds(call)) for _ in range(5)) for call in (failpoint, nothing))
    print(f"a failpoint that is off: {off / ROUNDS * 1e9:.0f} ns; an empty coroutine: {bare / ROUNDS * 1e9:.0f} ns")
    assert off < SPARE * bare, f"{off / ROUNDS * 1e9:.0f} ns against {bare / ROUNDS * 1e9:.0f} ns"
