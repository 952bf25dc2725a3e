"""A copy of all databases, after somebody did everything that leaves a word behind."""

from __future__ import annotations

import asyncio
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest

from tests.at_rest import copy_of, shown
from tests.journeys.conftest import RunningMesh, gbp, reason, until

PASSWORD = "correct horse battery"


@pytest.mark.timeout(60)
def test_no_database_shows_a_word_of_a_shopper(mesh: RunningMesh) -> None:
    """In no column of any package: not who they are, where they live, what they said, and what they paid with."""
    mark = uuid4().hex
    words = {
        what: f"canary-{what}-{mark}"
        for what in ("address", "name", "recipient", "street", "flat", "town", "client", "reason", "card", "contact")
    }
    email = f"{words['address']}@example.com"
    registered = {"email": email, "password": PASSWORD, "displayName": words["name"]}
    guest = mesh.guest()
    guest.ok("POST", "/v1/users", registered)
    with mesh.http() as http:
        signed_in = {"email": email, "password": PASSWORD, "clientName": words["client"]}
        assert http.post("/v1/sessions", json=signed_in).status_code == 200
        assert http.post("/v1/passwords:requestReset", json={"email": email}).status_code == 200
    address = {
        "fullName": words["recipient"],
        "line1": words["street"],
        "line2": words["flat"],
        "city": words["town"],
        "countryCode": "GB",
    }
    shopper = mesh.sign_in(email, PASSWORD)
    shopper.ok("POST", "/v1/users/me/addresses", {"address": address})
    sku = mesh.product(price=10, stock=10)
    top_up = {"amount": gbp(10), "cardToken": f"tok_visa_{words['card']}"}
    assert reason(shopper.send("POST", "/v1/wallet:topUp", top_up, key=str(uuid4()))) == "PAYMENT_DECLINED"
    body = shopper.order_body([(sku, 1)], 10, card={"token": "tok_visa"})
    body |= {"shippingAddress": address, "contactEmail": f"{words['contact']}@example.com"}
    order_id = shopper.ok("POST", "/v1/orders", body, key=str(uuid4()))["order"]["orderId"]
    letters = Path(mesh.endpoints["mail_dir"], "new")
    until(lambda: any(words["contact"] in path.read_text() for path in letters.iterdir()))
    shopper.ok("POST", f"/v1/orders/{order_id}:cancel", {"reason": words["reason"]})
    until(lambda: shopper.order(order_id)["paymentStatus"] in ("REFUNDED", "VOIDED"))

    copies = asyncio.run(_copies(mesh.endpoints["postgres"]))

    assert {"svc_auth", "svc_order"} <= {name for name, copy in copies.items() if shopper.user_id in copy}
    assert {name: [] for name in copies} == {name: shown(words.values(), copy) for name, copy in copies.items()}
    assert shopper.ok("GET", "/v1/users/me")["user"]["displayName"] == words["name"]
    assert shopper.order(order_id)["shippingAddress"]["line1"] == words["street"]


async def _copies(urls: dict[str, str]) -> dict[str, str]:
    found = {}
    for name, url in urls.items():
        connection = await asyncpg.connect(url)
        try:
            found[name] = await copy_of(connection)
        finally:
            await connection.close()
    return found
