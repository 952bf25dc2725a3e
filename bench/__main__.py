"""`make bench`: every question on a mesh of the bench's own; figures, each beside its limit, and a picture of each.

The mesh has the limits of a load test, a folder and ports of its own, and is taken down at the end whatever happens.
Results go to `bench/results/latest.json`, `bench/results/<question>.svg` and docs/PERFORMANCE.md. A run of all
questions begins with an empty file, so that what it could not measure is not in it; questions that are asked alone
(`--only`) replace their part, and each says of what and when it is. A quick run (`--quick`) writes its own file, for it
says nothing about the machine.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvloop

from bench import bulk, events, growth, hops, hot, ledger, orders, orders_open, page, pages, rest, runtime, storefront
from bench.rig import result
from bench.rig.cpu import Ended
from bench.rig.picture import svg
from bench.rig.result import Outcome, Terms, Unmeasured
from bench.rig.wire import Broken, Unwanted
from bench.rig.world import World, opened
from control.own_mesh import NotStarted, OwnMesh, own_folder


@dataclass(frozen=True)
class Question:
    """What is asked, and how it is answered."""

    terms: Terms
    measure: Callable[[World], Awaitable[Outcome]]
    alone: bool = False
    """Whether it wants a mesh on which nothing was asked before."""


QUESTIONS: tuple[Question, ...] = (
    Question(rest.MEMORY, rest.occupied),
    Question(rest.READY, rest.ready),
    Question(rest.IDLE, rest.idle),
    Question(runtime.TERMS, runtime.measure),
    Question(hops.TERMS, hops.measure),
    Question(pages.PRODUCT, pages.product),
    Question(pages.UNCHANGED, pages.unchanged),
    Question(pages.CART, pages.cart),
    Question(orders.BY_WALLET, orders.by_wallet),
    Question(orders.BY_CARD, orders.by_card),
    Question(orders_open.TERMS, orders_open.measure),
    Question(hot.TERMS, hot.measure),
    Question(storefront.TERMS, storefront.measure),
    Question(ledger.TERMS, ledger.measure),
    Question(events.RELAY, events.relay),
    Question(events.CONSUMER, events.consumer),
    Question(bulk.TERMS, bulk.measure, alone=True),
    Question(growth.WORKERS, growth.processes),
    Question(growth.PRODUCTS, growth.products),
    Question(growth.ORDERS, growth.stored_orders, alone=True),
)
"""In their order: what leaves the mesh larger comes last, and what counts what is stored has a mesh of its own."""

QUICK = page.RESULTS / "quick.json"
PROBLEMS = (Unmeasured, Ended, Broken, Unwanted)


class Results:
    """The file of results, written after every question, so that a run that is broken off leaves what it found."""

    def __init__(self, target: Path, *, quick: bool, afresh: bool) -> None:
        """Begin with nothing, or with what is in the file.

        Raises:
            Unmeasured: The file has another format, and only a whole run can replace it.
        """
        self._target, self._quick = target, quick
        self.questions: dict[str, Any] = {}
        if not afresh and target.exists():
            before = json.loads(target.read_text())
            if before.get("format") != result.FORMAT:
                raise Unmeasured(f"{target} has format {before.get('format')}: run all questions, and it is replaced")
            self.questions = before["questions"]

    def keep(self, name: str, entry: dict[str, Any]) -> None:
        """Write a question's entry in the place of an earlier one."""
        self.questions[name] = entry
        order = [question.terms.name for question in QUESTIONS]
        document = result.document(self.questions, order=order, quick=self._quick)
        self._target.parent.mkdir(exist_ok=True)
        self._target.write_text(json.dumps(document, indent=1, allow_nan=False) + "\n")


def main() -> int:
    """Ask the questions; returns 1 when one of them could not be answered."""
    names = [question.terms.name for question in QUESTIONS]
    parser = argparse.ArgumentParser(prog="python -m bench", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", metavar="NAME,...", help=f"some of: {', '.join(names)}")
    parser.add_argument("--quick", action="store_true", help="one short repeat of each, to see that it works")
    parser.add_argument("--scale", default="1m", help="how many rows the questions of growth store: 1m, 10m")
    options = parser.parse_args()
    scale = million(options.scale)
    wanted = options.only.split(",") if options.only else names
    if unknown := set(wanted) - set(names):
        parser.error(f"no such question: {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    failed = False
    try:
        target = QUICK if options.quick else page.LATEST
        results = Results(target, quick=options.quick, afresh=options.quick or set(wanted) == set(names))
        for questions in meshes([question for question in QUESTIONS if question.terms.name in wanted]):
            with OwnMesh(own_folder("bench")) as mesh:
                failed |= uvloop.run(_ask(questions, mesh, results, quick=options.quick, scale=scale))
    except (NotStarted, Unmeasured) as problem:
        print(problem, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted; the mesh of the bench is down.", file=sys.stderr)
        return 130
    unwritten = 0 if options.quick else page.main()
    return int(failed) or unwritten


def meshes(questions: Sequence[Question]) -> list[list[Question]]:
    """Return the questions of each mesh: those that share one, and each of the others on its own."""
    shared = [question for question in questions if not question.alone]
    return [each for each in (shared, *([question] for question in questions if question.alone)) if each]


def million(text: str) -> float:
    """Return how many millions `500k` or `10m` is.

    Raises:
        SystemExit: It is no such number.
    """
    units = {"k": 0.001, "m": 1.0}
    try:
        return float(text[:-1]) * units[text[-1].lower()]
    except (ValueError, KeyError, IndexError):
        raise SystemExit(f"--scale is 500k or 10m, not {text!r}") from None


async def _ask(questions: Sequence[Question], mesh: OwnMesh, results: Results, *, quick: bool, scale: float) -> bool:
    """Ask on this mesh; returns whether one of them could not be answered."""
    failed = False
    async with opened(mesh, quick=quick, scale=scale) as world:
        for question in questions:
            terms, began, load_before = question.terms, time.monotonic(), result.load_average()
            world.echoes.clear()
            try:
                outcome = await question.measure(world)
            except PROBLEMS as problem:
                print(f"== {terms.name}: NOT MEASURED: {problem}", flush=True)
                failed = True
                continue
            echo = result.medians(world.echoes)
            entry = result.entry(terms, outcome) | result.stamp(load_before=load_before, echo=echo)
            results.keep(terms.name, entry)
            print("\n".join(result.lines(terms.name, entry)), flush=True)
            if echo:
                print(result.echo_line(echo), flush=True)
            print(f"   it took {time.monotonic() - began:.0f} s\n", flush=True)
            if outcome.picture is not None and not quick:
                note = f"{result.machine()['cores']} cores, {result.machine()['processor']}; commit {result.commit()}"
                (page.RESULTS / f"{terms.name}.svg").write_text(svg(outcome.picture, note=note))
    return failed


if __name__ == "__main__":
    sys.exit(main())
