"""Every failpoint of the source, by name: where it is, and who walks through it. `test_places` keeps this complete.

A name says the package (or `saga`, `relay`, `inbox`: what several share), the step and the moment. Moments of a step
are three: before it has any effect; when it has one that is not recorded; when it is recorded and nobody knows yet.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

BEFORE, EFFECT, RECORDED = "before", "effect", "recorded"
MOMENTS: Mapping[str, str] = {
    BEFORE: "before the call",
    EFFECT: "after the effect, before the record",
    RECORDED: "after the record, before the reply",
}


CONVERGE_SECONDS = 5.0
"""Within this after the restart, which is when the new process serves, everything has to be done."""


@dataclass(frozen=True)
class Place:
    """A failpoint.

    Attributes:
        package: In whose process it is armed.
        walk: Who comes through, by the name in `tests.faults.walks.WALKS`; empty where nobody can be sent.
        why: Why nobody can be sent.
    """

    name: str
    package: str
    step: str
    moment: str
    walk: str = ""
    why: str = ""


def _of(package: str, step: str, walk: str, **moments: str) -> list[Place]:
    """Return the places of one step: by moment their names, several divided by spaces."""
    return [Place(name, package, step, moment, walk) for moment, names in moments.items() for name in names.split()]


def _closed(package: str, step: str, why: str, **moments: str) -> list[Place]:
    return [Place(name, package, step, moment, why=why) for moment, names in moments.items() for name in names.split()]


# In the order in which an order comes through.
PLACES: tuple[Place, ...] = (
    *_of("svc_order", "quote", "wallet", before="order.quote.before_answer"),
    *_of(
        "svc_order",
        "record",
        "wallet",
        before="order.record.before",
        effect="order.record.before_commit",
        recorded="order.record.after",
    ),
    *_of("svc_order", "reserve", "wallet", before="saga.reserve.before", effect="saga.reserve.after"),
    *_of("svc_order", "authorize", "card", before="saga.authorize.before", effect="saga.authorize.after"),
    *_of("svc_order", "rest", "waits", effect="saga.rest.before", recorded="saga.rest.after"),
    *_of(
        "svc_order",
        "decide",
        "wallet",
        before="saga.decide.before",
        effect="saga.decide.before_commit",
        recorded="saga.decide.after",
    ),
    *_of("svc_order", "close cart", "cart", before="saga.close.before", effect="saga.close.after"),
    *_of("svc_order", "capture", "card", before="saga.capture.before", effect="saga.capture.after"),
    *_of("svc_order", "hold shares", "sold", before="saga.hold_shares.before", effect="saga.hold_shares.after"),
    *_of("svc_order", "finish", "wallet", before="saga.finish.before", recorded="saga.finish.after"),
    *_of("svc_order", "release", "declined", before="saga.release.before", effect="saga.release.after"),
    *_of("svc_order", "void", "declined", before="saga.void.before", effect="saga.void.after"),
    *_of("svc_order", "change", "cancelled", effect="order.change.before_commit", recorded="order.change.after_commit"),
    *_of("svc_order", "refund", "refunded", before="saga.refund.before", effect="saga.refund.after"),
    *_of("svc_order", "ship", "shipped", before="saga.ship.before", effect="saga.ship.after"),
    *_of("svc_order", "restock", "returned", before="saga.restock.before", effect="saga.restock.after"),
    *_of(
        "svc_order",
        "release shares",
        "arrived",
        before="saga.release_shares.before",
        effect="saga.release_shares.after",
    ),
    *_of(
        "svc_order",
        "undo, ship, refund",
        "card cancelled",
        effect="saga.effect.before_finish",
        recorded="saga.effect.after_finish",
    ),
    *_of(
        "svc_inventory",
        "reserve",
        "wallet",
        before="inventory.reserve.start",
        effect="inventory.reserve.claimed inventory.reserve.locked inventory.reserve.before_commit",
        recorded="inventory.reserve.after_commit",
    ),
    *_of(
        "svc_inventory",
        "release",
        "declined",
        before="inventory.release.start",
        effect="inventory.release.claimed inventory.release.locked inventory.release.before_commit",
        recorded="inventory.release.after_commit",
    ),
    *_of(
        "svc_inventory",
        "ship",
        "shipped",
        before="inventory.ship.start",
        effect="inventory.ship.claimed inventory.ship.locked inventory.ship.before_commit",
        recorded="inventory.ship.after_commit",
    ),
    *_of(
        "svc_inventory",
        "adjust",
        "delivery",
        before="inventory.adjust.claimed",
        effect="inventory.adjust.locked inventory.adjust.before_commit",
        recorded="inventory.adjust.after_commit",
    ),
    *_of(
        "svc_inventory",
        "restock",
        "returned",
        before="inventory.restock.start",
        effect="inventory.restock.claimed inventory.restock.locked inventory.restock.before_commit",
        recorded="inventory.restock.after_commit",
    ),
    *_of(
        "svc_payment",
        "authorize",
        "wallet",
        before="payment.authorize.after_claim",
        effect="payment.authorize.after_lock payment.authorize.before_commit",
        recorded="payment.authorize.after_commit",
    ),
    *_of(
        "svc_payment",
        "capture",
        "wallet",
        before="payment.capture.after_lock",
        effect="payment.capture.before_commit",
        recorded="payment.capture.after_commit",
    ),
    *_of(
        "svc_payment",
        "void",
        "declined",
        before="payment.void.after_claim",
        effect="payment.void.before_commit",
        recorded="payment.void.after_commit",
    ),
    *_of(
        "svc_payment",
        "refund",
        "refunded",
        before="payment.refund.after_lock",
        effect="payment.refund.before_commit payment.refund.after_call",
        recorded="payment.refund.after_commit payment.refund.after_settled",
    ),
    *_of(
        "svc_payment",
        "split",
        "sold",
        before="payment.split.after_lock",
        effect="payment.split.before_commit",
        recorded="payment.split.after_commit",
    ),
    *_of(
        "svc_payment",
        "settle",
        "card",
        before="payment.settle.before_call",
        effect="payment.settle.after_authorize payment.settle.after_capture payment.settle.before_commit",
        recorded="payment.settle.after_commit",
    ),
    *_of("svc_payment", "settle, late", "confirmed late", effect="payment.settle.after_query"),
    *_of("svc_payment", "settle, undone", "waiting cancelled", effect="payment.settle.after_void"),
    *_of(
        "svc_payment",
        "webhook",
        "confirmed late",
        effect="payment.webhook.before_commit",
        recorded="payment.webhook.after_commit",
    ),
    *_of(
        "svc_payment",
        "top-up",
        "top-up",
        before="payment.top_up.before_commit",
        effect="payment.top_up.after_authorize payment.top_up.after_capture payment.top_up.before_store",
        recorded="payment.top_up.after_commit payment.top_up.after_settled",
    ),
    *_of("svc_payment", "top-up, refused", "top-up refused", effect="payment.top_up.after_void"),
    *_of("svc_payment", "top-up, slow", "top-up slow", effect="payment.top_up.after_query"),
    *_of(
        "svc_payment",
        "credit",
        "credit",
        before="payment.credit.after_claim",
        effect="payment.credit.before_commit",
        recorded="payment.credit.after_commit",
    ),
    *_of("svc_payment", "seal", "sealed", effect="payment.seal.before_commit"),
    *_of("svc_cart", "load", "basket", before="cart.load.after_read"),
    *_of("svc_cart", "save", "basket", recorded="cart.save.after_commit"),
    *_of("svc_cart", "close", "cart", effect="cart.close.before_commit", recorded="cart.close.after_commit"),
    *_of(
        "svc_order",
        "relay",
        "letter",
        before="relay.before_publish",
        effect="relay.before_mark",
        recorded="relay.after_mark",
    ),
    *_closed(
        "svc_order",
        "relay, topics",
        "only where the broker has lost a topic; tests/mesh/test_relay.py takes one away",
        before="relay.before_topics",
    ),
    *_of(
        "svc_notify",
        "inbox",
        "letter",
        before="inbox.before_apply",
        effect="inbox.before_commit",
        recorded="inbox.before_offset",
    ),
    *_of(
        "svc_notify",
        "letter",
        "letter",
        before="notify.after_claim",
        effect="notify.after_send",
        recorded="notify.after_save",
    ),
    *_of(
        "svc_catalog",
        "create",
        "product",
        before="catalog.create.read",
        effect="catalog.create.products_saved catalog.create.before_commit",
    ),
    *_of("svc_catalog", "change", "price", before="catalog.change.locked", effect="catalog.change.before_commit"),
    *_of("svc_auth", "refresh", "session", effect="auth.refresh.before_commit"),
    *_closed(
        "svc_auth",
        "rotate",
        "a mesh has one new key at a time, and its first try takes the turn of all",
        effect="auth.rotate.before_commit",
    ),
    *_closed(
        "svc_bulk",
        "long job",
        "not a shopper's way: tests/svc_bulk kills workers within jobs, between a batch and its record and after it",
        before="bulk.after_claim",
        effect="bulk.batch.answered bulk.feed.kept bulk.reconciliation.closed bulk.search.page_done"
        " bulk.step.before_save",
        recorded="bulk.repricing.planned bulk.step.after_save",
    ),
    *_closed(
        "svc_catalog",
        "put",
        "a long job's way: its batches go out under a request id, and tests/svc_bulk repeats them",
        effect="catalog.put.before_commit",
        recorded="catalog.put.after_commit",
    ),
    *_closed(
        "svc_catalog",
        "search re-index",
        "a long job's way: a page that is made again is as it was, and tests/svc_bulk repeats them",
        recorded="catalog.search.page_reindexed",
    ),
    *_closed(
        "svc_payment",
        "payouts",
        "not a shopper's way: tests/svc_payment/payout breaks off at each of them",
        effect="payment.payout.before_commit",
        recorded="payment.payout.after_commit",
    ),
    *_closed(
        "svc_payment",
        "settlement of a day",
        "once a day, and the same day again changes nothing: tests/svc_payment/reconciliation",
        recorded="payment.settlement.after_commit",
    ),
)
