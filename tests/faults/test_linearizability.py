"""The checker is checked: right histories pass, and each kind of wrong one is found."""

from __future__ import annotations

import math
import random
import time
from dataclasses import replace

import pytest

from tests.faults.linearizability import Step, check, counter, order

UNKNOWN = math.inf
REST = 1_000_000.0
"""When the mesh rested."""


def took(begin: float, end: float, units: int = 1) -> Step:
    """An order that got its units."""
    return Step(begin, end, "take", (units,))


def read(begin: float, end: float, left: object) -> Step:
    """Somebody read what is left, or a status."""
    return Step(begin, end, "read", (), left)


def short(begin: float, end: float, units: int, left: int | None = None) -> Step:
    """An order that was refused because too little was left."""
    return Step(begin, end, "short", (units,), left)


def added(begin: float, end: float, units: int, left: int | None = None) -> Step:
    """More came: a delivery, a payment into a wallet."""
    return Step(begin, end, "add", (units,), left)


def maybe(step: Step) -> Step:
    """The same, but nobody knows whether it took effect."""
    return Step(step.invoked_at, UNKNOWN, step.name, step.arguments, step.result, certain=False)


def placed(begin: float, end: float) -> Step:
    """An order was recorded."""
    return Step(begin, end, "place", (10,))


def cancelled(begin: float, end: float) -> Step:
    """An owner cancelled."""
    return Step(begin, end, "cancel")


RIGHT = {
    "nothing happened": [],
    "one after the other": [took(1, 2), read(3, 4, 9), took(5, 6, 9), short(7, 8, 1, 0)],
    "a read beside a take sees the old value": [took(1, 5), read(2, 3, 10)],
    "a read beside a take sees the new value": [took(1, 5), read(2, 3, 9)],
    "two reads beside a take see old, then new": [took(1, 9), read(2, 3, 10), read(4, 5, 9)],
    "the last units go to the one who returned later": [took(1, 9, 10), short(2, 10, 1, 0)],
    "an unknown take that happened": [maybe(took(1, 2)), read(3, 4, 9)],
    "an unknown take that never happened": [maybe(took(1, 2)), read(3, 4, 10)],
    "an unknown take that happened late": [maybe(took(1, 2)), read(3, 4, 10), read(5, 6, 9)],
    "a release some time after the cancel": [
        took(1, 2, 10),
        Step(3, REST, "add", (10,)),
        short(4, 5, 1, 0),
        took(6, 7, 10),
        read(REST + 1, REST + 2, 0),
    ],
    "units held for an order whose card was declined": [
        Step(1, 9, "hold", (10,)),
        Step(1, REST, "free", (10,)),
        short(2, 3, 1, 0),
        took(4, 5, 10),
    ],
    "a payment answers what is left after it": [added(1, 2, 5, 15), took(3, 4, 15)],
}

WRONG = {
    "lost update": [took(1, 2), took(3, 4), read(5, 6, 9)],
    "stale read": [took(1, 2), read(3, 4, 10)],
    "a read that goes back": [took(1, 9), read(2, 3, 9), read(4, 5, 10)],
    "oversell, one after the other": [took(1, 2, 6), took(3, 4, 6)],
    "oversell, side by side": [took(1, 9, 6), took(1, 9, 6)],
    "double spend": [added(1, 2, 90, 100), took(3, 9, 60), took(3, 9, 60)],
    "refused though there was enough": [took(1, 2, 5), short(3, 4, 5, 5)],
    "refused with a number that never was": [took(1, 2, 5), short(3, 4, 6, 4)],
    "an unknown take that took effect twice": [maybe(took(1, 2, 3)), read(3, 4, 4)],
    "an unknown take that was undone by nobody": [maybe(took(1, 2)), read(3, 4, 9), read(5, 6, 10)],
    "an effect before it was asked for": [read(1, 2, 9), maybe(took(3, 4))],
    "a release that never came": [took(1, 2), Step(3, REST, "add", (1,)), read(REST + 1, REST + 2, 9)],
    "a release that came twice": [took(1, 2), Step(3, REST, "add", (1,)), read(REST + 1, REST + 2, 11)],
    "a release before its cancel": [took(1, 2, 10), took(3, 4, 10), Step(5, REST, "add", (10,))],
    "units that a declined order never gave back": [
        Step(1, 2, "hold", (10,)),
        Step(1, REST, "free", (10,)),
        read(REST + 1, REST + 2, 0),
    ],
    "a payment that was credited twice": [added(1, 2, 5, 15), read(3, 4, 20)],
    "a payment with the answer of another": [added(1, 2, 5, 15), added(3, 4, 5, 15)],
}

RIGHT_ORDERS = {
    "placed, decided, read": [placed(1, 2), read(1, 2, "CONFIRMED"), read(3, 4, "CONFIRMED")],
    "read while it was undecided": [placed(1, 9), read(3, 4, "PENDING"), read(5, 6, "CONFIRMED")],
    "cancelled while it was undecided": [placed(1, 2), cancelled(3, 4), read(5, 6, "CANCELLED")],
    "a read beside the cancel": [placed(1, 2), read(1, 2, "CONFIRMED"), cancelled(3, 9), read(4, 5, "CONFIRMED")],
    "cancelled twice": [placed(1, 2), cancelled(3, 4), cancelled(3, 6), read(7, 8, "CANCELLED")],
    "an unknown cancel that never happened": [placed(1, 2), maybe(cancelled(3, 4)), read(5, 6, "CONFIRMED")],
}

WRONG_ORDERS = {
    "lost": [placed(1, 2), read(3, 4, "ABSENT")],
    "resurrected": [placed(1, 2), cancelled(3, 4), read(5, 6, "CONFIRMED")],
    "resurrected after a read": [
        placed(1, 2),
        maybe(cancelled(3, 4)),
        read(5, 6, "CANCELLED"),
        read(7, 8, "CONFIRMED"),
    ],
    "undecided again": [placed(1, 2), read(3, 4, "CONFIRMED"), read(5, 6, "PENDING")],
    "cancelled by nobody": [placed(1, 2), read(3, 4, "CONFIRMED"), read(5, 6, "CANCELLED")],
    "placed twice": [placed(1, 2), placed(3, 4), read(5, 6, "CONFIRMED")],
    "there before it was placed": [read(1, 2, "CONFIRMED"), placed(3, 4)],
}


@pytest.mark.parametrize("steps", RIGHT.values(), ids=RIGHT)
def test_a_right_history_of_a_counter_passes(steps: list[Step]) -> None:
    assert check(steps, (10, ()), counter).linearizable


@pytest.mark.parametrize("steps", WRONG.values(), ids=WRONG)
def test_a_wrong_history_of_a_counter_is_found(steps: list[Step]) -> None:
    verdict = check(steps, (10, ()), counter)
    assert (verdict.linearizable, verdict.decided) == (False, True)
    assert verdict.stuck_at is not None


@pytest.mark.parametrize("steps", RIGHT_ORDERS.values(), ids=RIGHT_ORDERS)
def test_a_right_history_of_an_order_passes(steps: list[Step]) -> None:
    assert check(steps, "ABSENT", order).linearizable


@pytest.mark.parametrize("steps", WRONG_ORDERS.values(), ids=WRONG_ORDERS)
def test_a_wrong_history_of_an_order_is_found(steps: list[Step]) -> None:
    verdict = check(steps, "ABSENT", order)
    assert (verdict.linearizable, verdict.decided) == (False, True)


def real_history(seed: int, size: int, *, stock: int = 400) -> list[Step]:
    """Return a history that happened: a counter that twelve ask at a time, with releases and lost answers.

    Every step says when it really took effect, as a system under test would.
    """
    dice, left, now = random.Random(seed), stock, 0.0
    free_at = [0.0] * 12
    steps: list[Step] = []
    releases: list[tuple[float, float, int]] = []  # when due, when cancelled, how many

    def give_back(until: float) -> None:
        nonlocal left
        for due, cancel, units in sorted(releases):
            if due <= until:
                left += units
                releases.remove((due, cancel, units))
                steps.append(Step(cancel, REST, "add", (units,), rank=due))

    while len(steps) < size:
        who = min(range(12), key=free_at.__getitem__)
        begin = free_at[who] + dice.random()
        now = max(now + 0.001, begin + dice.random() * 2)
        end = now + dice.random() * 2
        free_at[who] = end
        give_back(now)
        kind, units = dice.random(), dice.randint(1, 3)
        if kind < 0.2:
            steps.append(read(begin, end, left))
        elif left < units:
            steps.append(short(begin, end, units, left))
        elif kind < 0.23:  # its answer was lost, and half of them were lost on the way there
            happened = dice.random() < 0.5
            left -= units if happened else 0
            steps.append(replace(maybe(took(begin, end, units)), rank=now if happened else UNKNOWN))
        else:
            left -= units
            steps.append(replace(took(begin, end, units), rank=now))
            if kind > 0.6:
                cancel = end + dice.random()
                releases.append((cancel + dice.random() * 20, cancel, units))
    give_back(UNKNOWN)
    return [*steps, read(REST + 1, REST + 2, left)]


@pytest.mark.parametrize("seed", range(5))
def test_thousands_of_operations_on_one_object(seed: int) -> None:
    """A hot product is decided in one pass when the system's own claim fits."""
    began = time.monotonic()
    verdict = check(real_history(seed, 5_000), (400, ()), counter)
    assert verdict.linearizable, verdict
    assert time.monotonic() - began < 20


@pytest.mark.parametrize("seed", range(5))
def test_without_a_claim_dozens_of_operations_are_searched(seed: int) -> None:
    steps = [replace(step, rank=UNKNOWN) for step in real_history(seed, 30)]
    assert check(steps, (400, ()), counter).linearizable


@pytest.mark.parametrize("seed", range(5))
def test_a_claim_is_not_believed(seed: int) -> None:
    """Neither does a false one make a right history wrong, nor one that suits a wrong history make it right."""
    dice = random.Random(seed)
    steps = [replace(step, rank=dice.random()) for step in real_history(seed, 30)]
    assert check(steps, (400, ()), counter).linearizable
    backwards = [replace(took(1, 2, 10), rank=2), replace(read(3, 4, 10), rank=1)]
    assert not check(backwards, (10, ()), counter).linearizable


@pytest.mark.parametrize("seed", range(5))
def test_one_wrong_read_among_thousands_of_operations_is_found(seed: int) -> None:
    """At rest there is one unit more than there can be, even if every order with a lost answer got nothing."""
    steps = real_history(seed, 1_000)
    sure = 400 + sum(step.arguments[0] * (1 if step.name == "add" else -1) for step in steps if _is_sure(step))
    steps[-1] = replace(steps[-1], result=sure + 1)
    assert not check(steps, (400, ()), counter, most=20_000).linearizable


def _is_sure(step: Step) -> bool:
    return step.certain and step.name in ("add", "take")


def test_what_is_too_large_to_decide_is_never_called_right() -> None:
    steps = [took(0, 100, units) for units in range(1, 30)] + [read(101, 102, -1)]
    verdict = check(steps, (1_000, ()), counter, most=1_000)
    assert (verdict.linearizable, verdict.decided) == (False, False)
