"""Amounts and quantities: whole, within their limits, in the shop's currency, and never more than there is."""

from __future__ import annotations

import asyncio
from uuid import uuid4

from tests.attacks.asking import Ask, add_all, lines, order
from tests.attacks.case import Reply, Wrong, case
from tests.attacks.scene import PRICE_MINOR, Scene, gbp

BAD = "400 INVALID_INPUT"
TICKET = "SUP-4711"
SPENT_AT_ONCE = 10
STOCK_AT_ONCE, WANTED_AT_ONCE = 5, 20

AMOUNTS = {
    "nothing": "0",
    "less than nothing": "-1",
    "one more than the most": "10000001",
    "more than 64 bits": "9223372036854775808",
    "a hundred digits": "9" * 100,
    "a fraction": "1.5",
    "an exponent": "1e3",
    "a number that is a fraction": 1.5,
    "true": True,
    "a list": ["1"],
    "hexadecimal": "0x10",
    "with a blank": " 1",
    "with a plus": "+1",
    "an empty text": "",
    "infinity": "Infinity",
    "not a number": "NaN",
    "other digits than ASCII's": "١٠٠",
}
QUANTITIES = {
    "none": 0,
    "less than none": -1,
    "one more than the most": 100_001,
    "2 to the 31st": 2**31,
    "2 to the 32nd and one": 2**32 + 1,
    "2 to the 63rd": 2**63,
    "a half": 0.5,
    "a text that is no number": "many",
    "true": True,
}


def _pay(value: object, **more: object) -> dict[str, object]:
    return {"amount": {"currencyCode": "GBP", "minorUnits": value}, "cardToken": "tok_visa", **more}


add_all(
    "money",
    {
        **{
            f"to pay in {what}": Ask(BAD, "POST", "/v1/wallet:topUp", _pay(value), keyed=True)
            for what, value in AMOUNTS.items()
        },
        **{
            f"to order {what}": Ask(BAD, "POST", "/v1/orders", lines(quantity), keyed=True)
            for what, quantity in QUANTITIES.items()
        },
        "to pay in another currency": Ask(
            "400 CURRENCY_NOT_SUPPORTED",
            "POST",
            "/v1/wallet:topUp",
            {"amount": {"currencyCode": "XXX", "minorUnits": "100"}, "cardToken": "tok_visa"},
            keyed=True,
        ),
        "to pay in a currency in small letters": Ask(
            BAD,
            "POST",
            "/v1/wallet:topUp",
            {"amount": {"currencyCode": "gbp", "minorUnits": "100"}, "cardToken": "tok_visa"},
            keyed=True,
        ),
        "to pay in a card number's worth": Ask(
            BAD, "POST", "/v1/wallet:topUp", {"amount": gbp(100), "cardToken": "4111111111111111"}, keyed=True
        ),
        "to order with a card number": Ask(
            BAD, "POST", "/v1/orders", order(payment={"card": {"token": "4111 1111 1111 1111"}}), keyed=True
        ),
        "to expect another currency": Ask(
            "400 PRICE_CHANGED",
            "POST",
            "/v1/orders",
            order(expectedTotal={"currencyCode": "USD", "minorUnits": "500"}),
            keyed=True,
        ),
        "to expect less than nothing": Ask("400 PRICE_CHANGED", "POST", "/v1/orders", lines(1, total=-500), keyed=True),
        "1,001 lines": Ask(BAD, "POST", "/v1/orders", lines(*[1] * 1001), keyed=True),
        "two ways to pay": Ask(
            BAD, "POST", "/v1/orders", order(payment={"wallet": {}, "card": {"token": "tok_visa"}}), keyed=True
        ),
        "no way to pay": Ask(BAD, "POST", "/v1/orders", order(payment={}), keyed=True),
        "a provider that is an address": Ask(
            BAD,
            "POST",
            "/v1/orders",
            order(payment={"card": {"token": "tok_visa", "provider": "http://169.254.169.254/"}}),
            keyed=True,
        ),
        "10,001 in the cart": Ask(BAD, "POST", "/v1/cart/items", {"sku": "X", "quantity": 10_001}),
        "less than none in the cart": Ask(BAD, "POST", "/v1/cart/items", {"sku": "X", "quantity": -1}),
        "a product at less than nothing": Ask(
            "400 PRICE_INVALID",
            "POST",
            "/v1/products",
            {"product": {"title": "x", "variants": [{"sku": f"NEG-{uuid4().hex[:6]}", "price": gbp(-1)}]}},
            "admin",
        ),
        "to take more stock than there is": Ask(
            "400 STOCK_BELOW_RESERVED",
            "POST",
            "/v1/inventory/{sku}:adjust",
            {"delta": -100_000, "reason": "thief", "requestId": str(uuid4())},
            "admin",
            changes=("svc_inventory.idempotency",),  # a refusal is stored under its key
        ),
        "a refund of more than was paid": Ask(
            "400 REFUND_EXCEEDS_ORDER",
            "POST",
            "/v1/orders/{order_id}/refunds",
            {"amount": gbp(PRICE_MINOR + 1), "ticketId": TICKET},
            "role:support",
            keyed=True,
        ),
        "a refund of less than nothing": Ask(
            "400 REFUND_AMOUNT_INVALID",
            "POST",
            "/v1/orders/{order_id}/refunds",
            {"amount": gbp(-1), "ticketId": TICKET},
            "role:support",
            keyed=True,
        ),
        "a refund in another currency": Ask(
            "400 REFUND_AMOUNT_INVALID",
            "POST",
            "/v1/orders/{order_id}/refunds",
            {"amount": {"currencyCode": "USD", "minorUnits": "1"}, "ticketId": TICKET},
            "role:support",
            keyed=True,
        ),
    },
)


@case("to spend one pocket ten times at once: as often as it lasts", "2 orders, 0 left")
async def spent_at_once(scene: Scene) -> str:
    guest = await scene.guest(2 * PRICE_MINOR)
    answers = await asyncio.gather(
        *(
            scene.send("POST", "/v1/orders", scene.order_body(), token=guest.token, key=str(uuid4()))
            for _ in range(SPENT_AT_ONCE)
        )
    )
    said = {str(answer) for answer in answers}
    if not said <= {"200", "400 INSUFFICIENT_FUNDS"}:
        raise Wrong(str(said))
    await scene.ready()
    wallet = await scene.ok("GET", "/v1/wallet", token=guest.token)
    left = int(wallet["wallet"]["balance"].get("minorUnits", 0))
    return f"{sum(answer.status == 200 for answer in answers)} orders, {left} left"


@case("twenty buyers of the last five: five are served", "5 served, 0 available")
async def last_units(scene: Scene) -> str:
    sku, _ = await scene.product(STOCK_AT_ONCE)
    body = {**scene.order_body(), "lines": [{"sku": sku, "quantity": 1}]}
    token = scene.victims.owner.token
    answers = await asyncio.gather(
        *(scene.send("POST", "/v1/orders", body, token=token, key=str(uuid4())) for _ in range(WANTED_AT_ONCE))
    )
    await scene.ready()
    stock = await scene.ok("GET", f"/v1/inventory/{sku}", token=scene.victims.admin.token)
    served = sum(answer.status == 200 for answer in answers)
    return f"{served} served, {stock['stock'].get('available', 0)} available"


@case("a refund twice under two keys: no more than was paid", "400 ORDER_NOT_REFUNDABLE")
async def refunded_twice(scene: Scene) -> Reply:
    guest = await scene.guest(PRICE_MINOR)
    order_id = await scene.order(guest)
    await scene.at_rest()
    path, support = f"/v1/orders/{order_id}/refunds", scene.signer.token(roles=("customer", "support"))
    body = {"amount": gbp(PRICE_MINOR), "ticketId": TICKET}
    await scene.ok("POST", path, body, token=support, key=str(uuid4()))
    await scene.ready()
    return await scene.send("POST", path, body, token=support, key=str(uuid4()))


@case("a customer refunds their own order as if they were support", "403 SUPPORT_REQUIRED")
async def refunded_by_owner(scene: Scene) -> Reply:
    guest = await scene.guest(PRICE_MINOR)
    order_id = await scene.order(guest)
    await scene.at_rest()
    ship = {"trackingCode": "T-1"}
    await scene.ok("POST", f"/v1/orders/{order_id}:ship", ship, token=scene.victims.admin.token)
    await scene.ready()
    path = f"/v1/orders/{order_id}/refunds"
    return await scene.send("POST", path, {"amount": gbp(1)}, token=guest.token, key=str(uuid4()))
