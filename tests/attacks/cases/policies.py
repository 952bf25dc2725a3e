"""Who works for the shop: what a role may not do after all, without a ticket, above a limit, or with others' things."""

from __future__ import annotations

from uuid import uuid4

from tests.attacks.asking import Ask, add_all
from tests.attacks.case import Reply, Wrong, case
from tests.attacks.scene import PRICE_MINOR, Scene, gbp

WANTING, BAD, HIDDEN = "403 TICKET_REQUIRED", "400 INVALID_INPUT", "404 ORDER_NOT_FOUND"
READ = ("svc_order.audit_entries",)
"""What is read under a ticket is written down, and nothing else changes."""

ORDER, TICKET = "/v1/orders/{order_id}", "SUP-4711"
FINANCE_MINOR = 100_000
MANY = FINANCE_MINOR // PRICE_MINOR + 1
NOBODYS, PERSONAL = "nobody's address", ("shippingAddress", "contactEmail")


def with_ticket(ticket: str) -> dict[str, str]:
    return {"X-Ticket-Id": ticket}


add_all(
    "policies",
    {
        "support reads an order with a ticket": Ask(
            "200", "GET", ORDER, who="role:support", headers=with_ticket(TICKET), changes=READ
        ),
        "support reads what happened to an order without a ticket": Ask(
            WANTING, "GET", f"{ORDER}/events", who="role:support"
        ),
        "support reads the invoices of an order without a ticket": Ask(
            WANTING, "GET", f"{ORDER}/invoices", who="role:support"
        ),
        "support reads the credit notes of an order without a ticket": Ask(
            WANTING, "GET", f"{ORDER}/creditNotes", who="role:support"
        ),
        "support reads the past of an order without a ticket": Ask(
            WANTING, "GET", f"{ORDER}:asOf?asOfTime=2999-01-01T00:00:00Z", who="role:support"
        ),
        "support asks for an order that there is not without a ticket": Ask(
            WANTING, "GET", f"/v1/orders/{uuid4()}", who="role:support"
        ),
        "support refunds without a ticket": Ask(
            WANTING, "POST", f"{ORDER}/refunds", {"amount": gbp(1)}, "role:support", keyed=True
        ),
        "support reads what was sent to whom without a ticket": Ask(
            WANTING, "GET", "/v1/notifications", who="role:support"
        ),
        "support erases somebody without a ticket": Ask(
            WANTING, "POST", f"/v1/users/{uuid4()}:erase", {"reason": "a wish"}, "role:support"
        ),
        "support asks how an erasure goes without a ticket": Ask(
            WANTING, "GET", f"/v1/users/{uuid4()}/erasure", who="role:support"
        ),
        "a ticket that is empty": Ask(WANTING, "GET", ORDER, who="role:support", headers=with_ticket("")),
        "a ticket that is a text": Ask(BAD, "GET", ORDER, who="role:support", headers=with_ticket("ada asked")),
        "a ticket that is the number of a card": Ask(
            BAD, "GET", ORDER, who="role:support", headers=with_ticket("4111111111111111")
        ),
        "a ticket that ends the statement": Ask(BAD, "GET", ORDER, who="role:support", headers=with_ticket("1';--")),
        "a ticket of a thousand characters": Ask(
            BAD, "GET", ORDER, who="role:support", headers=with_ticket("4" * 1000)
        ),
        "one ticket in the header and another in the query": Ask(
            BAD, "GET", f"{ORDER}?ticketId=SUP-1", who="role:support", headers=with_ticket(TICKET)
        ),
        "a customer with a ticket": Ask(HIDDEN, "GET", ORDER, who="other", headers=with_ticket(TICKET)),
        "a warehouse with a ticket": Ask(HIDDEN, "GET", ORDER, who="role:warehouse", headers=with_ticket(TICKET)),
        "the administrator with a ticket": Ask(HIDDEN, "GET", ORDER, who="admin", headers=with_ticket(TICKET)),
        "support cancels an order with a ticket": Ask(
            HIDDEN, "POST", f"{ORDER}:cancel", {"reason": "asked"}, "role:support", headers=with_ticket(TICKET)
        ),
        "support watches an order with a ticket": Ask(
            HIDDEN, "GET", f"{ORDER}:watch", who="role:support", headers=with_ticket(TICKET)
        ),
        "a seller reads the balance of another": Ask(
            "404 ACCOUNT_NOT_FOUND", "GET", "/v1/sellers/{seller_id}/balance", who="role:seller"
        ),
        "a seller reads the shares of another": Ask(
            "404 ACCOUNT_NOT_FOUND", "GET", "/v1/sellers/{seller_id}/shares", who="role:seller"
        ),
        "a seller reads the stock": Ask("403 ACCESS_DENIED", "GET", "/v1/inventory/{sku}", who="role:seller"),
    },
)


@case("a seller reads the invoices of the house", "0 invoices")
async def another_sellers_invoices(scene: Scene) -> str:
    guest = await scene.guest(PRICE_MINOR)
    order_id = await scene.order(guest)
    await scene.at_rest()
    await scene.ok("POST", f"/v1/orders/{order_id}:ship", {}, token=scene.victims.admin.token)
    await scene.ready()
    listed = await scene.ok("GET", "/v1/sellers/house/invoices", token=scene.victims.admin.token)
    if not listed["invoices"]:
        raise Wrong("the house has none")
    seller = scene.signer.token(roles=("customer", "seller"))
    page = await scene.ok("GET", "/v1/sellers/house/invoices", token=seller)
    return f"{len(page.get('invoices', []))} invoices"


@case("finance sends back a penny above its limit, in two refunds", "403 REFUND_LIMIT_EXCEEDED")
async def above_the_limit(scene: Scene) -> Reply:
    guest = await scene.guest(MANY * PRICE_MINOR)
    order_id = await scene.order(guest, MANY)
    await scene.at_rest()
    path, finance = f"/v1/orders/{order_id}/refunds", scene.signer.token(roles=("customer", "finance"))
    await scene.ok("POST", path, {"amount": gbp(FINANCE_MINOR)}, token=finance, key=str(uuid4()))
    await scene.ready()
    return await scene.send("POST", path, {"amount": gbp(1)}, token=finance, key=str(uuid4()))


@case("a warehouse ships what has arrived, to read where it went", f"DELIVERED, {NOBODYS}")
async def shipped_again(scene: Scene) -> str:
    return await _told_again(scene, "ship")


@case("a warehouse delivers what has arrived, to read where it went", f"DELIVERED, {NOBODYS}")
async def delivered_again(scene: Scene) -> str:
    return await _told_again(scene, "deliver")


async def _told_again(scene: Scene, verb: str) -> str:
    """Say of a parcel what was said before; return what the answer tells."""
    guest = await scene.guest(PRICE_MINOR)
    path, admin = f"/v1/orders/{await scene.order(guest)}", scene.victims.admin.token
    await scene.at_rest()
    sent_off = (await scene.ok("POST", f"{path}:ship", {}, token=admin))["order"]
    if not all(sent_off.get(field) for field in PERSONAL):
        raise Wrong(f"whoever sends it off reads {sorted(sent_off)}")
    await scene.ok("POST", f"{path}:deliver", {}, token=admin)
    await scene.ready()
    warehouse = scene.signer.token(roles=("customer", "warehouse"))
    told = (await scene.ok("POST", f"{path}:{verb}", {}, token=warehouse))["order"]
    shown = [each for each in PERSONAL if told.get(each)]
    return f"{told['status']}, {', '.join(shown) or NOBODYS}"
