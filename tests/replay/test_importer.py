"""What a replay asks of the edge: the calls, their keys, and what it makes of the answers."""

from __future__ import annotations

import json
import re
from datetime import timedelta

import httpx
import pytest

from bookkeeping.invoices import Invoice, invoices, shelf
from bookkeeping.returns import Part, Refund
from replay import edge as edge_module
from replay import importer as importer_module
from replay.deliveries import Delivery, ample
from replay.edge import Refused, ReplayFailed, read_endpoints
from replay.importer import GivenBack, Importer
from tests.bookkeeping.files import AT, line
from tests.replay.shop import Shop, refusal

LINES = [
    line("1001", "15A", 2, "1.25", "501"),
    line("1001", "15A", 1, "1.20", "501"),
    line("1001", "15a", 3, "0.29", "501"),
    line("1001", "POST", 1, "18", "501"),
    line("1001", "D", -1, "0.50", "501"),
    line("1003", "POST", 1, "18", ""),
]
REFUND = Refund("C9", AT + timedelta(days=1), "1001", "order of invoice-1001", Part.GOODS, 245, ((1, 1), (2, 1)))


@pytest.fixture
def shop() -> Shop:
    return Shop()


@pytest.fixture
def importer(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Importer:
    monkeypatch.setattr(edge_module, "PAUSES_SECONDS", (0.0, 0.0))
    monkeypatch.setattr(importer_module, "SETTLED_PAUSE_SECONDS", 0.0)
    return Importer(shop.edge())


async def prepare(importer: Importer) -> list[Invoice]:
    orders = invoices(LINES)
    await importer.put_on_the_shelf(shelf(LINES, orders))
    for delivery in ample(orders):
        await importer.receive(delivery)
    await importer.make_buyers(orders)
    return orders


async def test_each_invoice_is_one_order_at_its_prices_and_time(importer: Importer, shop: Shop) -> None:
    """In the name of its customer, or of a guest of its own; a product twice, and codes that differ by case."""
    made = [await importer.place(each) for each in await prepare(importer)]
    assert [("CONFIRMED", 457 + 1800 - 50), ("CONFIRMED", 1800)] == [(o.status, o.total_minor) for o in made]
    first, guest = shop.to("/v1/orders")
    assert ("invoice-1001", "Bearer for user of customer-501") == (first.key, first.authorization)
    assert ("invoice-1003", "Bearer for user of guest-1003") == (guest.key, guest.authorization)
    body = first.body
    assert ("2010-12-01T08:26:00Z", "2207") == (body["effectiveTime"], body["expectedTotal"]["minorUnits"])
    assert ("1800", "50") == (body["agreedShipping"]["minorUnits"], body["agreedDiscount"]["minorUnits"])
    assert [("15A", 2, "125"), ("15A", 1, "120"), ("15a", 3, "29")] == [
        (line["sku"], line["quantity"], line["agreedPrice"]["minorUnits"]) for line in body["lines"]
    ]
    assert "agreedShipping" not in guest.body and "agreedDiscount" not in guest.body


async def test_a_customers_number_may_be_anything(importer: Importer, shop: Shop) -> None:
    """The address that a letter would go to is one all the same."""
    customers = ("501", "J. Aberg, 2nd floor", "9" * 64)
    orders = invoices([line(f"100{number}", customer=customer) for number, customer in enumerate(customers)])
    await importer.make_buyers(orders)
    for each in orders:
        await importer.place(each)
    mailboxes = [call.body["contactEmail"].removesuffix("@example.com") for call in shop.to("/v1/orders")]
    assert "customer-501" == mailboxes[0] and 3 == len(set(mailboxes))
    assert all(re.fullmatch("[a-z0-9-]{1,64}", each) for each in mailboxes)


async def test_the_goods_and_the_buyers_come_in_batches(importer: Importer, shop: Shop) -> None:
    """One call each for products, stock, users and money, whatever their number up to the limits."""
    await prepare(importer)
    paths = (
        "/v1/products:batchCreate",
        "/v1/inventory:batchAdjust",
        "/v1/users:batchImport",
        "/v1/wallets:batchCredit",
    )
    assert [1, 1, 1, 1] == [len(shop.to(path)) for path in paths]
    (credit,) = shop.to("/v1/wallets:batchCredit")
    assert ["2207", "1800"] == [each["amount"]["minorUnits"] for each in credit.body["credits"]]


async def test_a_repeated_replay_asks_for_the_same_with_the_same_keys(importer: Importer, shop: Shop) -> None:
    """So nothing moves twice."""
    asked = []
    for _ in range(2):
        shop.asked.clear()
        for each in await prepare(importer):
            await importer.place(each)
        asked.append(sorted((call.key, json.dumps(call.body)) for call in shop.asked if call.key))
    assert asked[0] == asked[1] and 4 == len(asked[0])


async def test_two_deliveries_of_the_same_goods_are_two(importer: Importer, shop: Shop) -> None:
    """The day is part of the key."""
    for day in (1, 2):
        await importer.receive(Delivery(AT.date().replace(day=day), {"101A": 5}))
    first, second = shop.to("/v1/inventory:batchAdjust")
    assert first.key != second.key


async def test_goods_that_come_back_have_left_before(importer: Importer, shop: Shop) -> None:
    """An order is shipped once; the units go on the shelf again, under the key of the credit note and the order."""
    assert GivenBack(245) == await importer.give_back(REFUND)
    await importer.give_back(Refund("C10", AT, "1001", REFUND.order_id, Part.CHARGES, 5, ((3, 1),)))
    (left,) = shop.to(f"/v1/orders/{REFUND.order_id}:ship")
    goods, charge = shop.to(f"/v1/orders/{REFUND.order_id}/refunds")
    assert ("return-C9-1001-goods", "return-C10-1001-charges") == (goods.key, charge.key)
    assert "2010-12-02T08:26:00Z" == left.body["effectiveTime"] == goods.body["effectiveTime"]
    assert [{"lineNumber": 1, "quantity": 1}, {"lineNumber": 2, "quantity": 1}] == goods.body["lines"]
    assert (True, False, "245") == (goods.body["restock"], charge.body["restock"], goods.body["amount"]["minorUnits"])


async def test_a_refund_whose_answer_was_lost_is_told_when_its_order_is_over(importer: Importer, shop: Shop) -> None:
    """It gave back all that was left, so the order leaves no more; its key still has the answer."""
    await importer.give_back(REFUND)
    shop.say(f"/v1/orders/{REFUND.order_id}:ship", refusal(400, "ORDER_NOT_SHIPPABLE"))
    assert GivenBack(245) == await Importer(shop.edge()).give_back(REFUND)
    shop.say(f"/v1/orders/{REFUND.order_id}:ship", refusal(404, "ORDER_NOT_FOUND"))
    assert GivenBack(refusal="ORDER_NOT_FOUND") == await Importer(shop.edge()).give_back(REFUND)


async def test_a_session_that_is_over_is_no_refusal_of_an_order(importer: Importer, shop: Shop) -> None:
    """What the journal keeps is never asked for again."""
    (order, _) = await prepare(importer)
    shop.say("/v1/orders", refusal(401, "SESSION_REVOKED"))
    with pytest.raises(ReplayFailed, match="SESSION_REVOKED"):
        await importer.place(order)


async def test_money_alone_goes_back_of_an_order_that_has_not_left(importer: Importer, shop: Shop) -> None:
    await importer.give_back(Refund("C9", AT, "1001", "o", Part.SHIPPING, 245))
    (call,) = shop.asked[1:]
    assert ("/v1/orders/o/refunds", False) == (call.path, "lines" in call.body)


async def test_a_refused_refund_keeps_its_reason(importer: Importer, shop: Shop) -> None:
    shop.say(f"/v1/orders/{REFUND.order_id}/refunds", refusal(400, "ORDER_NOT_REFUNDABLE"))
    assert GivenBack(refusal="ORDER_NOT_REFUNDABLE") == await importer.give_back(REFUND)


async def test_an_order_is_looked_at_until_its_money_is_back(importer: Importer, shop: Shop) -> None:
    """What it says then is what went back."""
    await prepare(importer)
    pending, back = [
        {"order": {"paymentStatus": status, "refunded": {"minorUnits": "245"}}} for status in ("CAPTURED", "REFUNDED")
    ]
    shop.say("/v1/orders/o", httpx.Response(200, json=pending), httpx.Response(200, json=back))
    assert 245 == await importer.refunded_minor("o", "customer-501")


async def test_an_order_that_is_still_being_decided_is_asked_for_again(importer: Importer, shop: Shop) -> None:
    """A PENDING answer is no outcome; one that stays so ends the replay, and is asked for by the next."""
    (order, _) = await prepare(importer)
    pending = httpx.Response(200, json={"order": {"status": "PENDING"}})
    shop.say("/v1/orders", pending, pending)
    assert "CONFIRMED" == (await importer.place(order)).status
    shop.say("/v1/orders", *[pending] * importer_module.DECIDED_TRIES)
    with pytest.raises(ReplayFailed, match="goes on from here"):
        await importer.place(order)


@pytest.mark.parametrize(
    "lost",
    [httpx.ReadError("cut"), refusal(503, "UNAVAILABLE"), refusal(500, "INTERNAL"), refusal(429, "OVERLOADED")],
    ids=str,
)
async def test_a_lost_answer_is_asked_for_again_with_its_key(
    importer: Importer, shop: Shop, lost: httpx.Response | Exception
) -> None:
    """An unknown answer is settled by asking again, and is never taken for a refusal."""
    (order, _) = await prepare(importer)
    shop.say("/v1/orders", lost)
    assert "CONFIRMED" == (await importer.place(order)).status
    assert ["invoice-1001"] * 2 == [call.key for call in shop.to("/v1/orders")]
    shop.say("/v1/orders", lost, lost, lost)
    with pytest.raises(ReplayFailed, match="goes on from here"):
        await importer.place(order)


async def test_a_refused_order_keeps_its_reason(importer: Importer, shop: Shop) -> None:
    """A refusal is a result, not the end of the replay."""
    (order, _) = await prepare(importer)
    shop.say("/v1/orders", refusal(400, "OUT_OF_STOCK"))
    assert "OUT_OF_STOCK" == (await importer.place(order)).refusal


async def test_tokens_are_renewed_before_they_expire(
    importer: Importer, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A buyer's token serves many orders; a replay lasts longer than it does."""
    (order, _) = await prepare(importer)
    await importer.place(order)
    await importer.place(order)
    assert (1, 1) == (len(shop.to("/v1/sessions")), len(shop.to("/v1/sessions:exchange")))
    late = edge_module.time.monotonic() + edge_module.RENEWED_SECONDS
    monkeypatch.setattr(edge_module.time, "monotonic", lambda: late)
    await importer.place(order)
    assert (2, 2) == (len(shop.to("/v1/sessions")), len(shop.to("/v1/sessions:exchange")))


async def test_what_a_replay_can_not_do_without_ends_it(importer: Importer, shop: Shop) -> None:
    """A refused call, and one refused item among others."""
    shop.say("/v1/products:batchCreate", refusal(403, "ACCESS_DENIED"))
    with pytest.raises(ReplayFailed, match="ACCESS_DENIED"):
        await prepare(importer)
    one = httpx.Response(200, json={"results": [{}, {"error": {"message": "too much of it"}}]})
    shop.say("/v1/wallets:batchCredit", one)
    with pytest.raises(ReplayFailed, match="too much of it"):
        await prepare(importer)


async def test_the_limits_of_the_default_profile_are_named(shop: Shop) -> None:
    """With the command that raises them; asking again would not help."""
    shop.say("/v1/sessions", httpx.Response(429, text="local_rate_limited"))
    with pytest.raises(ReplayFailed, match="PROFILE=load"):
        await shop.edge().call("/v1/orders", {})
    assert 1 == len(shop.asked)


async def test_a_refusal_without_a_reason_is_its_status(shop: Shop) -> None:
    shop.say("/v1/sessions", httpx.Response(418, text="tea"))
    with pytest.raises(Refused, match="HTTP_418"):
        await shop.edge().call("/v1/orders", {})


def test_without_a_mesh_the_replay_says_which_to_start(tmp_path):
    """The load profile, at once."""
    with pytest.raises(ReplayFailed, match=f"{tmp_path}; start one: make up PROFILE=load"):
        read_endpoints(tmp_path)


def test_a_mesh_of_another_profile_is_refused_before_the_first_call(tmp_path):
    """Its limits would cut the replay off half way, with customers made and no order placed."""
    (tmp_path / "endpoints.json").write_text('{"profile": "default"}')
    with pytest.raises(ReplayFailed, match="runs with PROFILE=default: make down, then make up PROFILE=load"):
        read_endpoints(tmp_path)
    (tmp_path / "endpoints.json").write_text('{"profile": "load"}')
    assert {"profile": "load"} == read_endpoints(tmp_path)
