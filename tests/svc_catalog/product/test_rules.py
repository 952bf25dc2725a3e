"""The decisions about products, without a database."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import pytest

from mesh.refusals import InvalidInput, Refusal
from svc_catalog.errors import CategoryNotFound, PriceInvalid, ProductChanged, SkuTaken
from svc_catalog.product import rules
from svc_catalog.product.rules import Draft, Product, Variant

SHELF, NO_SHELF = UUID(int=1), UUID(int=2)
AT = datetime(2026, 1, 1, tzinfo=UTC)
DRAFT = Draft("Teapot", "Brown", (SHELF,), (Variant("a", 100, "GBP"), Variant("A", 0, "GBP")))
PRODUCT = Product(UUID(int=9), 1, 3, DRAFT, AT, AT)


def check(draft: Draft) -> None:
    rules.check(draft, currencies={"GBP"}, categories={SHELF})


def test_check_takes_what_the_shop_can_sell():
    """Letter case tells SKUs apart, and a price may be nothing."""
    check(DRAFT)


@pytest.mark.parametrize(
    ("draft", "refusal"),
    [
        (replace(DRAFT, title=""), InvalidInput),
        (replace(DRAFT, variants=()), InvalidInput),
        (replace(DRAFT, variants=(Variant("a", -1, "GBP"),)), PriceInvalid),
        (replace(DRAFT, variants=(Variant("a", 1, "EUR"),)), PriceInvalid),
        (replace(DRAFT, variants=(Variant("a", 1, "GBP"), Variant("a", 2, "GBP"))), SkuTaken),
        (replace(DRAFT, category_ids=(SHELF, NO_SHELF)), CategoryNotFound),
    ],
)
def test_check_refuses_what_the_shop_cannot_sell(draft, refusal):
    """Each for a reason of its own."""
    with pytest.raises(refusal):
        check(draft)


def create(*skus: str, owners: dict[str, UUID], reuse: bool = True) -> list[UUID | str]:
    """One draft per word, its letters being the SKUs; answers ids and reasons."""
    drafts = [
        (UUID(int=100 + n), Draft("x", "", (), tuple(Variant(sku, 1, "GBP") for sku in word)))
        for n, word in enumerate(skus)
    ]
    answers = rules.create(drafts, owners=owners, currencies={"GBP"}, categories=set(), reuse=reuse)
    return [each.reason if isinstance(each, Refusal) else each.int for each in answers]


def test_create_answers_with_the_product_that_has_all_the_skus():
    """An older one, or one made earlier in the same batch; a part of the SKUs is enough."""
    assert [100, 7, 100, 100] == create("ab", "cd", "ab", "b", owners={"c": UUID(int=7), "d": UUID(int=7)})


def test_create_refuses_a_sku_of_another_product():
    """Also where two products have them together, or one has only some."""
    owners = {"a": UUID(int=7), "b": UUID(int=8)}
    assert ["SKU_TAKEN", "SKU_TAKEN", 102, "SKU_TAKEN"] == create("ab", "ax", "x", "xy", owners=owners)


def test_create_without_reuse_refuses_what_is_there():
    """Somebody who adds one product wants a new one."""
    assert ["SKU_TAKEN", 101, "SKU_TAKEN"] == create("a", "b", "b", owners={"a": UUID(int=7)}, reuse=False)


def change(wanted: Draft, *mask: str, etag: str = "") -> Product:
    return rules.change(
        PRODUCT, wanted, mask, etag=etag, currencies={"GBP"}, categories={SHELF}, at=AT.replace(year=2027)
    )


def test_change_takes_the_fields_of_the_mask_alone():
    """The version goes up by one, and with it the etag."""
    changed = change(Draft("Kettle", "Steel"), "title")
    assert replace(DRAFT, title="Kettle") == changed.content
    assert (4, "4", 2027) == (changed.version, changed.etag, changed.updated_at.year)


def test_change_without_a_mask_takes_the_fields_that_are_set():
    """AIP-134."""
    assert replace(DRAFT, description="Blue") == change(Draft(description="Blue")).content


def test_change_with_a_mask_can_empty_a_field():
    """That is what a mask is for."""
    assert replace(DRAFT, description="", category_ids=()) == change(Draft(), "description", "category_ids").content


def test_change_that_changes_nothing_returns_the_product_as_it_is():
    """So that a repeated change, whose etag is old by then, is answered like the first."""
    assert PRODUCT is change(Draft(title="Teapot"), etag="2")
    assert PRODUCT is change(Draft())


def test_change_refuses_an_old_etag():
    """Somebody else was faster."""
    with pytest.raises(ProductChanged):
        change(Draft(title="Kettle"), etag="2")
    assert 4 == change(Draft(title="Kettle"), etag="3").version


@pytest.mark.parametrize("path", ["seller_id", "product_id", "nonsense", "variants.sku"])
def test_change_refuses_a_field_that_cannot_be_changed(path):
    """The mask names whole fields of the product."""
    with pytest.raises(InvalidInput):
        change(Draft(title="Kettle"), path)


@pytest.mark.parametrize("name", ["title", "variants"])
def test_change_refuses_to_leave_nothing(name):
    """A product has a title and something to buy."""
    with pytest.raises(InvalidInput):
        change(Draft(), name)
