"""What an order of Titan is, said once more and as simply as can be: the reference that interleavings are held against.

It shares no code with the services. It knows what customers and staff ask for, what the bank says of the card, and the
time; from these it knows every answer that a caller may get, which decisions a checkout may take and when, and what an
order in the end holds of the warehouse and keeps of the money. It knows nothing of sagas, leases, crashes or messages:
however those interleave, the system must stay inside of what is written here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

OK = ""
"""The answer of a call that was not refused; the others are reasons of the contract."""


class Bank(StrEnum):
    """What the bank says of a card."""

    YES = "yes"
    NO = "no"
    ASKS = "asks"  # the customer first
    THINKS = "thinks"  # and will say yes, after every deadline


class Units(StrEnum):
    """Where the units of an order are in the end."""

    HELD = "held"
    FREE = "free"
    GONE = "gone"


class Illegal(AssertionError):
    """The system did what no order may do."""


@dataclass
class Order:
    """One order. `asks` says that its card needs the customer; `short` that others may hold all of its stock."""

    total_minor: int
    bank: Bank
    asks: bool = False
    short: bool = False
    status: str = "PENDING"
    cause: str = ""
    is_old: bool = False
    is_late: bool = False
    journal: list[str] = field(default_factory=lambda: ["OrderPlaced"])
    refunds: dict[str, int] = field(default_factory=dict)

    # What the bank and the clock do.

    def customer_answers(self, *, yes: bool) -> None:
        """The customer is on the bank's page; only the first answer counts, and none after the deadline."""
        if self.bank is Bank.ASKS and not self.is_late:
            self.bank = Bank.YES if yes else Bank.NO

    def time_passes(self, *, known: bool) -> None:
        """The longest that a checkout may take is over; where the bank knows of it, the bank's deadlines are too."""
        self.is_old = True
        self.is_late = self.is_late or known
        if self.bank is Bank.THINKS and known:
            self.bank = Bank.YES

    # What the checkout may decide.

    @property
    def decisions(self) -> dict[str, frozenset[str]]:
        """The decisions that are legal now, with their causes; none may be taken while the customer has time.

        Once it is late both ends are legal where the bank said yes, because the news and the deadline race; the money
        follows the decision.
        """
        if self.status != "PENDING":
            return {}
        legal: dict[str, frozenset[str]] = {}
        causes = set()
        if self.bank is Bank.YES:
            legal["CONFIRMED"] = frozenset({""})
        if self.bank is Bank.NO:
            causes |= {"PAYMENT_DECLINED", "INSUFFICIENT_FUNDS"}
        if self.is_old:
            causes |= {"CHECKOUT_TIMEOUT"}
        if self.is_late and self.asks:
            causes |= {"PAYMENT_ACTION_EXPIRED"}
            causes |= {"PAYMENT_DECLINED"} if self.bank is Bank.ASKS else set()
        if self.short:
            causes |= {"OUT_OF_STOCK"}
        if causes:
            legal["CANCELLED"] = frozenset(causes)
        return legal

    @property
    def may_rest(self) -> bool:
        """Whether nothing has to happen for now, because the customer or the bank still has time."""
        return self.status == "PENDING" and self.bank in (Bank.ASKS, Bank.THINKS) and not self.is_late

    def checkout_decided(self, status: str, cause: str) -> None:
        """The checkout confirmed or cancelled the order.

        Raises:
            Illegal: It could not, with what has happened so far.
        """
        if cause not in self.decisions.get(status, ()):
            raise Illegal(f"{status} {cause} of an order that is {self.status}, bank {self.bank}, late {self.is_late}")
        self._becomes(status, "OrderConfirmed" if status == "CONFIRMED" else "OrderCancelled", cause)

    # What people decide: each returns the answer, and a repeated decision changes nothing.

    def cancel(self) -> str:
        """The customer cancels."""
        if self.status == "CANCELLED":
            return OK
        if self.status not in ("PENDING", "CONFIRMED") or self.refunds:
            return "ORDER_NOT_CANCELLABLE"
        self._becomes("CANCELLED", "OrderCancelled", "CUSTOMER")
        return OK

    def ship(self) -> str:
        """The parcel goes to the carrier."""
        if self.status in ("SHIPPED", "DELIVERED"):
            return OK
        if self.status != "CONFIRMED":
            return "ORDER_NOT_SHIPPABLE"
        self._becomes("SHIPPED", "OrderShipped")
        return OK

    def deliver(self) -> str:
        """The parcel arrives."""
        if self.status == "DELIVERED":
            return OK
        if self.status != "SHIPPED":
            return "ORDER_NOT_DELIVERABLE"
        self._becomes("DELIVERED", "OrderDelivered")
        return OK

    def refund(self, key: str, amount_minor: int | None) -> str:
        """Staff sends money back, all that is left where no amount is said; a key counts once."""
        if key in self.refunds:
            return OK
        if self.status not in ("CONFIRMED", "SHIPPED", "DELIVERED"):
            return "ORDER_NOT_REFUNDABLE"
        left = self.kept_minor
        amount_minor = left if amount_minor is None else amount_minor
        if amount_minor > left:
            return "REFUND_EXCEEDS_ORDER"
        self.refunds[key] = amount_minor
        self._becomes("REFUNDED" if amount_minor == left else self.status, "OrderRefunded")
        return OK

    def money_came_back(self) -> None:
        """What had been taken for an order that was cancelled is with its customer again; that is told once.

        Raises:
            Illegal: Nobody cancelled it, or it was told before.
        """
        if self.status != "CANCELLED" or self.refunds:
            raise Illegal(f"the money of an order came back that is {self.status}, with {self.refunds}")
        self.refunds["undo"] = self.total_minor
        self.journal.append("OrderRefunded")

    # What is answered to the key that placed it, and what all comes to.

    @property
    def was_confirmed(self) -> bool:
        """Whether the order ever counted."""
        return "OrderConfirmed" in self.journal

    @property
    def answer(self) -> str:
        """The status, or the reason of the refusal, that asking again with the same key gets."""
        if self.was_confirmed:
            return "CONFIRMED"
        if self.status == "PENDING":
            return "PENDING"
        return self.cause if self.cause in _REFUSALS else "ORDER_CANCELLED"

    @property
    def kept_minor(self) -> int:
        """What the shop keeps of the customer's money."""
        if self.status in ("PENDING", "CANCELLED"):
            return 0
        return self.total_minor - sum(self.refunds.values())

    @property
    def units(self) -> Units:
        """Where its units are."""
        if "OrderShipped" in self.journal:
            return Units.GONE
        return Units.HELD if self.status == "CONFIRMED" else Units.FREE

    def _becomes(self, status: str, entry: str, cause: str = "") -> None:
        self.status, self.cause = status, cause or self.cause
        self.journal.append(entry)


_REFUSALS = frozenset({"PAYMENT_DECLINED", "INSUFFICIENT_FUNDS", "OUT_OF_STOCK"})


@dataclass
class Cart:
    """One cart and the orders placed from it: at most one of them is alive."""

    orders: list[Order] = field(default_factory=list)

    @property
    def place_answers(self) -> frozenset[str]:
        """What a new key for the same cart may be answered: OK is another order.

        An order that counts closes its cart, sooner or later; while it is open, the order in it is named.
        """
        if any(order.status != "CANCELLED" for order in self.orders):
            return frozenset({"CART_ALREADY_ORDERED", "CART_EMPTY"})
        if any(order.was_confirmed for order in self.orders):
            return frozenset({OK, "CART_EMPTY"})
        return frozenset({OK})
