"""How cases are tried: alone between two digests, or several at once with two for all of them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.attacks import trying
from tests.attacks.case import GROUPS, Case, Reply, Wrong, every_case
from tests.attacks.cases.leaks import found
from tests.attacks.run import left_out
from tests.attacks.trying import Trials, evenly

ORDERS = "svc_order.orders"
ANSWER_SECONDS = 0.02


class Stage:
    """A scene without a mesh: what a case does to it is counted, and its digest is the count."""

    def __init__(self) -> None:
        self.alone = True
        self.before_attack: Any = None
        self.rows = 0
        self.taken = 0
        self.running = self.most_running = 0

    async def begin(self, number: int) -> None:
        self.before_attack = None

    async def end(self) -> None: ...

    async def at_rest(self) -> None: ...

    def beside(self, number: int) -> Stage:
        return self

    async def take(self) -> dict[str, str]:
        self.taken += 1
        return {ORDERS: str(self.rows)}


def trials(stage: Any) -> Trials:
    """Return what tries cases on a stage, which is its own digester, and behind which no bucket runs dry."""
    return Trials(stage, stage, starts_per_second=1e6)


def asks(number: int, group: str = "tokens", *, adds: int = 0, due: str = "401") -> Case:
    """Return a case that is answered 401, and leaves rows where it should not."""

    async def attack(stage: Any) -> Reply:
        stage.running += 1
        stage.most_running = max(stage.most_running, stage.running)
        await asyncio.sleep(ANSWER_SECONDS)
        stage.rows += adds
        stage.running -= 1
        return Reply(401)

    return Case(number, group, f"case {number}", due, attack, still=True)


async def test_a_lot_is_tried_several_at_once_between_two_digests() -> None:
    stage = Stage()

    results = await trials(stage).beside([asks(number) for number in range(1, trying.LOT + 1)])

    assert all(result.holds for result in results)
    assert list(range(1, trying.LOT + 1)) == [result.case.number for result in results]
    assert (2, trying.AT_ONCE) == (stage.taken, stage.most_running)


async def test_of_a_lot_that_changed_something_the_case_is_told() -> None:
    results = await trials(Stage()).beside([asks(1), asks(2, adds=1), asks(3)])

    assert {1: [], 2: [f"changed {ORDERS}"], 3: []} == {result.case.number: result.problems for result in results}


async def test_what_a_lot_does_together_alone_is_told_too() -> None:
    """A race shows only among others, and shows."""
    stage = Stage()
    raced = asks(2)

    async def attack(stage: Any) -> Reply:
        stage.rows += stage.taken < 2  # before the second digest, so with others beside it
        return Reply(401)

    race = Case(raced.number, raced.group, raced.what, raced.due, attack, still=True)
    results = await trials(stage).beside([asks(1), race])

    assert [f"changed {ORDERS}, beside 1,2 and not alone"] == results[0].problems


async def test_a_wrong_answer_is_told_of_its_case_in_a_lot() -> None:
    results = await trials(Stage()).beside([asks(1), asks(2, due="403")])

    assert {1: [], 2: ["401, due is 403"]} == {result.case.number: result.problems for result in results}


async def test_the_digest_after_a_case_is_the_one_before_the_next() -> None:
    stage = Stage()
    tried = trials(stage)

    assert [True, True, True] == [(await tried.alone(asks(number))).holds for number in (1, 2, 3)]
    assert 4 == stage.taken


async def test_what_a_case_left_under_way_is_not_the_next_ones() -> None:
    """A case that failed may go on behind; the next begins with a digest of its own."""
    stage = Stage()
    tried = trials(stage)

    failed = await tried.alone(asks(1, adds=1))
    stage.rows += 1

    assert [f"changed {ORDERS}"] == failed.problems
    assert (await tried.alone(asks(2))).holds


async def test_a_change_that_is_due_has_to_come() -> None:
    case = asks(1)
    due = Case(1, case.group, case.what, case.due, case.attack, changes=frozenset({ORDERS}))

    assert [f"did not change {ORDERS}"] == (await trials(Stage()).alone(due)).problems


def test_what_has_one_limit_in_common_does_not_come_at_once() -> None:
    cases = [asks(number, group) for number, group in enumerate(["money"] * 4 + ["tokens"] * 2, start=1)]

    assert [1, 5, 2, 3, 6, 4] == [case.number for case in evenly(cases)]


def test_whatever_changes_something_is_tried_alone() -> None:
    assert not [case.name for case in every_case() if case.still and case.changes]
    assert any(case.still for case in every_case())


def test_what_the_short_form_leaves_out_is_named() -> None:
    told = left_out(every_case(), matrix=True)

    long = [case for case in every_case() if case.long]
    assert told.startswith(f"{len(long)} cases")
    assert all(group.replace("_", " ") in told for group in GROUPS if any(case.group == group for case in long))


def test_a_canary_is_found_among_others_that_end_alike() -> None:
    words = {"one": "a1@canary.example", "two": "b2@canary.example", "password": "canary77"}

    assert "password in log, two in log" == found(words, iter([("log", b"x b2@canary.example canary77 y")]))
    assert "none" == found(words, iter([("log", b"c3@canary.example")]))
    with pytest.raises(Wrong):
        found(words, iter([]))
