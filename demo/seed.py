"""Puts the demo's catalogue on the shelf; running it again changes nothing."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from demo.shop import Shop, Surprise, gbp

CATALOGUE = Path(__file__).with_name("catalogue.toml")
STOCK_UNITS = 1000


def seed(admin: Shop) -> int:
    """Make the categories, products and stock that are missing. Returns how many products the catalogue has."""
    catalogue = tomllib.loads(CATALOGUE.read_text())
    categories = _categories(admin, [each["title"] for each in catalogue["categories"]])
    products = [
        {
            "title": each["title"],
            "description": each["description"],
            "categoryIds": [categories[each["category"]]],
            "variants": [
                {"sku": v["sku"], "price": gbp(v["price"]), "attributes": v["attributes"]} for v in each["variants"]
            ],
        }
        for each in catalogue["products"]
    ]
    results = admin.call("POST", "/v1/products:batchCreate", {"products": products})["results"]
    refused = [result["error"] for result in results if "error" in result]
    if refused:
        raise Surprise(f"the catalogue was refused: {refused[0]}")
    skus = [variant["sku"] for each in products for variant in each["variants"]]  # type: ignore[attr-defined]
    adjustments = [{"sku": sku, "delta": STOCK_UNITS, "reason": "opening stock"} for sku in skus]
    admin.call("POST", "/v1/inventory:batchAdjust", {"adjustments": adjustments}, key="demo-opening-stock")
    return len(products)


def _categories(admin: Shop, titles: list[str]) -> dict[str, str]:
    known: dict[str, str] = {}
    token = ""
    while True:
        page: Any = admin.call("GET", f"/v1/categories?pageSize=100&pageToken={token}", quiet=True)
        known |= {each["title"]: each["categoryId"] for each in page["categories"] if not each["parentCategoryId"]}
        token = page["nextPageToken"]
        if not token:
            break
    for title in titles:
        if title not in known:
            made = admin.call("POST", "/v1/categories", {"category": {"title": title}}, quiet=True)
            known[title] = made["category"]["categoryId"]
    return known
