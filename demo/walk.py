"""The walk of `python -m demo`: one shopper from registration to receipt, with what happened beside each call."""

from __future__ import annotations

import email
import email.policy
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
from rich.console import Console

from demo.seed import seed
from demo.shop import Shop, Surprise, Tally, gbp, pounds

ADDRESS = {
    "fullName": "Robin Example",
    "line1": "12 Canal Street",
    "city": "Hebden Bridge",
    "postalCode": "HX7 8AA",
    "countryCode": "GB",
}
RECEIPT_SECONDS = 30.0
"""How long the demo waits for the receipt; the first event of a fresh broker takes some seconds."""

console = Console(highlight=False, soft_wrap=True)


def main() -> int:
    """Walk one shopper through the running mesh; the exit status is 0 when nothing surprised."""
    home = Path(os.environ.get("TITAN_HOME") or ".titan").expanduser().absolute()
    try:
        endpoints = json.loads((home / "endpoints.json").read_text())
    except FileNotFoundError:
        console.print(f"No mesh is running in {home}. Start one: make up.", style="red")
        return 1
    began = time.monotonic()
    try:
        tally = _walk(endpoints)
    except (Surprise, httpx.HTTPError) as surprise:
        return _complain(str(surprise) or type(surprise).__name__)
    except KeyError as missing:
        return _complain(f"an answer, or endpoints.json, has no {missing}")
    more = f" and {tally.unlisted} that look whether something has happened yet" if tally.unlisted else ""
    console.print(
        f"\nDone in {time.monotonic() - began:.1f} s: the {tally.listed} calls above{more}. "
        "The mesh runs on; stop it with: make down"
    )
    return 0


def _complain(surprise: str) -> int:
    console.print(f"\nThis should not have happened: {surprise}", style="bold red", markup=False)
    return 1


def _walk(endpoints: dict[str, Any]) -> Tally:
    shop = Shop.at(endpoints, console)
    _say("The shop opens", "an administrator puts the catalogue on the shelf")
    credentials = {"email": endpoints["admin_email"], "password": endpoints["admin_password"]}
    admin = shop.as_user(shop.call("POST", "/v1/sessions", credentials)["accessToken"])
    _tell(f"{seed(admin)} products are on sale")

    shopper, address = _register(shop)
    _browse(shopper)
    order = _order_from_cart(shopper, address)
    _show_events(shopper, order)
    _pay_by_card(shopper, address)
    _show_receipt(Path(endpoints["mail_dir"]), order["orderId"])
    _ship(shopper, admin, order["orderId"])

    _say("The books", "every movement of money, added up from scratch")
    verified = admin.call("GET", "/v1/ledger:verify")
    _expect(verified["balanced"] is True, f"the ledger is out of balance: {verified}")
    _tell(f"{verified['transfers']} transfers, {verified['entries']} entries: balanced")
    return shop.tally


def _register(shop: Shop) -> tuple[Shop, str]:
    _say("A shopper comes", "as a guest, then registers; the guest's cart stays theirs")
    guest = shop.as_user(shop.call("POST", "/v1/sessions:guest", {})["accessToken"])
    guest.call("POST", "/v1/cart/items", {"sku": "MUG-SLATE", "quantity": 2})
    address = f"robin-{uuid4().hex[:8]}@example.com"
    password = f"walk-{uuid4().hex}"
    user = guest.call("POST", "/v1/users", {"email": address, "password": password, "displayName": "Robin"})["user"]
    session = shop.call("POST", "/v1/sessions", {"email": address, "password": password})
    _expect(session["userId"] == user["userId"], "registering made another user of the guest")
    _tell(f"{user['displayName']} <{address}> is user {user['userId']}")
    return shop.as_user(session["accessToken"]), address


def _browse(shopper: Shop) -> None:
    _say("Looking around", "pages, search, one product")
    page = shopper.call("GET", "/v1/products?pageSize=5")
    _tell("newest: " + ", ".join(product["title"] for product in page["products"]))
    found = shopper.call("GET", "/v1/products:search?query=harbour")["products"]
    _expect(bool(found), "search found nothing")
    _tell("search for 'harbour': " + ", ".join(product["title"] for product in found))
    product = shopper.call("GET", f"/v1/products/{found[0]['productId']}")["product"]
    for variant in product["variants"]:
        _tell(f"{variant['sku']:12} {pounds(variant['price'])}")


def _order_from_cart(shopper: Shop, address: str) -> dict[str, Any]:
    _say("Filling the cart", "two mugs are in it; a notebook and a flask join them")
    shopper.call("POST", "/v1/cart/items", {"sku": "NOTE-GREEN", "quantity": 3})
    cart = shopper.call("POST", "/v1/cart/items", {"sku": "FLASK-05", "quantity": 1})["cart"]
    for item in cart["items"]:
        _tell(f"{item['quantity']} x {item['sku']:12} {pounds(item['lineTotal']):>12}")
    _tell(f"subtotal {pounds(cart['subtotal'])}")

    _say("Paying into the wallet", "by card, through the provider")
    shopper.call("POST", "/v1/wallet:topUp", {"amount": gbp(20_000), "cardToken": "tok_visa"}, key=str(uuid4()))
    _tell(f"balance {pounds(_balance(shopper))}")

    _say("Placing the order", "and asking again with the same key, as an impatient finger does")
    body = {
        "expectedTotal": cart["subtotal"],
        "shippingAddress": ADDRESS,
        "contactEmail": address,
        "payment": {"wallet": {}},
    }
    key = str(uuid4())
    first = shopper.call("POST", "/v1/orders", body, key=key)
    again = shopper.call("POST", "/v1/orders", body, key=key)
    order: dict[str, Any] = first["order"]
    _expect(first == again, "the same key gave another answer")
    _expect(order["status"] == "CONFIRMED", f"the order is {order['status']}")
    _tell(f"order {order['orderId']} is {order['status']}, {pounds(order['total'])}; asked twice, placed once")
    left = shopper.call("GET", "/v1/cart")["cart"]["items"]
    _tell(f"balance {pounds(_balance(shopper))}; the cart has {len(left)} lines")
    return order


def _show_events(shopper: Shop, order: dict[str, Any]) -> None:
    _say("What happened to the order", "from its own journal")
    path = f"/v1/orders/{order['orderId']}"
    _until(
        "the money was not taken", lambda: shopper.call("GET", path, quiet=True)["order"]["paymentStatus"] == "CAPTURED"
    )
    for event in shopper.call("GET", f"{path}/events")["events"]:
        _tell(f"{event['version']}  {event['type']:16} {event['recordTime']}")


def _pay_by_card(shopper: Shop, address: str) -> None:
    _say("Paying by card", "the bank wants to see the customer first (3-D Secure)")
    body = {
        "expectedTotal": gbp(7900),
        "shippingAddress": ADDRESS,
        "contactEmail": address,
        "payment": {"card": {"token": "tok_action", "provider": "psp_sim"}},
        "lines": [{"sku": "BLANKET-130", "quantity": 1}],
    }
    order = shopper.call("POST", "/v1/orders", body, key=str(uuid4()))["order"]
    _expect(order["status"] == "PENDING" and "nextAction" in order, f"the order is {order['status']} at once")
    _tell(f"order {order['orderId']} is PENDING: the customer goes to {order['nextAction']['url']}")
    _confirm_at_the_bank(shopper, f"{order['nextAction']['url']}:confirm")
    path = f"/v1/orders/{order['orderId']}"
    _until(
        "the card order stays PENDING", lambda: shopper.call("GET", path, quiet=True)["order"]["status"] == "CONFIRMED"
    )
    _tell("the customer confirmed at the bank, and the order is CONFIRMED")
    body["payment"] = {"card": {"token": "tok_declined", "provider": "psp_sim"}}
    refused = shopper.call("POST", "/v1/orders", body, key=str(uuid4()), expect=400)
    _tell(f"a card that the bank refuses: {refused['error']['status']}, {refused['error']['message']}")


def _confirm_at_the_bank(shopper: Shop, url: str) -> None:
    """Press the button on the provider's page, as the customer's browser would."""
    began = time.perf_counter()
    response = httpx.post(url, timeout=10, trust_env=False)
    milliseconds = (time.perf_counter() - began) * 1000
    shopper.show("POST", url, response, milliseconds)
    _expect(response.status_code == 200, f"the bank answered {response.status_code}: {response.text}")


def _show_receipt(mail_dir: Path, order_id: str) -> None:
    _say("The receipt", "from the order's event through Kafka to the mailbox")
    found = _until("no receipt came", lambda: _mail_about(mail_dir, order_id), seconds=RECEIPT_SECONDS)
    body = found.get_body(preferencelist=("plain",))
    console.print(f"  From: {found['from']}   To: {found['to']}\n  Subject: {found['subject']}\n", markup=False)
    text = body.get_content() if body is not None else ""
    console.print("\n".join(f"  | {line}" for line in text.strip().splitlines()), markup=False)


def _mail_about(mail_dir: Path, order_id: str) -> Any:
    for file in sorted(mail_dir.glob("new/*")):
        message = email.message_from_bytes(file.read_bytes(), policy=email.policy.default)
        body = message.get_body(preferencelist=("plain",))  # type: ignore[attr-defined]
        if body is not None and order_id in body.get_content():
            return message
    return None


def _ship(shopper: Shop, admin: Shop, order_id: str) -> None:
    _say("The parcel leaves", "stock on hand falls when it ships, not when it is ordered")
    before = admin.call("GET", "/v1/inventory/FLASK-05")["stock"]
    admin.call("POST", f"/v1/orders/{order_id}:ship", {"trackingCode": "TITAN-0001"})
    after = _until(
        "the stock did not move",
        lambda: next(
            (s for s in [admin.call("GET", "/v1/inventory/FLASK-05", quiet=True)["stock"]] if s != before), None
        ),
    )
    _tell(f"FLASK-05 before {_stock(before)}, after {_stock(after)}")
    status = shopper.call("GET", f"/v1/orders/{order_id}")["order"]["status"]
    _expect(status == "SHIPPED", f"the order is {status}")


def _stock(stock: dict[str, Any]) -> str:
    return f"{stock['onHand']} on hand, {stock['reserved']} reserved, {stock['available']} available"


def _balance(shopper: Shop) -> dict[str, Any]:
    balance: dict[str, Any] = shopper.call("GET", "/v1/wallet")["wallet"]["balance"]
    return balance


def _until(complaint: str, condition: Callable[[], Any], *, seconds: float = 15.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise Surprise(f"{complaint} within {seconds:g} s")
        time.sleep(0.1)
    return found


def _expect(held: bool, otherwise: str) -> None:
    if not held:
        raise Surprise(otherwise)


def _say(title: str, more: str) -> None:
    console.print(f"\n[bold]{title}[/bold]: {more}")


def _tell(text: str) -> None:
    console.print(f"    {text}", markup=False)
