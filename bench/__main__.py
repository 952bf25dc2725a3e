"""`make bench`: every question on a mesh of the bench's own; figures, each beside its limit, and a picture of each.

The mesh has the limits of a load test, a folder and ports of its own, and is taken down at the end whatever happens.
Results go to `bench/results/latest.json`, `bench/results/<question>.svg` and docs/PERFORMANCE.md. Questions that are
asked alone (`--only`) replace their part of the file; a quick run (`--quick`) writes beside it, for it says nothing
about the machine.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import uvloop

from bench import events, growth, hops, hot, ledger, orders, orders_open, page, pages, rest, runtime, storefront
from bench.rig import result
from bench.rig.cpu import Ended
from bench.rig.own_mesh import NotStarted, OwnMesh, own_folder
from bench.rig.picture import svg
from bench.rig.result import Outcome, Terms
from bench.rig.wire import Broken, Unwanted
from bench.rig.world import Unmeasured, World, opened

Question = tuple[Terms, Callable[[World], Awaitable[Outcome]]]

QUESTIONS: tuple[Question, ...] = (
    (rest.MEMORY, rest.occupied),
    (rest.READY, rest.ready),
    (runtime.TERMS, runtime.measure),
    (hops.TERMS, hops.measure),
    (pages.PRODUCT, pages.product),
    (pages.UNCHANGED, pages.unchanged),
    (pages.CART, pages.cart),
    (orders.BY_WALLET, orders.by_wallet),
    (orders.BY_CARD, orders.by_card),
    (orders_open.TERMS, orders_open.measure),
    (hot.TERMS, hot.measure),
    (storefront.TERMS, storefront.measure),
    (ledger.TERMS, ledger.measure),
    (events.RELAY, events.relay),
    (events.CONSUMER, events.consumer),
    (growth.WORKERS, growth.processes),
    (growth.PRODUCTS, growth.products),
    (growth.ORDERS, growth.stored_orders),
)
"""In their order: what leaves the mesh larger comes last."""

QUICK = page.RESULTS / "quick.json"
PROBLEMS = (Unmeasured, Ended, Broken, Unwanted)


def main() -> int:
    """Ask the questions; returns 1 when one of them could not be answered."""
    names = [terms.name for terms, _ in QUESTIONS]
    parser = argparse.ArgumentParser(prog="python -m bench", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", metavar="NAME,...", help=f"some of: {', '.join(names)}")
    parser.add_argument("--quick", action="store_true", help="one short repeat of each, to see that it works")
    parser.add_argument("--scale", default="1m", help="how many rows the questions of growth store: 1m, 10m")
    options = parser.parse_args()
    scale = million(options.scale)
    wanted = options.only.split(",") if options.only else names
    if unknown := set(wanted) - set(names):
        parser.error(f"no such question: {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # out of time is as Ctrl-C: the mesh goes too
    try:
        with OwnMesh(own_folder("bench")) as mesh:
            asked = [each for each in QUESTIONS if each[0].name in wanted]
            return uvloop.run(_ask(asked, mesh, quick=options.quick, scale=scale))
    except NotStarted as problem:
        print(problem, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted; the mesh of the bench is down.", file=sys.stderr)
        return 130


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


async def _ask(questions: list[Question], mesh: OwnMesh, *, quick: bool, scale: float) -> int:
    about = result.machine()
    target = QUICK if quick else page.LATEST
    before = json.loads(target.read_text()) if target.exists() else {}
    kept: dict[str, Any] = before.get("questions", {})
    failed = False
    async with opened(mesh, quick=quick, scale=scale) as world:
        for terms, measure in questions:
            began = time.monotonic()
            try:
                outcome = await measure(world)
            except PROBLEMS as problem:
                print(f"== {terms.name}: NOT MEASURED: {problem}", flush=True)
                failed = True
                continue
            kept[terms.name] = result.entry(terms, outcome) | result.stamp()
            print("\n".join(result.lines(terms.name, kept[terms.name])), flush=True)
            echo = result.medians(world.echoes) or before.get("echo", {})
            if world.echoes:
                print(result.echo_line(echo), flush=True)
            print(f"   it took {time.monotonic() - began:.0f} s\n", flush=True)
            _write(target, result.document(kept, about=about, quick=quick, echo=echo))
            if outcome.picture is not None and not quick:
                note = f"{about['cores']} cores, {about['processor']}; commit {result.commit()}"
                (page.RESULTS / f"{terms.name}.svg").write_text(svg(outcome.picture, note=note))
    return int(failed) or (0 if quick else page.main())


def _write(target: Path, document: dict[str, Any]) -> None:
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
