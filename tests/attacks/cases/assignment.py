"""Fields that a client may not set: they are refused by name, or only for whom may set them."""

from __future__ import annotations

from tests.attacks.asking import NOBODY, Ask, add_all, lines, order
from tests.attacks.scene import PASSWORD, gbp

UNKNOWN = "400 INVALID_INPUT"
IMPORTERS_ALONE = "403 IMPORTER_REQUIRED"

add_all(
    "assignment",
    {
        "a role at registration": Ask(
            UNKNOWN,
            "POST",
            "/v1/users",
            {"email": "mass@example.com", "password": PASSWORD, "roles": ["admin"]},
            NOBODY,
        ),
        "a user id at registration": Ask(
            UNKNOWN,
            "POST",
            "/v1/users",
            lambda scene: {
                "email": "mass@example.com",
                "password": PASSWORD,
                "userId": scene.victims.owner.user_id,
            },
            NOBODY,
        ),
        "roles in one's own profile": Ask(UNKNOWN, "PATCH", "/v1/users/me", {"displayName": "x", "roles": ["admin"]}),
        "a verified address in one's own profile": Ask(
            UNKNOWN, "PATCH", "/v1/users/me", {"displayName": "x", "emailVerified": True}
        ),
        "an e-mail address through the field mask": Ask(
            UNKNOWN, "PATCH", "/v1/users/me", {"displayName": "x", "updateMask": "email"}
        ),
        "everything through the field mask": Ask(
            UNKNOWN, "PATCH", "/v1/users/me", {"displayName": "x", "updateMask": "*"}
        ),
        "an order for somebody else": Ask(UNKNOWN, "POST", "/v1/orders", order(userId="x"), keyed=True),
        "an order with an id": Ask(UNKNOWN, "POST", "/v1/orders", order(orderId="x"), keyed=True),
        "an order that is confirmed already": Ask(UNKNOWN, "POST", "/v1/orders", order(status="CONFIRMED"), keyed=True),
        "an order with a discount": Ask(UNKNOWN, "POST", "/v1/orders", order(discount=500), keyed=True),
        "a price of one's own": Ask(
            IMPORTERS_ALONE,
            "POST",
            "/v1/orders",
            lambda scene: {
                **scene.order_body(),
                "lines": [{"sku": scene.victims.sku, "quantity": 1, "agreedPrice": gbp(1)}],
            },
            keyed=True,
        ),
        "a price of one's own, as the administrator": Ask(
            IMPORTERS_ALONE,
            "POST",
            "/v1/orders",
            lambda scene: {
                **scene.order_body(),
                "lines": [{"sku": scene.victims.sku, "quantity": 1, "agreedPrice": gbp(1)}],
            },
            "admin",
            keyed=True,
        ),
        "a price of one's own in a quote": Ask(
            IMPORTERS_ALONE,
            "POST",
            "/v1/orders:quote",
            lambda scene: {"lines": [{"sku": scene.victims.sku, "quantity": 1, "agreedPrice": gbp(1)}]},
        ),
        "a time of one's own": Ask(
            IMPORTERS_ALONE, "POST", "/v1/orders", order(effectiveTime="2020-01-01T00:00:00Z"), keyed=True
        ),
        "a discount that was agreed": Ask(
            IMPORTERS_ALONE, "POST", "/v1/orders", order(agreedDiscount=gbp(499)), keyed=True
        ),
        "shipping that was agreed": Ask(
            IMPORTERS_ALONE, "POST", "/v1/orders", order(agreedShipping=gbp(0)), keyed=True
        ),
        "a total of one's own": Ask("400 PRICE_CHANGED", "POST", "/v1/orders", lines(1, total=1), keyed=True),
        "a unit price in the cart": Ask(
            UNKNOWN, "POST", "/v1/cart/items", {"sku": "{sku}", "quantity": 1, "unitPrice": gbp(1)}
        ),
        "a balance in a top-up": Ask(
            UNKNOWN,
            "POST",
            "/v1/wallet:topUp",
            {"amount": gbp(100), "cardToken": "tok_visa", "balance": gbp(1_000_000)},
            keyed=True,
        ),
        "a user in a top-up": Ask(
            UNKNOWN,
            "POST",
            "/v1/wallet:topUp",
            {"amount": gbp(100), "cardToken": "tok_visa", "userId": "x"},
            keyed=True,
        ),
        "a name twice in JSON": Ask(
            UNKNOWN,
            "POST",
            "/v1/wallet:topUp",
            b'{"amount": {"currencyCode": "GBP", "minorUnits": "1"}, "cardToken": "tok_visa", "cardToken": "tok_x"}',
            keyed=True,
        ),
        "a name in both its writings": Ask(
            UNKNOWN,
            "POST",
            "/v1/wallet:topUp",
            {"amount": gbp(1), "cardToken": "tok_visa", "card_token": "tok_other"},
            keyed=True,
        ),
        "a prototype": Ask(UNKNOWN, "POST", "/v1/cart/items", {"__proto__": {"admin": True}, "quantity": 1}),
        "a field of the path in the body": Ask(
            UNKNOWN, "PATCH", "/v1/cart/items/{sku}", {"sku": "ANOTHER", "quantity": 1}
        ),
        "a field of the body in the query": Ask(
            UNKNOWN, "POST", "/v1/wallet:topUp?cardToken=tok_other", {"amount": gbp(1), "cardToken": "tok_visa"}
        ),
        "a type of its own (@type)": Ask(UNKNOWN, "POST", "/v1/sessions:guest", {"@type": "x"}, NOBODY),
    },
)
