"""Cuts the journal into histories of single objects: stock per SKU, balance per wallet, state per order.

What the databases hold at rest is the last read of each history. The stock's own journal says in which order it thinks
that it served the orders; that is a claim to try first, not a fact.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence

from tests.faults import linearizability
from tests.faults.evidence import Evidence, Order
from tests.faults.invariants import Finding
from tests.faults.journal import Operation
from tests.faults.linearizability import Model, State, Step

Histories = dict[str, list[Step]]

HELD_AND_REFUSED = {"INSUFFICIENT_FUNDS", "PAYMENT_DECLINED"}
"""Refusals that come after the stock was reserved."""
MONEY_PERHAPS_HELD = {"OUT_OF_STOCK", "ORDER_CANCELLED"}
"""Refusals of an order whose wallet was asked too: at the same time as the stock, or before it was given up."""


def stock(evidence: Evidence) -> Histories:
    """What each SKU had to sell."""
    histories: Histories = defaultdict(list)
    ranks = _stock_ranks(evidence)
    recorded = _recorded(evidence)
    freed = _freed(evidence)
    for op in evidence.operations:
        match op.kind, op.outcome:
            case "deliver", "ok":
                step = Step(op.invoked_at, op.ended_at, "add", (op.arguments["units"],), label=op.key)
                histories[op.arguments["sku"]].append(step)
            case "stock", "ok":
                answer = op.answers[-1]
                step = Step(answer.asked_at, answer.told_at, "read", (), op.result["available"], label=f"#{op.number}")
                histories[op.arguments["sku"]].append(step)
            case "place", "refused" if op.result["reason"] == "OUT_OF_STOCK":
                short = int(op.result["requested"]), int(op.result["available"])
                step = Step(op.invoked_at, op.ended_at, "short", short[:1], short[1], label=op.key)
                histories[op.result["sku"]].append(step)
            case "place", _:
                order = recorded.get((op.arguments["user"], op.key))
                if order is not None:
                    for sku, units in _units(order).items():
                        back = [(freed[order.order_id], units)] if order.order_id in freed else []
                        histories[sku] += _claim(op, units, back, evidence, ranks.get((order.order_id, sku)))
    for sku, steps in histories.items():
        left = sum(row.on_hand - row.reserved for row in evidence.stock if row.sku == sku)
        steps.append(_at_rest(evidence, left))
    return histories


def wallets(evidence: Evidence) -> Histories:
    """What each guest had to spend."""
    histories: Histories = defaultdict(list)
    recorded = _recorded(evidence)
    cancels = _first(evidence, "cancel")
    refunds: dict[str, list[tuple[float, int]]] = defaultdict(list)
    for op in evidence.operations:
        if op.kind == "refund" and op.outcome == "ok":
            refunds[op.arguments["order"]].append((op.invoked_at, op.result["amount"]))
    for op in evidence.operations:
        match op.kind, op.outcome:
            case "top_up", "ok":
                step = Step(
                    op.invoked_at, op.ended_at, "add", (op.arguments["amount"],), op.result["balance"], label=op.key
                )
                histories[op.arguments["user"]].append(step)
            case "wallet", "ok":
                answer = op.answers[-1]
                step = Step(answer.asked_at, answer.told_at, "read", (), op.result["balance"], label=f"#{op.number}")
                histories[op.arguments["user"]].append(step)
            case "place", _ if op.arguments["by"] == "wallet":
                order = recorded.get((op.arguments["user"], op.key))
                if op.outcome == "refused" and op.result["reason"] == "INSUFFICIENT_FUNDS":
                    step = Step(op.invoked_at, op.ended_at, "short", (op.arguments["total"],), label=op.key)
                    histories[op.arguments["user"]].append(step)
                elif op.outcome == "refused" and op.result["reason"] not in MONEY_PERHAPS_HELD:
                    continue  # it never came to the money
                elif order is not None:
                    back = refunds.get(order.order_id, [])
                    if order.order_id in cancels and order.status == "CANCELLED":
                        back = [*back, (cancels[order.order_id], order.total_minor)]
                    histories[op.arguments["user"]] += _claim(op, order.total_minor, back, evidence, None)
    balances = {
        balance.user_id: balance.posted_credits - balance.posted_debits - balance.pending_debits
        for balance in evidence.balances
    }
    for user, steps in histories.items():
        steps.append(_at_rest(evidence, balances.get(user, 0)))
    return histories


def orders(evidence: Evidence) -> Histories:
    """Where each order stood."""
    histories: Histories = defaultdict(list)
    for op in evidence.operations:
        if op.kind == "place" and (named := [answer for answer in op.answers if "order" in answer.result]):
            history = histories[named[0].result["order"]]
            told_at = min(answer.told_at for answer in named)
            history.append(Step(op.invoked_at, told_at, "place", (op.arguments["total"],), label=op.key))
            first = op.settled  # what a later twin is told is the stored answer, and may be old
            for answer in named:
                if answer is first or answer.result["status"] == "PENDING":
                    history.append(_looked(answer.asked_at, answer.told_at, answer.result["status"], op))
        elif op.kind == "read" and op.outcome == "ok":
            answer = op.answers[-1]
            histories[op.result["order"]].append(_looked(answer.asked_at, answer.told_at, op.result["status"], op))
        elif op.kind in WISHES:
            histories[op.arguments["order"]].append(WISHES[op.kind](op))
    now = {order.order_id: order for order in evidence.orders}
    for order_id, steps in histories.items():
        order = now.get(order_id)
        rest = (order.status, order.refunded_minor if order.status != "CANCELLED" else 0) if order else "ABSENT"
        steps.append(Step(evidence.rested_at + 1, evidence.rested_at + 2, "rest", (), rest, label="at rest"))
    return histories


def _wish(op: Operation) -> Step:
    """Return what an order's owner or the shop wanted of it."""
    result = "refused" if op.outcome == "refused" else None
    certain = op.outcome != "unknown"
    return Step(op.invoked_at, op.ended_at, op.kind, (), result, certain=certain, label=f"#{op.number}")


def _refund(op: Operation) -> Step:
    """Return a refund that somebody wanted: its result is the amount, or the reason why not."""
    arguments = op.arguments["amount"], op.arguments["by"]
    result = op.result.get("amount", op.result.get("reason"))
    certain = op.outcome != "unknown"
    return Step(op.invoked_at, op.ended_at, "refund", arguments, result, certain=certain, label=op.key)


WISHES: dict[str, Callable[[Operation], Step]] = {"cancel": _wish, "ship": _wish, "arrive": _wish, "refund": _refund}


def linearizable(histories: Histories, initial: State, model: Model) -> Finding:
    """Check every history; a finding counts the operations in them."""
    finding = Finding()
    for name, steps in histories.items():
        verdict = linearizability.check(steps, initial, model)
        why = "not linearizable" if verdict.decided else f"not decided in {verdict.configurations} configurations"
        finding.checked += len(steps) - 1
        finding.expect(
            verdict.linearizable,
            f"{name}: {why}, {len(steps)} operations, stuck at {verdict.stuck_at} with {verdict.state}",
        )
    return finding


def check_all(evidence: Evidence) -> Iterator[tuple[str, str, Finding]]:
    """Yield name, sentence and finding of each kind of history."""
    counter, order = linearizability.counter, linearizability.order
    yield "L stock", "stock per SKU is linearizable", linearizable(stock(evidence), (0, ()), counter)
    yield "L wallet", "balance per wallet is linearizable", linearizable(wallets(evidence), (0, ()), counter)
    yield "L order", "state per order is linearizable", linearizable(orders(evidence), "ABSENT", order)


def _claim(
    op: Operation,
    amount: int,
    back: Sequence[tuple[float, int]],
    evidence: Evidence,
    ranks: Sequence[int] | None,
) -> list[Step]:
    """Return what one placed order did to something limited: took it, took it and gave it back, or held it in vain.

    `back` is what came back of it for somebody's wish, and when that was wished for.
    """
    took, gave = (*(ranks or ()), math.inf, math.inf)[:2]
    rest, begin = evidence.rested_at, op.invoked_at
    if op.outcome == "ok":
        steps = [Step(begin, op.ended_at, "take", (amount,), label=op.key, rank=took)]
        return steps + [Step(at, rest, "add", (some,), label=f"back of {op.key}", rank=gave) for at, some in back]
    # The stock of an order that was declined was held for a moment; that of one that was given up, and the money of
    # one that was out of stock, perhaps.
    certain = op.outcome == "refused" and op.result["reason"] in HELD_AND_REFUSED
    return [
        Step(begin, op.ended_at if certain else rest, "hold", (amount,), certain=certain, label=op.key, rank=took),
        Step(begin, rest, "free", (amount,), certain=certain, label=op.key, rank=gave),
    ]


def _looked(asked_at: float, told_at: float, status: str, op: Operation) -> Step:
    return Step(asked_at, told_at, "read", (), status, label=f"#{op.number}")


def _at_rest(evidence: Evidence, result: int | str) -> Step:
    return Step(evidence.rested_at + 1, evidence.rested_at + 2, "rest", (), result, label="at rest")


def _stock_ranks(evidence: Evidence) -> dict[tuple[str, str], list[int]]:
    """Return the versions at which the stock's journal says that an order took a SKU, and gave it back."""
    ranks: dict[tuple[str, str], list[int]] = defaultdict(list)
    for movement in evidence.movements:
        if movement.order_id is not None and movement.on_hand_delta == 0:  # what ships was taken before
            ranks[movement.order_id, movement.sku].append(movement.version)
    return ranks


def _recorded(evidence: Evidence) -> dict[tuple[str, str], Order]:
    """Return the order that stands under each user's key."""
    by_id = {order.order_id: order for order in evidence.orders}
    return {
        (checkout.user_id, checkout.request_id): by_id[checkout.order_id]
        for checkout in evidence.checkouts
        if checkout.order_id in by_id
    }


def _first(evidence: Evidence, kind: str) -> dict[str, float]:
    """Return when somebody first asked for this of an order, and was not refused."""
    first: dict[str, float] = {}
    for op in evidence.operations:
        if op.kind == kind and op.outcome != "refused":
            order_id = op.arguments["order"]
            first[order_id] = min(op.invoked_at, first.get(order_id, math.inf))
    return first


def _freed(evidence: Evidence) -> dict[str, float]:
    """Return the orders whose units went back on the shelf for somebody's wish, and when it was first wished for.

    Those are the cancelled ones, and those of which all money went back before a parcel left.
    """
    cancels, refunds = _first(evidence, "cancel"), _first(evidence, "refund")
    left = {entry.order_id for entry in evidence.entries if entry.type == "OrderShipped"}
    freed = {}
    for order in evidence.orders:
        if order.status == "CANCELLED" and order.order_id in cancels:
            freed[order.order_id] = cancels[order.order_id]
        elif order.status == "REFUNDED" and order.order_id in refunds and order.order_id not in left:
            freed[order.order_id] = refunds[order.order_id]
    return freed


def _units(order: Order) -> dict[str, int]:
    units: dict[str, int] = defaultdict(int)
    for _, sku, quantity in order.lines:
        units[sku] += quantity
    return units
