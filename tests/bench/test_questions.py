"""The table of questions, and the parts of them that need no mesh."""

from __future__ import annotations

import random

import pytest

from bench.__main__ import QUESTIONS, million
from bench.echo import METHOD, message
from bench.orders_open import percentile_with_failures
from bench.rig.loads import Window
from bench.rig.wire import CALL_SECONDS
from bench.runtime import echo_contract
from bench.storefront import DECK, deck


def test_each_question_has_a_name_of_its_own_and_says_how_it_is_answered() -> None:
    terms = [each for each, _ in QUESTIONS]
    assert len({each.name for each in terms}) == len(terms)
    assert all(each.asks.endswith("?") and each.method and each.limit for each in terms)


def test_a_dream_is_further_than_the_reach() -> None:
    for terms, _ in QUESTIONS:
        assert terms.goal.verdict(terms.goal.dream) == "dream", terms.name
        assert terms.goal.verdict(terms.goal.reach) == "reach", terms.name


def test_what_leaves_the_mesh_larger_comes_last() -> None:
    names = [terms.name for terms, _ in QUESTIONS]
    assert names[0] == "memory"
    assert names[-2:] == ["growth-products", "growth-orders"]


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


def test_orders_that_were_not_confirmed_are_the_slowest() -> None:
    window = Window(1.0, [0.01] * 98, failed=2)
    assert percentile_with_failures(window, 0.5) == 10.0
    assert percentile_with_failures(window, 0.99) == CALL_SECONDS * 1000


@pytest.mark.parametrize(("text", "millions"), [("1m", 1.0), ("10M", 10.0), ("500k", 0.5)])
def test_scales_are_written_as_people_write_them(text, millions) -> None:
    assert million(text) == millions


@pytest.mark.parametrize("text", ["", "10", "m", "many"])
def test_another_scale_is_refused(text) -> None:
    with pytest.raises(SystemExit, match="--scale"):
        million(text)
