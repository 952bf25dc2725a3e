"""Credit notes over the real chain, on real Postgres: for what went back of an invoice, numbered without a gap."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import pytest

from mesh.seams import failpoints
from tests import harness
from tests.svc_order.conftest import Shop
from tests.svc_order.order.test_rpc import captured, refused, ship
from tests.svc_order.world import World
from titan.order.v1 import invoice_pb2
from titan.order.v1 import invoice_service_pb2 as pb
from titan.order.v1 import order_service_pb2 as order_pb
from titan.type.v1 import money_pb2

FINANCE = harness.as_user(roles=("finance",))


async def refund(shop: Shop, order_id: str, amount_minor: int | None = None, *lines: int, key: str = "") -> str:
    """Refund an amount, or lines, or all; returns the refund's id."""
    request = order_pb.CreateRefundRequest(order_id=order_id, request_id=key or str(uuid4()))
    if amount_minor is not None:
        request.amount.CopyFrom(money_pb2.Money(currency_code="GBP", minor_units=amount_minor))
    for number in lines:
        request.lines.add(line_number=number, quantity=1)
    return (await shop.orders.CreateRefund(request, metadata=FINANCE)).refund.refund_id


async def of_order(shop: Shop, order_id: str, who: Any = FINANCE) -> list[invoice_pb2.CreditNote]:
    """Return the credit notes of an order, read in pages of one."""
    found: list[invoice_pb2.CreditNote] = []
    request = pb.ListOrderCreditNotesRequest(order_id=order_id, page_size=1)
    while True:
        page = await shop.invoices.ListOrderCreditNotes(request, metadata=who)
        found += page.credit_notes
        request.page_token = page.next_page_token
        if not page.next_page_token:
            return found


async def numbers(shop: Shop, seller: str) -> list[int]:
    """Return the numbers of a seller, the oldest first, read in small pages."""
    found: list[int] = []
    request = pb.ListCreditNotesRequest(seller_id=seller, page_size=3)
    while True:
        page = await shop.invoices.ListCreditNotes(request, metadata=FINANCE)
        found += [each.number for each in page.credit_notes]
        request.page_token = page.next_page_token
        if not page.next_page_token:
            return found[::-1]


async def test_each_seller_credits_what_it_bears_of_a_refund(shop: Shop, world: World) -> None:
    """And names the invoice that it corrects; the same refund again credits nothing again."""
    world.sellers["tea"] = seller = f"tea_{uuid4().hex[:8]}"
    order = await captured(shop, uuid4())
    await ship(shop, order.order_id)
    invoices = await shop.invoices.ListOrderInvoices(
        pb.ListOrderInvoicesRequest(order_id=order.order_id), metadata=FINANCE
    )
    invoice_numbers = {each.seller_id: each.number for each in invoices.invoices}
    key = str(uuid4())
    refund_id = await refund(shop, order.order_id, None, 2, key=key)
    assert refund_id == await refund(shop, order.order_id, None, 2, key=key)
    (note,) = await of_order(shop, order.order_id)
    assert (seller, 1, 250, refund_id) == (note.seller_id, note.number, note.total.minor_units, note.refund_id)
    assert invoice_numbers[seller] == note.invoice_number
    await refund(shop, order.order_id)
    notes = await of_order(shop, order.order_id)
    assert order.total.minor_units == sum(each.total.minor_units for each in notes)
    assert order.tax.minor_units == sum(each.tax.minor_units for each in notes)
    assert invoice_numbers["house"] == notes[0].invoice_number and ["house", seller] == [n.seller_id for n in notes]


async def test_what_went_back_before_the_parcel_left_is_credited_when_it_leaves(shop: Shop) -> None:
    """There was no invoice to correct before."""
    order = await captured(shop, uuid4())
    early = [await refund(shop, order.order_id, minor) for minor in (100, 50)]
    assert [] == await of_order(shop, order.order_id)
    await ship(shop, order.order_id)
    await ship(shop, order.order_id)
    late = await refund(shop, order.order_id, 10)
    notes = await of_order(shop, order.order_id)
    assert [(early[0], 100), (early[1], 50), (late, 10)] == [(n.refund_id, n.total.minor_units) for n in notes]


async def test_a_series_has_no_gap_whoever_refunds_at_once_and_whatever_fails(shop: Shop, world: World) -> None:
    """A refund that is not stored gives its number back."""
    seller = f"mugs_{uuid4().hex[:8]}"
    world.sellers.update(dict.fromkeys(("mug", "tea"), seller))
    orders = [await captured(shop, uuid4()) for _ in range(4)]
    for order in orders:
        await ship(shop, order.order_id)
    await refund(shop, orders[0].order_id, 1)
    failpoints.arm("order.change.before_commit", "raise*1")
    with pytest.raises(Exception, match="internal"):
        await refund(shop, orders[1].order_id, 1)
    assert [] == await of_order(shop, orders[1].order_id)
    await asyncio.gather(*(refund(shop, order.order_id, minor) for order in orders for minor in (2, 3)))
    assert list(range(1, 10)) == await numbers(shop, seller)


async def test_an_owner_reads_their_credit_notes_and_finance_a_sellers(shop: Shop) -> None:
    user = uuid4()
    order = await captured(shop, user)
    await ship(shop, order.order_id)
    await refund(shop, order.order_id, 1)
    await refund(shop, order.order_id, 2)
    mine = await of_order(shop, order.order_id, harness.as_user(user))
    assert 2 == len(mine) and mine == await of_order(shop, order.order_id)
    assert "ORDER_NOT_FOUND" == await refused(of_order(shop, order.order_id, harness.as_user()))
    request = pb.ListOrderCreditNotesRequest(order_id=order.order_id, page_size=1)
    token = (await shop.invoices.ListOrderCreditNotes(request, metadata=FINANCE)).next_page_token
    other = pb.ListOrderCreditNotesRequest(order_id=(await captured(shop, user)).order_id, page_token=token)
    assert "PAGE_TOKEN_INVALID" == await refused(shop.invoices.ListOrderCreditNotes(other, metadata=FINANCE))
    for roles in (("customer",), ("support",), ("importer",)):
        who = harness.as_user(roles=roles)
        assert "ACCESS_DENIED" == await refused(
            shop.invoices.ListCreditNotes(pb.ListCreditNotesRequest(seller_id="house"), metadata=who)
        )
    bad = pb.ListCreditNotesRequest(seller_id="house", page_token=token)
    assert "PAGE_TOKEN_INVALID" == await refused(shop.invoices.ListCreditNotes(bad, metadata=FINANCE))


async def test_a_seller_reads_its_own_credit_notes_and_nobody_elses(shop: Shop, world: World) -> None:
    user = uuid4()
    world.sellers["tea"] = seller = str(user)
    order = await captured(shop, uuid4())
    await ship(shop, order.order_id)
    refund_id = await refund(shop, order.order_id, None, 2)
    await refund(shop, order.order_id, None, 1)
    me = harness.as_user(user, roles=("seller",))

    async def listed(seller_id: str, who: Any) -> list[str]:
        page = await shop.invoices.ListCreditNotes(pb.ListCreditNotesRequest(seller_id=seller_id), metadata=who)
        return [each.refund_id for each in page.credit_notes]

    assert [refund_id] == await listed(seller, me) == await listed(seller, FINANCE)
    assert [] != await listed("house", FINANCE)
    assert [] == await listed("house", me) == await listed(seller, harness.as_user(roles=("seller",)))


async def test_a_credit_note_is_never_changed(shop: Shop) -> None:
    for statement in ("UPDATE credit_notes SET number = 7", "DELETE FROM credit_notes", "TRUNCATE credit_notes"):
        with pytest.raises(Exception, match="append-only"):
            async with shop.db.hot() as tx:
                await tx.execute(statement)
