"""CartService behind the real chain, on a real Valkey and a real Postgres, with every refusal."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from uuid import uuid4

import grpc
import pytest

from tests.harness import as_service, as_user, reason_of
from tests.svc_cart.conftest import lines_of, open_shop, refused
from titan.cart.v1 import cart_pb2
from titan.cart.v1 import cart_service_pb2 as pb


async def test_a_cart_is_filled_changed_and_priced(shop, ada):
    """Lines keep the order in which they were added; every answer carries the whole cart."""
    _, user = ada
    await shop.add(user, "SKU-2", 3)
    await shop.add(user, "SKU-1", 1)
    cart = await shop.add(user, "SKU-2", 1)

    assert [("SKU-2", 4, 102, 408), ("SKU-1", 1, 101, 101)] == [
        (item.sku, item.quantity, item.unit_price.minor_units, item.line_total.minor_units) for item in cart.items
    ]
    assert ("GBP", 509) == (cart.subtotal.currency_code, cart.subtotal.minor_units)
    assert all(item.sellable and item.title == f"Title of {item.sku}" for item in cart.items)
    assert {"SKU-2": 2, "SKU-1": 1} == lines_of(await shop.update(user, "SKU-2", 2))
    assert "INVALID_INPUT" == reason_of(await refused(shop.update(user, "SKU-2", 0)))
    assert {"SKU-1": 1} == lines_of(await shop.remove(user, "SKU-2"))
    gone = await shop.remove(user, "SKU-1")
    assert ({}, 0, cart.cart_id) == (lines_of(gone), gone.subtotal.minor_units, gone.cart_id)
    assert gone == await shop.get(user)


async def test_whoever_never_added_anything_has_an_empty_cart(shop, ada):
    """It has no id, no lines, and a subtotal of nothing."""
    cart = await shop.get(ada[1])

    assert ("", [], 0, "GBP") == (
        cart.cart_id,
        list(cart.items),
        cart.subtotal.minor_units,
        cart.subtotal.currency_code,
    )


async def test_every_user_has_a_cart_of_their_own(shop, ada):
    """Guests as well."""
    await shop.add(ada[1], "SKU-1")
    guest = as_user(uuid4(), guest=True)

    assert {} == lines_of(await shop.get(guest))
    assert {"SKU-5": 1} == lines_of(await shop.add(guest, "SKU-5"))
    assert {"SKU-1": 1} == lines_of(await shop.get(ada[1]))


async def test_adds_made_at_once_in_two_processes_never_lose_a_line(shop, ada, cart_db, cart_redis):
    """Forty adds of twenty SKUs: each counts once."""
    async with AsyncExitStack() as stack:
        other = await open_shop(stack, cart_db, cart_redis, shop.catalogue)
        await asyncio.gather(*(each.add(ada[1], f"SKU-{number}", 2) for number in range(20) for each in (shop, other)))

        expected = {f"SKU-{number}": 4 for number in range(20)}
        assert expected == lines_of(await shop.get(ada[1])) == lines_of(await other.get(ada[1]))


async def test_a_price_that_changes_shows_within_seconds(shop, ada, cart_db, cart_redis):
    """A cart holds no price: it is read at today's."""
    cart = await shop.add(ada[1], "SKU-1", 2)
    shop.catalogue.prices["SKU-1"] = 999
    async with AsyncExitStack() as stack:
        other = await open_shop(stack, cart_db, cart_redis, shop.catalogue)

        assert (202, 1998) == (cart.subtotal.minor_units, (await other.get(ada[1])).subtotal.minor_units)


async def test_a_line_that_is_not_sold_any_more_stays_visible_without_a_price(shop, ada):
    """The shopper sees what happened to it, and it adds nothing."""
    await shop.add(ada[1], "SKU-1")
    await shop.add(ada[1], "SKU-2")
    del shop.catalogue.prices["SKU-1"]
    async with AsyncExitStack() as stack:
        other = await open_shop(stack, shop.db, shop.redis, shop.catalogue)
        cart = await other.get(ada[1])

    assert [("SKU-1", False), ("SKU-2", True)] == [(item.sku, item.sellable) for item in cart.items]
    assert not cart.items[0].HasField("unit_price")
    assert 102 == cart.subtotal.minor_units


async def test_a_cart_has_one_currency(shop, ada):
    """A line in another one cannot be ordered with the rest."""
    shop.catalogue.currencies["SKU-2"] = "EUR"
    await shop.add(ada[1], "SKU-1")
    cart = await shop.add(ada[1], "SKU-2")

    assert [True, False] == [item.sellable for item in cart.items]
    assert ("GBP", 101) == (cart.subtotal.currency_code, cart.subtotal.minor_units)


async def test_lookups_that_come_together_share_a_call(shop):
    """While the catalogue answers the first of fifty shoppers, the others wait for one call of their own."""
    shop.catalogue.open.clear()
    adding = [asyncio.create_task(shop.add(as_user(uuid4()), f"SKU-{number}")) for number in range(50)]
    async with asyncio.timeout(10):
        while sum(map(len, shop.catalogue.asked)) + shop.prices.batcher.waiting < 50:
            await asyncio.sleep(0.005)
    shop.catalogue.open.set()
    await asyncio.gather(*adding)

    assert 2 == len(shop.catalogue.asked)


@pytest.mark.parametrize(
    ("sku", "quantity"), [("", 1), ("SKU-1", 0), ("SKU-1", -1), ("SKU-1", 10_001), ("x" * 65, 1), ("S\x00U", 1)]
)
async def test_bad_input_is_refused(shop, ada, sku, quantity):
    """Nothing is changed."""
    error = await refused(shop.add(ada[1], sku, quantity))

    assert ("INVALID_INPUT", grpc.StatusCode.INVALID_ARGUMENT) == (reason_of(error), error.code())
    assert {} == lines_of(await shop.get(ada[1]))


async def test_a_sku_that_is_not_sold_is_refused(shop, ada):
    """It opens no cart either; as soon as it is sold it can be added."""
    error = await refused(shop.add(ada[1], "NEW"))
    cart = await shop.get(ada[1])
    shop.catalogue.prices["NEW"] = 5

    assert ("SKU_NOT_FOUND", grpc.StatusCode.NOT_FOUND, "") == (reason_of(error), error.code(), cart.cart_id)
    assert {"NEW": 1} == lines_of(await shop.add(ada[1], "NEW"))


async def test_too_many_units_and_lines_are_refused(shop, ada):
    """The state of the cart stands against it, not the input."""
    await shop.add(ada[1], "SKU-0", 10_000)
    units = await refused(shop.add(ada[1], "SKU-0", 1))
    for number in range(1, 100):
        await shop.add(ada[1], f"SKU-{number}")
    lines = await refused(shop.add(ada[1], "SKU-100"))

    assert ["QUANTITY_TOO_LARGE", "CART_FULL"] == [reason_of(units), reason_of(lines)]
    assert grpc.StatusCode.FAILED_PRECONDITION is units.code() is lines.code()
    assert "INVALID_INPUT" == reason_of(await refused(shop.update(ada[1], "SKU-0", 10_001)))


async def test_a_stale_etag_and_a_missing_line_are_refused(shop, ada):
    """The etag guards every change."""
    etag = (await shop.add(ada[1], "SKU-1")).etag
    await shop.add(ada[1], "SKU-2", etag=etag)

    stale = [
        await refused(shop.add(ada[1], "SKU-1", etag=etag)),
        await refused(shop.update(ada[1], "SKU-1", 2, etag=etag)),
        await refused(shop.remove(ada[1], "SKU-1", etag=etag)),
    ]
    missing = await refused(shop.update(ada[1], "SKU-9", 1))

    assert ["CART_CHANGED"] * 3 == [reason_of(error) for error in stale]
    assert grpc.StatusCode.ABORTED is stale[0].code()
    assert ("CART_ITEM_NOT_FOUND", grpc.StatusCode.NOT_FOUND) == (reason_of(missing), missing.code())
    assert {"SKU-1": 1, "SKU-2": 1} == lines_of(await shop.get(ada[1]))


async def test_an_etag_stands_for_the_prices_that_were_shown(shop, ada):
    """A cart whose prices rose is not the one that was seen; a change minds only what the shopper changed."""
    seen = await shop.add(ada[1], "SKU-1")
    assert seen.etag == (await shop.get(ada[1])).etag

    shop.catalogue.prices["SKU-1"] += 1
    shop.forget_prices()

    assert seen.etag != (await shop.get(ada[1])).etag
    assert 2 == (await shop.update(ada[1], "SKU-1", 2, etag=seen.etag)).items[0].quantity


async def test_of_changes_with_one_etag_one_wins(shop, ada):
    """Also when they arrive at once."""
    etag = (await shop.add(ada[1], "SKU-1")).etag

    answers = await asyncio.gather(
        *(shop.update(ada[1], "SKU-1", quantity, etag=etag) for quantity in range(2, 8)), return_exceptions=True
    )

    refusals = [answer for answer in answers if isinstance(answer, grpc.aio.AioRpcError)]
    assert ["CART_CHANGED"] * 5 == [reason_of(refusal) for refusal in refusals]


async def test_nobody_reads_carts_without_a_right(shop, ada):
    """Shoppers need a token; the batch methods are for the order path alone."""
    batch = pb.BatchGetCartsRequest(user_ids=[str(ada[0])])

    assert "UNAUTHENTICATED" == reason_of(await refused(shop.stub.GetCart(pb.GetCartRequest())))
    for metadata in (ada[1], as_service("edge_http")):
        assert "ACCESS_DENIED" == reason_of(await refused(shop.stub.BatchGetCarts(batch, metadata=metadata)))


async def test_the_order_path_reads_many_carts_in_the_order_of_its_request(shop, ada):
    """One user may stand in the set twice; whoever has no cart has no cart id."""
    nobody, other = uuid4(), uuid4()
    cart = await shop.add(ada[1], "SKU-2", 3)
    await shop.add(as_user(other), "SKU-1")

    contents = await shop.contents(ada[0], nobody, other, ada[0])

    assert [str(ada[0]), str(nobody), str(other), str(ada[0])] == [each.user_id for each in contents]
    assert (cart.cart_id, cart.etag.partition("-")[0], [("SKU-2", 3)]) == (
        contents[0].cart_id,
        contents[0].etag,
        [(line.sku, line.quantity) for line in contents[0].lines],
    )
    assert ("", []) == (contents[1].cart_id, list(contents[1].lines))


async def test_a_closed_cart_is_gone_and_the_next_add_opens_another(shop, ada):
    """Closing twice is safe, also after the next cart was opened."""
    first = await shop.add(ada[1], "SKU-1")

    await shop.close((ada[0], first.cart_id))
    closed = await shop.get(ada[1])
    await shop.close((ada[0], first.cart_id))
    second = await shop.add(ada[1], "SKU-2")
    await shop.close((ada[0], first.cart_id))

    assert ("", {}) == (closed.cart_id, lines_of(closed))
    assert first.cart_id != second.cart_id
    assert {"SKU-2": 1} == lines_of(await shop.get(ada[1]))
    assert closed.etag != first.etag


async def test_a_set_with_two_carts_of_one_user_and_strange_ones_closes_what_it_names(shop, ada):
    """An unknown cart is remembered as closed and changes nothing."""
    other = uuid4()
    cart = await shop.add(ada[1], "SKU-1")
    neighbour = await shop.add(as_user(other), "SKU-1")

    await shop.close((ada[0], str(uuid4())), (ada[0], cart.cart_id), (uuid4(), str(uuid4())), (ada[0], cart.cart_id))

    assert "" == (await shop.get(ada[1])).cart_id
    assert neighbour == await shop.get(as_user(other))


async def test_what_was_not_ordered_is_in_the_next_cart(shop, ada):
    """Of a line the units beyond the ordered ones, and whole lines, in their order; closing again moves nothing."""
    first = await shop.add(ada[1], "SKU-1", 2)
    await shop.add(ada[1], "SKU-1", 3)
    before = await shop.add(ada[1], "SKU-2", 1)

    await shop.close((ada[0], first.cart_id), SKU_1=2)
    following = await shop.get(ada[1])
    await shop.close((ada[0], first.cart_id), SKU_1=2)
    await shop.close((ada[0], first.cart_id))

    assert [("SKU-1", 3), ("SKU-2", 1)] == list(lines_of(following).items())
    assert following.cart_id not in ("", first.cart_id)
    assert following == await shop.get(ada[1])
    assert "CART_CHANGED" == reason_of(await refused(shop.add(ada[1], "SKU-3", etag=before.etag)))
    assert following.cart_id == (await shop.add(ada[1], "SKU-3", etag=following.etag)).cart_id
    await shop.close((ada[0], following.cart_id), SKU_1=3, SKU_2=1, SKU_3=1)
    assert "" == (await shop.get(ada[1])).cart_id


async def test_what_left_the_cart_since_it_was_ordered_is_not_owed(shop, ada):
    """The order has it; the next cart starts empty."""
    cart = await shop.add(ada[1], "SKU-1", 5)
    await shop.update(ada[1], "SKU-1", 1)

    await shop.close((ada[0], cart.cart_id), SKU_1=5)

    assert "" == (await shop.get(ada[1])).cart_id


async def test_a_set_that_names_a_cart_twice_takes_the_lines_of_the_first(shop, ada):
    """Repeated closes give the answer of the first, also within a set."""
    cart = await shop.add(ada[1], "SKU-1", 5)
    request = pb.BatchCloseCartsRequest(
        carts=[
            pb.CartToClose(user_id=str(ada[0]), cart_id=cart.cart_id, lines=[cart_pb2.CartLine(sku=s, quantity=q)])
            for s, q in (("SKU-1", 2), ("SKU-1", 5))
        ]
    )
    await shop.stub.BatchCloseCarts(request, metadata=as_service("svc_order"))

    assert {"SKU-1": 3} == lines_of(await shop.get(ada[1]))
