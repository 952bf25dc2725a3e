"""What looks like a card number is refused in every text that a person sends; ids and ordinary numbers pass."""

from __future__ import annotations

import re
import time
import unicodedata
from uuid import uuid4

import pytest

from mesh.calls import Call
from mesh.contract import AccessKind
from mesh.interceptors import cards
from mesh.interceptors.cards import CardNumbers, free_texts, holds_card_number, may_hold_card_number
from mesh.refusals import CardNumberRefused, InvalidInput
from tests.harness import titan_contract
from titan.catalog.v1 import product_service_pb2
from titan.order.v1 import checkout_service_pb2

DIGITS = "0123456789"
STYLES = {
    "full width": "\uff10\uff11\uff12\uff13\uff14\uff15\uff16\uff17\uff18\uff19",
    "superscript": "\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079",
    "mathematical": "".join(map(chr, range(0x1D7CE, 0x1D7D8))),
    "in circles": "\u24ea" + "".join(map(chr, range(0x2460, 0x2469))),
    "Persian": "".join(map(chr, range(0x06F0, 0x06FA))),
    "Devanagari": "".join(map(chr, range(0x0966, 0x0970))),
}
CARDS = (
    "4111111111111111",
    "4111 - 1111 - 1111 - 1111",
    "3782 822463 10005",
    "3056 930902 5904",
    "6250 9410 0652 8599 00",
    "30569309025904",
    "6304000000000000",
    "2223003122003222",
    "6011000990139424",
    "call 0123 about 5555 5555 5555 4444, thanks",
    "tok_4111111111111111",
    "4111111111111111123",
    "3782822463100051234",
    "4111 1111 1111 1111 12/28 123",
    "4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1",
    "4\ufe0f\u20e3" + "1\ufe0f\u20e3" * 15,
    *(separator.join(("4111", "1111", "1111", "1111")) for separator in cards.SEPARATORS),
    *("4111111111111111".translate(str.maketrans(DIGITS, style)) for style in STYLES.values()),
)
NO_CARDS = (
    "",
    "1 Mill Lane, Leeds LS1 1AA",
    "4111111111111112",
    "411111111111",
    "41111111111111111111",
    "+44 20 7946 0958",
    "1700000000000000",
    "9780306406157",
    "4006381300063",
    "4006381000093",
    "4111 1111 or 1111 1111",
    "2026-03-04T12:00:00Z",
    "from 2026-11-04 12:00:05 on",
    "20261104120005",
    "2017, 2018, 2019, 2020",
    "sizes 36, 37, 38, 39, 40, 41, 42, 43",
    "500, 525, 550, 575, 600 ml",
    "4,111,111,111,111,111",
    "4111111111111112120",
)


@pytest.mark.parametrize("text", CARDS)
def test_a_card_number_is_seen_however_it_is_written(text: str):
    """In one piece or in groups, whatever parts them, within a sentence, in digits of any script, glued to its code;
    the glance misses none of them."""
    assert holds_card_number(text)
    assert may_hold_card_number(checkout_service_pb2.PlaceOrderRequest(contact_email=text).SerializeToString())


@pytest.mark.parametrize("text", NO_CARDS)
def test_other_numbers_are_none(text: str):
    """A wrong check digit, too few or too many digits, telephones, times, barcodes; what stands in lists."""
    assert not holds_card_number(text)


CHANCE = ("4006381300063", "4006381000093", "20261104120005", "2017201820192020", "500525550575600", "37383940414243")
"""Of those above, what passes the check all the same."""


@pytest.mark.parametrize("digits", CHANCE)
def test_what_passes_the_check_by_chance_is_none_for_another_reason(digits: str):
    """It has too few digits, begins as a year does, or stands in groups that no card is printed in."""
    doubled = [int(digit) * (1 + place % 2) for place, digit in enumerate(reversed(digits))]
    assert 0 == sum(number - 9 * (number > 9) for number in doubled) % 10
    assert any(digits in "".join(re.findall("[0-9]+", text)) for text in NO_CARDS)


def test_the_glance_passes_over_no_character_that_the_closer_look_reads_as_digits():
    """Of every one the bytes that it counts are as many as its digits, in whatever script; and none ends a row."""
    leads = set()
    for number in (*range(0x80, 0xD800), *range(0xE000, 0x110000)):
        character = chr(number)
        if character in cards.SEPARATORS or unicodedata.decomposition(character) or character.isdecimal():
            digits = max(map(len, re.findall("[0-9]+", cards._plain(character))), default=0)
            lead, *rest = character.encode()
            if digits or character in cards.SEPARATORS:
                leads.add(lead)
                assert digits <= len(rest), hex(number)
    assert set(cards.LEADS) == leads


@pytest.mark.parametrize(
    "text",
    [
        "1 Mill Lane, Leeds",
        "M\u00fchlenstra\u00dfe 4, K\u00f6ln",
        "\u0443\u043b\u0438\u0446\u0430 \u041c\u0438\u0440\u0430 14",
        "7000-8000-000000000000",
    ],
)
def test_an_ordinary_message_is_passed_at_a_glance(text: str):
    """An order to an address in Latin or Cyrillic letters is not looked at field by field."""
    request = an_order(request_id="0198c0de-feed-7abc-8def-c0ffeec0ffee")
    request.shipping_address.line1 = text
    assert not may_hold_card_number(request.SerializeToString())


@pytest.mark.parametrize("digits", ["4111111111111111", "5555555555554444", "378282246310005"])
def test_one_wrong_digit_is_enough(digits: str):
    """The check of Luhn sees every single one."""
    assert holds_card_number(digits)
    for place in range(1, len(digits)):
        other = str((int(digits[place]) + 1) % 10)
        assert not holds_card_number(digits[:place] + other + digits[place + 1 :])


def check(name: str):
    (method,) = (each for each in titan_contract().methods.values() if each.full_name == name)
    return CardNumbers().check_of(method)


PLACE = "titan.order.v1.CheckoutService.PlaceOrder"


def an_order(**fields) -> checkout_service_pb2.PlaceOrderRequest:
    return checkout_service_pb2.PlaceOrderRequest(
        expected_total={"currency_code": "GBP", "minor_units": 4111111111111111},
        shipping_address={"full_name": "Ada Byron", "line1": "1 Mill Lane", "city": "Leeds", "country_code": "GB"},
        contact_email="ada@example.com",
        payment={"card": {"token": "tok_visa"}},
        lines=[{"sku": f"SKU-{uuid4().hex[:8]}", "quantity": 2} for _ in range(3)],
        **{"request_id": str(uuid4()), **fields},
    )


def test_the_refusal_names_the_field_and_not_the_number():
    """At whatever depth; what is refused stands in no log and no answer."""
    request = an_order()
    request.shipping_address.line2 = "card 4111 1111 1111 1111"
    with pytest.raises(CardNumberRefused) as refusal:
        check(PLACE)(request, Call())
    assert ["shipping_address.line2"] == [violation.field for violation in refusal.value.violations]
    assert "1111" not in str(refusal.value.to_status()) and "CARD_NUMBER_REFUSED" == refusal.value.reason
    assert isinstance(refusal.value, InvalidInput)


def test_a_token_is_looked_at_too():
    """That field is where a client would put the number of the card itself."""
    request = an_order()
    request.payment.card.token = "v4111111111111111"
    with pytest.raises(CardNumberRefused):
        check(PLACE)(request, Call())


def test_lists_and_maps_are_looked_at():
    """Values of attributes, and their names."""
    look = check("titan.catalog.v1.ProductService.CreateProduct")
    for attributes in ({"note": "4111111111111111"}, {"4111111111111111": "note"}):
        product = {"title": "A mug", "variants": [{"sku": "M", "attributes": attributes}]}
        with pytest.raises(CardNumberRefused) as refusal:
            look(product_service_pb2.CreateProductRequest(product=product), Call())
        assert refusal.value.violations[0].field.startswith("product.variants[0].attributes")


def test_amounts_and_ids_are_not():
    """A key that counts, a SKU that is a barcode, a total of forty billion: none of them is anybody's card."""
    request = an_order(request_id="4111111111111111")
    request.lines[0].sku = "4006381333931"
    check(PLACE)(request, Call())


def test_methods_for_packages_are_passed_by():
    """What they say was looked at when a person said it, and a batch is not refused for one of its items."""
    services = [m for m in titan_contract().methods.values() if m.access.kind is AccessKind.SERVICE]
    assert services and not any(CardNumbers().check_of(method) for method in services)


EXEMPT = {
    "account_id", "address_id", "batch_id", "category_id", "category_ids", "code", "etag", "external_id",
    "file_id", "identity_id", "new_password", "operation_id", "order_id", "parent_category_id", "passkey_id",
    "password", "payment_id", "payout_id", "product_id", "product_ids", "request_id", "seller_id", "session_id", "sku",
    "state", "subject_user_id", "ticket_id", "tracking_code", "user_id", "warehouse_id",
}  # fmt: skip
"""The names of all fields that are passed by: a new one is a decision."""


def test_what_is_passed_by_is_known():
    """Every other text of every method for people is looked at."""
    passed_by: set[str] = set()

    def look(descriptor, above=()):
        for field in descriptor.fields:
            if field.type == field.TYPE_STRING and not cards.is_free(field):
                passed_by.add(field.name)
            elif field.message_type is not None and field.message_type.full_name not in above:
                look(field.message_type, (*above, descriptor.full_name))

    for method in titan_contract().methods.values():
        if method.access.kind is not AccessKind.SERVICE:
            look(method.request_class.DESCRIPTOR)
    assert EXEMPT == passed_by
    assert "titan.type.v1.Address.line2" in set(free_texts(checkout_service_pb2.PlaceOrderRequest.DESCRIPTOR))


@pytest.mark.parametrize("group", ["22 ", "5 ", "41112 "])
def test_a_long_row_of_small_numbers_takes_no_longer_than_others(group: str):
    """Thirty thousand of them, which is more than any text may have: each is looked at a bounded number of times."""
    text = group * 30_000
    began = time.process_time()
    assert not holds_card_number(text)
    assert time.process_time() - began < 1
