"""The table of questions, and the parts of them that need no mesh."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bench.__main__ import QUESTIONS, Results, meshes, million
from bench.bulk import INVOICE_COLUMNS, KINDS, Material, invented, order_of
from bench.echo import METHOD, message
from bench.orders import CARDS, SWEEP, WALLETS
from bench.orders_open import is_overloaded
from bench.rig.loads import Window
from bench.rig.result import Unmeasured
from bench.runtime import echo_contract
from bench.storefront import DECK, deck, judged_rate
from bookkeeping.file import COLUMNS, parse
from bookkeeping.invoices import documents
from bookkeeping.kinds import LineClass, classify
from titan.bulk.v1.operation_pb2 import Job


def test_each_question_has_a_name_of_its_own_and_says_how_it_is_answered() -> None:
    terms = [question.terms for question in QUESTIONS]
    assert len({each.name for each in terms}) == len(terms)
    assert all(each.asks.endswith("?") and each.method and each.limit for each in terms)


def test_a_dream_is_further_than_the_reach() -> None:
    for terms in (question.terms for question in QUESTIONS):
        assert terms.goal.verdict(terms.goal.dream) == "dream", terms.name
        assert terms.goal.verdict(terms.goal.reach) == "reach", terms.name


def test_what_leaves_the_mesh_larger_comes_last() -> None:
    names = [question.terms.name for question in QUESTIONS]
    assert names[0] == "memory"
    assert names[-2:] == ["growth-products", "growth-orders"]


def test_what_counts_what_is_stored_has_a_mesh_on_which_nothing_was_asked_before() -> None:
    """Earlier questions store some 40,000 orders, where 10,000 are asked for; long jobs leave thousands of products."""
    _, *alone = groups = meshes(QUESTIONS)
    assert [["bulk"], ["growth-orders"]] == [[question.terms.name for question in group] for group in alone]
    assert sum(map(len, groups)) == len(QUESTIONS)
    assert meshes(QUESTIONS[-1:]) == [[QUESTIONS[-1]]]


def test_a_run_of_all_begins_with_nothing_and_one_of_some_keeps_the_others(tmp_path: Path) -> None:
    target = tmp_path / "latest.json"
    for name in ("orders", "memory"):
        Results(target, quick=False, afresh=False).keep(name, {"figure": 1.0})
    assert list(json.loads(target.read_text())["questions"]) == ["memory", "orders"]
    Results(target, quick=False, afresh=True).keep("hot", {"figure": 2.0})
    assert list(json.loads(target.read_text())["questions"]) == ["hot"]


def test_results_of_another_format_are_replaced_only_as_a_whole(tmp_path: Path) -> None:
    target = tmp_path / "latest.json"
    target.write_text('{"format": 1, "questions": {}}')
    with pytest.raises(Unmeasured, match="format 1"):
        Results(target, quick=False, afresh=False)
    assert Results(target, quick=False, afresh=True).questions == {}


def test_the_echo_carries_three_items() -> None:
    assert len(message().items) == 3


def test_the_method_behind_the_chain_is_the_echos_and_open_to_customers() -> None:
    contract = echo_contract()
    contract.check()
    assert set(contract.methods) == {METHOD}
    assert str(contract.methods[METHOD].access) == "customer"


def test_a_deck_has_what_the_mix_has_and_ends_with_the_order() -> None:
    drawn = deck(random.Random(1))
    assert sorted(drawn) == sorted(DECK)
    assert drawn[-1] == "checkout"
    counts = {name: DECK.count(name) for name in DECK}
    assert counts == {"index": 1, "browse": 10, "add": 2, "view": 3, "search": 2, "checkout": 1}


def test_a_machine_is_overloaded_where_more_than_one_in_a_thousand_fails() -> None:
    carried, failing = Window(20.0, [0.1] * 5000, failed=5), Window(20.0, [0.1] * 100, failed=1)
    assert not is_overloaded([carried, carried])
    assert is_overloaded([carried, failing])


@pytest.mark.parametrize(("capacity", "rate"), [(400.0, 340.0), (1499.0, 1274.15), (1500.0, 1500.0), (9000.0, 3400.0)])
def test_latency_is_judged_at_the_rate_of_the_goal_where_the_machine_has_it(capacity, rate) -> None:
    assert judged_rate(capacity) == pytest.approx(rate)


def test_each_order_of_a_window_has_a_cart() -> None:
    """Fewer shoppers place fewer orders, and none of them waits for a cart."""
    for plan in (WALLETS, CARDS):
        assert [plan.at(shoppers) for shoppers in SWEEP] == sorted(plan.at(shoppers) for shoppers in SWEEP)
        assert all(plan.at(shoppers) >= shoppers for shoppers in SWEEP)


def test_every_kind_of_long_job_runs_beside_orders_but_those_that_ask_somebody_else() -> None:
    """Each has something to do again, however often it was done before."""
    material = Material(("a", "b"), ("c", "d"), "e", "f", ("sku",))
    of_contract = {field.json_name for field in Job.DESCRIPTOR.oneofs_by_name["work"].fields}
    made = [(kind(material, 0), kind(material, 1)) for kind in KINDS.values()]
    assert of_contract - {"feedSync", "providerSettlement"} == {work for first, _ in made for work in first}
    unlike = {work for first, second in made for work in first if first != second}
    assert {"productImport", "priceUpdate", "repricing", "searchReindex"} == unlike


def test_rest_comes_first_every_other_time() -> None:
    assert [(False, True), (True, False)] == [order_of(turn) for turn in (0, 1)]


def test_invented_lines_are_lines_of_a_shops_file() -> None:
    """They end at the time that is asked for, and some go back."""
    until = datetime(2026, 5, 1, 12, tzinfo=UTC)
    lines = [parse([str(value) for value in row]) for row in invented(3_000, until=until)]
    assert list(COLUMNS) == list(INVOICE_COLUMNS)
    assert until - timedelta(hours=1) < min(line.at for line in lines) <= max(line.at for line in lines) < until
    assert {LineClass.SALE, LineClass.CANCELLATION} == {classify(line) for line in lines}
    assert 350 < len(documents(lines)) <= 500


@pytest.mark.parametrize(("text", "millions"), [("1m", 1.0), ("10M", 10.0), ("500k", 0.5)])
def test_scales_are_written_as_people_write_them(text, millions) -> None:
    assert million(text) == millions


@pytest.mark.parametrize("text", ["", "10", "m", "many"])
def test_another_scale_is_refused(text) -> None:
    with pytest.raises(SystemExit, match="--scale"):
        million(text)
