"""What each caller relies on, asked with the caller's own code of the real provider.

One test or more for every call between packages (`test_callers.py` compares): the fields that come back, the reasons
that the caller acts on, and that asking again gives the same answer. What is not asserted here, a provider may change.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace
from typing import Any, TypeVar
from uuid import UUID, uuid4

import pytest
from google.api import httpbody_pb2

from mesh.auth_feed import AuthFeed
from mesh.identity import TokenVerifier
from mesh.received import Received
from mesh.refusals import AccessDenied, Refusal, SessionRevoked
from mesh.seams import SystemClock, SystemIds
from mesh.topology import EDGE
from mesh.vault.vault import Vault
from svc_auth.privacy.participants import Participants as Privacy
from svc_bulk.app import jobs_of
from svc_bulk.feed.fetching import FeedRules
from svc_bulk.operation.worker import Worker
from svc_cart.cart.prices import Prices
from svc_catalog.price import store as price_store
from svc_catalog.price.consumer import TOPICS as PRICE_TOPICS
from svc_catalog.price.consumer import note as note_prices
from svc_notify.channels.interface import ChannelKind
from svc_notify.notification import wire as letters
from svc_notify.notification.consumer import TOPICS, MessageEvents
from svc_notify.notification.gate import Gate
from svc_notify.notification.rules import LINK_REQUESTED, LINK_TEMPLATES, NOTICE_TEMPLATES, SIGN_IN_CHANGED
from svc_order.checkout.intake import Ask, Intake, Priced
from svc_order.checkout.participants import CartOrdered, Participants, Split, ToPay, ToRefund, ToRestock
from svc_order.checkout.rules import Wanted
from svc_order.checkout.store import ReturnedUnits
from svc_order.errors import CartEmpty, SkuNotSold
from svc_order.order.events import public_events
from svc_order.order.rules import Order, confirm
from svc_order.order.values import timestamp
from svc_order.settings import OrderSettings
from svc_order.split.rules import SellerPart
from svc_payment.reconciliation.rules import Found
from tests.contracts.world import PRICE_MINOR, TOPOLOGY, World, gbp, order
from tests.harness import as_service, as_user, titan_contract
from tests.kms import Kms
from titan.auth.v1 import (
    auth_service_pb2,
    auth_service_pb2_grpc,
    link_service_pb2,
    link_service_pb2_grpc,
    user_service_pb2,
    user_service_pb2_grpc,
)
from titan.auth.v1 import events_pb2 as auth_events_pb2
from titan.bulk.v1 import (
    file_pb2,
    file_service_pb2,
    file_service_pb2_grpc,
    operation_pb2,
    operation_service_pb2,
    operation_service_pb2_grpc,
)
from titan.cart.v1 import cart_service_pb2, cart_service_pb2_grpc
from titan.catalog.v1 import product_service_pb2, product_service_pb2_grpc, search_service_pb2
from titan.inventory.v1 import inventory_service_pb2, inventory_service_pb2_grpc
from titan.order.v1 import (
    checkout_service_pb2,
    checkout_service_pb2_grpc,
    events_pb2,
    order_pb2,
    order_service_pb2,
    order_service_pb2_grpc,
)
from titan.payment.v1 import payment_pb2, refund_pb2, wallet_pb2
from titan.type.v1 import address_pb2

STATUS = payment_pb2.PaymentStatus
WALLET = payment_pb2.PaymentMethod(wallet=payment_pb2.WalletMethod())
ORDERS = "titan.order.v1.OrderService"
RUNTIME = "mesh"
"""Whoever follows AuthService does it with the runtime's code."""

_covered: set[tuple[str, str]] = set()
Test = TypeVar("Test", bound=Callable[..., Any])


def relies_on(caller: str, *methods: str) -> Callable[[Test], Test]:
    """Note which calls a test stands for."""

    def note(test: Test) -> Test:
        _covered.update((caller, method) for method in methods)
        return test

    return note


def covered() -> frozenset[tuple[str, str]]:
    """Return the (caller, method) pairs that have a test here."""
    return frozenset(_covered)


@pytest.fixture(scope="module")
async def ask(world: World) -> AsyncIterator[Participants]:
    """What the saga of svc_order asks with."""
    clients = world.clients("svc_order")
    participants = Participants(clients)
    yield participants
    await participants.close()
    await clients.close()


@pytest.fixture(scope="module")
async def intake(world: World) -> AsyncIterator[Intake]:
    """What svc_order quotes with."""
    clients, db = world.clients("svc_order"), world.databases["svc_order"]
    settings = OrderSettings(secrets_dir=world.secrets)
    made = Intake(db, clients, Vault(db, Kms()), SystemClock(), SystemIds(), settings)
    yield made
    await made.close()
    await clients.close()


def reason(result: Any) -> str:
    """Return the reason inside a result of a batch, as the caller reads it; empty for a success."""
    return Refusal.from_status(result.error).reason if result.HasField("error") else ""


def same(first: Any, second: Any) -> bool:
    """Say whether two answers are the same, byte for byte."""
    return bool(first.SerializeToString(deterministic=True) == second.SerializeToString(deterministic=True))


# Stock


@relies_on("svc_order", "BatchReserve")
async def test_a_reservation_names_a_warehouse_for_every_unit(world: World, ask: Participants):
    """The order keeps them on its lines; the same order asked again gets the same ones."""
    wanted = order(await world.product(), await world.product())

    first = await ask.reserve.submit(wanted)
    again = await ask.reserve.submit(wanted)

    assert "" == reason(first) and str(wanted.order_id) == first.order_id
    assert {1: 2, 2: 2} == {line.line_number: line.quantity for line in first.allocations}
    assert all(line.warehouse_id for line in first.allocations)
    assert same(first, again)


@relies_on("svc_order", "BatchReserve")
async def test_too_little_stock_is_one_orders_answer_with_what_there_is(world: World, ask: Participants):
    """The shopper is told the SKU and what is available; the neighbour in the batch gets its units."""
    scarce, ample = await world.product(stock=1), await world.product()
    short, fine = order(scarce), order(ample)

    refused, held = await asyncio.gather(ask.reserve.submit(short), ask.reserve.submit(fine))

    refusal = Refusal.from_status(refused.error)
    assert "OUT_OF_STOCK" == refusal.reason
    assert (scarce, "1", "2") == tuple(refusal.metadata[name] for name in ("sku", "available", "requested"))
    assert "" == reason(held) and str(fine.order_id) == held.order_id
    assert "OUT_OF_STOCK" == reason(await ask.reserve.submit(short))


@relies_on("svc_order", "BatchRelease")
async def test_a_release_wins_against_a_reservation_that_comes_late(world: World, ask: Participants):
    """The saga may cancel an order whose reservation is still on its way."""
    late = order(await world.product())

    released = await ask.release.submit(late.order_id)
    again = await ask.release.submit(late.order_id)

    assert "" == reason(released) and same(released, again)
    assert "RESERVATION_RELEASED" == reason(await ask.reserve.submit(late))


@relies_on("svc_order", "BatchRelease")
async def test_a_release_gives_the_units_back(world: World, ask: Participants):
    """The last unit can be ordered by somebody else afterwards."""
    sku = await world.product(stock=2)
    first, second = order(sku), order(sku)
    await ask.reserve.submit(first)
    assert "OUT_OF_STOCK" == reason(await ask.reserve.submit(second))

    await ask.release.submit(first.order_id)

    assert "" == reason(await ask.reserve.submit(order(sku)))


@relies_on("svc_order", "BatchShip", "BatchRelease")
async def test_what_has_left_is_shipped_once_and_never_released(world: World, ask: Participants):
    """Shipping again is the same answer; a release that comes late is told so."""
    sku = await world.product(stock=5)
    sent = order(sku)
    await ask.reserve.submit(sent)

    shipped = await ask.ship.submit(sent.order_id)
    again = await ask.ship.submit(sent.order_id)

    assert "" == reason(shipped) and same(shipped, again)
    assert "RESERVATION_SHIPPED" == reason(await ask.release.submit(sent.order_id))
    inventory = world.stub(inventory_service_pb2_grpc.InventoryServiceStub, "titan.inventory.v1.InventoryService")
    asked = inventory_service_pb2.GetStockRequest(sku=sku)
    assert 3 == (await inventory.GetStock(asked, metadata=as_user(roles=("warehouse",)))).stock.on_hand


@relies_on("svc_order", "BatchShip")
async def test_what_was_never_held_cannot_ship(ask: Participants):
    """An effect that is asked too early is refused, and asked again later."""
    assert "RESERVATION_NOT_FOUND" == reason(await ask.ship.submit(uuid4()))


@relies_on("svc_order", "BatchRestock")
async def test_what_came_back_is_on_the_shelf_once_and_not_before_it_left(world: World, ask: Participants):
    """The refusal of a parcel that is still here is not kept: the effect asks again. More than left never comes."""
    sku = await world.product(stock=5)
    sent = order(sku)
    await ask.reserve.submit(sent)
    back = ToRestock(uuid4(), sent.order_id, (ReturnedUnits(1, sku, 1),))

    early = await ask.restock.submit(back)
    await ask.ship.submit(sent.order_id)
    done = await ask.restock.submit(back)
    again = await ask.restock.submit(back)
    more = await ask.restock.submit(ToRestock(uuid4(), sent.order_id, (ReturnedUnits(1, sku, 2),)))

    assert ("RESERVATION_NOT_FOUND", "", "") == (reason(early), reason(done), reason(again))
    assert "RESTOCK_TOO_LARGE" == reason(more)
    inventory = world.stub(inventory_service_pb2_grpc.InventoryServiceStub, "titan.inventory.v1.InventoryService")
    asked = inventory_service_pb2.GetStockRequest(sku=sku)
    assert 4 == (await inventory.GetStock(asked, metadata=as_user(roles=("warehouse",)))).stock.on_hand


# Money


@relies_on("svc_order", "BatchAuthorize")
async def test_a_wallet_pays_at_once(world: World, ask: Participants):
    """AUTHORIZED, with a payment id, and where it stands when asked again."""
    pays = ToPay(order(user_id=await world.rich()), WALLET)

    first = await ask.authorize.submit(pays)
    again = await ask.authorize.submit(pays)

    assert STATUS.PAYMENT_STATUS_AUTHORIZED == first.status and "" == reason(first)
    assert UUID(first.payment_id) and str(pays.order.order_id) == first.order_id
    assert same(first, again)


@relies_on("svc_order", "BatchAuthorize")
async def test_an_empty_wallet_and_an_unknown_provider_are_refused_beside_one_that_pays(
    world: World, ask: Participants
):
    """The reason is what the shopper reads; neighbours are not touched."""
    card = payment_pb2.PaymentMethod(card=payment_pb2.CardMethod(token="tok_visa", provider="nobody"))

    poor, unknown, fine = await asyncio.gather(
        ask.authorize.submit(ToPay(order(), WALLET)),
        ask.authorize.submit(ToPay(order(), card)),
        ask.authorize.submit(ToPay(order(user_id=await world.rich()), WALLET)),
    )

    assert (STATUS.PAYMENT_STATUS_REFUSED, "INSUFFICIENT_FUNDS") == (poor.status, reason(poor))
    assert "PROVIDER_UNKNOWN" == reason(unknown) and STATUS.PAYMENT_STATUS_AUTHORIZED != unknown.status
    assert (STATUS.PAYMENT_STATUS_AUTHORIZED, "") == (fine.status, reason(fine))


@relies_on("svc_order", "BatchAuthorize")
async def test_an_order_that_asks_for_another_amount_is_refused(world: World, ask: Participants):
    """A participant keeps what it was asked: one order id, one amount."""
    wanted = order(user_id=await world.rich())
    await ask.authorize.submit(ToPay(wanted, WALLET))

    other = await ask.authorize.submit(ToPay(replace(wanted, total_minor=wanted.total_minor + 1), WALLET))

    assert "PAYMENT_CONFLICT" == reason(other)


async def given_captured(world: World, ask: Participants) -> Order:
    """Return an order whose money was taken."""
    paid = order(user_id=await world.rich())
    await ask.authorize.submit(ToPay(paid, WALLET))
    assert (await ask.capture.submit(paid.order_id)).done
    return paid


@relies_on("svc_order", "BatchCapture")
async def test_a_capture_says_when_it_is_done(world: World, ask: Participants):
    """The saga asks until `done`; asked after that, the same answer."""
    paid = order(user_id=await world.rich())
    await ask.authorize.submit(ToPay(paid, WALLET))

    first = await ask.capture.submit(paid.order_id)
    again = await ask.capture.submit(paid.order_id)

    assert first.done and STATUS.PAYMENT_STATUS_CAPTURED == first.status and "" == reason(first)
    assert str(paid.order_id) == first.order_id and same(first, again)


@relies_on("svc_order", "BatchCapture", "BatchVoid")
async def test_void_and_capture_exclude_each_other(world: World, ask: Participants):
    """PAYMENT_VOIDED ends a capture and PAYMENT_CAPTURED turns a void into a refund: the saga acts on both names."""
    taken, dropped = await given_captured(world, ask), order(user_id=await world.rich())
    await ask.authorize.submit(ToPay(dropped, WALLET))
    voided = await ask.void.submit(dropped.order_id)

    late_capture = await ask.capture.submit(dropped.order_id)
    late_void = await ask.void.submit(taken.order_id)

    assert voided.done and STATUS.PAYMENT_STATUS_VOIDED == voided.status
    assert ("PAYMENT_VOIDED", STATUS.PAYMENT_STATUS_VOIDED) == (reason(late_capture), late_capture.status)
    assert "PAYMENT_CAPTURED" == reason(late_void)


@relies_on("svc_order", "BatchVoid", "BatchAuthorize")
async def test_a_void_wins_against_an_authorization_that_comes_late(world: World, ask: Participants):
    """For an order that was never seen it leaves a tombstone, and asking again gives the same answer."""
    late = order(user_id=await world.rich())

    voided = await ask.void.submit(late.order_id)
    again = await ask.void.submit(late.order_id)

    assert voided.done and "" == reason(voided) and same(voided, again)
    assert "PAYMENT_VOIDED" == reason(await ask.authorize.submit(ToPay(late, WALLET)))


@relies_on("svc_order", "BatchCapture")
async def test_money_that_nobody_authorized_is_not_captured(ask: Participants):
    """An unknown order is a reason, not a status that could be taken for done."""
    unknown = await ask.capture.submit(uuid4())

    assert "PAYMENT_NOT_FOUND" == reason(unknown) and not unknown.done


@relies_on("svc_order", "BatchRefund")
async def test_a_refund_without_an_amount_sends_back_all_that_is_left(world: World, ask: Participants):
    """Known by its id: asked again the same answer, and the money moves once."""
    paid = await given_captured(world, ask)
    part = await ask.refund.submit(ToRefund(uuid4(), paid.order_id, 250, "GBP"))
    rest = ToRefund(uuid4(), paid.order_id)

    first = await ask.refund.submit(rest)
    again = await ask.refund.submit(rest)

    assert STATUS.PAYMENT_STATUS_PARTIALLY_REFUNDED == part.payment_status
    assert refund_pb2.REFUND_STATUS_DONE == first.status and "" == reason(first)
    assert gbp(paid.total_minor - 250) == first.amount
    assert STATUS.PAYMENT_STATUS_REFUNDED == first.payment_status
    assert str(rest.refund_id) == first.refund_id and same(first, again)


@relies_on("svc_order", "BatchRefund")
async def test_a_refund_waits_for_its_capture_by_this_name(world: World, ask: Participants):
    """On PAYMENT_NOT_CAPTURED the saga asks again later: the refusal must not be kept under the refund's id."""
    paid = order(user_id=await world.rich())
    await ask.authorize.submit(ToPay(paid, WALLET))
    refund = ToRefund(uuid4(), paid.order_id)

    early = await ask.refund.submit(refund)
    await ask.capture.submit(paid.order_id)
    later = await ask.refund.submit(refund)

    assert "PAYMENT_NOT_CAPTURED" == reason(early)
    assert refund_pb2.REFUND_STATUS_DONE == later.status and "" == reason(later)


@relies_on("svc_order", "BatchRefund")
async def test_no_refund_is_larger_than_what_was_taken_or_changes_under_its_id(world: World, ask: Participants):
    """Two refusals that svc_order shows to whoever asked."""
    paid = await given_captured(world, ask)
    kept = ToRefund(uuid4(), paid.order_id, 100, "GBP")
    await ask.refund.submit(kept)

    larger = await ask.refund.submit(ToRefund(uuid4(), paid.order_id, paid.total_minor, "GBP"))
    changed = await ask.refund.submit(replace(kept, amount_minor=101))

    assert ("REFUND_TOO_LARGE", "REFUND_CONFLICT") == (reason(larger), reason(changed))


@relies_on("svc_order", "BatchHoldShares", "BatchReleaseShares")
async def test_shares_are_held_and_released_once_and_wait_for_their_capture(world: World, ask: Participants):
    """On PAYMENT_NOT_CAPTURED the saga asks again later, by this name; whatever else is asked again is done."""
    paid = order(user_id=await world.rich())
    split = Split(paid.order_id, (SellerPart("tea_ltd", 250),))
    await ask.authorize.submit(ToPay(paid, WALLET))

    early = await ask.hold_shares.submit(split)
    await ask.capture.submit(paid.order_id)
    held = [await ask.hold_shares.submit(split), await ask.hold_shares.submit(split)]
    released = [await ask.release_shares.submit(split), await ask.release_shares.submit(split)]

    assert "PAYMENT_NOT_CAPTURED" == reason(early)
    assert ["", ""] == [reason(each) for each in held] and ["", ""] == [reason(each) for each in released]
    assert {str(paid.order_id)} == {each.order_id for each in (*held, *released)}


@relies_on("svc_order", "BatchRefund")
async def test_a_refund_says_what_sellers_sold_and_bear(world: World, ask: Participants):
    """It is heard before the shares are held, and for the same shares again."""
    paid = await given_captured(world, ask)
    borne = (SellerPart("tea_ltd", 250, 100),)

    refunded = await ask.refund.submit(ToRefund(uuid4(), paid.order_id, 100, "GBP", borne))
    held = await ask.hold_shares.submit(Split(paid.order_id, borne))
    other = await ask.hold_shares.submit(Split(paid.order_id, (SellerPart("tea_ltd", 251),)))

    assert ("", "", "SHARES_CONFLICT") == (reason(refunded), reason(held), reason(other))


# Carts and prices


async def given_cart(world: World, sku: str, quantity: int = 3) -> tuple[UUID, str]:
    """Return a user with a cart of one line, and the cart's id."""
    user_id = uuid4()
    return user_id, await add_to_cart(world, user_id, sku, quantity)


async def add_to_cart(world: World, user_id: UUID, sku: str, quantity: int = 3) -> str:
    """Put a SKU into a user's cart and return the cart's id."""
    carts = world.stub(cart_service_pb2_grpc.CartServiceStub, "titan.cart.v1.CartService")
    asked = cart_service_pb2.AddItemRequest(sku=sku, quantity=quantity)
    return (await carts.AddItem(asked, metadata=as_user(user_id))).cart.cart_id


@relies_on("svc_order", "BatchGetCarts")
async def test_carts_of_many_users_come_in_one_call_each_its_own(world: World, intake: Intake):
    """Asked together in one batch: two carts with their ids and lines, and somebody who has none."""
    sku, other = await world.product(), await world.product()
    (ada, ada_cart), (bob, bob_cart) = await given_cart(world, sku), await given_cart(world, other, 1)

    asks = (intake.quote(Ask(user_id, ())) for user_id in (ada, bob, uuid4()))
    quotes = await asyncio.gather(*asks, return_exceptions=True)

    found = [
        (str(quote.cart_id), [(line.sku, line.quantity) for line in quote.quote.lines])
        for quote in quotes
        if isinstance(quote, Priced)
    ]
    assert [(ada_cart, [(sku, 3)]), (bob_cart, [(other, 1)])] == found
    assert isinstance(quotes[2], CartEmpty)


@relies_on("svc_order", "BatchCloseCarts")
async def test_a_closed_cart_is_gone_and_the_next_one_is_another(world: World, ask: Participants, intake: Intake):
    """Closing twice is safe, also when a new cart was opened in between; an unknown cart is no failure."""
    sku = await world.product()
    user_id, cart_id = await given_cart(world, sku)
    ordered = CartOrdered(user_id, UUID(cart_id), {sku: 3})

    await ask.close_cart.submit(ordered)
    with pytest.raises(CartEmpty):
        await intake.quote(Ask(user_id, ()))
    fresh = await add_to_cart(world, user_id, sku)
    await ask.close_cart.submit(ordered)
    await ask.close_cart.submit(CartOrdered(uuid4(), uuid4(), {sku: 1}))

    assert fresh != cart_id
    assert fresh == str((await intake.quote(Ask(user_id, ()))).cart_id)


@relies_on("svc_order", "BatchCloseCarts")
async def test_what_was_added_after_the_quote_is_in_the_next_cart(world: World, ask: Participants, intake: Intake):
    """Of a line its quantity beyond the ordered one, and whole lines; however often the cart is closed."""
    sku, later = await world.product(), await world.product()
    user_id, cart_id = await given_cart(world, sku)
    ordered = CartOrdered(user_id, UUID(cart_id), {sku: 3})
    await add_to_cart(world, user_id, sku, 2)
    await add_to_cart(world, user_id, later, 1)

    await ask.close_cart.submit(ordered)
    await ask.close_cart.submit(ordered)

    left = await intake.quote(Ask(user_id, ()))
    assert cart_id != str(left.cart_id)
    assert [(sku, 2), (later, 1)] == [(line.sku, line.quantity) for line in left.quote.lines]


@relies_on("svc_order", "BatchGetVariants")
async def test_a_quote_has_title_price_tax_and_seller_of_every_line(world: World, intake: Intake):
    """They become the snapshot of the order's line."""
    sku = await world.product()

    quote = (await intake.quote(Ask(uuid4(), (Wanted(sku, 2), Wanted(sku, 1))))).quote

    assert [2, 1] == [line.quantity for line in quote.lines] and 3 * PRICE_MINOR == quote.total_minor
    line = quote.lines[0]
    assert (sku, f"Title of {sku}", "house") == (line.sku, line.title, line.seller_id)
    assert PRICE_MINOR == line.unit_price_minor
    assert UUID(line.product_id) and line.tax_rate_basis_points >= 0 and "GBP" == quote.currency


@relies_on("svc_order", "BatchGetVariants")
async def test_a_sku_that_is_not_sold_is_a_result_and_no_error(world: World, intake: Intake):
    """Its order alone is refused, with the SKU in the details."""
    sku = await world.product()

    asks = (intake.quote(Ask(uuid4(), (Wanted(each, 1),))) for each in ("NOBODY-SELLS-THIS", sku))
    unsold, fine = await asyncio.gather(*asks, return_exceptions=True)

    assert isinstance(unsold, SkuNotSold) and "NOBODY-SELLS-THIS" == unsold.metadata["sku"]
    assert isinstance(fine, Priced)


@relies_on("svc_cart", "BatchGetVariants")
async def test_a_cart_shows_what_the_catalogue_says(world: World):
    """Title, price and whether it is sold at all; an unknown SKU is left out."""
    sku, clients = await world.product(), world.clients("svc_cart")
    prices = Prices(clients.get(product_service_pb2_grpc.ProductServiceStub), seconds=5.0)

    found = await prices.of([sku, "NOBODY-SELLS-THIS"])

    assert {sku} == set(found)
    assert (f"Title of {sku}", gbp(PRICE_MINOR)) == (found[sku].title, found[sku].price)
    await prices.batcher.close()
    await clients.close()


# Receipts


@relies_on("svc_notify", "BatchGetReceipts")
async def test_a_receipt_has_all_that_a_letter_needs(world: World):
    """A placed order with its address, lines and sums; an unknown order is a result without one, in its place."""
    sku = await world.product()
    placed = await place(world, sku)
    clients = world.clients("svc_notify")
    orders = clients.get(order_service_pb2_grpc.OrderServiceStub)
    unknown = str(uuid4())

    asked = order_service_pb2.BatchGetReceiptsRequest(order_ids=[unknown, placed.order_id])
    receipts = (await orders.BatchGetReceipts(asked, timeout=5.0)).receipts
    letter = letters.order_from_wire(receipts[1].order)

    assert [(unknown, False), (placed.order_id, True)] == [(r.order_id, r.HasField("order")) for r in receipts]
    assert "ada@example.com" == receipts[1].order.contact_email
    assert [(sku, f"Title of {sku}", 2)] == [(line.sku, line.title, line.quantity) for line in letter.lines]
    assert 2 * PRICE_MINOR == letter.total.minor_units and "Ada Byron" == letter.recipient_name
    await clients.close()


# Prices of imported orders


async def test_what_an_imported_order_was_charged_is_a_price_of_its_time(world: World):
    """The event as svc_order writes it, read as svc_catalog reads it: its topic, its type, and what stands in it."""
    then = datetime(2011, 1, 4, 10, 5, 6, tzinfo=UTC)
    imported = replace(order(f"sku {uuid4().hex}"), effective_at=then)
    confirmed = confirm(imported, {}, at=imported.created_at).entry
    assert confirmed is not None
    *_, event = public_events(imported, confirmed)
    received = Received(
        topic=event.topic,
        type=event.type,
        event_id=uuid4(),
        aggregate_id=event.aggregate_id,
        version=event.version,
        subject=event.aggregate_id,
        time=datetime.now(UTC),
        source="svc_order",
        cell="local",
        payload=event.payload,
        traceparent=None,
        partition=0,
        offset=0,
    )
    catalogue = world.databases["svc_catalog"]
    await catalogue.transact(lambda tx: note_prices(tx, [received]))
    (line,) = imported.lines
    async with catalogue.hot_read() as connection:
        (price,) = await price_store.list_changes(connection, line.sku, as_of=None, before=None, limit=2)

    assert event.topic in PRICE_TOPICS
    assert (then.replace(second=0), line.unit_price_minor) == (price.minute, price.price_minor)


# Long jobs


async def job_done(world: World, **work: Any) -> operation_pb2.Operation:
    """Start an operation as an administrator, and have it done by svc_bulk's own worker."""
    clients, db, ids = world.clients("svc_bulk"), world.databases["svc_bulk"], SystemIds()
    runtime: Any = SimpleNamespace(clients=clients, ids=ids)
    operations = world.stub(operation_service_pb2_grpc.OperationServiceStub, "titan.bulk.v1.OperationService")
    request = operation_service_pb2.StartOperationRequest(job=operation_pb2.Job(**work), request_id=str(uuid4()))
    admin = as_user(roles=("admin",))
    started = (await operations.StartOperation(request, metadata=admin)).operation
    worker = Worker(db, ids, jobs_of(runtime, db, FeedRules(frozenset(), frozenset())), rest_share=0.0)
    asked = operation_service_pb2.GetOperationRequest(operation_id=started.operation_id)
    async with asyncio.timeout(20):
        while True:  # others of this world may have left operations on the queue
            await worker.take_due()
            await worker.settle()
            found = (await operations.GetOperation(asked, metadata=admin)).operation
            if found.HasField("end_time"):
                await clients.close()
                return found


async def file_of(world: World, content: str) -> str:
    """Make a CSV file and return its id."""
    files = world.stub(file_service_pb2_grpc.FileServiceStub, "titan.bulk.v1.FileService")
    part = httpbody_pb2.HttpBody(data=content.encode())
    request = file_service_pb2.CreateFileRequest(name="rows.csv", format=file_pb2.FILE_FORMAT_CSV, part=part)
    return (await files.CreateFile(request, metadata=as_user(roles=("importer",)))).file.file_id


async def text_of(world: World, file: file_pb2.File) -> str:
    """Return the content of a small file."""
    files = world.stub(file_service_pb2_grpc.FileServiceStub, "titan.bulk.v1.FileService")
    request = file_service_pb2.ReadFileRequest(file_id=file.file_id)
    return (await files.ReadFile(request, metadata=as_user(roles=("finance",)))).body.data.decode()


@relies_on("svc_bulk", "BatchPutProducts", "BatchSetPrices", "BatchSetStock", "ListAllProducts")
async def test_a_job_puts_products_prices_and_stock_and_reads_them_again(world: World):
    """An outcome or a refusal for each row, in the order of the file; all products, with all that makes them."""
    sku, other = await world.product(stock=5), f"C-{uuid4().hex[:12]}"
    imported = f"sku,price_minor,title\n{sku},{PRICE_MINOR},\n{other},300,Jug\n{uuid4()},-1,Bad\n"
    priced = f"sku,price_minor\n{other},350\n{sku},{PRICE_MINOR}\n{uuid4()},1\n"
    stocked = f"sku,on_hand,delta\n{other},7,\n{sku},5,\n{sku},,-6\n"

    puts = (await job_done(world, product_import={"file_id": await file_of(world, imported)})).progress
    prices = (await job_done(world, price_update={"file_id": await file_of(world, priced)})).progress
    stocks = (await job_done(world, stock_update={"file_id": await file_of(world, stocked)})).progress
    export = await job_done(world, product_export={"format": file_pb2.FILE_FORMAT_CSV})

    assert (1, 0, 1, 1) == (puts.created, puts.updated, puts.unchanged, puts.refused)
    assert (1, 1, 1) == (prices.updated, prices.unchanged, prices.refused)
    assert (1, 1, 1) == (stocks.updated, stocks.unchanged, stocks.refused)
    rows = (await text_of(world, export.files[0])).splitlines()
    assert 1 == len([row for row in rows if f",{other},350,GBP,2000,Jug,," in row])
    assert 1 == len([row for row in rows if f",{sku},{PRICE_MINOR},GBP,2000,Title of {sku},," in row])


@relies_on("svc_bulk", "BatchSetPrices", "ListAllProducts")
async def test_a_job_reprices_what_is_named_from_what_it_costs(world: World):
    """The products that have a SKU, and no others; the price is set from the one that was read."""
    sku, other = await world.product(), await world.product()
    done = await job_done(world, repricing={"products": {"skus": [sku]}, "percent": "-10"})
    rows = (await text_of(world, done.files[0])).splitlines()

    assert (1, 1) == (done.progress.updated, done.progress.rows_done)
    assert f"{sku},GBP,{PRICE_MINOR},{PRICE_MINOR * 9 // 10}," == rows[1] and other not in str(rows)
    products = world.clients("svc_order")
    asked = product_service_pb2.BatchGetVariantsRequest(skus=[sku, other])
    found = await products.get(product_service_pb2_grpc.ProductServiceStub).BatchGetVariants(asked, timeout=5.0)
    assert [PRICE_MINOR * 9 // 10, PRICE_MINOR] == [each.price.minor_units for each in found.variants]
    await products.close()


@relies_on("svc_bulk", "ReindexProducts", "DigestSearch")
async def test_a_job_makes_the_search_data_again_and_compares_it(world: World):
    """In another language and back; both digests are those of all products."""
    await world.product()
    german = await job_done(world, search_reindex={"language": search_service_pb2.SEARCH_LANGUAGE_GERMAN})
    english = await job_done(world, search_reindex={"language": search_service_pb2.SEARCH_LANGUAGE_ENGLISH})

    _, row = (await text_of(world, german.files[0])).splitlines()
    products, rewritten, stored, expected = row.split(",")
    assert int(products) == int(rewritten) > 0 and stored == expected and 64 == len(stored)
    assert row != (await text_of(world, english.files[0])).splitlines()[1]


@relies_on("svc_bulk", "ResettleDay")
async def test_a_job_settles_days_with_a_provider_again(world: World):
    """A row for each, and a refusal for the day that is not over."""

    async def nothing(provider: Any, day: date) -> Found:
        return Found((), ())

    settlements: Any = world.hosted["svc_payment"].servicers["titan.payment.v1.SettlementService"]
    settlements._daily._compare = nothing  # its provider is away here
    today = datetime.now(UTC).date()
    days = {"first_date": str(today - timedelta(days=2)), "last_date": str(today)}
    done = await job_done(world, provider_settlement={"provider": "psp_sim", **days})

    assert (3, 2, 1) == (done.progress.rows_total, done.progress.updated, done.progress.refused)
    _, *rows = (await text_of(world, done.files[0])).splitlines()
    assert [f"{today - timedelta(days=back)},,0,0,0,0,0,0,yes" for back in (2, 1)] == rows


@relies_on("svc_bulk", "SumSales")
async def test_a_report_has_the_orders_that_count(world: World):
    """With their country, their lines and what they come to."""
    sku = await world.product()
    placed = await place(world, sku)
    report = await job_done(world, sales_report={})
    files = {file.name: await text_of(world, file) for file in report.files}

    assert f"{placed.user_id},GBP,1,2,{2 * PRICE_MINOR},0,{2 * PRICE_MINOR}" in files["sales_by_customer.csv"]
    assert f"{sku},GBP,Title of {sku},1,2,0,{2 * PRICE_MINOR}" in files["sales_by_product.csv"]
    assert "GB,GBP," in files["sales_by_country.csv"]


@relies_on("svc_bulk", "ListImportedOrders")
async def test_a_file_is_reconciled_with_the_order_and_the_refund_that_were_made_of_it(world: World):
    """By the key and the time that the importer gave them; a shopper's order of the same key is none of the file's."""
    number, then = f"{uuid4().int % 10**12}", datetime(2011, 3, 1, 9, 30, tzinfo=UTC)
    sku, key = await world.product(sku=number), f"invoice-{number}"
    importer = as_user(await world.rich(), roles=("customer", "importer"), actor_id=uuid4())
    orders = world.stub(order_service_pb2_grpc.OrderServiceStub, ORDERS)
    bought = await place(world, sku, key=key, importer=importer, price_minor=200, effective_time=timestamp(then))
    await place(world, sku, key=key)
    when = timestamp(then + timedelta(days=1))
    shipped = order_service_pb2.ShipOrderRequest(order_id=bought.order_id, effective_time=when)
    await orders.ShipOrder(shipped, metadata=as_user(roles=("importer",)))
    back = order_service_pb2.CreateRefundRequest(
        order_id=bought.order_id,
        amount=gbp(200),
        request_id=f"return-{number}",
        effective_time=when,
        lines=[order_service_pb2.ReturnedLine(line_number=1, quantity=1)],
    )
    await orders.CreateRefund(back, metadata=as_user(roles=("importer",)))

    head = "invoice_no,stock_code,description,quantity,invoice_time,unit_price_gbp,customer_id,country\n"
    content = (
        f"{head}{number},{sku},,2,{then:%F %T},2.00,7,UK\n{number}9,{sku},,1,{then:%F %T},5.00,7,UK\n"
        f"C{number},{sku},,-1,{then + timedelta(days=1):%F %T},2.00,7,UK\n"
    )
    done = await job_done(world, reconciliation={"file_id": await file_of(world, content)})
    table = (await text_of(world, next(file for file in done.files if file.name == "reconciliation.csv"))).splitlines()

    assert {"orders,orders,1,4.000", "refunds,refunds,1,-2.000", "difference,difference,0,0.000"} <= set(table)
    assert "remainder,orders refused: NOT_IN_THE_SHOP,1,5.000" in table
    assert 1 == done.progress.refused


# One-time links


@relies_on("svc_notify", "BatchGetLinks")
async def test_a_link_that_was_asked_for_has_all_that_a_letter_needs(world: World):
    """From the event alone: its purpose has a template, its id an address, a token and an end."""
    users = world.stub(user_service_pb2_grpc.UserServiceStub, "titan.auth.v1.UserService")
    edge = world.stub(link_service_pb2_grpc.LinkServiceStub, "titan.auth.v1.LinkService")
    email = f"ada.{uuid4().hex}@example.com"
    user = (await users.CreateUser(user_service_pb2.CreateUserRequest(email=email, password="a row of words"))).user
    await edge.RequestPasswordReset(link_service_pb2.RequestPasswordResetRequest(email=email))
    event = await requested_link(world, user.user_id)
    clients = world.clients("svc_notify")
    links = clients.get(link_service_pb2_grpc.LinkServiceStub)
    unknown = str(uuid4())

    asked = link_service_pb2.BatchGetLinksRequest(link_ids=[unknown, event.link_id])
    results = (await links.BatchGetLinks(asked, timeout=5.0)).results
    link = letters.link_from_wire(results[1].link)

    assert [(unknown, False), (event.link_id, True)] == [(r.link_id, r.HasField("link")) for r in results]
    assert "password_reset" == LINK_TEMPLATES[letters.purpose_from_wire(event.purpose)]
    assert email == results[1].link.email and link.expires_at > datetime.now(UTC)
    await edge.ResetPassword(link_service_pb2.ResetPasswordRequest(token=link.token, password="another row of words"))
    await clients.close()


@relies_on("svc_notify", "BatchGetContacts")
async def test_a_change_of_an_account_is_told_to_its_address(world: World):
    """From the event alone: its change has a template, its user an address; somebody unknown has none."""
    users = world.stub(user_service_pb2_grpc.UserServiceStub, "titan.auth.v1.UserService")
    email = f"ada.{uuid4().hex}@example.com"
    user = (await users.CreateUser(user_service_pb2.CreateUserRequest(email=email, password="a row of words"))).user
    async with world.databases["svc_auth"].hot() as tx:
        await tx.execute("UPDATE users SET email_verified_at = now() WHERE user_id = $1", UUID(user.user_id))
    request = user_service_pb2.ChangePasswordRequest(password="a row of words", new_password="another row of words")
    await users.ChangePassword(request, metadata=as_user(user.user_id))
    async with world.databases["svc_auth"].hot_read() as connection:
        query = "SELECT payload FROM outbox WHERE topic = $1 AND type = $2"
        rows = await connection.fetch(query, "titan.auth.mail.v1", SIGN_IN_CHANGED)
    told = [auth_events_pb2.SignInChanged.FromString(row["payload"]) for row in rows]
    (event,) = [each for each in told if each.user_id == user.user_id]
    clients = world.clients("svc_notify")
    contacts = clients.get(user_service_pb2_grpc.UserServiceStub)
    unknown = str(uuid4())

    asked = user_service_pb2.BatchGetContactsRequest(user_ids=[unknown, event.user_id])
    found = (await contacts.BatchGetContacts(asked, timeout=5.0)).contacts

    assert [(unknown, ""), (event.user_id, email)] == [(each.user_id, each.email) for each in found]
    assert "titan.auth.mail.v1" in TOPICS
    assert "password_changed" == NOTICE_TEMPLATES[letters.change_from_wire(event.change)]
    await clients.close()


async def requested_link(world: World, user_id: str) -> auth_events_pb2.LinkRequested:
    """Wait for the event of the link that a user has asked for."""
    query = "SELECT type, payload FROM outbox WHERE topic = $1 AND type = 'titan.auth.v1.LinkRequested'"
    async with asyncio.timeout(5):
        while True:
            async with world.databases["svc_auth"].hot_read() as connection:
                for row in await connection.fetch(query, "titan.auth.mail.v1"):
                    event = auth_events_pb2.LinkRequested.FromString(row["payload"])
                    if event.user_id == user_id:
                        assert "titan.auth.mail.v1" in TOPICS and LINK_REQUESTED == row["type"]
                        return event
            await asyncio.sleep(0.05)


async def place(
    world: World, sku: str, *, key: str = "", importer: Any = None, price_minor: int = PRICE_MINOR, **more: Any
) -> order_pb2.Order:
    """Place an order of two units from a wallet, through the whole saga; an importer's has a price of its own."""
    agreed = {} if importer is None else {"agreed_price": gbp(price_minor)}
    checkout = world.stub(checkout_service_pb2_grpc.CheckoutServiceStub, "titan.order.v1.CheckoutService")
    asked = checkout_service_pb2.PlaceOrderRequest(
        expected_total=gbp(2 * price_minor),
        shipping_address=address_pb2.Address(
            full_name="Ada Byron", line1="1 Mill Lane", city="Leeds", postal_code="LS1 1AA", country_code="GB"
        ),
        contact_email="ada@example.com",
        payment=WALLET,
        lines=[checkout_service_pb2.PlaceOrderLine(sku=sku, quantity=2, **agreed)],
        request_id=key or str(uuid4()),
        **more,
    )
    placed = (await checkout.PlaceOrder(asked, metadata=importer or as_user(await world.rich()))).order
    assert order_pb2.ORDER_STATUS_CONFIRMED == placed.status
    return placed


# A user's data, in their hands and gone


def packages(world: World) -> Privacy:
    """Return what svc_auth asks the other packages with."""
    servicer: Any = world.hosted["svc_auth"].servicers["titan.auth.v1.PrivacyService"]
    return servicer._exports._packages  # type: ignore[no-any-return]


async def with_cart(world: World, user_id: UUID) -> str:
    """Put two of a new product into a user's cart and return its SKU."""
    sku = await world.product()
    carts = world.stub(cart_service_pb2_grpc.CartServiceStub, "titan.cart.v1.CartService")
    await carts.AddItem(cart_service_pb2.AddItemRequest(sku=sku, quantity=2), metadata=as_user(user_id))
    return sku


@relies_on("svc_auth", "ListUserOrders", "GetUserStatement", "ListUserNotifications", "BatchGetCarts")
async def test_an_export_finds_what_each_package_holds(world: World):
    """The order with its address, the wallet with its movements, the cart, the letter."""
    placed = await place(world, await world.product())
    user_id, asks = UUID(placed.user_id), packages(world)
    sku = await with_cart(world, user_id)
    await write_letter(world, placed)

    (order,) = (await asks.orders(user_id, page_token="")).orders
    money = await asks.money(user_id)

    assert (placed.order_id, "1 Mill Lane") == (order.order_id, order.shipping_address.line1)
    assert money.balance_minor == 1_000_000 - 2 * PRICE_MINOR and not money.arriving
    transfers = (await asks.statement(user_id, page_token="")).transfers
    assert wallet_pb2.WALLET_TRANSFER_KIND_CREDIT in {each.kind for each in transfers}
    assert [(sku, 2)] == [(line.sku, line.quantity) for line in (await asks.cart(user_id)).lines]
    (letter,) = (await asks.notifications(user_id, page_token="")).notifications
    assert placed.order_id == letter.order_id


@relies_on("svc_auth", "EraseUser", "BatchCloseCarts", "BatchGetCarts")
async def test_an_erasure_empties_every_package(world: World):
    """Refused while the order is under way, whole when it has arrived, and the same when it is asked for again."""
    placed = await place(world, await world.product())
    user_id, asks = UUID(placed.user_id), packages(world)
    await with_cart(world, user_id)
    await write_letter(world, placed)
    with pytest.raises(Refusal) as refusal:
        await asks.check_orders(user_id)
    assert ("ORDERS_UNDER_WAY", placed.order_id) == (refusal.value.reason, refusal.value.metadata["order_id"])
    clerk, orders = as_user(roles=("warehouse",)), world.stub(order_service_pb2_grpc.OrderServiceStub, ORDERS)
    await orders.ShipOrder(order_service_pb2.ShipOrderRequest(order_id=placed.order_id), metadata=clerk)
    await orders.DeliverOrder(order_service_pb2.DeliverOrderRequest(order_id=placed.order_id), metadata=clerk)
    await eventually_done(lambda: asks.check_orders(user_id))

    for _ in range(2):
        await asks.empty(user_id)

    (order,) = (await asks.orders(user_id, page_token="")).orders
    assert placed.order_id == order.order_id and not order.contact_email and not order.HasField("shipping_address")
    assert not (await asks.cart(user_id)).lines
    assert not (await asks.notifications(user_id, page_token="")).notifications


async def write_letter(world: World, placed: order_pb2.Order) -> None:
    """Let svc_notify write the receipt of an order, without a broker; nobody sends it."""
    handle = MessageEvents(SystemClock(), SystemIds(), Gate(), channel=ChannelKind.EMAIL, domain="titan.local")
    confirmed = events_pb2.OrderConfirmed(order_id=placed.order_id, user_id=placed.user_id)
    event = Received(
        topic="titan.order.v1",
        type="titan.order.v1.OrderConfirmed",
        event_id=uuid4(),
        aggregate_id=placed.order_id,
        version=2,
        subject=placed.order_id,
        time=datetime.now(UTC),
        source="svc_order",
        cell="local",
        payload=confirmed.SerializeToString(),
        traceparent=None,
        partition=0,
        offset=0,
    )
    await world.databases["svc_notify"].transact(lambda tx: handle(tx, [event]))


async def eventually_done(attempt: Callable[[], Awaitable[None]]) -> None:
    """Try until it is not refused: what follows an order is done in the background."""
    async with asyncio.timeout(10):
        while True:
            try:
                return await attempt()
            except Refusal:
                await asyncio.sleep(0.05)


# Keys and ended sessions


@relies_on(RUNTIME, "GetJwks", "WatchRevocations")
async def test_every_package_verifies_tokens_by_what_auth_tells_it(world: World):
    """The published keys verify a real token, and a session that ends is refused within a second or two."""
    clients = world.clients("svc_inventory")
    feed = AuthFeed(clients, titan_contract())
    following = asyncio.create_task(feed.follow())
    sessions = world.stub(auth_service_pb2_grpc.AuthServiceStub, "titan.auth.v1.AuthService")
    guest = await sessions.CreateGuestSession(auth_service_pb2.CreateGuestSessionRequest())
    verifier = TokenVerifier(feed.keys, revocations=feed.revocations)

    caller = await eventually(lambda: verifier.verify(guest.access_token, mutation=True))
    await sessions.RevokeSession(auth_service_pb2.RevokeSessionRequest(refresh_token=guest.refresh_token))

    assert guest.user_id == str(caller.user_id) and caller.is_guest
    with pytest.raises(SessionRevoked):
        await eventually_raises(lambda: verifier.verify(guest.access_token, mutation=True))
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    await clients.close()


async def eventually(look: Callable[[], Any]) -> Any:
    """Return what a look gives, as soon as it is no refusal."""
    async with asyncio.timeout(10):
        while True:
            try:
                return look()
            except Refusal:
                await asyncio.sleep(0.02)


async def eventually_raises(look: Callable[[], Any]) -> None:
    """Look until it is refused."""
    async with asyncio.timeout(10):
        while True:
            look()
            await asyncio.sleep(0.02)


# Envoy's own call


def wire(number: int, content: bytes) -> bytes:
    """Return a field of a message as it travels, by its number alone: a text, or a message inside."""
    return bytes((number << 3 | 2, len(content))) + content


@relies_on(EDGE, "ShouldRateLimit")
async def test_envoy_is_understood_by_the_numbers_of_its_own_protocol(world: World):
    """Written by hand from Envoy's description of it: not from our contract, which must not change them."""
    service = "envoy.service.ratelimit.v3.RateLimitService"
    entries = ((b"payments", b"top_up"), (b"user", uuid4().hex.encode()), (b"not spoken of", b"yet"))
    descriptor = b"".join(wire(1, wire(1, key) + wire(2, value)) for key, value in entries)
    hits_addend = bytes((3 << 3, 0))
    request = wire(1, b"default") + wire(2, descriptor) + hits_addend
    ask = world.channels[service].unary_unary(f"/{service}/ShouldRateLimit")
    passing, refused = bytes((1 << 3, 1)), bytes((1 << 3, 2))

    answers = [await ask(request, metadata=as_service(EDGE), timeout=2)]
    while not answers[-1].startswith(refused) and len(answers) < 1000:
        answers.append(await ask(request, metadata=as_service(EDGE), timeout=2))

    assert all(answer.startswith(passing) for answer in answers[:-1])
    assert len(answers) > TOPOLOGY.limits["default"].payments.burst
    assert any(wire(3, wire(1, b"retry-after") + wire(2, seconds)) in answers[-1] for seconds in (b"1", b"2"))


# Access


async def test_a_package_that_the_topology_does_not_name_is_refused(world: World):
    """The callee itself refuses it, whatever Envoy let through."""
    clients = world.clients("svc_catalog")
    stranger = clients.get(inventory_service_pb2_grpc.InventoryServiceStub)

    with pytest.raises(AccessDenied):
        await stranger.BatchShip(inventory_service_pb2.BatchShipRequest(order_ids=[str(uuid4())]))
    await clients.close()
