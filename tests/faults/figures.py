"""The figures of a long run, from the same evidence as the invariants: what was promised, and what is true.

Each figure has the number of things that it is about. With no failure among N, the true share of failures is below
3/N with 95 % confidence.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from rich.table import Table

from tests.faults.evidence import Disturbance, Evidence
from tests.faults.invariants import AFTERWARDS
from tests.faults.journal import Operation
from tests.faults.latencies import p99, route_of

MOST_SERVICE_SECONDS = 5.0
MOST_DATABASE_SECONDS = 10.0
MOST_BACKLOG_SECONDS = 60.0
LEAST_AVAILABLE = 0.999
AIM_PLACE_ORDER_SECONDS = 0.2
AIM_ORDERS, AIM_ATTEMPTS, AIM_CHARGES, AIM_FAULTS = 100_000, 20_000, 20_000, 200
AIM_SECONDS = 2000
LONGEST_UNWATCHED_SECONDS, LONGEST_UNADDED_SECONDS = 30.0, 600.0
"""Without a look into a ledger whose database dies now and then, and without one that adds up all of it, which comes
the less often the longer it takes; more means that nobody looked."""

DATABASE = ("kill postgres", "postgres stops at once")
BROKER = ("kill kafka",)
ASKED_ONCE = {"sign out", "look in", "come back"}
"""Wishes that nobody repeats; whoever presents a spent token wants a refusal."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One line. `wanted` is what the issue asks for, `holds` whether it is so, None where it is told and not judged."""

    what: str
    value: str
    of: int
    wanted: str = ""
    holds: bool | None = None
    failures: int | None = None
    aim: int = 0
    """The number of things that the issue wants it to be about."""

    @property
    def bound(self) -> float | None:
        """The share of failures that is excluded with 95 % confidence; None where something failed or nothing was."""
        return 3 / self.of if self.failures == 0 and self.of else None


def of(evidence: Evidence) -> list[Figure]:
    """Return every figure."""
    return [
        *_orders(evidence),
        *_hot(evidence),
        _charges(evidence),
        *_drift(evidence),
        *_availability(evidence),
        *_place_order(evidence),
        *_recovery(evidence),
    ]


def _orders(evidence: Evidence) -> Iterator[Figure]:
    """Acknowledged orders that are not there, or were given up though nobody wished it."""
    status = {order.order_id: order.status for order in evidence.orders}
    wished = {op.arguments["order"] for op in evidence.operations if op.kind in AFTERWARDS}
    acknowledged = [op.result["order"] for op in evidence.operations if op.kind == "place" and op.outcome == "ok"]
    lost = sum(
        status.get(order, "PENDING") == "PENDING" or (status[order] == "CANCELLED" and order not in wished)
        for order in acknowledged
    )
    count, faults = len(acknowledged), len(evidence.disturbances)
    yield Figure("acknowledged orders lost", str(lost), count, f"0 of {AIM_ORDERS:,}", lost == 0, lost, AIM_ORDERS)
    began = min((op.invoked_at for op in evidence.operations if op.kind == "place"), default=0.0)
    ended = max((op.invoked_at for op in evidence.operations if op.kind == "place"), default=0.0)
    seconds = max(ended - began, 1.0)
    yield Figure("acknowledged orders a second", f"{count / seconds:.1f}", count, f"{AIM_ORDERS / AIM_SECONDS:.1f}")
    yield Figure(
        "faults", f"{faults}, one every {seconds / max(1, faults):.1f} s", faults, f"{AIM_FAULTS}", aim=AIM_FAULTS
    )


def _hot(evidence: Evidence) -> Iterator[Figure]:
    """Units of the one hot product that customers were promised, and what was delivered: by the clients' journal."""
    delivered, promised, attempts, refused = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
    freed = {order.order_id for order in evidence.orders if order.status in ("CANCELLED", "REFUNDED")}
    for op in evidence.operations:
        if op.kind == "deliver" and op.outcome != "refused":
            delivered[op.arguments["sku"]] += op.arguments["units"]
        elif op.kind == "place":
            for sku, units in op.arguments["lines"]:
                attempts[sku] += 1
                refused[sku] += op.outcome == "refused"
                if op.outcome == "ok" and op.result["order"] not in freed:
                    promised[sku] += units
    for sku in sorted(each for each in delivered if each.startswith("HOT-")):
        over = max(0, promised[sku] - delivered[sku])
        value = f"{over} ({promised[sku]:,} of {delivered[sku]:,} units sold, {refused[sku]:,} refused)"
        wanted = f"0 of {AIM_ATTEMPTS:,}"
        yield Figure("units oversold of a hot SKU", value, attempts[sku], wanted, over == 0, over, AIM_ATTEMPTS)


def _charges(evidence: Evidence) -> Figure:
    """Captures at the provider: of one payment, and of one wish of one customer."""
    captures = Counter(charge.payment_id for charge in evidence.charges if charge.kind == "capture")
    orders = Counter(each.order_id for each in evidence.payments if each.payment_id in captures)
    double = sum(count > 1 for count in captures.values()) + sum(count > 1 for count in orders.values())
    wanted = f"0 of {AIM_CHARGES:,}"
    return Figure(
        "double charges in the provider's log", str(double), len(captures), wanted, double == 0, double, AIM_CHARGES
    )


def _drift(evidence: Evidence) -> Iterator[Figure]:
    """What the witness saw of the ledger while everything went on."""
    wished = [op.invoked_at for op in evidence.operations]
    for deep, what, longest in (
        (False, "looks that met ledger drift, each second", LONGEST_UNWATCHED_SECONDS),
        (True, "looks that added up all transfers", LONGEST_UNADDED_SECONDS),
    ):
        samples = [each for each in evidence.samples if each.name == "svc_payment" and each.deep == deep]
        wrong = sum(bool(each.wrong) for each in samples)
        times = sorted(each.at for each in samples)
        times = [min([*times, *wished]), *times, max([*times, *wished])]
        gap = max(later - sooner for sooner, later in pairwise(times))
        watched = bool(samples) and gap <= longest
        value = f"{wrong} (longest without a look {gap:.1f} s)"
        yield Figure(what, value, len(samples), "0 minor units", wrong == 0 and watched, wrong)


def _availability(evidence: Evidence) -> Iterator[Figure]:
    """How many wishes were answered clearly by the first request or by one retry of it; by route, and in all."""
    served: dict[str, list[bool]] = defaultdict(list)
    first: dict[str, list[bool]] = defaultdict(list)
    for op in evidence.operations:
        if op.kind not in ASKED_ONCE:
            served[route_of(op)].append(is_available(op))
            first[route_of(op)].append(is_available(op, retries=0))
    total = [each for answers in served.values() for each in answers]
    at_first = [each for answers in first.values() for each in answers]
    yield Figure("available without a retry", _share(at_first), len(at_first))
    wanted, holds = f"{LEAST_AVAILABLE:.1%} or more", sum(total) >= LEAST_AVAILABLE * len(total)
    yield Figure("available with one retry", _share(total), len(total), wanted, holds, total.count(False))
    for name, answers in sorted(served.items()):
        yield Figure(f"  {name}", _share(answers), len(answers), "", None, answers.count(False))


def is_available(op: Operation, *, retries: int = 1) -> bool:
    """Return whether a clear answer came to what was sent at first, or to so many retries of it."""
    return any(answer.outcome != "unknown" and answer.attempt < op.at_once + retries for answer in op.answers)


def _place_order(evidence: Evidence) -> Iterator[Figure]:
    """How long a customer waited until the order was confirmed or refused, retries and pauses included."""
    calm: list[float] = []
    times: list[float] = []
    faults = sorted((each.began_at, each.lifted_at + each.recovery_seconds) for each in evidence.disturbances)
    begins = [began for began, _ in faults]
    for op in evidence.operations:
        if op.kind == "place" and op.outcome != "unknown":
            seconds = op.ended_at - op.invoked_at
            times.append(seconds)
            last = bisect_right(begins, op.ended_at) - 1  # faults come one after the other
            if last < 0 or faults[last][1] < op.invoked_at:
                calm.append(seconds)
    aim = f"aim: p99 {AIM_PLACE_ORDER_SECONDS * 1000:.0f} ms"
    yield Figure("PlaceOrder p50, p99, retries included", _percentiles(times), len(times), aim)
    yield Figure("  of those that met no fault", _percentiles(calm), len(calm))


def _recovery(evidence: Evidence) -> Iterator[Figure]:
    """How long after each fault the mesh was whole again and confirmed an order that was asked for after it."""
    kinds: dict[str, list[Disturbance]] = defaultdict(list)
    for each in evidence.disturbances:
        if each.name not in BROKER:  # a mesh without its events is not well: the backlog has a figure of its own
            kinds["database" if each.name in DATABASE else "service"].append(each)
    for kind, limit in (("service", MOST_SERVICE_SECONDS), ("database", MOST_DATABASE_SECONDS)):
        lost = sum(not each.recovered for each in kinds[kind])
        longest = p99([each.recovery_seconds for each in kinds[kind]])
        wanted = f"{limit:g} s at most"
        holds = not lost and longest <= limit if kinds[kind] else None
        yield Figure(f"recovery p99, {kind}", f"{longest:.1f} s", len(kinds[kind]), wanted, holds, lost)
    if evidence.drained:
        longest = max(each.seconds for each in evidence.drained)
        lost = sum(not each.done for each in evidence.drained)
        most = max(each.events for each in evidence.drained)
        value, wanted = f"{longest:.1f} s (up to {most:,} events)", f"{MOST_BACKLOG_SECONDS:g} s at most"
        holds = not lost and longest <= MOST_BACKLOG_SECONDS
        yield Figure("broker backlog drained, longest", value, len(evidence.drained), wanted, holds, lost)


def fewer(figures: Iterable[Figure]) -> str:
    """Return a sentence on the figures that are about less than the issue wants; empty when there are none."""
    short = [f"{each.what}: {each.of:,} of {each.aim:,}" for each in figures if each.of < each.aim]
    return f"a shorter run than the one that is wanted ({'; '.join(short)})" if short else ""


def table(figures: Iterable[Figure], title: str) -> Table:
    """Return the one table."""
    rows = Table(title=title, caption="bound: with 95 % confidence the true share of failures is below 3/N")
    rows.add_column("figure")
    rows.add_column("here", no_wrap=True)
    rows.add_column("N", justify="right", no_wrap=True)
    rows.add_column("wanted", no_wrap=True)
    rows.add_column("bound", justify="right", no_wrap=True)
    for each in figures:
        bound = "-" if each.bound is None else f"{each.bound:.1e}"
        style = "bold red" if each.holds is False else ""
        rows.add_row(each.what, each.value, f"{each.of:,}", each.wanted, bound, style=style)
    return rows


def _share(answers: Sequence[bool]) -> str:
    failed = answers.count(False)
    return f"{sum(answers) / len(answers):.3%} ({failed:,} not)" if answers else "-"


def _percentiles(seconds: Sequence[float]) -> str:
    if not seconds:
        return "-"
    middle = sorted(seconds)[len(seconds) // 2]
    return f"{middle * 1000:.0f} ms, {p99(seconds) * 1000:.0f} ms"
