"""What a role may do, with bodies that would do it: of the cells of the matrix those that tempt most."""

from __future__ import annotations

from uuid import uuid4

from tests.attacks.asking import NOBODY, Ask, add_all
from tests.attacks.scene import gbp

DENIED = "403 ACCESS_DENIED"
PRODUCT = {"product": {"title": "Mine", "variants": [{"sku": "MINE-1", "price": gbp(1)}]}}
DELIVERY = {"delta": 5, "reason": "mine", "requestId": "mine"}
CREDIT = {"credits": [{"userId": str(uuid4()), "amount": gbp(1_000_000)}]}

add_all(
    "functions",
    {
        "a customer makes a product": Ask(DENIED, "POST", "/v1/products", PRODUCT),
        "a guest makes a product": Ask(DENIED, "POST", "/v1/products", PRODUCT, "guest"),
        "nobody makes a product": Ask("401 UNAUTHENTICATED", "POST", "/v1/products", PRODUCT, NOBODY),
        "a warehouse makes a product": Ask(DENIED, "POST", "/v1/products", PRODUCT, "role:warehouse"),
        "a customer lowers a price": Ask(
            DENIED,
            "PATCH",
            "/v1/products/{product_id}",
            {"product": {"title": "cheap"}, "updateMask": "title"},
        ),
        "a customer delivers stock": Ask(DENIED, "POST", "/v1/inventory/{sku}:adjust", DELIVERY),
        "support delivers stock": Ask(DENIED, "POST", "/v1/inventory/{sku}:adjust", DELIVERY, "role:support"),
        "a customer reads the stock": Ask(DENIED, "GET", "/v1/inventory/{sku}"),
        "an importer reads the movements of stock": Ask(
            DENIED, "GET", "/v1/inventory/{sku}/movements", who="role:importer"
        ),
        "a customer credits a wallet": Ask(DENIED, "POST", "/v1/wallets:batchCredit", CREDIT, keyed=True),
        "the administrator credits a wallet": Ask(
            DENIED, "POST", "/v1/wallets:batchCredit", CREDIT, "admin", keyed=True
        ),
        "finance credits a wallet": Ask(DENIED, "POST", "/v1/wallets:batchCredit", CREDIT, "role:finance", keyed=True),
        "a customer ships their order": Ask(DENIED, "POST", "/v1/orders/{order_id}:ship", {"trackingCode": "x"}),
        "support ships an order": Ask(
            DENIED, "POST", "/v1/orders/{order_id}:ship", {"trackingCode": "x"}, "role:support"
        ),
        "a customer says that an order arrived": Ask(DENIED, "POST", "/v1/orders/{order_id}:deliver", {}),
        "a customer audits the ledger": Ask(DENIED, "GET", "/v1/ledger:verify"),
        "support audits the ledger": Ask(DENIED, "GET", "/v1/ledger:verify", who="role:support"),
        "a customer reads what was sent to whom": Ask(DENIED, "GET", "/v1/notifications"),
        "finance reads what was sent to whom": Ask(DENIED, "GET", "/v1/notifications", who="role:finance"),
        "a customer rotates the signing key": Ask(DENIED, "POST", "/v1/signingKeys:rotate", {}),
        "an importer rotates the signing key": Ask(DENIED, "POST", "/v1/signingKeys:rotate", {}, "role:importer"),
        "a customer acts for another": Ask(DENIED, "POST", "/v1/sessions:exchange", {"subjectUserId": str(uuid4())}),
        "the administrator acts for another": Ask(
            DENIED, "POST", "/v1/sessions:exchange", {"subjectUserId": str(uuid4())}, "admin"
        ),
        "a customer imports users": Ask(DENIED, "POST", "/v1/users:batchImport", {"users": [{"externalId": "1"}]}),
        "a customer makes a warehouse": Ask(
            DENIED, "POST", "/v1/warehouses", {"warehouse": {"warehouseId": "mine", "title": "mine"}}
        ),
        "a role that nobody knows": Ask(DENIED, "GET", "/v1/ledger:verify", who="role:root"),
        "a role in capitals": Ask(DENIED, "GET", "/v1/ledger:verify", who="role:ADMIN"),
        "a role with a blank": Ask(DENIED, "GET", "/v1/ledger:verify", who="role:admin "),
        "what packages say to each other, over HTTP": Ask(
            "415 INVALID_INPUT", "POST", "/titan.payment.v1.WalletService/TopUpWallet", {}
        ),
        "what only packages may say, over HTTP": Ask(
            "404 ROUTE_NOT_FOUND", "POST", "/titan.payment.v1.PaymentService/BatchCapture", {}
        ),
        "the admin interface of Envoy": Ask("404 ROUTE_NOT_FOUND", "GET", "/config_dump"),
        "the metrics of a process": Ask("404 ROUTE_NOT_FOUND", "GET", "/metrics"),
        "another method on a route": Ask("405 METHOD_NOT_ALLOWED", "PUT", "/v1/orders/{order_id}", {}),
        "a method that there is not": Ask("400 INVALID_INPUT", "DESTROY", "/v1/orders"),
        "TRACE": Ask("405 METHOD_NOT_ALLOWED", "TRACE", "/v1/orders"),
    },
)
