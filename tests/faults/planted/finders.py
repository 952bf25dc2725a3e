"""Which part of the proof is meant to find which defect, by which invariant: the cheapest that can."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.faults.planted import rounds
from tests.faults.planted.rounds import Disturb


@dataclass(frozen=True)
class Table:
    """The table of `test_interleavings`, at the stages of an order where the defect shows.

    One of `says` is in what the failed assertion says; it is the model's word for the invariant.
    """

    stages: tuple[str, ...]
    invariants: tuple[str, ...]
    says: tuple[str, ...]

    @property
    def means(self) -> str:
        """For people."""
        return f"interleavings: {', '.join(self.stages)}"


@dataclass(frozen=True)
class Shopping:
    """Some seconds of shoppers on a mesh, in which one package has the defect, and a disturbance."""

    package: str
    invariants: tuple[str, ...]
    disturb: Disturb = rounds.nothing
    means: str = "shoppers"
    settings: Mapping[str, str] = field(default_factory=dict)


RAISING = {"TITAN_FAILPOINTS": "inventory.reserve.before_commit=raise*12"}

FINDERS: Mapping[str, Table | Shopping] = {
    "no tombstone on release": Table(("before the stock",), ("I5",), ("its units are",)),
    "no tombstone on void": Table(("before the money",), ("I4",), ("no tombstone",)),
    "late authorize accepted": Table(("before the money", "cancelled"), ("I4",), ("PAYMENT_VOIDED", "'AUTHORIZED' in")),
    "void of a captured payment": Table(("confirmed", "cancelled"), ("I4",), ("the ledger has",)),
    "ledger leg forgotten": Table(("confirmed",), ("I4",), ("the ledger has None",)),
    "capture before the decision": Table(("money held",), ("I4",), ("never confirmed",)),
    "decision overwrites": Table(("money held", "wallet held"), ("L order",), ("the model says", "Illegal")),
    "no release": Table(("declined",), ("I5",), ("its units are",)),
    "no void": Table(("bank asks", "money held"), ("I4",), ("held", "payment", "VOIDED")),
    "refund above what was paid": Table(("refunded in part",), ("I4",), ("expected REFUND_EXCEEDS_ORDER",)),
    "refund retried without key": Table(
        ("a refund is on its way", "confirmed"), ("I2", "I4", "I10"), ("refunded", "still open")
    ),
    "sweeper skips what is old": Table(("bank asks", "bank thinks"), ("I10",), ("still open",)),
    "answer not found under its key": Table(("confirmed",), ("I2",), ("CART_ALREADY_ORDERED", "CART_EMPTY")),
    "stock read before it is locked": Shopping("svc_inventory", ("I5", "L stock")),
    "ledger rounds": Shopping("svc_payment", ("I6",)),
    "balance read without lock": Shopping("svc_payment", ("I6", "L wallet"), rounds.two_coordinators, "two svc_order"),
    "charge retried without key": Shopping(
        "svc_payment", ("I2", "I3"), rounds.provider(lose_replies=0.5), "provider loses replies"
    ),
    "webhook believed": Shopping(
        "svc_payment",
        ("I3", "I4"),
        rounds.provider(webhooks={"wrong_amount": 0.5, "bad_signature": 0.5}),
        "webhooks are wrong",
    ),
    "version gap": Shopping("svc_payment", ("I7",)),
    "no unique key": Shopping("svc_order", ("I2",), rounds.crowd, "a crowd"),
    "publish before commit": Shopping("svc_inventory", ("I7",), means="transactions that break off", settings=RAISING),
    "outbox after commit": Shopping("svc_order", ("I7",), rounds.killing("svc_order"), "kill svc_order"),
    "audit after commit": Shopping("svc_order", ("I8",)),
    "denials are silent": Shopping("svc_payment", ("I8 denied",)),
    "acknowledged before applied": Shopping("svc_notify", ("I7 once",), rounds.notify_dies_at_work, "kill svc_notify"),
    "inbox without memory": Shopping("svc_notify", ("I7 once",), rounds.publish_again, "all is published again"),
    "carts live in Redis": Shopping("svc_cart", ("I9",), rounds.redis_forgets, "redis forgets"),
    "save replaces a newer cart": Shopping("svc_cart", ("I9",)),
    "revocations live in Redis": Shopping("svc_auth", ("S",), rounds.redis_forgets, "redis forgets"),
}
