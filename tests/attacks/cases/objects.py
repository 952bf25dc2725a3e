"""Objects of somebody else: they are not there, whatever names them. The matrix asks for each by its id."""

from __future__ import annotations

from uuid import uuid4

from tests.attacks.asking import NOBODY, Ask, add_all
from tests.attacks.case import Reply, Wrong, case
from tests.attacks.scene import Scene, gbp

add_all(
    "objects",
    {
        "another's order": Ask("404 ORDER_NOT_FOUND", "GET", "/v1/orders/{order_id}", who="other"),
        "another's order, as a guest": Ask("404 ORDER_NOT_FOUND", "GET", "/v1/orders/{order_id}", who="guest"),
        "another's order, as support": Ask("403 TICKET_REQUIRED", "GET", "/v1/orders/{order_id}", who="role:support"),
        "another's order, as the administrator": Ask(
            "404 ORDER_NOT_FOUND", "GET", "/v1/orders/{order_id}", who="admin"
        ),
        "an order, as nobody": Ask("401 UNAUTHENTICATED", "GET", "/v1/orders/{order_id}", who=NOBODY),
        "the events of another's order": Ask("404 ORDER_NOT_FOUND", "GET", "/v1/orders/{order_id}/events", who="other"),
        "to watch another's order": Ask("404 ORDER_NOT_FOUND", "GET", "/v1/orders/{order_id}:watch", who="other"),
        "to cancel another's order": Ask(
            "404 ORDER_NOT_FOUND", "POST", "/v1/orders/{order_id}:cancel", {"reason": "mine"}, "other"
        ),
        "to refund another's order": Ask(
            "404 ORDER_NOT_FOUND",
            "POST",
            "/v1/orders/{order_id}/refunds",
            {"amount": gbp(100), "reason": "mine"},
            "other",
            True,
        ),
        "another's payment": Ask("404 PAYMENT_NOT_FOUND", "GET", "/v1/payments/{payment_id}", who="other"),
        "another's payment, as finance": Ask(
            "404 PAYMENT_NOT_FOUND", "GET", "/v1/payments/{payment_id}", who="role:finance"
        ),
        "to end another's session": Ask("404 SESSION_NOT_FOUND", "DELETE", "/v1/sessions/{session_id}", who="other"),
        "to end another's session, as the administrator": Ask(
            "404 SESSION_NOT_FOUND", "DELETE", "/v1/sessions/{session_id}", who="admin"
        ),
        "to remove another's address changes nothing": Ask(
            "200", "DELETE", "/v1/users/me/addresses/{address_id}", who="other"
        ),
        "an order id with a quote": Ask("400 INVALID_INPUT", "GET", "/v1/orders/{order_id}'--", who="owner"),
        "an order that there is not": Ask("404 ORDER_NOT_FOUND", "GET", f"/v1/orders/{uuid4()}"),
        "an order id that is a number": Ask("400 INVALID_INPUT", "GET", "/v1/orders/1"),
        "an order id with a wildcard": Ask("400 INVALID_INPUT", "GET", "/v1/orders/%25"),
        "an order that is all zeros": Ask(
            "404 ORDER_NOT_FOUND", "GET", "/v1/orders/00000000-0000-0000-0000-000000000000"
        ),
        "a user's id in the query of their own list": Ask("400 INVALID_INPUT", "GET", "/v1/orders?userId={order_id}"),
    },
)


@case("a page token of somebody else's orders", "400 PAGE_TOKEN_INVALID")
async def page_of_another(scene: Scene) -> Reply:
    guest = await scene.guest(5_000)
    for _ in range(2):
        await scene.order(guest)
    page = await scene.ok("GET", "/v1/orders?pageSize=1", token=guest.token)
    await scene.ready()
    token = page["nextPageToken"]
    return await scene.send("GET", f"/v1/orders?pageToken={token}", token=scene.victims.other.token)


@case("a page token of another list", "400 PAGE_TOKEN_INVALID")
async def page_of_another_list(scene: Scene) -> Reply:
    guest = await scene.guest(5_000)
    for _ in range(2):
        await scene.order(guest)
    page = await scene.ok("GET", "/v1/orders?pageSize=1", token=guest.token)
    await scene.ready()
    return await scene.send("GET", f"/v1/wallet/transfers?pageToken={page['nextPageToken']}", token=guest.token)


@case("another's objects are told from no objects by nothing", "404 ORDER_NOT_FOUND")
async def told_alike(scene: Scene) -> Reply:
    token = scene.victims.other.token
    there = await scene.send("GET", f"/v1/orders/{scene.victims.order_id}", token=token)
    nowhere = await scene.send("GET", f"/v1/orders/{uuid4()}", token=token)
    if there.body != nowhere.body:
        raise Wrong(f"{there.body} and {nowhere.body}")
    return there


@case("an importer's token that acts for a customer reads that customer alone", "404 ORDER_NOT_FOUND")
async def acting_for(scene: Scene) -> Reply:
    """It may not end sessions, make a second factor, or act for a third."""
    importer = await scene.sign_in(scene.mesh.endpoints["importer_email"], scene.mesh.endpoints["importer_password"])
    body = {"subjectUserId": scene.victims.other.user_id}
    acting = (await scene.ok("POST", "/v1/sessions:exchange", body, token=importer.token))["accessToken"]
    await scene.ready()
    for method, path, more in (
        ("GET", "/v1/sessions", None),
        ("POST", "/v1/users/me/secondFactor:enrol", {"password": "x"}),
        ("POST", "/v1/sessions:exchange", {"subjectUserId": scene.victims.owner.user_id}),
    ):
        refused = await scene.send(method, path, more, token=acting)
        if str(refused) != "403 ACCESS_DENIED":
            raise Wrong(f"{method} {path}: {refused}")
    return await scene.send("GET", f"/v1/orders/{scene.victims.order_id}", token=acting)


@case("an importer acts for no administrator", "404 USER_NOT_FOUND")
async def acting_for_admin(scene: Scene) -> Reply:
    importer = await scene.sign_in(scene.mesh.endpoints["importer_email"], scene.mesh.endpoints["importer_password"])
    await scene.ready()
    body = {"subjectUserId": scene.victims.admin.user_id}
    return await scene.send("POST", "/v1/sessions:exchange", body, token=importer.token)
