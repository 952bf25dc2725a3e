"""CategoryService through the real chain, on a real Postgres."""

from __future__ import annotations

from uuid import uuid4

import grpc
import pytest

from tests.harness import as_user, reason_of
from titan.catalog.v1 import category_pb2
from titan.catalog.v1 import category_service_pb2 as pb


async def refused(call) -> str:
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await call
    return reason_of(refusal.value)


async def get(shop, category_id: str):
    return (await shop.categories.GetCategory(pb.GetCategoryRequest(category_id=category_id))).category


async def test_a_category_knows_its_path(shop):
    """From the root down."""
    kitchen = await shop.category("Cooking")
    teapots = await shop.category("Pots", kitchen.category_id)
    assert ("Pots", kitchen.category_id, "Cooking / Pots") == (
        teapots.title,
        teapots.parent_category_id,
        teapots.path,
    )
    assert teapots == await get(shop, teapots.category_id)


async def test_create_category_refuses_an_unknown_parent(shop):
    """And a category that is asked for and is not there."""
    assert "CATEGORY_NOT_FOUND" == await refused(shop.category("Lost", str(uuid4())))
    assert "CATEGORY_NOT_FOUND" == await refused(get(shop, str(uuid4())))


async def test_create_category_refuses_a_title_that_its_parent_has(shop):
    """Below another parent the same title is another category."""
    first, second = await shop.category("Garden"), await shop.category("House")
    await shop.category("Chairs", first.category_id)
    await shop.category("Chairs", second.category_id)
    assert "CATEGORY_EXISTS" == await refused(shop.category("Chairs", first.category_id))
    assert "CATEGORY_EXISTS" == await refused(shop.category("Garden"))


async def test_create_category_refuses_a_ninth_level(shop):
    """The tree is eight levels deep at most."""
    parent = ""
    for depth in range(8):
        parent = (await shop.category(f"Level {depth}", parent)).category_id
    assert "CATEGORY_TOO_DEEP" == await refused(shop.category("Level 8", parent))


@pytest.mark.parametrize(("title", "parent"), [("", ""), ("x" * 121, ""), ("a\x00b", ""), ("fine", "nonsense")])
async def test_create_category_refuses_input_outside_the_contract(shop, title, parent):
    """And stores nothing."""
    assert "INVALID_INPUT" == await refused(shop.category(title, parent))


async def test_only_an_admin_adds_a_category(shop):
    """Shoppers read them."""
    request = pb.CreateCategoryRequest(category=category_pb2.Category(title="Mine"))
    assert "ACCESS_DENIED" == await refused(shop.categories.CreateCategory(request, metadata=as_user()))


async def test_list_categories_has_each_parent_before_its_children(shop):
    """A whole branch stands together, whatever characters the titles have; each category stands on one page."""
    root = await shop.category("Toys")
    await shop.category("Toys !")
    await shop.category("Bricks", root.category_id)
    paths: list[str] = []
    token = ""
    while True:
        page = await shop.categories.ListCategories(pb.ListCategoriesRequest(page_size=2, page_token=token))
        paths += [each.path for each in page.categories]
        token = page.next_page_token
        if not token:
            break
    assert len(paths) == len(set(paths))
    assert ["Toys", "Toys / Bricks", "Toys !"] == [each for each in paths if each.startswith("Toys")]


async def test_list_categories_refuses_a_foreign_token(shop):
    """Only its own."""
    call = shop.categories.ListCategories(pb.ListCategoriesRequest(page_token="nonsense"))
    assert "PAGE_TOKEN_INVALID" == await refused(call)
