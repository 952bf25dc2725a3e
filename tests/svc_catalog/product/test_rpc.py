"""ProductService through the real chain, on a real Postgres: every answer and every refusal."""

from __future__ import annotations

import asyncio
from uuid import UUID, uuid4

import grpc
import pytest

from mesh.refusals import Refusal
from mesh.seams import failpoints
from svc_catalog.product import store
from tests.harness import as_user, reason_of
from tests.svc_catalog.conftest import a_huge_product, a_product, a_variant, new_sku
from titan.catalog.v1 import events_pb2, product_pb2
from titan.catalog.v1 import product_service_pb2 as pb


async def refused(call) -> str:
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await call
    return reason_of(refusal.value)


def reason(result) -> str:
    return Refusal.from_status(result.error).reason if result.HasField("error") else ""


async def test_create_product_stores_what_was_said_with_its_defaults(shop):
    """Seller, tax rate, id, times and etag are Titan's where nobody named them."""
    sku, other = new_sku(), new_sku()
    made = await shop.create(
        variants=[a_variant(sku, 1250, attributes={"colour": "blue", "size": ""}), a_variant(other, 0)]
    )
    assert made == await shop.get(made.product_id)
    assert ("house", "1") == (made.seller_id, made.etag)
    assert [(sku, 1250, 2000), (other, 0, 2000)] == [
        (each.sku, each.price.minor_units, each.tax_rate_basis_points) for each in made.variants
    ]
    assert {"colour": "blue", "size": ""} == dict(made.variants[0].attributes)
    assert made.create_time == made.update_time


async def test_a_variant_may_be_zero_rated(shop):
    """Nothing said is the standard rate; zero said is zero (books, food, children's clothes)."""
    made = await shop.create(variants=[a_variant(tax_rate_basis_points=0), a_variant(tax_rate_basis_points=500)])
    assert [0, 500] == [each.tax_rate_basis_points for each in made.variants]


async def test_create_product_refuses_a_sku_that_is_taken(shop):
    """By another product, or by the product itself; letter case tells SKUs apart."""
    sku = new_sku()
    await shop.create(variants=[a_variant(sku)])
    assert "SKU_TAKEN" == await refused(shop.create(variants=[a_variant(), a_variant(sku)]))
    twice = new_sku()
    assert "SKU_TAKEN" == await refused(shop.create(variants=[a_variant(twice), a_variant(twice)]))
    assert [sku.upper()] == [each.sku for each in (await shop.create(variants=[a_variant(sku.upper())])).variants]


@pytest.mark.parametrize("variant", [a_variant(price=-1), a_variant(currency="EUR")])
async def test_create_product_refuses_a_price_that_is_none(shop, variant):
    """Negative, or in a currency that the shop does not sell in."""
    assert "PRICE_INVALID" == await refused(shop.create(variants=[variant]))


async def test_create_product_refuses_an_unknown_category(shop):
    """Nothing of it is stored."""
    sku = new_sku()
    call = shop.create(category_ids=[str(uuid4())], variants=[a_variant(sku)])
    assert "CATEGORY_NOT_FOUND" == await refused(call)
    assert [False] == [each.found for each in await sellable(shop, sku)]


@pytest.mark.parametrize(
    "wrong",
    [
        {"title": ""},
        {"title": "x" * 201},
        {"title": "a\x00b"},
        {"description": "a\x00b"},
        {"variants": []},
        {"variants": [a_variant(" leading space")]},
        {"variants": [a_variant("line\nbreak")]},
        {"variants": [a_variant("x" * 65)]},
        {"variants": [product_pb2.Variant(sku="no price")]},
        {"variants": [a_variant(tax_rate_basis_points=10001)]},
        {"variants": [a_variant(attributes={"": "x"})]},
        {"variants": [a_variant(attributes={"a": "\x00"})]},
        {"category_ids": ["nonsense"]},
    ],
)
async def test_create_product_refuses_input_outside_the_contract(shop, wrong):
    """And stores nothing."""
    assert "INVALID_INPUT" == await refused(shop.create(**wrong))


async def test_only_an_admin_changes_the_catalogue(shop):
    """Shoppers read it."""
    request = pb.CreateProductRequest(product=a_product())
    for roles in (("customer",), ("importer",)):
        call = shop.products.CreateProduct(request, metadata=as_user(roles=roles))
        assert "ACCESS_DENIED" == await refused(call)
    batch = pb.BatchCreateProductsRequest(products=[a_product()])
    assert (await shop.products.BatchCreateProducts(batch, metadata=as_user(roles=("importer",)))).results[0].product
    request = pb.UpdateProductRequest(product=a_product(product_id=str(uuid4())))
    assert "ACCESS_DENIED" == await refused(shop.products.UpdateProduct(request, metadata=as_user()))


async def test_batch_create_answers_each_product_by_itself(shop):
    """A refused one leaves its neighbours alone, and each has its own reason."""
    taken, fresh = new_sku(), new_sku()
    await shop.create(variants=[a_variant(taken)])
    results = await shop.create_many(
        a_product(variants=[a_variant(fresh)]),
        a_product(variants=[a_variant(taken), a_variant()]),
        a_product(variants=[a_variant(price=-5)]),
        a_product(category_ids=[str(uuid4())]),
        a_product(title=""),
        a_product(),
    )
    expected = ["", "SKU_TAKEN", "PRICE_INVALID", "CATEGORY_NOT_FOUND", "INVALID_INPUT", ""]
    assert expected == [reason(each) for each in results]
    assert fresh == results[0].product.variants[0].sku


async def test_batch_create_again_answers_with_the_products_that_are_there(shop):
    """An importer that was cut off sends everything again."""
    products = [a_product() for _ in range(3)]
    first = await shop.create_many(*products, products[0])
    again = await shop.create_many(*products)
    assert first[0] == first[3]
    assert list(first)[:3] == list(again)


async def test_batch_create_takes_five_hundred_products(shop):
    """In the order of the request, which is also the order of the pages."""
    products = [a_product(title=f"Number {n}") for n in range(500)]
    results = await shop.create_many(*products)
    assert [f"Number {n}" for n in range(500)] == [each.product.title for each in results]
    newest = await shop.list(page_size=3)
    assert ["Number 499", "Number 498", "Number 497"] == [each.title for each in newest.products]


async def test_products_that_want_one_sku_at_once_leave_one_owner(shop):
    """The others see whose it is, whichever way they ask."""
    sku = new_sku()

    async def ask(reuse: bool) -> str:
        product = a_product(variants=[a_variant(sku)])
        if reuse:
            [result] = await shop.create_many(product)
            return reason(result) or result.product.product_id
        try:
            return (await shop.create(product)).product_id
        except grpc.aio.AioRpcError as error:
            return reason_of(error)

    answers = await asyncio.gather(*(ask(number % 2 == 0) for number in range(10)))
    [found] = await sellable(shop, sku)
    assert {found.product_id} == set(answers) - {"SKU_TAKEN"}
    assert 5 <= answers.count(found.product_id) <= 6


async def test_update_product_changes_what_the_mask_names(shop):
    """The rest stays, the etag moves on, and the next read shows it."""
    made = await shop.create()
    await shop.get(made.product_id)
    wanted = product_pb2.Product(product_id=made.product_id, title="Kettle", description="Steel")
    changed = await shop.update(wanted, "title")
    assert ("Kettle", made.description, "2") == (changed.title, changed.description, changed.etag)
    assert changed == await shop.get(made.product_id)
    assert changed.update_time.ToDatetime() > made.update_time.ToDatetime()


async def test_update_product_replaces_the_variants(shop):
    """Left out is removed, its SKU is free again, and prices change."""
    kept, gone, new = new_sku(), new_sku(), new_sku()
    made = await shop.create(variants=[a_variant(gone), a_variant(kept, 100)])
    wanted = product_pb2.Product(product_id=made.product_id, variants=[a_variant(new, 5), a_variant(kept, 150)])
    changed = await shop.update(wanted)
    assert [(new, 5), (kept, 150)] == [(each.sku, each.price.minor_units) for each in changed.variants]
    assert [False, True, True] == [each.found for each in await sellable(shop, gone, kept, new)]
    await shop.create(variants=[a_variant(gone)])


async def test_update_product_again_gives_the_same_answer(shop):
    """Also with the etag of before, which its first run has used up."""
    made = await shop.create()
    wanted = product_pb2.Product(product_id=made.product_id, title="Kettle", etag=made.etag)
    assert await shop.update(wanted) == await shop.update(wanted)


async def test_update_product_refuses_an_old_etag(shop):
    """Somebody else was faster, and nothing of theirs is lost."""
    made = await shop.create()
    await shop.update(product_pb2.Product(product_id=made.product_id, title="Kettle"))
    late = product_pb2.Product(product_id=made.product_id, title="Pan", etag=made.etag)
    assert "PRODUCT_CHANGED" == await refused(shop.update(late))
    assert "Kettle" == (await shop.get(made.product_id)).title


async def test_update_product_refuses_what_a_new_product_is_refused_for(shop):
    """And leaves it as it was."""
    taken = new_sku()
    await shop.create(variants=[a_variant(taken)])
    made = await shop.create()

    def wanted(**fields) -> product_pb2.Product:
        return product_pb2.Product(product_id=made.product_id, **fields)

    assert "SKU_TAKEN" == await refused(shop.update(wanted(variants=[a_variant(), a_variant(taken)])))
    assert "PRICE_INVALID" == await refused(shop.update(wanted(variants=[a_variant(price=-1)])))
    assert "CATEGORY_NOT_FOUND" == await refused(shop.update(wanted(category_ids=[str(uuid4())])))
    assert "INVALID_INPUT" == await refused(shop.update(wanted(), "title"))
    assert "INVALID_INPUT" == await refused(shop.update(wanted(title="x"), "seller_id"))
    assert made == await shop.get(made.product_id)


async def test_a_product_that_does_not_exist_is_not_found(shop):
    """For readers and for writers; an id that is none is the caller's mistake."""
    missing = str(uuid4())
    assert "PRODUCT_NOT_FOUND" == await refused(shop.get(missing))
    assert "PRODUCT_NOT_FOUND" == await refused(shop.update(a_product(product_id=missing)))
    assert "INVALID_INPUT" == await refused(shop.get("nonsense"))
    assert "INVALID_INPUT" == await refused(shop.update(a_product(product_id="abc")))


async def test_list_products_pages_through_everything_once_while_products_are_added(shop):
    """Newest first; what is added behind the reader's back does not repeat or shift anything."""
    made = [(await shop.create()).product_id for _ in range(7)]
    seen: list[str] = []
    token = ""
    while len(seen) < 7:
        page = await shop.list(page_size=3, page_token=token)
        seen += [each.product_id for each in page.products]
        token = page.next_page_token
        await shop.create()
    assert made[::-1] == seen[:7]


async def test_list_products_of_a_category_has_those_below_it(shop):
    """And no others; a product in two categories of one branch stands there once."""
    kitchen = await shop.category(f"Kitchen {uuid4().hex[:6]}")
    teapots = await shop.category("Teapots", kitchen.category_id)
    first = await shop.create(category_ids=[teapots.category_id, kitchen.category_id])
    second = await shop.create(category_ids=[kitchen.category_id])

    async def shown(category) -> list[str]:
        page = await shop.list(category_id=category.category_id)
        return [each.product_id for each in page.products]

    assert [second.product_id, first.product_id] == await shown(kitchen)
    assert [first.product_id] == await shown(teapots)
    moved = product_pb2.Product(product_id=first.product_id)
    await shop.update(moved, "category_ids")
    assert ([second.product_id], []) == (await shown(kitchen), await shown(teapots))


async def test_list_products_refuses_unknown_categories_and_foreign_tokens(shop):
    """A token belongs to the filter that it was made with."""
    await shop.create()
    await shop.create()
    token = (await shop.list(page_size=1)).next_page_token
    shelf = await shop.category(f"Shelf {uuid4().hex[:6]}")
    assert "CATEGORY_NOT_FOUND" == await refused(shop.list(category_id=str(uuid4())))
    assert "PAGE_TOKEN_INVALID" == await refused(shop.list(category_id=shelf.category_id, page_token=token))
    assert "PAGE_TOKEN_INVALID" == await refused(shop.list(page_token="nonsense"))
    assert "INVALID_INPUT" == await refused(shop.list(page_size=101))


async def test_reads_are_kept_until_somebody_writes(shop, db, cache):
    """What is changed past this process shows within seconds; what is changed through it, at once."""
    made = await shop.create()
    await shop.get(made.product_id)
    async with db.hot() as tx:
        await tx.execute("UPDATE products SET title = 'Elsewhere' WHERE product_id = $1", made.product_id)
    assert "Teapot" == (await shop.get(made.product_id)).title
    await shop.create()
    assert "Elsewhere" == (await shop.get(made.product_id)).title
    assert len(cache) >= 1


async def test_batch_get_products_leaves_out_the_unknown(shop):
    """In the order of the request."""
    first, second = await shop.create(), await shop.create()
    request = pb.BatchGetProductsRequest(product_ids=[second.product_id, str(uuid4()), first.product_id])
    response = await shop.products.BatchGetProducts(request)
    assert [second, first] == list(response.products)


async def sellable(shop, *skus: str) -> list[product_pb2.SellableVariant]:
    response = await shop.products.BatchGetVariants(pb.BatchGetVariantsRequest(skus=skus), metadata=shop.order)
    return list(response.variants)


async def test_batch_get_variants_answers_each_sku_in_order(shop):
    """With what an order line needs; an unknown SKU is not found, whatever its characters."""
    sku = new_sku()
    made = await shop.create(variants=[a_variant(sku, 250, tax_rate_basis_points=500)], seller_id="somebody")
    found = await sellable(shop, "ghost", sku, "n%l'\\", sku.upper(), sku)
    assert ["ghost", sku, "n%l'\\", sku.upper(), sku] == [each.sku for each in found]
    assert [False, True, False, False, True] == [each.found for each in found]
    one = found[1]
    assert (made.product_id, "Teapot", 250, "GBP", 500, "somebody") == (
        one.product_id,
        one.title,
        one.price.minor_units,
        one.price.currency_code,
        one.tax_rate_basis_points,
        one.seller_id,
    )


async def test_batch_get_variants_is_never_kept(shop, db):
    """A price is a promise: it is read where it was written."""
    sku = new_sku()
    await shop.create(variants=[a_variant(sku, 100)])
    await sellable(shop, sku)
    async with db.hot() as tx:
        await tx.execute("UPDATE variants SET price_minor = 120 WHERE sku = $1", sku)
    assert 120 == (await sellable(shop, sku))[0].price.minor_units


async def test_batch_get_variants_is_for_packages(shop):
    """No user token opens it."""
    call = shop.products.BatchGetVariants(pb.BatchGetVariantsRequest(skus=["a"]), metadata=shop.admin)
    assert "ACCESS_DENIED" == await refused(call)


async def test_each_change_is_published_once(shop, db):
    """Created, then updated, with the product as it then was; a change that changes nothing publishes nothing."""
    made = await shop.create()
    changed = await shop.update(product_pb2.Product(product_id=made.product_id, title="Kettle"))
    await shop.update(product_pb2.Product(product_id=made.product_id, title="Kettle"))
    async with db.hot_read() as connection:
        rows = await connection.fetch("SELECT * FROM outbox WHERE aggregate_id = $1 ORDER BY seq", made.product_id)
    assert [(1, "titan.catalog.v1.ProductCreated"), (2, "titan.catalog.v1.ProductUpdated")] == [
        (row["version"], row["type"]) for row in rows
    ]
    assert made == events_pb2.ProductCreated.FromString(rows[0]["payload"]).product
    assert changed == events_pb2.ProductUpdated.FromString(rows[1]["payload"]).product


@pytest.mark.parametrize("place", ["create.read", "create.products_saved", "create.before_commit"])
async def test_a_create_that_dies_leaves_nothing(shop, place):
    """No product without variants, no SKU that is taken by nobody."""
    sku = new_sku()
    failpoints.arm(f"catalog.{place}", "raise*1")
    assert "INTERNAL" == await refused(shop.create(variants=[a_variant(sku)]))
    failpoints.reset()
    assert [False] == [each.found for each in await sellable(shop, sku)]
    await shop.create(variants=[a_variant(sku)])


async def test_an_update_that_dies_leaves_the_product_as_it_was(shop):
    """Variants, shelves and event included."""
    made = await shop.create()
    failpoints.arm("catalog.change.before_commit", "raise*1")
    wanted = product_pb2.Product(product_id=made.product_id, variants=[a_variant()])
    assert "INTERNAL" == await refused(shop.update(wanted))
    failpoints.reset()
    assert made == await shop.get(made.product_id)


async def test_a_product_with_too_much_text_is_refused(shop):
    """Each text within its limit, and more together than an event holds; a change is held to it as well."""
    attributes = {f"{number}": "é" * 200 for number in range(20)}
    variants = [a_variant(attributes=attributes) for _ in range(100)]
    assert "INVALID_INPUT" == await refused(shop.create(variants=variants))
    assert ["INVALID_INPUT", ""] == [
        reason(each) for each in await shop.create_many(a_product(variants=variants), a_product())
    ]
    made = await shop.create()
    change = product_pb2.Product(product_id=made.product_id, variants=variants)
    assert "INVALID_INPUT" == await refused(shop.update(change, "variants"))


async def test_pages_of_huge_products_end_early(shop):
    """Five of them are more than one page holds; nothing is lost between the pages, and a batch names the rest."""
    category = (await shop.category("Encyclopedias")).category_id
    made = [await shop.create(a_huge_product(category_ids=[category])) for _ in range(5)]
    ids = [each.product_id for each in made]
    assert sum(each.ByteSize() for each in made) > 2 * 1024 * 1024
    pages, token = [], ""
    while not pages or token:
        answer = await shop.list(category_id=category, page_token=token)
        pages.append([each.product_id for each in answer.products])
        token = answer.next_page_token
    assert [ids[:0:-1], ids[:1]] == pages
    found, asked = [], ids
    while asked:
        answer = await shop.products.BatchGetProducts(pb.BatchGetProductsRequest(product_ids=asked))
        found += [each.product_id for each in answer.products]
        asked = answer.remaining_product_ids
    assert ids == found


async def test_a_batch_that_repeats_huge_products_names_those_without_room(shop):
    """Fifty bytes may ask for half a megabyte: made before, each of them is answered, the last ones by their ids."""
    huge = [a_huge_product() for _ in range(10)]
    ids = [(await shop.create(each)).product_id for each in huge]
    short = [product_pb2.Product(title="Again", variants=each.variants[:1]) for each in huge]

    request = pb.BatchCreateProductsRequest(products=[*short, a_product(variants=[a_variant(price=-1)]), *short])
    answer = await shop.products.BatchCreateProducts(request, metadata=shop.admin)

    assert [*ids, "", *ids] == [each.product.product_id for each in answer.results]
    assert "PRICE_INVALID" == reason(answer.results[10])
    assert ids[4:] == list(answer.remaining_product_ids)[:6] and set(ids) == set(answer.remaining_product_ids)
    assert [100] * 4 + [0] * 6 == [len(each.product.variants) for each in answer.results[:10]]


async def test_what_no_page_can_hold_is_not_read(shop, db):
    """Of ten huge products the store reads those of one page, and one by which to see that there are more."""
    category = UUID((await shop.category("Folios")).category_id)
    ids = [UUID((await shop.create(a_huge_product(category_ids=[str(category)]))).product_id) for _ in range(10)]

    async with db.hot_read() as connection:
        found = [
            await store.list_products(connection, ids),
            await store.list_newest(connection, category_id=None, before=None, limit=10),
            await store.list_newest(connection, category_id=category, before=None, limit=10),
        ]

    assert [ids[:5], ids[:4:-1], ids[:4:-1]] == [[each.product_id for each in page] for page in found]


async def test_a_batch_of_huge_products_counts_unknown_and_repeated_ids(shop):
    """Every known one comes, in the order of the request, however often it is asked again."""
    ids = [(await shop.create(a_huge_product())).product_id for _ in range(5)]
    asked, found = [str(uuid4()), ids[0], *ids, str(uuid4())], []
    while asked:
        answer = await shop.products.BatchGetProducts(pb.BatchGetProductsRequest(product_ids=asked))
        found += [each.product_id for each in answer.products]
        assert len(answer.remaining_product_ids) < len(asked)
        asked = list(answer.remaining_product_ids)
    assert [ids[0], *ids] == found
