"""Examples for the description: made from the descriptors, and good enough to pass the contract's own limits.

They tell one story: Ada orders two blue mugs, which are in the main warehouse. What no rule of the contract can guess
stands in two tables, by the name of a field anywhere or by its full name where that matters.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from edge_http.json_names import enum_names
from edge_http.schemas import must_be_given, rules_of

MAX_LEVELS = 6

_UUID = "0192f0c1-7a5b-7c3d-8e4f-5a6b7c8d9e0f"
_WELL_KNOWN: Mapping[str, Any] = {
    "google.protobuf.Timestamp": "2026-11-21T10:00:00Z",
    "google.protobuf.Duration": "3.500s",
    "google.protobuf.FieldMask": "",
    "google.protobuf.Any": {"@type": "type.googleapis.com/google.protobuf.Empty"},
    "google.protobuf.Struct": {},
    "google.protobuf.Value": None,
    "google.protobuf.ListValue": [],
}
_TEXTS: Mapping[str, str] = {
    "currency_code": "GBP",
    "country_code": "GB",
    "postal_code": "E1 6AN",
    "city": "London",
    "full_name": "Ada Lovelace",
    "display_name": "Ada",
    "line1": "12 Tea Street",
    "line2": "Flat 3",
    "region": "Greater London",
    "email": "ada@example.com",
    "url": "https://example.com/",
    "password": "correct horse battery staple",
    "access_token": "eyJhbGciOiJFUzI1NiJ9.e30.c2lnbmVk",
    "refresh_token": "cmVmcmVzaC10aGlz",
    "card_token": "tok_visa",
    "client_name": "Firefox on Linux",
    "page_token": "",
    "sku": "mug-blue",
    "title": "A blue mug",
    "description": "Stoneware, 350 ml.",
    "seller_id": "house",
    "warehouse_id": "main",
    "external_id": "customer-17850",
    "tracking_code": "JD0002000123",
    "provider": "psp_sim",
    "date": "2026-11-21",
    "template": "receipt",
    "recipient": "a***@example.com",
    "role": "customer",
    "etag": "3",
    "problem": "",
    "kid": "2026-11",
    "kty": "EC",
    "crv": "P-256",
    "alg": "ES256",
    "use": "sig",
    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
}
"""Texts by the name of their field, or its end, where the field's rules admit them."""


def _gbp(minor_units: int) -> dict[str, str]:
    return {"currencyCode": "GBP", "minorUnits": str(minor_units)}


_ABSENT = object()
_PRICE, _SUM, _TAX = _gbp(1250), _gbp(2500), _gbp(417)
_STORY: Mapping[str, Any] = {
    "auth.v1.CreateSessionResponse.expires_in_seconds": 600,
    "auth.v1.CreateGuestSessionResponse.expires_in_seconds": 600,
    "auth.v1.RefreshSessionResponse.expires_in_seconds": 600,
    "auth.v1.ExchangeTokenResponse.expires_in_seconds": 600,
    "auth.v1.CompleteSessionResponse.expires_in_seconds": 600,
    "auth.v1.CreateSessionResponse.challenge": _ABSENT,
    "auth.v1.SecondFactorChallenge.expires_in_seconds": 300,
    "auth.v1.SecondFactorProof.code": "287082",
    "auth.v1.SecondFactor.recovery_codes_left": 10,
    "auth.v1.ConfirmSecondFactorRequest.code": "287082",
    "auth.v1.ConfirmSecondFactorResponse.recovery_codes": ["VPO4TU-HLE2HZ-5BEF4P-IGEPRH"],
    "auth.v1.EnrolSecondFactorResponse.secret": "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ",
    "auth.v1.EnrolSecondFactorResponse.otpauth_uri": "otpauth://totp/Titan:ada%40example.com?issuer=Titan&secret=GEZDG...",
    "auth.v1.User.guest": False,
    "cart.v1.CartItem.quantity": 2,
    "cart.v1.CartItem.unit_price": _PRICE,
    "cart.v1.CartItem.line_total": _SUM,
    "cart.v1.Cart.subtotal": _SUM,
    "cart.v1.AddItemRequest.quantity": 2,
    "cart.v1.UpdateItemRequest.quantity": 2,
    "catalog.v1.Category.title": "Mugs",
    "catalog.v1.Category.path": "Kitchen / Mugs",
    "catalog.v1.Variant.attributes": {"colour": "blue"},
    "catalog.v1.Variant.tax_rate_basis_points": 2000,
    "inventory.v1.AdjustStockRequest.delta": 20,
    "inventory.v1.AdjustStockRequest.reason": "first delivery",
    "inventory.v1.StockAdjustment.delta": 20,
    "inventory.v1.StockAdjustment.reason": "first delivery",
    "inventory.v1.Stock.on_hand": 20,
    "inventory.v1.Stock.reserved": 2,
    "inventory.v1.Stock.available": 18,
    "inventory.v1.WarehouseStock.on_hand": 20,
    "inventory.v1.WarehouseStock.reserved": 2,
    "inventory.v1.WarehouseStock.available": 18,
    "inventory.v1.StockMovement.on_hand_delta": 20,
    "inventory.v1.StockMovement.reserved_delta": 0,
    "inventory.v1.StockMovement.order_id": "",
    "inventory.v1.StockMovement.reason": "first delivery",
    "inventory.v1.Warehouse.title": "The main warehouse",
    "notify.v1.Notification.status": "SENT",
    "order.v1.PlaceOrderRequest.expected_total": _SUM,
    "order.v1.PlaceOrderLine.quantity": 2,
    "order.v1.Order.status": "CONFIRMED",
    "order.v1.Order.payment_status": "AUTHORIZED",
    "order.v1.Order.total": _SUM,
    "order.v1.Order.tax": _TAX,
    "order.v1.Order.shipping": _gbp(0),
    "order.v1.Order.refunded": _gbp(0),
    "order.v1.Order.next_action": _ABSENT,
    "order.v1.Order.cancel_reason": "",
    "order.v1.Order.tracking_code": "",
    "order.v1.Order.version": "2",
    "order.v1.Order.etag": "2-3",
    "payment.v1.CreatePayoutRequest.seller_id": "tea_ltd",
    "payment.v1.CreatePayoutRequest.period": "2026-11",
    "payment.v1.CreatePayoutBatchRequest.period": "2026-11",
    "order.v1.OrderLine.quantity": 2,
    "order.v1.OrderLine.unit_price": _PRICE,
    "order.v1.OrderLine.line_total": _SUM,
    "order.v1.OrderLine.tax": _TAX,
    "order.v1.OrderLine.tax_rate_basis_points": 2000,
    "order.v1.OrderLine.discount": _gbp(0),
    "order.v1.LineAllocation.quantity": 2,
    "order.v1.Quote.total": _SUM,
    "order.v1.Quote.tax": _TAX,
    "order.v1.Quote.shipping": _gbp(0),
    "order.v1.OrderEvent.type": "OrderPlaced",
    "order.v1.OrderEvent.details": {},
    "order.v1.CancelOrderRequest.reason": "ordered twice",
    "order.v1.CreateRefundRequest.reason": "arrived broken",
    "order.v1.OrderRefund.amount": _SUM,
    "payment.v1.LedgerAccount.code": "wallet",
    "payment.v1.LedgerEntry.kind": "payment",
    "payment.v1.ListAccountsRequest.code": "wallet",
    "payment.v1.Payment.amount": _SUM,
    "payment.v1.Payment.status": "AUTHORIZED",
    "payment.v1.Payment.captured": _gbp(0),
    "payment.v1.Payment.refunded": _gbp(0),
    "payment.v1.Payment.next_action": _ABSENT,
    "payment.v1.ReturnFromProviderResponse.status": "AUTHORIZED",
    "payment.v1.TopUpWalletRequest.amount": _gbp(10000),
    "payment.v1.Wallet.balance": _gbp(10000),
    "payment.v1.Wallet.pending": _gbp(0),
    "payment.v1.WalletTransfer.amount": _gbp(10000),
    "payment.v1.WalletTransfer.order_id": "",
    "payment.v1.WalletCredit.amount": _gbp(10000),
    "payment.v1.VerifyLedgerResponse.transfers": "3",
    "payment.v1.VerifyLedgerResponse.entries": "6",
    "payment.v1.VerifyLedgerResponse.unsealed_transfers": "0",
    "payment.v1.VerifyLedgerResponse.problems": [],
}
"""Values by the full name of their field, without `titan.`, as JSON has them."""


def of_message(
    descriptor: Descriptor, *, sent: bool, without: Collection[str] = (), depth: int = MAX_LEVELS
) -> dict[str, Any]:
    """Return an example of a message, in camelCase.

    One that is sent leaves out what a server fills in by itself (ids, times and etags that nothing asks for) and parts
    that need not be there.
    """
    example: dict[str, Any] = {}
    chosen: set[str] = set()
    for field in descriptor.fields:
        if field.name in without or (sent and _is_left_out(field)):
            continue
        oneof = field.containing_oneof
        if oneof is not None:
            if oneof.name in chosen:
                continue
            chosen.add(oneof.name)
        value = _STORY.get(field.full_name.removeprefix("titan."))
        if value is None:
            value = _of_field(field, sent=sent, depth=depth)
        if value is not None and value is not _ABSENT:
            example[field.json_name] = value
    return example


def of_field(field: FieldDescriptor) -> Any:
    """Return an example of one field's value."""
    told = _STORY.get(field.full_name.removeprefix("titan."))
    if told is not None:
        return told
    return _of_field(field, sent=True, depth=MAX_LEVELS)


def _is_left_out(field: FieldDescriptor) -> bool:
    if must_be_given(field):
        return False
    name = field.name
    return (
        name in ("etag", "update_mask", "request_id")
        or name.endswith(("_token", "_id"))
        or (field.message_type is not None and not field.is_repeated and field.containing_oneof is None)
    )


def _of_field(field: FieldDescriptor, *, sent: bool, depth: int) -> Any:
    rules = rules_of(field)
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        value = field.message_type.fields_by_name["value"]
        inner = _single(value, rules.map.values if rules is not None else None, sent=sent, depth=depth)
        return None if inner is None else {_key(field.message_type): inner}
    if field.is_repeated:
        inner = _single(field, rules.repeated.items if rules is not None else None, sent=sent, depth=depth)
        return [] if inner is None else [inner]
    return _single(field, rules, sent=sent, depth=depth)


def _key(entry: Descriptor) -> str:
    kind = entry.fields_by_name["key"].type
    return "colour" if kind == FieldDescriptor.TYPE_STRING else "true" if kind == FieldDescriptor.TYPE_BOOL else "1"


def _single(field: FieldDescriptor, rules: Any, *, sent: bool, depth: int) -> Any:
    if field.message_type is not None:
        name = field.message_type.full_name
        if name in _WELL_KNOWN:
            return _WELL_KNOWN[name]
        if name.startswith("google.protobuf.") and name.endswith("Value"):
            return _single(field.message_type.fields_by_name["value"], None, sent=sent, depth=depth)
        if depth == 0:
            return None
        return of_message(field.message_type, sent=sent, depth=depth - 1)
    if field.enum_type is not None:
        names = enum_names(field.enum_type)
        taken = rules.enum if rules is not None else None
        allowed = getattr(taken, "in", None) or [number for number in names if number] or list(names)
        return names[allowed[0]]
    if field.type == FieldDescriptor.TYPE_BOOL:
        return True
    if field.type == FieldDescriptor.TYPE_STRING:
        return _text(field, rules)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return "dGVh"
    number = _number(rules)
    return str(number) if field.type in _LONG else number


_LONG = {
    FieldDescriptor.TYPE_INT64,
    FieldDescriptor.TYPE_SINT64,
    FieldDescriptor.TYPE_SFIXED64,
    FieldDescriptor.TYPE_UINT64,
    FieldDescriptor.TYPE_FIXED64,
}


def _number(rules: Any) -> int:
    kind = rules.WhichOneof("type") if rules is not None else None
    value = 1
    if kind is not None and "gte" in getattr(rules, kind).DESCRIPTOR.fields_by_name:
        limits = getattr(rules, kind)
        value = 1250 if limits.HasField("lte") and limits.lte > 1_000_000_000 else 1
        if limits.HasField("gte"):
            value = max(value, int(limits.gte))
        if limits.HasField("gt"):
            value = max(value, int(limits.gt) + 1)
        if limits.HasField("lte"):
            value = min(value, int(limits.lte))
        if limits.HasField("lt"):
            value = min(value, int(limits.lt) - 1)
    return value


def _text(field: FieldDescriptor, rules: Any) -> str:
    name = field.name.removesuffix("s") if field.is_repeated else field.name
    limits = rules.string if rules is not None and rules.WhichOneof("type") == "string" else None
    words = name.replace("_", " ")
    is_id = name == "id" or name.endswith("_id")
    candidates = [
        *(text for ending, text in _TEXTS.items() if name == ending or name.endswith(f"_{ending}")),
        *([_UUID] if is_id else []),
        words,
        name,
        f"{name.upper()}-1",
        _UUID,
        "AB",
        "1",
        "",
    ]
    if limits is None:
        return candidates[0]
    if getattr(limits, "in"):
        return str(getattr(limits, "in")[0])
    if limits.uuid:
        return _UUID
    if limits.email:
        return _TEXTS["email"]
    padded = [text + "x" * max(0, limits.min_len - len(text)) for text in candidates]
    for text in padded:
        fits = len(text) >= limits.min_len and (not limits.max_len or len(text) <= limits.max_len)
        if fits and (not limits.pattern or re.search(limits.pattern, text)):
            return text
    return ""
