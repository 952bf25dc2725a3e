"""Each invariant holds for a small world where all went well, and names what is wrong in one where it did not."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.faults import histories
from tests.faults.audited import key_hash
from tests.faults.check import judge
from tests.faults.evidence import (
    Audited,
    Balance,
    Block,
    Cart,
    Charge,
    Checkout,
    Disturbance,
    Effect,
    Entry,
    Evidence,
    Letter,
    Movement,
    Order,
    Payment,
    Published,
    Reservation,
    Sample,
    Seen,
    Stock,
    TopUp,
    Transfer,
)
from tests.faults.invariants import INVARIANTS
from tests.faults.journal import Answer, Operation
from tests.faults.linearizability import counter

PLACED = "titan.order.v1.CheckoutService.PlaceOrder"
CANCELLED = "titan.order.v1.OrderService.CancelOrder"
TOPPED_UP = "titan.payment.v1.WalletService.TopUpWallet"
ADJUSTED = "titan.inventory.v1.InventoryService.AdjustStock"
ADDED = "titan.cart.v1.CartService.AddItem"
LOOKED_AT = "titan.payment.v1.LedgerService.VerifyLedger"
LOG = hashlib.sha256(b"titan audit").digest()
GENESIS = hashlib.sha256(b"titan ledger").digest()
ROWS = hashlib.sha256(b"rows").digest()
SEALED = hashlib.sha256(GENESIS + (1).to_bytes(8, "big") + (3).to_bytes(8, "big") + ROWS).digest()


TYPES = {1: "OrderPlaced", 2: "OrderConfirmed", 3: "OrderCancelled"}
"""What the events of an order tell, by their versions."""


def wish(number: int, kind: str, at: float, outcome: str = "ok", *, key: str = "", **more: object) -> Operation:
    """Return one wish that was sent once; `arguments` and `result` are in `more`."""
    arguments, result = more.get("arguments", {}), more.get("result", {})
    answer = Answer(at, at + 1, outcome, result)  # type: ignore[arg-type]
    return Operation(number, "s0", kind, key, arguments, at, at, 1, [answer])  # type: ignore[arg-type]


def said(order: str, total: int, status: str = "CONFIRMED") -> dict[str, object]:
    """Return what a placed order answers."""
    return {"order": order, "status": status, "total": total, "lines": [["mug", 2]]}


def good_world() -> Evidence:
    """Ann tops up 100, buys two mugs from her wallet and two by card, and cancels the second order."""
    wallet, sales, clearing = "acc-wallet", "acc-sales", "acc-clearing"
    lines = ((1, "mug", 2),)
    place = {"user": "ann", "lines": [["mug", 2]], "total": 10}
    return Evidence(
        rested_at=100,
        rested_wall=100,
        operations=[
            wish(1, "deliver", 1, key="d", arguments={"sku": "mug", "units": 9}),
            wish(2, "top_up", 3, key="t", arguments={"user": "ann", "amount": 100}, result={"balance": 100}),
            wish(3, "place", 5, key="k1", arguments={**place, "by": "wallet"}, result=said("o1", 10)),
            wish(4, "place", 7, key="k2", arguments={**place, "by": "tok_visa"}, result=said("o2", 10)),
            wish(5, "cancel", 9, arguments={"user": "ann", "order": "o2"}, result=said("o2", 10, "CANCELLED")),
            wish(6, "read", 11, arguments={"user": "ann", "order": "o2"}, result=said("o2", 10, "CANCELLED")),
            wish(7, "wallet", 13, arguments={"user": "ann"}, result={"balance": 90}),
            wish(8, "stock", 15, arguments={"sku": "mug"}, result={"available": 7}),
            wish(9, "cart", 17, arguments={"user": "bob"}, result={"version": 5, "lines": {"mug": 1}}),
            wish(10, "look", 19, arguments={"user": "bob"}, result={"version": 5, "lines": {"mug": 1}}),
            wish(11, "sign out", 30, arguments={"user": "eve"}),
            wish(12, "look in", 31.5, arguments={"user": "eve"}),
            wish(13, "come back", 32, "refused", arguments={"user": "eve"}),
            wish(14, "look in", 35, "refused", arguments={"user": "eve"}),
            wish(15, "look in", 36, "refused", arguments={"user": "eve"}),
            wish(16, "trespass", 40, "refused", arguments={"user": "mal"}),
            wish(17, "trespass", 42, "refused", arguments={"user": "mal"}),
        ],
        orders=[
            Order("o1", "ann", "CONFIRMED", total_minor=10, lines=lines),
            Order("o2", "ann", "CANCELLED", total_minor=10, lines=lines, cancel_reason="CUSTOMER"),
        ],
        entries=[
            Entry("o1", 1, "OrderPlaced"),
            Entry("o1", 2, "OrderConfirmed"),
            Entry("o2", 1, "OrderPlaced"),
            Entry("o2", 2, "OrderConfirmed"),
            Entry("o2", 3, "OrderCancelled"),
        ],
        checkouts=[Checkout("o1", "ann", "k1", 5, 6, 7), Checkout("o2", "ann", "k2", 7, 8, 9)],
        payments=[
            Payment("o1", "p1", "CAPTURED", "wallet", 10, captured_minor=10),
            Payment("o2", "p2", "CAPTURED", "psp_sim", 10, captured_minor=10, refunded_minor=10),
        ],
        top_ups=[TopUp("u1", "ann", "t", 100)],
        transfers=[
            Transfer("u1", "top_up", clearing, wallet, 100),
            Transfer("p1", "payment", wallet, sales, 10, order_id="o1", pending=True, outcome="posted"),
            Transfer("t2", "payment", clearing, sales, 10, order_id="o2"),
            Transfer("t3", "refund", sales, clearing, 10, order_id="o2"),
        ],
        balances=[
            Balance(wallet, "ann", posted_debits=10, posted_credits=100),
            Balance(sales, None, posted_debits=10, posted_credits=20),
            Balance(clearing, None, posted_debits=110, posted_credits=10),
        ],
        blocks=[Block(0, 0, b"", b"", GENESIS), Block(1, 3, ROWS, GENESIS, SEALED, 3, ROWS)],
        audited=[
            Audited(PLACED, "orders/o1", "ann", key_hash("ann", PLACED, "k1"), 2**32 + 7),
            Audited(PLACED, "orders/o2", "ann", key_hash("ann", PLACED, "k2"), 2**32 + 7),
            Audited(CANCELLED, "orders/o2", "ann", None, 2**32 + 9),
            Audited(TOPPED_UP, "topUps/u1", "ann", key_hash("ann", TOPPED_UP, "t"), 3),
            Audited(ADJUSTED, "inventory/mug", "ada", key_hash("ada", ADJUSTED, "d"), 4),
            Audited(ADDED, "carts/bob/versions/5", "bob", None, 5),
            *(Audited(LOOKED_AT, "", "mal", None, xid, "DENIED") for xid in (6, 7)),
        ],
        audit_blocks=[("svc_order", Block(0, 0, b"", b"", LOG)), ("svc_cart", Block(0, 0, b"", b"", LOG))],
        effects=[
            Effect("OrderPlaced", "orders/o1", 7),
            Effect("OrderPlaced", "orders/o2", 7),
            Effect("OrderCancelled", "orders/o2", 9),
            Effect("stock adjusted", "inventory/mug", 4),
        ],
        stock=[Stock("mug", 9, 2)],
        movements=[
            Movement("mug", 1, 9, 0),
            Movement("mug", 2, 0, 2, "o1"),
            Movement("mug", 3, 0, 2, "o2"),
            Movement("mug", 4, 0, -2, "o2"),
        ],
        reservations=[Reservation("o1", 1, 1, "mug", 2), Reservation("o2", 2, 1, "mug", 2)],
        published=[
            Published("titan.order.v1", order, version, f"{order}-{version}", type=f"titan.order.v1.{TYPES[version]}")
            for order, versions in (("o1", 2), ("o2", 3))
            for version in range(1, versions + 1)
        ],
        applied=["o1-1", "o1-2", "o2-1", "o2-2", "o2-3"],
        letters=[
            Letter("o1", 2, "order_confirmed"),
            Letter("o2", 2, "order_confirmed"),
            Letter("o2", 3, "order_cancelled"),
        ],
        seen=[
            Seen("titan.order.v1", order, version, f"{order}-{version}")
            for order, versions in (("o1", 2), ("o2", 3))
            for version in range(1, versions + 1)
        ],
        charges=[
            Charge("authorize", "u1", 100),
            Charge("capture", "u1", 100),
            Charge("authorize", "p2", 10),
            Charge("capture", "p2", 10),
            Charge("refund", "p2", 10),
        ],
        carts=[Cart("bob", 5, {"mug": 1})],
        samples=[Sample(name, 4, deep=deep) for name in ("svc_payment", "svc_inventory") for deep in (False, True)],
    )


def test_a_world_where_all_went_well_breaks_nothing() -> None:
    for name, _, finding in judge(good_world()):
        assert (name, finding.violations) == (name, [])
        assert finding.checked, name


Break = Callable[[Evidence], object]


def swap(rows: list, place: int, **changes: object) -> None:  # type: ignore[type-arg]
    """Change one row."""
    rows[place] = replace(rows[place], **changes)


def answers(world: Evidence, place: int, *more: Answer) -> None:
    """Let a wish be answered again."""
    world.operations[place].answers.extend(more)


def looked(world: Evidence, place: int, **result: object) -> None:
    """Let a wish have been answered otherwise."""
    world.operations[place].answers[0].result.update(result)  # type: ignore[attr-defined]


def refunded(world: Evidence, *, noted: int) -> None:
    """Let half of the first order have been refunded."""
    arguments = {"user": "ann", "order": "o1", "amount": 5, "by": "owner"}
    world.operations.append(wish(11, "refund", 21, key="r1", arguments=arguments, result={"refund": "r", "amount": 5}))
    swap(world.orders, 0, refunded_minor=noted)


def outcome(world: Evidence, place: int, outcome: str) -> None:
    """Let a wish end in another way."""
    world.operations[place].answers[0] = replace(world.operations[place].answers[0], outcome=outcome)


BROKEN: dict[str, tuple[str, Break, str]] = {
    "an acknowledged order is lost": ("I1", lambda w: w.orders.pop(0), "order o1 (k1): acknowledged and lost"),
    "an order stays undecided": ("I1", lambda w: swap(w.orders, 0, status="PENDING"), "order o1: PENDING for ever"),
    "an order is cancelled by nobody": ("I1", lambda w: swap(w.orders, 0, status="CANCELLED"), "is CANCELLED"),
    "a cancelled order is back": ("I1", lambda w: swap(w.orders, 1, status="CONFIRMED"), "it is CONFIRMED again"),
    "an order costs more than was said": ("I1", lambda w: swap(w.orders, 0, total_minor=11), "order o1: promised"),
    "an order holds other lines": ("I1", lambda w: swap(w.orders, 0, lines=((1, "cup", 2),)), "order o1: promised"),
    "nobody ever answered": ("I1", lambda w: w.operations[2].answers.clear(), "place k1: never answered"),
    "an order that nobody asked for": (
        "I1",
        lambda w: w.checkouts.append(Checkout("o3", "ann", "k3")),
        "order o3: nobody asked for it",
    ),
    "a refused order is confirmed": (
        "I1",
        lambda w: w.operations.__setitem__(
            2, wish(3, "place", 5, "refused", key="k1", arguments={"user": "ann", "by": "x"}, result={"reason": "NO"})
        ),
        "key k1: refused NO, and its order is CONFIRMED",
    ),
    "two orders under one key": (
        "I2",
        lambda w: answers(w, 2, Answer(6, 7, "ok", said("o9", 10))),
        "place k1: 2 different answers",
    ),
    "a yes and a no under one key": (
        "I2",
        lambda w: answers(w, 2, Answer(8, 9, "refused", {"reason": "CART_EMPTY"})),
        "place k1: 2 different answers",
    ),
    "two sagas under one key": ("I2", lambda w: swap(w.checkouts, 1, request_id="k1"), "key k1 of user ann: 2 orders"),
    "two top-ups under one key": ("I2", lambda w: w.top_ups.append(replace(w.top_ups[0], top_up_id="u2")), "2 top-ups"),
    "captured twice": ("I2", lambda w: w.charges.append(Charge("capture", "p2", 10)), "payment p2: captured 2 times"),
    "captured for nobody": ("I2", lambda w: w.charges.append(Charge("capture", "p9", 10)), "nobody knows what for"),
    "taken from a wallet twice": (
        "I2",
        lambda w: w.transfers.append(replace(w.transfers[1], transfer_id="p9")),
        "order o1: taken 2 times",
    ),
    "confirmed without an authorization": ("I3", lambda w: w.charges.pop(2), "order o2: wants [(10, 'GBP')]"),
    "authorized for less": ("I3", lambda w: swap(w.charges, 2, amount_minor=9), "order o2: wants [(10, 'GBP')]"),
    "authorized in another currency": ("I3", lambda w: swap(w.charges, 2, currency="EUR"), "order o2: wants"),
    "authorized twice": ("I3", lambda w: w.charges.append(Charge("authorize", "p2", 10)), "order o2: wants"),
    "confirmed without stock": ("I3", lambda w: w.reservations.pop(0), "order o1: wants {(1, 'mug'): 2}"),
    "confirmed without a payment": ("I3", lambda w: w.payments.pop(0), "order o1: confirmed without a payment"),
    "a cancelled order was not refunded": ("I4", lambda w: w.charges.pop(4), "worth 0, the provider took 10"),
    "a confirmed order was not paid": ("I4", lambda w: swap(w.transfers, 1, outcome="voided"), "the ledger moved 0"),
    "a cancelled order holds money": (
        "I4",
        lambda w: w.charges.append(Charge("authorize", "p2", 10)),
        "payment p2: 10 held for ever",
    ),
    "a top-up was taken and not credited": ("I4", lambda w: swap(w.top_ups, 0, status="DECLINED"), "worth 0"),
    "taken before it was confirmed": (
        "I4",
        lambda w: swap(w.entries, 3, type="OrderPlaced"),
        "payment p2: captured at the provider, and never confirmed",
    ),
    "a unit sold twice": ("I5", lambda w: swap(w.movements, 0, on_hand_delta=3), "-1 available"),
    "stock is not its journal": ("I5", lambda w: swap(w.stock, 0, on_hand=8), "mug: 8 on hand, journal 9"),
    "stock is reserved for nobody": ("I5", lambda w: swap(w.reservations, 1, state=1), "reserved for nobody"),
    "more is reserved than there are orders": ("I5", lambda w: swap(w.stock, 0, reserved=3), "mug: 3 reserved"),
    "a change of the stock is gone": ("I5", lambda w: w.movements.pop(2), "version 4 in place 3"),
    "a delivery was taken twice": (
        "I5",
        lambda w: (swap(w.movements, 0, on_hand_delta=18), swap(w.stock, 0, on_hand=18)),
        "mug: 9 delivered, 0 shipped, 18 on hand",
    ),
    "a balance is not its transfers": ("I6", lambda w: swap(w.balances, 0, posted_credits=101), "account acc-wallet"),
    "money out of nowhere": ("I6", lambda w: swap(w.balances, 0, posted_credits=101), "GBP: 1 minor units"),
    "a wallet below zero": ("I6", lambda w: swap(w.balances, 0, posted_debits=101), "below zero"),
    "a sealed row was changed": ("I6", lambda w: swap(w.blocks, 1, counted_hash=b"x"), "block 1: its rows"),
    "a block was exchanged": ("I6", lambda w: swap(w.blocks, 1, hash=ROWS), "block 1: the chain is broken"),
    "an event was never published": ("I7", lambda w: swap(w.published, 0, published=False), "o1 version 1: never"),
    "an event was never met": ("I7", lambda w: w.seen.pop(0), "o1 version 1: published, and never met"),
    "an event has another id": ("I7", lambda w: swap(w.seen, 0, event_id="x"), "was met as x"),
    "an event of nobody": (
        "I7",
        lambda w: w.seen.append(Seen("titan.order.v1", "o7", 1, "x")),
        "o7 version 1: met, and never written",
    ),
    "an event has another content": ("I7", lambda w: swap(w.seen, 0, digest="x"), "o1 version 1: was met with another"),
    "two events under one version": (
        "I7",
        lambda w: w.seen.append(replace(w.seen[0], digest="x")),
        "o1 version 1: met as 2 different events",
    ),
    "an event was never applied": ("I7 once", lambda w: w.applied.pop(0), "o1 version 1: published, and never applied"),
    "a receipt is missing": ("I7 once", lambda w: w.letters.pop(0), "order o1 version 2: 0 letters"),
    "nobody was told of a cancel": ("I7 once", lambda w: w.letters.pop(2), "order o2 version 3: 0 letters"),
    "an event was applied twice": (
        "I7 once",
        lambda w: w.letters.append(w.letters[0]),
        "order o1 version 2: 2 letters",
    ),
    "a letter about nothing": ("I7 once", lambda w: swap(w.letters, 0, order_version=7), "1 letters about nothing"),
    "an ended session buys tokens": ("S", lambda w: outcome(w, 12, "ok"), "eve: signed out, and got new tokens"),
    "a token counts for too long": ("S", lambda w: outcome(w, 13, "ok"), "eve: signed out, and let in 4.0 s later"),
    "a token counts again": ("S", lambda w: outcome(w, 14, "ok"), "eve: refused, and let in again"),
    "authorized for nobody": ("I2", lambda w: w.charges.append(Charge("authorize", "p9", 10)), "authorized at the"),
    "a version is missing": ("I7", lambda w: (w.published.pop(3), w.seen.pop(3)), "o2: versions [1, 3]"),
    "a decision without an event": ("I7", lambda w: w.entries.append(Entry("o1", 3, "OrderCancelled")), "3 entries"),
    "an order waits too long": ("I10", lambda w: swap(w.checkouts, 0, decided=30), "order o1: decided after 25.0 s"),
    "an order left no entry": ("I8", lambda w: w.audited.pop(0), "0 entries of titan.order.v1.CheckoutService.Place"),
    "an entry of another transaction": (
        "I8",
        lambda w: swap(w.audited, 2, xid=10),
        "0 entries of titan.order.v1.Order",
    ),
    "an entry of nothing": ("I8", lambda w: w.effects.pop(), "transaction 4, which changed nothing"),
    "two entries of one key": ("I8", lambda w: w.audited.append(w.audited[3]), "accepted 2 times under one key"),
    "an entry of somebody else": ("I8", lambda w: swap(w.audited, 0, actor_id="bob"), "the log has bob"),
    "a cart changed without an entry": ("I8", lambda w: w.audited.pop(5), "carts/bob/versions/5: 0 entries"),
    "a log that was rewritten": (
        "I8",
        lambda w: w.audit_blocks.append(("svc_cart", Block(1, 0, b"", LOG, LOG))),
        "svc_cart block 1: the chain is broken",
    ),
    "a denial that nobody wrote down": ("I8 denied", lambda w: w.audited.pop(), "denied 2 times, the log has 1"),
    "a trespasser is let in": ("I8 denied", lambda w: outcome(w, 15, "ok"), "let in where only finance belongs (#16)"),
    "a cart is old": ("I9", lambda w: looked(w, 9, version=4, lines={}), "version 4, and 5 was acknowledged"),
    "a cart holds something else": ("I9", lambda w: looked(w, 9, lines={"cup": 1}), "and was {'mug': 1}"),
    "a saved cart is old": ("I9", lambda w: swap(w.carts, 0, version=4), "version 4, and 5 was acknowledged"),
    "a cart was never saved": ("I9", lambda w: w.carts.clear(), "cart of bob: never saved"),
    "a refund was forgotten": ("I4 told", lambda w: refunded(w, noted=0), "5 of refunds promised, 0 noted"),
    "a refund is not in the ledger": ("I4", lambda w: refunded(w, noted=5), "worth 5, the ledger moved 10"),
    "a parcel left nothing behind": ("I5", lambda w: w.entries.append(Entry("o1", 3, "OrderShipped")), "2 shipped, 9"),
    "a parcel comes back": (
        "I1",
        lambda w: w.operations.append(wish(11, "ship", 21, arguments={"order": "o1"})),
        "order o1: ship was acknowledged, and it is CONFIRMED again",
    ),
    "a saga never ends": ("I10", lambda w: swap(w.checkouts, 0, finished=None), "order o1: its saga never ended"),
    "an effect is left": ("I10", lambda w: w.open_effects.append("UNDO of order o2"), "UNDO of order o2: still"),
    "money out of nowhere, for a second": (
        "each s",
        lambda w: w.samples.append(Sample("svc_payment", 4, ("GBP: 1 out of nowhere",))),
        "svc_payment: GBP: 1 out of nowhere",
    ),
    "nobody looked at the ledger": ("each s", lambda w: w.samples.pop(0), "svc_payment: nobody looked into it"),
    "nobody added up the stock": ("each s", lambda w: w.samples.pop(), "svc_inventory: nobody added it up"),
    "a unit more than there was": ("L stock", lambda w: swap(w.stock, 0, on_hand=10), "mug: not linearizable"),
    "a stale stock": ("L stock", lambda w: w.operations[7].answers[0].result.update(available=9), "mug: not"),  # type: ignore[attr-defined]
    "a stale wallet": ("L wallet", lambda w: w.operations[6].answers[0].result.update(balance=100), "ann: not"),  # type: ignore[attr-defined]
    "an order comes back": (
        "L order",
        lambda w: w.operations[5].answers[0].result.update(status="CONFIRMED"),  # type: ignore[attr-defined]
        "o2: not linearizable",
    ),
}


@pytest.mark.parametrize(("name", "change", "wrong"), BROKEN.values(), ids=BROKEN)
def test_what_is_wrong_is_named(name: str, change: Break, wrong: str) -> None:
    world = copy.deepcopy(good_world())
    change(world)
    findings = {each: finding for each, _, finding in judge(world)}
    assert any(wrong in line for line in findings[name].violations), findings[name].violations


def test_every_invariant_has_evidence_that_breaks_it() -> None:
    assert {name for name, _, _ in BROKEN.values()} >= {*INVARIANTS, "L stock", "L wallet", "L order"}


def test_an_order_that_was_disturbed_may_take_longer() -> None:
    world = good_world()
    swap(world.checkouts, 0, decided=30)
    world.disturbances.append(Disturbance("stop postgres", 8, 26))
    assert INVARIANTS["I10"](world).violations == []


def test_what_was_put_into_a_cart_in_the_last_second_may_go_with_redis() -> None:
    """Not what was there before: Postgres has it."""
    world = good_world()
    looked(world, 9, version=0, lines={})
    world.carts[0] = Cart("bob", 0, {})
    world.disturbances.append(Disturbance("redis forgets", 0, 0, began_at=18.5, lifted_at=18.6))
    assert INVARIANTS["I9"](world).violations == []
    world.disturbances[0] = Disturbance("redis forgets", 0, 0, began_at=19.5, lifted_at=19.6)
    assert INVARIANTS["I9"](world).violations


def test_refusals_that_were_never_stored_may_differ() -> None:
    """A cart changed between two attempts under one key; without an order there is nothing to repeat."""
    world = good_world()
    arguments = {"user": "ann", "by": "wallet"}
    world.operations.append(
        wish(9, "place", 20, "refused", key="k9", arguments=arguments, result={"reason": "CART_EMPTY"})
    )
    answers(world, -1, Answer(21, 22, "refused", {"reason": "PRICE_CHANGED"}))
    assert INVARIANTS["I2"](world).violations == []


def test_a_twin_that_left_earlier_may_be_served_where_the_other_was_refused_for_the_moment() -> None:
    """The cart's other order was live when one of them looked, and gone when the next one did."""
    world = good_world()
    placed = next(op for op in world.operations if op.kind == "place" and op.outcome == "ok")
    first = placed.answers[0]
    early = Answer(first.asked_at, first.asked_at + 0.01, "refused", {"reason": "CART_ALREADY_ORDERED"})
    placed.answers.insert(0, early)
    assert INVARIANTS["I1"](world).violations == []
    assert INVARIANTS["I2"](world).violations == []
    assert placed.outcome == "ok"

    placed.answers.append(replace(early, asked_at=first.told_at + 1, told_at=first.told_at + 2))
    assert INVARIANTS["I2"](world).violations


def test_a_refund_is_refused_of_the_order_as_it_stands_then() -> None:
    """Its owner cancelled it between two of support's attempts; but what was refunded once stays refunded."""
    world = good_world()
    too_much = wish(9, "refund", 20, "refused", key="k9", result={"reason": "REFUND_EXCEEDS_ORDER"})
    world.operations.append(too_much)
    answers(world, -1, Answer(20, 22, "refused", {"reason": "ORDER_NOT_REFUNDABLE"}))
    assert INVARIANTS["I2"](world).violations == []

    answers(world, -1, Answer(23, 24, "ok", {"refund": "r9", "amount": 5}))
    assert INVARIANTS["I2"](world).violations == []
    answers(world, -1, Answer(25, 26, "refused", {"reason": "ORDER_NOT_REFUNDABLE"}))
    assert INVARIANTS["I2"](world).violations


def test_stock_that_was_held_for_a_declined_card_may_be_missed_by_others() -> None:
    """Somebody else was refused in that moment, and nobody did anything wrong."""
    world = good_world()
    by_card = {"user": "bob", "lines": [["mug", 7]], "total": 35, "by": "tok_declined"}
    world.operations += [
        replace_answer(wish(9, "place", 20, "refused", key="k9", arguments=by_card), "PAYMENT_DECLINED", 20, 25),
        wish(
            10,
            "place",
            21,
            "refused",
            key="k10",
            arguments={**by_card, "user": "eve"},
            result={"reason": "OUT_OF_STOCK", "sku": "mug", "requested": "7", "available": "0"},
        ),
    ]
    world.orders.append(Order("o9", "bob", "CANCELLED", total_minor=35, lines=((1, "mug", 7),)))
    world.checkouts.append(Checkout("o9", "bob", "k9", 20, 24, 25))
    found = histories.linearizable(histories.stock(world), (0, ()), counter)
    assert found.violations == []


def test_money_that_was_held_beside_stock_that_was_short_may_be_missed_by_its_owner() -> None:
    """They looked into their wallet in that moment; a moment after the refusal all of it has to be there again."""
    world = good_world()
    before = next(balance for balance in world.balances if balance.user_id == "ann")
    left = before.posted_credits - before.posted_debits - before.pending_debits
    short = {"user": "ann", "lines": [["mug", 700]], "total": 1, "by": "wallet"}
    refusal = {"reason": "OUT_OF_STOCK", "sku": "mug", "requested": "700", "available": "0"}
    world.operations += [
        wish(9, "place", 20, "refused", key="k9", arguments=short, result=refusal),
        wish(10, "wallet", 20.2, "ok", arguments={"user": "ann"}, result={"balance": left - 1}),
    ]
    world.orders.append(Order("o9", "ann", "CANCELLED", total_minor=1, lines=((1, "mug", 700),)))
    world.checkouts.append(Checkout("o9", "ann", "k9", 20, 24, 25))
    found = histories.linearizable(histories.wallets(world), (0, ()), counter)
    assert found.violations == []

    world.balances[world.balances.index(before)] = replace(before, pending_debits=before.pending_debits + 1)
    found = histories.linearizable(histories.wallets(world), (0, ()), counter)
    assert len(found.violations) == 1


def replace_answer(op: Operation, reason: str, asked_at: float, told_at: float) -> Operation:
    """Return a wish that was refused after a while."""
    op.answers[:] = [Answer(asked_at, told_at, "refused", {"reason": reason})]
    return op
