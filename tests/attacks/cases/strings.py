"""Texts that mean something to somebody behind: SQL, paths, headers, other writings. Here they mean what they say."""

from __future__ import annotations

from urllib.parse import quote
from uuid import uuid4

from tests.attacks.asking import Ask, add_all, order
from tests.attacks.case import Reply, Wrong, add, case
from tests.attacks.scene import ADDRESS, Scene

BAD, CARD = "400 INVALID_INPUT", "400 CARD_NUMBER_REFUSED"

SEARCHED = {
    "a quote": "'",
    "SQL that is always true": "' OR 1=1 --",
    "SQL that drops": "x'; DROP TABLE products; --",
    "SQL that waits": "'; SELECT pg_sleep(5); --",
    "SQL that unites": "' UNION SELECT email, password_hash FROM users --",
    "operators of full text": "!!! & | <-> ()):*",
    "wildcards": "%_%_%",
    "a backslash": "\\",
    "a format": "%s%n{0}${7*7}{{7*7}}",
    "a regular expression that explodes": "(a+)+$" + "a" * 100,
    "a path": "../../../../etc/passwd",
    "a tag": "<script>alert(1)</script>",
    "JNDI": "${jndi:ldap://evil.example/a}",
    "a line end": "a\r\nset-cookie: x=1",
    "a surrogate's worth": "😀" * 20,
    "right to left": "\u202eadmin\u202c",
}


def _searched(what: str) -> None:
    async def attack(scene: Scene) -> Reply:
        """Found is nothing that is not there."""
        reply = await scene.send("GET", f"/v1/products:search?query={quote(SEARCHED[what])}")
        if reply.body.get("products"):
            raise Wrong(f"found {len(reply.body['products'])} products")
        if "x=1" in str(reply.headers.get("set-cookie", "")):
            raise Wrong("a header was written")
        return reply

    add("strings", f"to search for {what}", "200", attack, still=True)


for _what in SEARCHED:
    _searched(_what)

add_all(
    "strings",
    {
        "to search for NUL": Ask(BAD, "GET", "/v1/products:search?query=a%00b"),
        "to search for what is no UTF-8": Ask(BAD, "GET", "/v1/products:search?query=%ff%fe"),
        "to search for UTF-8 that is too long": Ask(BAD, "GET", "/v1/products:search?query=%c0%af"),
        "to search for 10,000 characters": Ask(BAD, "GET", f"/v1/products:search?query={'x' * 10_000}"),
        "a card number in a name": Ask(CARD, "PATCH", "/v1/users/me", {"displayName": "Ada 4111 1111 1111 1111"}),
        "a card number in an address": Ask(
            CARD, "POST", "/v1/orders", order(shippingAddress={**ADDRESS, "line2": "5555-5555-5555-4444"}), keyed=True
        ),
        "to search for a card number": Ask(CARD, "GET", "/v1/products:search?query=378282246310005"),
        "NUL in a name": Ask(BAD, "PATCH", "/v1/users/me", {"displayName": "a\0b"}),
        "a lone surrogate in JSON": Ask(BAD, "PATCH", "/v1/users/me", b'{"displayName": "\\ud800"}'),
        "what is no UTF-8 in JSON": Ask(BAD, "PATCH", "/v1/users/me", b'{"displayName": "\xff"}'),
        "UTF-16": Ask(BAD, "PATCH", "/v1/users/me", '{"displayName": "x"}'.encode("utf-16")),
        "a byte order mark": Ask(BAD, "PATCH", "/v1/users/me", b'\xef\xbb\xbf{"displayName": "x"}'),
        "a comment in JSON": Ask(BAD, "PATCH", "/v1/users/me", b'{"displayName": "x" /* y */}'),
        "two documents": Ask(BAD, "PATCH", "/v1/users/me", b'{"displayName": "x"}{"displayName": "y"}'),
        "NaN in JSON": Ask(BAD, "POST", "/v1/orders", b'{"expectedTotal": NaN}', keyed=True),
        "a list for an object": Ask(BAD, "POST", "/v1/orders", b"[]", keyed=True),
        "nothing for an object": Ask(BAD, "POST", "/v1/orders", b"", keyed=True),
        "null for an object": Ask(BAD, "POST", "/v1/orders", b"null", keyed=True),
        "JSON that is half": Ask(BAD, "POST", "/v1/orders", b'{"lines": [', keyed=True),
        "a form": Ask(
            "415 INVALID_INPUT",
            "POST",
            "/v1/orders",
            b"a=b",
            keyed=True,
            headers={"content-type": "application/x-www-form-urlencoded"},
        ),
        "XML with an entity": Ask(
            "415 INVALID_INPUT",
            "POST",
            "/v1/orders",
            b'<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>',
            keyed=True,
            headers={"content-type": "application/xml"},
        ),
        "a country of three letters": Ask(
            BAD, "POST", "/v1/users/me/addresses", {"address": {**ADDRESS, "countryCode": "GBR"}}
        ),
        "a receipt to two addresses": Ask(
            BAD, "POST", "/v1/orders", order(contactEmail="a@example.com, b@example.com"), keyed=True
        ),
        "a receipt with a header of its own": Ask(
            BAD, "POST", "/v1/orders", order(contactEmail="a@example.com\r\nbcc: b@example.com"), keyed=True
        ),
        "a SKU with a path in it is a SKU": Ask("200", "DELETE", "/v1/cart/items/..%2f..%2fadmin"),
        "a SKU that is SQL": Ask("404 SKU_NOT_FOUND", "POST", "/v1/cart/items", {"sku": "' OR 1=1 --", "quantity": 1}),
        "a page token that is SQL": Ask("400 PAGE_TOKEN_INVALID", "GET", "/v1/orders?pageToken=%27%20OR%201=1"),
        "a page token of JSON": Ask("400 PAGE_TOKEN_INVALID", "GET", "/v1/orders?pageToken=eyJhIjoxfQ"),
        "a page of 101": Ask(BAD, "GET", "/v1/orders?pageSize=101"),
        "a page of less than none": Ask(BAD, "GET", "/v1/orders?pageSize=-1"),
        "a page of half": Ask(BAD, "GET", "/v1/orders?pageSize=1.5"),
        "a sorting that is SQL": Ask(BAD, "GET", "/v1/products?orderBy=price;drop"),
    },
)


@case("a product whose title is a script is shown as JSON, never as a page", "200 application/json nosniff")
async def stored_script(scene: Scene) -> str:
    title, admin = "<script>alert(1)</script>", scene.victims.admin.token
    variant = {"sku": f"XSS-{uuid4().hex[:8]}", "price": {"currencyCode": "GBP", "minorUnits": "1"}}
    body = {"product": {"title": title, "variants": [variant]}}
    made = await scene.ok("POST", "/v1/products", body, token=admin)
    await scene.ready()
    shown = await scene.send("GET", f"/v1/products/{made['product']['productId']}", headers={"accept": "text/html"})
    kind = shown.headers["content-type"].partition(";")[0]
    return f"{shown.status} {kind} {shown.headers.get('x-content-type-options')}"
