"""What must be true after every fault: each invariant is a pure function from evidence to what breaks it.

To add one: write the function, put it into INVARIANTS, and add evidence that breaks it to `test_invariants.py`.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping

from tests.faults.audited import commands_are_audited, denials_are_recorded
from tests.faults.evidence import Checkout, Evidence, Order, Payment
from tests.faults.finding import Finding, disturbed_at, redis_losses
from tests.faults.journal import Operation
from tests.faults.watch import LOOKS

SAGA_SECONDS = 10.0
"""The longest that an order may stand still, apart from the time in which something was broken."""

SIGNED_OUT_SECONDS = 3.0
"""When an access token of an ended session counts no more, anywhere; a calm mesh knows within one second."""

ORDERS = "titan.order.v1"
RECEIPT = "order_confirmed"
WRITTEN_AFTER_A_RECEIPT = (".OrderCancelled", ".OrderShipped", ".OrderRefunded")

ENDS = {"CONFIRMED", "SHIPPED", "DELIVERED", "CANCELLED", "REFUNDED"}
RESERVED = 1
CUSTOMER_SECONDS = 35.0
"""The longest that a customer lets the bank wait, as the shoppers have it."""


def acknowledged_orders_stay(evidence: Evidence) -> Finding:
    """I1: every acknowledged order exists and reached an end, and every wish has an answer that stays true."""
    finding, orders = Finding(), _orders(evidence)
    checkouts = _by_key(evidence)
    wished = {op.arguments["order"] for op in evidence.operations if op.kind in AFTERWARDS}
    for op in evidence.operations:
        if op.kind not in ("place", "top_up", "deliver", *AFTERWARDS):
            continue
        finding.expect(
            op.outcome != "unknown", f"{op.kind} {op.key or op.arguments}: never answered, {op.attempts} attempts"
        )
        if op.outcome == "ok" and op.kind in ("place", *AFTERWARDS):
            order_id = op.result["order"] if op.kind == "place" else op.arguments["order"]
            order = orders.get(order_id)
            if order is None:
                finding.expect(False, f"order {order_id} ({op.key}): acknowledged and lost")
                continue
            finding.expect(order.status in ENDS, f"order {order.order_id}: {order.status} for ever")
            if op.kind in AFTERWARDS:
                finding.expect(
                    order.status in AFTERWARDS[op.kind],
                    f"order {order.order_id}: {op.kind} was acknowledged, and it is {order.status} again",
                )
            elif order.order_id not in wished:
                finding.expect(
                    order.status == op.result["status"],
                    f"order {order.order_id}: said {op.result['status']}, is {order.status}",
                )
            if op.kind == "place":
                promised = (op.result["total"], sorted(map(tuple, op.result["lines"])))
                kept = (order.total_minor, sorted((sku, units) for _, sku, units in order.lines))
                finding.expect(promised == kept, f"order {order.order_id}: promised {promised}, kept {kept}")
        if op.outcome == "refused" and op.kind == "place":
            checkout = checkouts.get((op.arguments["user"], op.key))
            order = orders.get(checkout.order_id) if checkout else None
            finding.expect(
                order is None or order.status == "CANCELLED",
                f"key {op.key}: refused {op.result.get('reason')}, and its order is {order.status if order else ''}",
            )
    wishes = {(op.arguments["user"], op.key) for op in evidence.operations if op.kind == "place"}
    for key, checkout in checkouts.items():
        finding.expect(key in wishes, f"order {checkout.order_id}: nobody asked for it")
    return finding


AFTERWARDS: Mapping[str, set[str]] = {
    "cancel": {"CANCELLED"},
    "ship": {"SHIPPED", "DELIVERED", "REFUNDED"},
    "arrive": {"DELIVERED", "REFUNDED"},
    "refund": {"CONFIRMED", "SHIPPED", "DELIVERED", "REFUNDED"},
}
"""What is wished for of an order, and where the order may be once that was acknowledged."""


def one_order_and_one_capture_per_key(evidence: Evidence) -> Finding:
    """I2: under a key at most one order and one answer, and at most one capture in the provider's own log."""
    finding = Finding()
    for op in evidence.operations:
        if op.key:
            told = _told_for_good(op)
            finding.expect(len(told) <= 1, f"{op.kind} {op.key}: {len(told)} different answers: {sorted(told)}")
    for key, count in Counter((each.user_id, each.request_id) for each in evidence.checkouts).items():
        finding.expect(count == 1, f"key {key[1]} of user {key[0]}: {count} orders")
    for key, count in Counter((each.user_id, each.request_id) for each in evidence.top_ups).items():
        finding.expect(count == 1, f"key {key[1]} of user {key[0]}: {count} top-ups")
    known = {each.payment_id for each in evidence.payments} | {each.top_up_id for each in evidence.top_ups}
    for payment_id in {each.payment_id for each in evidence.charges if each.kind == "authorize"}:
        finding.expect(
            payment_id in known, f"payment {payment_id}: authorized at the provider, and nobody knows what for"
        )
    for payment_id, count in Counter(each.payment_id for each in evidence.charges if each.kind == "capture").items():
        finding.expect(count == 1, f"payment {payment_id}: captured {count} times at the provider")
        finding.expect(
            payment_id in known, f"payment {payment_id}: captured at the provider, and nobody knows what for"
        )
    for order_id, count in Counter(each.order_id for each in evidence.transfers if each.kind == "payment").items():
        finding.expect(count == 1, f"order {order_id}: taken {count} times")
    return finding


def confirmed_orders_are_covered(evidence: Evidence) -> Finding:
    """I3: a confirmed order had one authorization of its amount and currency, and a reservation of every line."""
    finding, payments, orders = Finding(), _payments(evidence), _orders(evidence)
    authorized: dict[str, list[tuple[int, str | None]]] = defaultdict(list)
    for charge in evidence.charges:
        if charge.kind == "authorize":
            authorized[charge.payment_id].append((charge.amount_minor, charge.currency))
    for transfer in evidence.transfers:
        if transfer.kind == "payment":
            authorized[transfer.transfer_id].append((transfer.amount_minor, transfer.currency))
    reserved: dict[str, Counter[tuple[int, str]]] = defaultdict(Counter)
    for line in evidence.reservations:
        reserved[line.order_id][line.line_number, line.sku] += line.quantity
    for order_id in dict.fromkeys(each.order_id for each in evidence.entries if each.type == "OrderConfirmed"):
        order, payment = orders.get(order_id), payments.get(order_id)
        if order is None or payment is None:
            finding.expect(False, f"order {order_id}: confirmed without {'a row' if order is None else 'a payment'}")
            continue
        wanted = [(order.total_minor, order.currency)]
        finding.expect(
            authorized[payment.payment_id] == wanted,
            f"order {order_id}: wants {wanted}, authorized {authorized[payment.payment_id]}",
        )
        lines = Counter({(number, sku): units for number, sku, units in order.lines})
        finding.expect(
            reserved[order_id] == lines, f"order {order_id}: wants {dict(lines)}, reserved {dict(reserved[order_id])}"
        )
    return finding


def money_moves_for_live_orders_only(evidence: Evidence) -> Finding:
    """I4: at the provider and in the ledger, captures minus refunds are what an order is worth, and nothing is held."""
    finding, orders = Finding(), _orders(evidence)
    provider, provider_holds = _at_provider(evidence)
    ledger, ledger_holds = _in_ledger(evidence)
    captured = {each.payment_id for each in evidence.charges if each.kind == "capture"}
    confirmed = {each.order_id for each in evidence.entries if each.type == "OrderConfirmed"}
    for payment in evidence.payments:
        order = orders.get(payment.order_id)
        status = order.status if order is not None else "unknown"
        live = order is not None and status not in ("CANCELLED", "PENDING")
        worth = order.total_minor - order.refunded_minor if order is not None and live else 0
        name = f"order {payment.order_id} ({status}), payment {payment.payment_id}"
        moved = ledger[payment.order_id]
        finding.expect(moved == worth, f"{name}: worth {worth}, the ledger moved {moved}")
        if payment.provider != "wallet":
            taken = provider[payment.payment_id]
            finding.expect(taken == worth, f"{name}: worth {worth}, the provider took {taken}")
        finding.expect(
            payment.payment_id not in captured or payment.order_id in confirmed,
            f"{name}: captured at the provider, and never confirmed",
        )
        if status != "PENDING":
            held = provider_holds[payment.payment_id] + ledger_holds[payment.order_id]
            finding.expect(held == 0, f"{name}: {held} held for ever")
    for top_up in evidence.top_ups:
        worth = top_up.amount_minor if top_up.status == "CREDITED" else 0
        taken, held = provider[top_up.top_up_id], provider_holds[top_up.top_up_id]
        name = f"top-up {top_up.top_up_id} ({top_up.status})"
        finding.expect(taken == worth, f"{name}: worth {worth}, the provider took {taken}")
        finding.expect(held == 0, f"{name}: {held} held for ever")
    return finding


def _at_provider(evidence: Evidence) -> tuple[Counter[str], Counter[str]]:
    """Return by payment what the provider says it took for good, and what it still holds."""
    taken, held = Counter[str](), Counter[str]()
    for charge in evidence.charges:
        taken[charge.payment_id] += {"capture": 1, "refund": -1}.get(charge.kind, 0) * charge.amount_minor
        held[charge.payment_id] += {"authorize": 1, "capture": -1, "void": -1}.get(charge.kind, 0) * charge.amount_minor
    return taken, held


def _in_ledger(evidence: Evidence) -> tuple[Counter[str], Counter[str]]:
    """Return by order what the ledger moved for good, and what it still holds."""
    moved, held = Counter[str](), Counter[str]()
    for transfer in evidence.transfers:
        if transfer.order_id is None:
            continue
        if transfer.pending and transfer.outcome is None:
            held[transfer.order_id] += transfer.amount_minor
        elif transfer.outcome != "voided":
            moved[transfer.order_id] += {"payment": 1, "refund": -1}.get(transfer.kind, 0) * transfer.amount_minor
    return moved, held


def refunds_are_as_told(evidence: Evidence) -> Finding:
    """I4: customers and support were told of every refund that an order notes, and of no other."""
    finding = Finding()
    told: Counter[str] = Counter()
    for op in evidence.operations:
        if op.kind == "refund" and op.outcome == "ok":
            told[op.arguments["order"]] += op.result["amount"]
    for order in evidence.orders:
        if order.status != "CANCELLED":
            finding.expect(
                order.refunded_minor == told[order.order_id],
                f"order {order.order_id}: {told[order.order_id]} of refunds promised, {order.refunded_minor} noted",
            )
    return finding


def stock_adds_up(evidence: Evidence) -> Finding:
    """I5: what is on hand and reserved is what the journal and the live reservations say; nothing is oversold."""
    finding, orders = Finding(), _orders(evidence)
    on_hand, reserved, live = Counter[tuple[str, str]](), Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    running: Counter[str] = Counter()
    versions: dict[str, int] = defaultdict(int)
    for movement in evidence.movements:
        place = movement.sku, movement.warehouse_id
        on_hand[place] += movement.on_hand_delta
        reserved[place] += movement.reserved_delta
        versions[movement.sku] += 1
        running[movement.sku] += movement.on_hand_delta - movement.reserved_delta
        finding.expect(
            running[movement.sku] >= 0, f"{movement.sku} version {movement.version}: {running[movement.sku]} available"
        )
        finding.expect(
            movement.version == versions[movement.sku],
            f"{movement.sku}: version {movement.version} in place {versions[movement.sku]}",
        )
    for line in evidence.reservations:
        if line.state == RESERVED:
            live[line.sku, line.warehouse_id] += line.quantity
            order = orders.get(line.order_id)
            finding.expect(
                order is not None and order.status in ("PENDING", "CONFIRMED"),
                f"order {line.order_id}: {line.quantity} of {line.sku} reserved for nobody",
            )
    for row in evidence.stock:
        place = row.sku, row.warehouse_id
        finding.expect(row.on_hand == on_hand[place], f"{row.sku}: {row.on_hand} on hand, journal {on_hand[place]}")
        finding.expect(
            row.reserved == reserved[place] == live[place],
            f"{row.sku}: {row.reserved} reserved, journal {reserved[place]}, live {live[place]}",
        )
        finding.expect(0 <= row.reserved <= row.on_hand, f"{row.sku}: {row.reserved} reserved of {row.on_hand}")
    delivered = Counter[str]()
    for op in evidence.operations:
        if op.kind == "deliver" and op.outcome == "ok":
            delivered[op.arguments["sku"]] += op.arguments["units"]
    units = Counter[str]()
    for row in evidence.stock:
        units[row.sku] += row.on_hand
    shipped = Counter[str]()
    for order_id in {each.order_id for each in evidence.entries if each.type == "OrderShipped"} & orders.keys():
        for _, sku, quantity in orders[order_id].lines:
            shipped[sku] += quantity
    for sku, expected in delivered.items():
        finding.expect(
            units[sku] == expected - shipped[sku],
            f"{sku}: {expected} delivered, {shipped[sku]} shipped, {units[sku]} on hand",
        )
    return finding


def ledger_adds_up(evidence: Evidence) -> Finding:
    """I6: balances are the sums of their transfers, currencies sum to zero, and the sealed chain is whole."""
    finding = Finding()
    sums: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    for transfer in evidence.transfers:
        finding.expect(
            transfer.amount_minor > 0 and transfer.debit_account != transfer.credit_account,
            f"transfer {transfer.transfer_id}: moves nothing",
        )
        finding.expect(transfer.outcome is None or transfer.pending, f"transfer {transfer.transfer_id}: ended twice")
        if transfer.outcome == "voided":
            continue
        place = 2 if transfer.pending and transfer.outcome is None else 0
        sums[transfer.debit_account][place] += transfer.amount_minor
        sums[transfer.credit_account][place + 1] += transfer.amount_minor
    totals: Counter[str] = Counter()
    for balance in evidence.balances:
        kept = [balance.posted_debits, balance.posted_credits, balance.pending_debits, balance.pending_credits]
        finding.expect(
            kept == sums.pop(balance.account_id, [0] * 4),
            f"account {balance.account_id}: balance {kept} is not the sum of its transfers",
        )
        totals[balance.currency] += kept[1] - kept[0] + kept[3] - kept[2]
        if balance.user_id is not None:
            finding.expect(
                kept[1] - kept[0] - kept[2] >= 0, f"wallet {balance.account_id} of user {balance.user_id}: below zero"
            )
    for account_id in sums:
        finding.expect(False, f"account {account_id}: transfers without a balance")
    for currency, drift in totals.items():
        finding.expect(drift == 0, f"{currency}: {drift} minor units out of nowhere")
    finding.expect_chain(evidence.blocks, b"titan ledger")
    return finding


def events_are_complete(evidence: Evidence) -> Finding:
    """I7: the outbox drained, versions have no gap, and whoever listens met each event, under one id."""
    finding = Finding()
    seen = {(each.topic, each.aggregate_id, each.version): each for each in evidence.seen}
    met_as = Counter((each.topic, each.aggregate_id, each.version) for each in evidence.seen)
    for (topic, aggregate_id, version), count in met_as.items():
        finding.expect(count == 1, f"{topic} {aggregate_id} version {version}: met as {count} different events")
    versions: dict[tuple[str, str], list[int]] = defaultdict(list)
    for row in evidence.published:
        name = f"{row.topic} {row.aggregate_id} version {row.version}"
        finding.expect(row.published, f"{name}: never published")
        met = seen.pop((row.topic, row.aggregate_id, row.version), None)
        finding.expect(met is not None or not row.published, f"{name}: published, and never met")
        if met is not None:
            finding.expect(met.event_id == row.event_id, f"{name}: is {row.event_id}, was met as {met.event_id}")
            finding.expect(met.digest == row.digest, f"{name}: was met with another content")
        versions[row.topic, row.aggregate_id].append(row.version)
    for (topic, aggregate_id), numbers in versions.items():
        finding.expect(
            sorted(numbers) == list(range(1, len(numbers) + 1)), f"{topic} {aggregate_id}: versions {sorted(numbers)}"
        )
    ours = {topic for topic, _ in versions}
    for topic, aggregate_id, version in seen:
        finding.expect(topic not in ours, f"{topic} {aggregate_id} version {version}: met, and never written")
    journal = Counter(each.order_id for each in evidence.entries)
    for order_id, count in journal.items():
        told = len(versions.get(("titan.order.v1", order_id), ()))
        finding.expect(told == count, f"order {order_id}: {count} entries in its journal, {told} events")
    return finding


def events_are_applied_once(evidence: Evidence) -> Finding:
    """I7: the consumer that writes letters has applied every event of an order, and each of them once."""
    finding, applied = Finding(), set(evidence.applied)
    letters = Counter((each.order_id, each.order_version) for each in evidence.letters)
    confirmed = {each.order_id for each in evidence.letters if each.template == RECEIPT}
    for row in evidence.published:
        if row.topic == ORDERS and row.published:
            name = f"order {row.aggregate_id} version {row.version}"
            finding.expect(row.event_id in applied, f"{name}: published, and never applied")
            wanted = row.type.endswith(".OrderConfirmed") or (
                row.aggregate_id in confirmed and row.type.endswith(WRITTEN_AFTER_A_RECEIPT)
            )
            count = letters.pop((row.aggregate_id, row.version), 0)
            finding.expect(count <= 1 and not (wanted and not count), f"{name}: {count} letters")
    for (order_id, version), count in letters.items():
        finding.expect(False, f"order {order_id} version {version}: {count} letters about nothing")
    return finding


def carts_come_back(evidence: Evidence) -> Finding:
    """I9: whatever Redis held comes back, at most a second old, and no version of a cart is two things."""
    finding = Finding()
    lines: dict[tuple[str, int], Mapping[str, int]] = {}
    changes: dict[str, list[tuple[float, int]]] = defaultdict(list)
    losses = redis_losses(evidence)

    def see(user_id: str, version: int, found: Mapping[str, int], at: float, name: str) -> None:
        first = lines.setdefault((user_id, version), found)
        finding.expect(found == first, f"{name}: version {version} holds {found}, and was {first}")
        kept = (
            seen
            for changed_at, seen in changes[user_id]
            if not any(began <= changed_at <= lifted and began < at for began, lifted in losses)
        )
        newest = max(kept, default=0)
        finding.expect(version >= newest, f"{name}: version {version}, and {newest} was acknowledged")

    asked = [op for op in evidence.operations if op.kind in ("cart", "look") and op.outcome == "ok"]
    for op in sorted(asked, key=lambda op: op.ended_at):
        user_id, version = op.arguments["user"], op.result["version"]
        see(user_id, version, op.result["lines"], op.ended_at, f"cart of {user_id} at {op.ended_at:.1f} (#{op.number})")
        if op.kind == "cart":
            changes[user_id].append((op.ended_at, version))
    for cart in evidence.carts:
        if cart.user_id in changes:
            name = f"saved cart of {cart.user_id}"
            see(cart.user_id, cart.version, cart.lines, evidence.rested_at, name)
    saved = {cart.user_id for cart in evidence.carts}
    for user_id, made in changes.items():
        finding.expect(not made or user_id in saved, f"cart of {user_id}: never saved")
    return finding


def who_left_stays_out(evidence: Evidence) -> Finding:
    """S: a session that was ended buys no new tokens, and whoever was refused with its token is not let in again."""
    finding = Finding()
    refused: set[str] = set()
    left: dict[str, float] = {}
    for op in evidence.operations:
        user = op.arguments.get("user", "")
        if op.kind == "sign out" and op.outcome == "ok":
            left[user] = op.wall + op.ended_at - op.invoked_at
        elif op.kind == "come back":
            finding.expect(op.outcome != "ok", f"user {user}: signed out, and got new tokens (#{op.number})")
        elif op.kind == "look in":
            finding.expect(
                op.outcome != "ok" or user not in refused, f"user {user}: refused, and let in again (#{op.number})"
            )
            calm = not disturbed_at(evidence, left[user]) and not disturbed_at(evidence, op.wall)
            finding.expect(
                op.outcome != "ok" or not calm or op.wall < left[user] + SIGNED_OUT_SECONDS,
                f"user {user}: signed out, and let in {op.wall - left[user]:.1f} s later (#{op.number})",
            )
            if op.outcome == "refused":
                refused.add(user)
    return finding


def nothing_waits_for_ever(evidence: Evidence) -> Finding:
    """I10: no saga stood still for longer than it may, faults aside, and nothing is open when the mesh rests."""
    finding = Finding()
    asked = {
        (op.arguments["user"], op.key)
        for op in evidence.operations
        if op.kind == "place" and op.arguments["by"] == "tok_action"
    }
    for checkout in evidence.checkouts:
        if checkout.waits:
            continue
        decided = checkout.decided if checkout.decided is not None else evidence.rested_wall
        allowed = SAGA_SECONDS + _disturbed_seconds(evidence, checkout, decided)
        if (checkout.user_id, checkout.request_id) in asked:
            allowed += CUSTOMER_SECONDS
        spent = decided - checkout.recorded
        finding.expect(
            spent <= allowed, f"order {checkout.order_id}: decided after {spent:.1f} s, {allowed:.1f} s allowed"
        )
        finding.expect(checkout.finished is not None, f"order {checkout.order_id}: its saga never ended")
    for name in (*evidence.open_effects, *evidence.open_provider_work):
        finding.expect(False, f"{name}: still to be done")
    return finding


def nothing_drifts(evidence: Evidence) -> Finding:
    """I5, I6: also in the middle of it, once a second: no money out of nowhere, nothing oversold."""
    finding = Finding()
    for sample in evidence.samples:
        finding.checked += sample.checked
        finding.violations += [f"{sample.name}: {wrong}" for wrong in sample.wrong]
    looks = {(sample.name, sample.deep) for sample in evidence.samples if sample.checked}
    for name in LOOKS if looks else ():
        for deep, what in ((False, "looked into it"), (True, "added it up")):
            if (name, deep) not in looks:
                finding.violations.append(f"{name}: nobody {what}")
    return finding


Invariant = Callable[[Evidence], Finding]

INVARIANTS: Mapping[str, Invariant] = {
    "I1": acknowledged_orders_stay,
    "I2": one_order_and_one_capture_per_key,
    "I3": confirmed_orders_are_covered,
    "I4": money_moves_for_live_orders_only,
    "I4 told": refunds_are_as_told,
    "I5": stock_adds_up,
    "I6": ledger_adds_up,
    "I7": events_are_complete,
    "I7 once": events_are_applied_once,
    "I8": commands_are_audited,
    "I8 denied": denials_are_recorded,
    "I9": carts_come_back,
    "I10": nothing_waits_for_ever,
    "S": who_left_stays_out,
    "each s": nothing_drifts,
}


def _told_for_good(op: Operation) -> set[str]:
    """Return the different answers of an operation, without the fleeting ones of attempts that left before it had one.

    After an answer that is stored, everything has to be that answer.
    """
    known = [answer for answer in op.answers if answer.outcome != "unknown"]
    stored_at = min((answer.told_at for answer in known if not answer.is_fleeting), default=math.inf)
    return {
        _told(op.kind, answer.outcome, answer.result)
        for answer in known
        if not answer.is_fleeting or answer.asked_at > stored_at
    }


def _told(kind: str, outcome: str, result: Mapping[str, object]) -> str:
    """Return what of an answer must be the same whenever it is given again."""
    if outcome == "refused":
        return f"refused {result.get('reason')}"
    match kind:
        case "place":
            return f"order {result['order']} {result['status']} {result['total']}"
        case "refund":
            return f"refund {result['refund']} {result['amount']}"
        case "top_up":
            return f"balance {result['balance']}"
    return outcome


def _disturbed_seconds(evidence: Evidence, checkout: Checkout, decided: float) -> float:
    """Return for how much of an order's way something was broken, or had just been."""
    overlaps = (min(each.over, decided) - max(each.began, checkout.recorded) for each in evidence.disturbances)
    return sum(overlap for overlap in overlaps if overlap > 0)


def _orders(evidence: Evidence) -> dict[str, Order]:
    return {each.order_id: each for each in evidence.orders}


def _payments(evidence: Evidence) -> dict[str, Payment]:
    return {each.order_id: each for each in evidence.payments}


def _by_key(evidence: Evidence) -> dict[tuple[str, str], Checkout]:
    return {(each.user_id, each.request_id): each for each in evidence.checkouts}


def shown(violations: Iterable[str], *, most: int = 10) -> list[str]:
    """Return the first violations, and how many more there are."""
    listed = list(violations)
    more = len(listed) - most
    return listed[:most] + ([f"... and {more} more"] if more > 0 else [])
