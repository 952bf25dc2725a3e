"""What is rightful once and harmful a thousand times: guesses, cards, carts, watchers, at the limits of every day."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from uuid import uuid4

from tests.attacks.case import Reply, Wrong, add, case
from tests.attacks.scene import MeshTopology, Scene

LIMITS = MeshTopology.limits["default"]
WATCHES_PER_USER = 5
CARD_PIPES = 4

OVERLOADED = "429 OVERLOADED"

SENSITIVE: Mapping[str, str] = {
    "sign-ins": "/v1/sessions",
    "registrations": "/v1/users",
    "refreshes": "/v1/sessions:refresh",
    "second factors": "/v1/sessions:complete",
    "letters": "/v1/passwords:requestReset",
    "erasures": "/v1/users/me:erase",
    "codes for a second factor": "/v1/users/me/secondFactor:confirm",
}


def post(path: str) -> bytes:
    """Return a request that says nothing."""
    lines = (f"POST {path} HTTP/1.1", "host: localhost", "content-type: application/json", "content-length: 2")
    return "\r\n".join((*lines, "", "{}")).encode()


def _sensitive(what: str) -> None:
    async def attack(scene: Scene) -> str:
        """Envoy counts before anybody reads a body, so what is said is of no matter."""
        bucket, loop = LIMITS.sessions, asyncio.get_running_loop()
        began = loop.time()
        said = await scene.pipelined(post(SENSITIVE[what]), bucket.burst * 2)
        passed = said.total() - said[OVERLOADED]
        most = bucket.burst + bucket.per_second * (loop.time() - began + 1)
        if passed > most:
            raise Wrong(f"{passed} passed, {most:.0f} at most")
        return OVERLOADED if said[OVERLOADED] else str(said)

    add("abuse", f"twice as many {what} at once as the bucket of an address holds", OVERLOADED, attack)


for _what in SENSITIVE:
    _sensitive(_what)


@case("the neighbour's address signs in meanwhile", "200")
async def neighbour_signs_in(scene: Scene) -> Reply:
    await scene.pipelined(post("/v1/sessions"), LIMITS.sessions.burst * 2)
    person = scene.victims.owner
    body = {"email": person.email, "password": person.password}
    reply = await scene.send("POST", "/v1/sessions", body, address=scene.another_address())
    await scene.ready()  # the session is rightful
    return reply


@case("four times as many reads as the bucket of an address holds", OVERLOADED)
async def reads(scene: Scene) -> str:
    said = await scene.pipelined(b"GET /v1/x HTTP/1.1\r\nhost: localhost\r\n\r\n", LIMITS.address.burst * 4)
    if not said["404 ROUTE_NOT_FOUND"]:
        raise Wrong(str(said))
    return OVERLOADED if said[OVERLOADED] else str(said)


@case("one user from many addresses: the bucket of the user ends it", OVERLOADED)
async def many_addresses(scene: Scene) -> str:
    """Four addresses, none of which sends as much as the bucket of an address holds."""
    token, addresses = scene.signer.token(), [scene.another_address() for _ in range(4)]
    lines, count = ("GET /v1/x HTTP/1.1", "host: localhost", f"authorization: Bearer {token}"), LIMITS.user.burst
    requests = "\r\n".join((*lines, "", "")).encode() * count
    answers = await asyncio.gather(*(scene.speak(requests, answers=count, address=address) for address in addresses))
    said = Counter(str(reply) for replies in answers for reply in replies)
    return OVERLOADED if said[OVERLOADED] and said["404 ROUTE_NOT_FOUND"] else str(said)


@case(
    "a hundred stolen cards at once: the bucket of the user ends it",
    OVERLOADED,
    changes=("svc_payment.top_ups",),
)
async def card_testing(scene: Scene) -> str:
    guest = await scene.guest()
    await scene.ready()
    content = b'{"amount": {"currencyCode": "GBP", "minorUnits": "100"}, "cardToken": "tok_declined"}'
    lines = ("POST /v1/wallet:topUp HTTP/1.1", "host: localhost", f"authorization: Bearer {guest.token}")
    lines += ("content-type: application/json", f"content-length: {len(content)}")
    share = LIMITS.user.burst * 2 // CARD_PIPES
    requests = b"".join(
        "\r\n".join((*lines, f"idempotency-key: {uuid4()}", "", "")).encode() + content for _ in range(share)
    )
    addresses = [scene.another_address() for _ in range(CARD_PIPES)]
    pipes = (scene.speak(requests, answers=share, address=address) for address in addresses)
    said = Counter(str(reply) for replies in await asyncio.gather(*pipes) for reply in replies)
    if set(said) - {"400 PAYMENT_DECLINED", OVERLOADED} or not said["400 PAYMENT_DECLINED"]:
        raise Wrong(str(said))
    return OVERLOADED if said[OVERLOADED] else str(said)


@case("a cart with all of a scarce product holds none of it", "5 available")
async def hoarding(scene: Scene) -> str:
    sku, _ = await scene.product(5)
    guest = await scene.guest()
    await scene.ok("POST", "/v1/cart/items", {"sku": sku, "quantity": 5}, token=guest.token)
    await scene.ready()
    stock = await scene.ok("GET", f"/v1/inventory/{sku}", token=scene.victims.admin.token)
    return f"{stock['stock']['available']} available"


@case("to order more than the pocket holds gives the stock back at once", "5 available")
async def hoarding_by_order(scene: Scene) -> str:
    sku, _ = await scene.product(5)
    guest = await scene.guest()
    body = {**scene.order_body(), "lines": [{"sku": sku, "quantity": 1}]}
    for _ in range(5):
        await scene.send("POST", "/v1/orders", body, token=guest.token, key=str(uuid4()))
    await scene.ready()
    stock = await scene.ok("GET", f"/v1/inventory/{sku}", token=scene.victims.admin.token)
    return f"{stock['stock']['available']} available"


@case("a user watches five orders at a time and no more", "429 OVERLOADED")
async def watching(scene: Scene) -> Reply:
    guest = await scene.guest()
    waiting = {"card": {"token": "tok_action"}}
    order_id = await scene.order(guest, payment=waiting)
    path, headers = f"/v1/orders/{order_id}:watch", {"authorization": f"Bearer {guest.token}"}
    opened = [
        scene.client(scene.another_address()).stream("GET", path, headers=headers) for _ in range(WATCHES_PER_USER)
    ]
    reading: list[AsyncIterator[bytes]] = []
    try:
        for each in opened:
            stream = await each.__aenter__()
            reading.append(stream.aiter_raw())  # whoever drops it hangs up
            await anext(reading[-1])
        return await scene.send("GET", path, token=guest.token)
    finally:
        for each in opened:
            await each.__aexit__(None, None, None)
        await scene.ok("POST", f"/v1/orders/{order_id}:cancel", {}, token=guest.token)
        await scene.ready()  # an order that waits for its bank is looked after, and never at rest
