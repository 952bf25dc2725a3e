"""The letters: what each says, about an order or with a one-time link."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from svc_notify.templates.facts import Amount, Details, Line, Link, Order


@dataclass(frozen=True, slots=True)
class Letter:
    """A letter as content. The lines and sums, or the link, stand between the opening and the closing paragraphs."""

    subject: str
    heading: str
    greeting: str = field(repr=False)
    opening: tuple[str, ...]
    facts: tuple[tuple[str, str], ...]
    lines: tuple[Line, ...] = ()
    sums: tuple[tuple[str, Amount], ...] = ()
    address: tuple[str, ...] = field(default=(), repr=False)
    closing: tuple[str, ...] = ()
    signature: str = ""
    link: str = field(default="", repr=False)


def confirmed(order: Order, details: Details, shop: str) -> Letter:
    """Return the receipt of an order."""
    sums = [("Shipping", order.shipping), ("Total", order.total), ("of which tax", order.tax)]
    return Letter(
        subject=f"Your receipt from {shop}: {order.total}",
        heading="Thank you for your order",
        greeting=_greeting(order),
        opening=("Your order is confirmed. This is your receipt; we will write again when the parcel leaves.",),
        facts=_facts(order),
        lines=order.lines,
        sums=tuple(sums),
        address=order.address,
        signature=shop,
    )


def shipped(order: Order, details: Details, shop: str) -> Letter:
    """Return the note that a parcel has left."""
    code = details.get("tracking_code", "")
    return Letter(
        subject=f"Your order from {shop} is on its way",
        heading="Your order is on its way",
        greeting=_greeting(order),
        opening=("Your parcel has left our warehouse.",),
        facts=(*_facts(order), *([("Tracking code", code)] if code else [])),
        address=order.address,
        signature=shop,
    )


def cancelled(order: Order, details: Details, shop: str) -> Letter:
    """Return the note that a confirmed order was cancelled."""
    by_customer = details.get("reason") == "CUSTOMER"
    return Letter(
        subject=f"Your order from {shop} is cancelled",
        heading="Your order is cancelled",
        greeting=_greeting(order),
        opening=(
            "You asked us to cancel your order, and we did."
            if by_customer
            else "We had to cancel your order. We are sorry.",
            # Which of the two it is shows later: an OrderRefunded, and its letter, come when money is back.
            f"Nothing will be sent, and you pay nothing. If the {order.total} was taken already, it goes back the way"
            " you paid and we write again; if it was only held, the hold ends.",
        ),
        facts=_facts(order),
        signature=shop,
    )


def refunded(order: Order, details: Details, shop: str) -> Letter:
    """Return the note that money goes back; of a cancelled order too, where it had been taken."""
    amount = Amount(int(details["amount_minor"]), details["currency"])
    if amount == order.total:
        share = ": all that you paid for your order."
    elif details.get("full") == "true":
        share = ": all that was left of what you paid for your order."
    else:
        share = f" of the {order.total} that you paid for your order."
    return Letter(
        subject=f"Your refund from {shop}: {amount}",
        heading="Your refund",
        greeting=_greeting(order),
        opening=(f"We are sending you back {amount}{share}", "It goes back the way you paid."),
        facts=_facts(order),
        signature=shop,
    )


LETTERS: dict[str, Callable[[Order, Details, str], Letter]] = {
    "order_confirmed": confirmed,
    "order_shipped": shipped,
    "order_cancelled": cancelled,
    "order_refunded": refunded,
}
"""By the name of the template, as `Notification.template` gives it."""


def email_verification(link: Link, shop: str, shop_url: str) -> Letter:
    """Return the letter whose link shows that an address is read by its user."""
    return Letter(
        subject=f"Confirm your e-mail address for {shop}",
        heading="Confirm your e-mail address",
        greeting="Hello,",
        opening=(f"Please follow this link to confirm that this address is yours. {_until(link)}",),
        facts=(),
        closing=(
            f"If you have no account at {shop}, somebody mistyped their address: do nothing, and nothing happens.",
        ),
        signature=shop,
        link=_address_of(shop_url, "verify-email", link),
    )


def password_reset(link: Link, shop: str, shop_url: str) -> Letter:
    """Return the letter whose link sets a new password."""
    return Letter(
        subject=f"Set a new password for {shop}",
        heading="Set a new password",
        greeting="Hello,",
        opening=(f"Somebody, most likely you, asked for a new password. Follow this link to set it. {_until(link)}",),
        facts=(),
        closing=(
            "When the new password is set, you are signed out everywhere.",
            "If it was not you, do nothing: your password stays as it is. We never ask for it by e-mail or telephone.",
        ),
        signature=shop,
        link=_address_of(shop_url, "reset-password", link),
    )


LINK_LETTERS: dict[str, Callable[[Link, str, str], Letter]] = {
    "email_verification": email_verification,
    "password_reset": password_reset,
}
"""By the name of the template, as `Notification.template` gives it."""


def _until(link: Link) -> str:
    return f"It works once, and until {link.expires_at:%H:%M} UTC."


def _address_of(shop_url: str, page: str, link: Link) -> str:
    # Behind the number sign: a browser sends that part to no server, so the token stands in no access log.
    return f"{shop_url}/{page}#token={link.token}"


def _greeting(order: Order) -> str:
    return f"Dear {order.recipient_name}," if order.recipient_name else "Hello,"


def _facts(order: Order) -> tuple[tuple[str, str], ...]:
    placed = order.placed_at
    return (("Order", order.order_id), ("Placed", f"{placed.day} {placed:%B %Y, %H:%M} UTC"))
