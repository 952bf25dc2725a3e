"""What becomes of the catalogue when products and prices are put."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID, uuid4

import pytest

from mesh.refusals import InvalidInput, Refusal
from svc_catalog.errors import CategoryNotFound, PriceInvalid, ProductChanged, ProductNotFound, SkuTaken
from svc_catalog.product.rules import Draft, Variant
from svc_catalog.put import rules
from svc_catalog.put.rules import Outcome, Price, Put, Shelves

CUP, POT, NEW = uuid4(), uuid4(), uuid4()
SHELF = uuid4()


def variant(sku: str, price: int = 100, **more) -> Variant:
    return Variant(sku, price, more.pop("currency", "GBP"), **more)


STORED = {
    CUP: Draft("Cup", "Blue", (), (variant("cup-s"), variant("cup-l"))),
    POT: Draft("Pot", "", (), (variant("pot"),)),
}


def shelves() -> Shelves:
    return Shelves(STORED, {each.sku: owner for owner, draft in STORED.items() for each in draft.variants})


def put(*drafts: Draft, at: Shelves | None = None, new: UUID = NEW) -> list[Put | Refusal]:
    return rules.put([(new, each) for each in drafts], at or shelves(), currencies={"GBP"}, categories={SHELF})


def test_a_product_whose_skus_nobody_has_is_new():
    """Under the id that it was given."""
    at = shelves()
    wanted = Draft("Mug", "", (SHELF,), (variant("mug"),))

    assert [Put(Outcome.CREATED, NEW)] == put(wanted, at=at)
    assert ([(NEW, wanted)], {}) == (at.created, at.changed)


def test_a_product_is_found_by_any_of_its_skus():
    """Named variants are written or added, their siblings stay, and what is empty is left."""
    at = shelves()

    assert [Put(Outcome.UPDATED, CUP)] == put(Draft("", "", (), (variant("cup-l", 150), variant("cup-xl"))), at=at)
    assert {CUP: Draft("Cup", "Blue", (), (variant("cup-s"), variant("cup-l", 150), variant("cup-xl")))} == at.changed


def test_a_product_that_is_like_this_already_is_left():
    """No version, no event."""
    at = shelves()

    assert [Put(Outcome.UNCHANGED, POT)] == put(Draft("Pot", "", (), (variant("pot"),)), at=at)
    assert ([], {}) == (at.created, at.changed)


def test_puts_see_what_those_before_them_did():
    """A product that is new in the first is changed by the second, and a SKU that it took is taken."""
    at = shelves()
    made, again = Draft("Mug", "", (), (variant("mug"),)), Draft("", "", (), (variant("mug"), variant("mug-l")))
    answers = put(made, again, Draft("X", "", (), (variant("mug-l"), variant("pot"))), at=at)

    assert [Put(Outcome.CREATED, NEW), Put(Outcome.UPDATED, NEW)] == answers[:2] and isinstance(answers[2], SkuTaken)
    assert [(NEW, replace(made, variants=again.variants))] == at.created


@pytest.mark.parametrize(
    ("wanted", "refusal"),
    [
        (Draft("X", "", (), (variant("cup-s"), variant("pot"))), SkuTaken),
        (Draft("X", "", (), (variant("cup-s"), variant("cup-s", 5))), SkuTaken),
        (Draft("X", "", (), (variant("x"), variant("x"))), SkuTaken),
        (Draft("", "", (), (variant("x"),)), InvalidInput),
        (Draft("X"), InvalidInput),
        (Draft("X", "", (), (variant("x", -1),)), PriceInvalid),
        (Draft("", "", (), (variant("pot", 1, currency="USD"),)), PriceInvalid),
        (Draft("X", "", (uuid4(),), (variant("x"),)), CategoryNotFound),
        (Draft("", "", (uuid4(),), (variant("pot"),)), CategoryNotFound),
        (Draft("", "x" * 500_001, (), (variant("pot"),)), InvalidInput),
        (Draft("", "", (), (variant("pot"), *(variant(f"pot-{n}") for n in range(rules.MAX_VARIANTS)))), InvalidInput),
    ],
)
def test_a_refused_product_leaves_everything_as_it_is(wanted: Draft, refusal: type[Refusal]):
    """And its neighbours go on."""
    at = shelves()
    answers = put(wanted, Draft("Fine", "", (), (variant("fine"),)), at=at)

    assert isinstance(answers[0], refusal) and Put(Outcome.CREATED, NEW) == answers[1]
    assert {} == at.changed and ["fine"] == [each.sku for _, draft in at.created for each in draft.variants]


def test_prices_change_nothing_but_prices():
    """Of a SKU that stands twice the last one counts."""
    at = shelves()
    wanted = [Price("cup-s", 120, "GBP"), Price("pot", 100, "GBP"), Price("cup-s", 130, "GBP")]

    answers = rules.set_prices(wanted, at, currencies={"GBP"})
    assert [Put(Outcome.UPDATED, CUP), Put(Outcome.UNCHANGED, POT), Put(Outcome.UPDATED, CUP)] == answers
    assert {CUP: replace(STORED[CUP], variants=(variant("cup-s", 130), variant("cup-l")))} == at.changed


@pytest.mark.parametrize(
    ("price", "refusal"),
    [
        (Price("nothing", 1, "GBP"), ProductNotFound),
        (Price("pot", -1, "GBP"), PriceInvalid),
        (Price("pot", 1, "USD"), PriceInvalid),
        (Price("pot", 1, "GBP", expected=(2, "GBP")), ProductChanged),
    ],
)
def test_a_price_that_can_not_be_is_refused(price: Price, refusal: type[Refusal]):
    """By itself."""
    at = shelves()

    assert isinstance(rules.set_prices([price], at, currencies={"GBP"})[0], refusal)
    assert {} == at.changed
