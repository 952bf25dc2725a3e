"""The demo's own catalogue is one that the contract takes."""

from __future__ import annotations

import tomllib

from demo.seed import CATALOGUE
from demo.shop import pounds


def test_the_catalogue_is_whole() -> None:
    """Every product stands in a category that exists, and every SKU once."""
    catalogue = tomllib.loads(CATALOGUE.read_text())
    titles = {each["title"] for each in catalogue["categories"]}
    skus = [variant["sku"] for product in catalogue["products"] for variant in product["variants"]]
    assert {product["category"] for product in catalogue["products"]} == titles
    assert len(skus) == len(set(skus))
    assert all(variant["price"] > 0 for product in catalogue["products"] for variant in product["variants"])


def test_amounts_are_written_as_people_write_them() -> None:
    assert pounds({"currencyCode": "GBP", "minorUnits": "123405"}) == "GBP 1,234.05"
    assert pounds({"currencyCode": "GBP", "minorUnits": "-5"}) == "-GBP 0.05"
