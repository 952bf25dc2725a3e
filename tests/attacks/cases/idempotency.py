"""Keys: one stands for one body of one user and one method, and a repetition moves nothing."""

from __future__ import annotations

import asyncio
from uuid import uuid4

from tests.attacks.case import Reply, Wrong, add, case
from tests.attacks.scene import POCKET_MINOR, Scene, gbp

REPEATED_AT_ONCE = 12


async def place(scene: Scene, key: str, quantity: int = 1, *, token: str = "") -> Reply:
    """Place an order as the owner, or as somebody else."""
    body = scene.order_body(quantity)
    return await scene.send("POST", "/v1/orders", body, token=token or scene.victims.owner.token, key=key)


@case("an order without a key", "400 IDEMPOTENCY_KEY_REQUIRED")
async def order_without_key(scene: Scene) -> Reply:
    return await place(scene, "")


@case("a top-up without a key", "400 IDEMPOTENCY_KEY_REQUIRED")
async def top_up_without_key(scene: Scene) -> Reply:
    body = {"amount": gbp(1_000), "cardToken": "tok_visa"}
    return await scene.send("POST", "/v1/wallet:topUp", body, token=scene.victims.owner.token)


@case("a refund without a key", "400 IDEMPOTENCY_KEY_REQUIRED")
async def refund_without_key(scene: Scene) -> Reply:
    path = f"/v1/orders/{scene.victims.order_id}/refunds"
    return await scene.send("POST", path, {"amount": gbp(1)}, token=scene.victims.owner.token)


@case("an adjustment of stock without a key", "400 IDEMPOTENCY_KEY_REQUIRED")
async def adjustment_without_key(scene: Scene) -> Reply:
    path = f"/v1/inventory/{scene.victims.sku}:adjust"
    return await scene.send("POST", path, {"delta": 1, "reason": "x"}, token=scene.victims.admin.token)


@case("an order's key again: the same answer, byte for byte, and nothing moves", "200")
async def order_again(scene: Scene) -> Reply:
    key = str(uuid4())
    first = await place(scene, key)
    await scene.ready()
    again = await place(scene, key)
    if first.status != 200 or again.body != first.body:
        raise Wrong(f"{first} {first.body}, then {again.body}")
    return again


@case("an order's key with another quantity", "409 IDEMPOTENCY_KEY_REUSED")
async def order_other_body(scene: Scene) -> Reply:
    key = str(uuid4())
    await place(scene, key)
    await scene.ready()
    return await place(scene, key, 2)


@case("an order's key with another address", "409 IDEMPOTENCY_KEY_REUSED")
async def order_other_address(scene: Scene) -> Reply:
    key, token = str(uuid4()), scene.victims.owner.token
    await place(scene, key)
    await scene.ready()
    body = scene.order_body()
    body["shippingAddress"] = {**body["shippingAddress"], "line1": "2 Thief Street"}
    return await scene.send("POST", "/v1/orders", body, token=token, key=key)


@case("an order's key as the key of a top-up: another method's key is another key", "200")
async def key_of_another_method(scene: Scene) -> Reply:
    key, guest = str(uuid4()), await scene.guest(POCKET_MINOR)
    body = {"amount": gbp(100), "cardToken": "tok_visa"}
    await place(scene, key, token=guest.token)
    paid = await scene.send("POST", "/v1/wallet:topUp", body, token=guest.token, key=key)
    await scene.ready()
    again = await scene.send("POST", "/v1/wallet:topUp", body, token=guest.token, key=key)
    if paid.body != again.body:
        raise Wrong("the repetition was answered otherwise")
    return again


@case("somebody else's key: it is no key of theirs, and shows nothing", "400 PRICE_CHANGED")
async def key_of_another_user(scene: Scene) -> Reply:
    key = str(uuid4())
    await place(scene, key)
    await scene.ready()
    body = scene.order_body(expectedTotal=gbp(1))
    return await scene.send("POST", "/v1/orders", body, token=scene.victims.other.token, key=key)


@case("a top-up's key again: paid once", "200")
async def top_up_again(scene: Scene) -> Reply:
    key, token = str(uuid4()), scene.victims.owner.token
    body = {"amount": gbp(1_000), "cardToken": "tok_visa"}
    first = await scene.send("POST", "/v1/wallet:topUp", body, token=token, key=key)
    await scene.ready()
    again = await scene.send("POST", "/v1/wallet:topUp", body, token=token, key=key)
    if first.body != again.body:
        raise Wrong("the repetition was answered otherwise")
    return again


@case("a top-up's key with another amount", "409 IDEMPOTENCY_KEY_REUSED")
async def top_up_other_amount(scene: Scene) -> Reply:
    key, token = str(uuid4()), scene.victims.owner.token
    body = {"amount": gbp(1_000), "cardToken": "tok_visa"}
    await scene.ok("POST", "/v1/wallet:topUp", body, token=token, key=key)
    await scene.ready()
    return await scene.send("POST", "/v1/wallet:topUp", {**body, "amount": gbp(9_000)}, token=token, key=key)


@case("a delivery's key again with more units", "409 IDEMPOTENCY_KEY_REUSED")
async def delivery_other_units(scene: Scene) -> Reply:
    path, token = f"/v1/inventory/{scene.victims.sku}:adjust", scene.victims.admin.token
    body = {"delta": 1, "reason": "delivery", "requestId": str(uuid4())}
    await scene.ok("POST", path, body, token=token)
    await scene.ready()
    return await scene.send("POST", path, {**body, "delta": 1_000}, token=token)


@case("one key, twelve times at once: one order, one answer", "1 order")
async def at_once(scene: Scene) -> str:
    guest, key = await scene.guest(POCKET_MINOR), str(uuid4())
    answers = await asyncio.gather(*(place(scene, key, token=guest.token) for _ in range(REPEATED_AT_ONCE)))
    await scene.ready()
    said = {str(answer) for answer in answers}
    listed = await scene.ok("GET", "/v1/orders", token=guest.token)
    pocket = await scene.ok("GET", "/v1/wallet", token=guest.token)
    if said != {"200"} or int(pocket["wallet"]["balance"]["minorUnits"]) != POCKET_MINOR - 500:
        raise Wrong(f"{said}, {pocket}")
    return f"{len(listed['orders'])} order"


@case("a declined card's key again: declined, and nobody is asked again", "400 PAYMENT_DECLINED")
async def decline_again(scene: Scene) -> Reply:
    key, token = str(uuid4()), scene.victims.owner.token
    body = scene.order_body(payment={"card": {"token": "tok_declined"}})
    await scene.send("POST", "/v1/orders", body, token=token, key=key)
    await scene.ready()
    return await scene.send("POST", "/v1/orders", body, token=token, key=key)


BAD_KEYS = {
    "of 129 characters": "k" * 129,
    "with a space": "a key",
    "with a tab": "a\tkey",
    "in two headers' worth": "a, b",
}


def _bad_key(key: str) -> None:
    async def attack(scene: Scene) -> Reply:
        return await place(scene, key)

    name = next(name for name, value in BAD_KEYS.items() if value == key)
    add("idempotency", f"a key {name}", "400 INVALID_INPUT", attack, still=True)


for _key in BAD_KEYS.values():
    _bad_key(_key)


@case("a key in the header and another in the body", "400 INVALID_INPUT")
async def two_keys(scene: Scene) -> Reply:
    body = scene.order_body(requestId="another")
    return await scene.send("POST", "/v1/orders", body, token=scene.victims.owner.token, key=str(uuid4()))


@case("a cart that was ordered, under another key", "400 CART_EMPTY")
async def cart_twice(scene: Scene) -> Reply:
    guest = await scene.guest(POCKET_MINOR)
    await scene.ok("POST", "/v1/cart/items", {"sku": scene.victims.sku, "quantity": 1}, token=guest.token)
    body = scene.order_body()
    del body["lines"]
    await scene.ok("POST", "/v1/orders", body, token=guest.token, key=str(uuid4()))
    await scene.ready()
    return await scene.send("POST", "/v1/orders", body, token=guest.token, key=str(uuid4()))
