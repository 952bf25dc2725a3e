"""I8: what was changed from outside stands in the audit log, in the transaction of the change, and so do denials.

The tables that a command changes and that are never changed again carry the number of its transaction: that is held
against the number in the log, in both directions. What else is acknowledged is looked for by its name or its key.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict

from tests.faults.evidence import Evidence
from tests.faults.finding import Finding, disturbed_at, redis_losses

PLACE = "titan.order.v1.CheckoutService.PlaceOrder"
TOP_UP = "titan.payment.v1.WalletService.TopUpWallet"
VERIFY_LEDGER = "titan.payment.v1.LedgerService.VerifyLedger"
CARTS = "titan.cart.v1.CartService."

CAUSES = {
    "OrderPlaced": PLACE,
    "OrderCancelled": "titan.order.v1.OrderService.CancelOrder",
    "OrderShipped": "titan.order.v1.OrderService.ShipOrder",
    "OrderDelivered": "titan.order.v1.OrderService.DeliverOrder",
    "OrderRefunded": "titan.order.v1.OrderService.CreateRefund",
    "stock adjusted": "titan.inventory.v1.InventoryService.AdjustStock",
}
"""Which command makes which kind of row."""

XIDS = 2**32
"""A row remembers its transaction without the epoch."""


def commands_are_audited(evidence: Evidence) -> Finding:
    """I8: every accepted command left one entry, in the transaction of its change, and the sealed log is whole."""
    finding, losses = Finding(), redis_losses(evidence)
    accepted = [each for each in evidence.audited if each.outcome == "ACCEPTED"]
    entries = Counter((each.method, each.resource, each.xid % XIDS) for each in accepted)
    effects = Counter((CAUSES[each.kind], each.resource, each.xid) for each in evidence.effects)
    for (method, resource, xid), count in effects.items():
        found = entries[method, resource, xid]
        finding.expect(found == count, f"{resource}: {found} entries of {method} in transaction {xid}, {count} changes")
    for method, resource, xid in entries.keys() - effects.keys():
        finding.expect(
            method not in CAUSES.values(), f"{resource}: {method} in transaction {xid}, which changed nothing"
        )
    keyed = Counter((each.method, each.key_hash) for each in accepted if each.key_hash)
    for (method, _), count in keyed.items():
        finding.expect(count == 1, f"{method}: accepted {count} times under one key")
    placed = {each.resource: each.actor_id for each in accepted if each.method == PLACE}
    versions = Counter(each.resource for each in accepted if each.method.startswith(CARTS))
    for op in evidence.operations:
        if op.outcome != "ok":
            continue
        user = op.arguments.get("user", "")
        if op.kind == "place":
            name = f"orders/{op.result['order']}"
            finding.expect(placed.get(name) == user, f"{name}: ordered by {user}, the log has {placed.get(name)}")
            finding.expect(keyed[PLACE, key_hash(user, PLACE, op.key)] == 1, f"{name}: not in the log under {op.key}")
        elif op.kind == "top_up":
            found = keyed[TOP_UP, key_hash(user, TOP_UP, op.key)]
            finding.expect(found == 1, f"top-up {op.key} of user {user}: {found} entries")
        elif op.kind == "cart" and not any(began <= op.ended_at <= lifted for began, lifted in losses):
            name = f"carts/{user}/versions/{op.result['version']}"
            finding.expect(versions[name] == 1, f"{name}: {versions[name]} entries")
    blocks = defaultdict(list)
    for package, block in evidence.audit_blocks:
        blocks[package].append(block)
    for package, chain in blocks.items():
        finding.expect_chain(chain, b"titan audit", f"{package} ")
    return finding


def denials_are_recorded(evidence: Evidence) -> Finding:
    """I8: whoever asked for what is not theirs to ask was refused, and each time the log has it, faults aside."""
    finding = Finding()
    told: Counter[str] = Counter()
    for op in evidence.operations:
        if op.kind == "trespass":
            user = op.arguments["user"]
            finding.expect(op.outcome != "ok", f"user {user}: let in where only finance belongs (#{op.number})")
            ended = op.wall + op.ended_at - op.invoked_at
            if op.outcome == "refused" and not disturbed_at(evidence, op.wall) and not disturbed_at(evidence, ended):
                told[user] += 1
    denied = Counter(
        each.actor_id for each in evidence.audited if each.outcome == "DENIED" and each.method == VERIFY_LEDGER
    )
    for user, count in told.items():
        finding.expect(denied[user] >= count, f"user {user}: denied {count} times, the log has {denied[user]}")
    return finding


def key_hash(user_id: str, method: str, key: str) -> str:
    """Return what the log keeps of an idempotency key, in hexadecimal; written out here once more."""
    return hashlib.sha256(f"{user_id}\n{method}\n{key}".encode()).hexdigest()
