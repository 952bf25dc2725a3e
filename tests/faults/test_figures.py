"""Each figure counts what it says, and is red when it is broken: on small worlds in which everything is known."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from itertools import islice

import pytest

from tests.faults import figures
from tests.faults.endurance import CALM_SECONDS, _next_at, plan_of
from tests.faults.evidence import Charge, Disturbance, Drained, Evidence, Order, Sample
from tests.faults.faults import DEADLY, FAULTS
from tests.faults.figures import BROKER, DATABASE, Figure, is_available
from tests.faults.journal import Answer, Operation
from tests.faults.test_invariants import good_world, swap, wish

LOST = "acknowledged orders lost"
HOT = "units oversold of a hot SKU"
DOUBLE = "double charges in the provider's log"
DRIFT, ADDED = "looks that met ledger drift, each second", "looks that added up all transfers"
AVAILABLE = "available with one retry"
SERVICE, DATA = "recovery p99, service", "recovery p99, database"
BACKLOG = "broker backlog drained, longest"


def long_run() -> Evidence:
    """Return the good world after a service and a database died, the broker came back, and the ledger was watched."""
    world = copy.deepcopy(good_world())
    world.operations += [
        wish(20, "deliver", 40, key="h", arguments={"sku": "HOT-1", "units": 3}),
        wish(21, "place", 42, key="k3", arguments=hot(2), result=promised("o3")),
        wish(22, "place", 44, "refused", key="k4", arguments=hot(2), result={"reason": "OUT_OF_STOCK"}),
    ]
    world.orders.append(Order("o3", "ann", "CONFIRMED", total_minor=10, lines=((1, "HOT-1", 2),)))
    world.disturbances = [
        Disturbance("kill svc_order", 0, 0, 50, 50.1, 2.0),
        Disturbance("kill postgres", 0, 0, 60, 60.1, 7.0),
    ]
    world.samples = [Sample("svc_payment", 3, (), at) for at in (1.0, 20.0, 40.0)]
    world.samples.append(Sample("svc_payment", 3, (), 20.0, deep=True))
    world.drained = [Drained(9.0, 700)]
    return world


def hot(units: int) -> dict[str, object]:
    """Return what somebody wants who wants the scarce product."""
    return {"user": "ann", "lines": [["HOT-1", units]], "total": 10, "by": "wallet"}


def promised(order: str) -> dict[str, object]:
    """Return what is answered to an order of the scarce product."""
    return {"order": order, "status": "CONFIRMED", "total": 10, "lines": [["HOT-1", 2]]}


def told(world: Evidence) -> dict[str, Figure]:
    """Return the figures of a world by their names."""
    return {each.what: each for each in figures.of(world)}


def test_a_run_in_which_all_went_well_holds() -> None:
    found = told(long_run())
    assert [each.what for each in found.values() if each.holds is False] == []
    assert {found[name].of for name in (LOST, DRIFT)} == {3}
    assert (found[HOT].of, found[HOT].value) == (2, "0 (2 of 3 units sold, 1 refused)")
    assert found[LOST].bound == 1.0
    assert f"{LOST}: 3 of 100,000" in figures.fewer(found.values())
    assert found[DATA].value == "7.0 s"


def more_of_the_hot(world: Evidence) -> None:
    """Promise two units more than there were."""
    world.operations.append(wish(23, "place", 46, key="k5", arguments=hot(2), result=promised("o4")))
    world.orders.append(Order("o4", "ann", "CONFIRMED", total_minor=10, lines=((1, "HOT-1", 2),)))


Break = Callable[[Evidence], object]

BROKEN: dict[str, tuple[str, Break]] = {
    "an order is gone": (LOST, lambda w: w.orders.pop(0)),
    "an order was given up": (LOST, lambda w: swap(w.orders, 0, status="CANCELLED")),
    "an order never ends": (LOST, lambda w: swap(w.orders, 0, status="PENDING")),
    "more units than there were": (HOT, more_of_the_hot),
    "a card was charged twice": (DOUBLE, lambda w: w.charges.append(Charge("capture", "p2", 10))),
    "an order was charged as two payments": (
        DOUBLE,
        lambda w: (
            w.payments.append(replace(w.payments[1], payment_id="p9")),
            w.charges.append(Charge("capture", "p9", 10)),
        ),
    ),
    "money out of nowhere": (DRIFT, lambda w: w.samples.append(Sample("svc_payment", 3, ("GBP: 1",), 4.0))),
    "nobody looked": (DRIFT, lambda w: w.samples.__delitem__(slice(3))),
    "nobody looked for a while": (DRIFT, lambda w: w.samples.pop(1)),
    "nobody looked in the end": (DRIFT, lambda w: w.operations.append(wish(30, "look in", 71, key="late"))),
    "nobody added up": (ADDED, lambda w: w.samples.pop()),
    "an answer was late": (
        AVAILABLE,
        lambda w: w.operations[2].answers.__setitem__(0, Answer(5, 6, "ok", said_ok(w), attempt=2)),
    ),
    "a service was slow to come back": (SERVICE, lambda w: swap(w.disturbances, 0, recovery_seconds=5.1)),
    "a service did not come back": (SERVICE, lambda w: swap(w.disturbances, 0, recovered=False)),
    "a database was slow to come back": (DATA, lambda w: swap(w.disturbances, 1, recovery_seconds=10.1)),
    "a backlog was long": (BACKLOG, lambda w: swap(w.drained, 0, seconds=60.1)),
    "a backlog stayed": (BACKLOG, lambda w: swap(w.drained, 0, done=False)),
}


def said_ok(world: Evidence) -> object:
    """Return what the first order was answered."""
    return world.operations[2].answers[0].result


@pytest.mark.parametrize(("what", "change"), BROKEN.values(), ids=BROKEN)
def test_a_figure_that_is_broken_is_red_alone(what: str, change: Break) -> None:
    world = long_run()
    change(world)
    found = told(world)
    assert found[what].holds is False
    assert found[what].bound is None or what in (DRIFT, SERVICE, DATA, BACKLOG)
    assert [each.what for each in found.values() if each.holds is False] == [what]


@pytest.mark.parametrize(
    ("at_once", "answers", "available"),
    [
        (1, [(0, "unknown"), (1, "ok")], True),
        (1, [(0, "unknown"), (1, "unknown"), (2, "ok")], False),
        (2, [(0, "unknown"), (1, "unknown"), (2, "refused")], True),
        (1, [], False),
    ],
)
def test_one_retry_counts_and_no_more(at_once: int, answers: list[tuple[int, str]], available: bool) -> None:
    told_answers = [Answer(attempt, attempt + 0.5, outcome, {}, attempt) for attempt, outcome in answers]
    op = Operation(1, "b1", "place", "k", {}, 0, 0, len(answers), told_answers, at_once)
    assert is_available(op) is available


def test_everything_dies_before_anything_dies_twice_and_the_broker_once() -> None:
    assert set(DATABASE) | set(BROKER) < set(DEADLY) < set(FAULTS)
    often, rounds = len(DEADLY) - len(BROKER), 3
    drawn = list(islice(plan_of(7), rounds * often + len(BROKER)))
    assert sorted(drawn[: len(DEADLY)]) == sorted(DEADLY)
    assert {name: drawn.count(name) for name in DEADLY} == {name: 1 if name in BROKER else rounds for name in DEADLY}
    assert drawn == list(islice(plan_of(7), len(drawn)))
    assert drawn != list(islice(plan_of(8), len(drawn)))


def test_a_mesh_that_is_slow_to_come_back_does_not_make_the_run_longer() -> None:
    assert _next_at(100, 9, 0, 103) == 104.5
    assert _next_at(100, 9, 3, 110) == 131.5
    assert _next_at(100, 9, 3, 160) == 160 + CALM_SECONDS
