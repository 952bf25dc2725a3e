"""The letters: what each says, about an order, with a one-time link or about an account."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from svc_notify.templates.facts import Amount, Details, Line, Link, Notice, Order


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


def password_changed(notice: Notice, shop: str) -> Letter:
    """Return the note that an account has another password."""
    return _notice(
        notice,
        shop,
        subject=f"Your password for {shop} was changed",
        heading="Your password was changed",
        what="The password of your account was changed",
    )


def passkey_added(notice: Notice, shop: str) -> Letter:
    """Return the note that an account has another passkey."""
    return _notice(
        notice,
        shop,
        subject=f"A passkey was added to your account at {shop}",
        heading="A passkey was added",
        what="A passkey that signs in to your account was added",
    )


def identity_linked(notice: Notice, shop: str) -> Letter:
    """Return the note that an account can be entered by way of a provider."""
    return _notice(
        notice,
        shop,
        subject=f"{notice.provider} was linked to your account at {shop}",
        heading=f"{notice.provider} was linked",
        what=f"An account at {notice.provider} that signs in to yours was linked",
    )


NOTICE_LETTERS: dict[str, Callable[[Notice, str], Letter]] = {
    "password_changed": password_changed,
    "passkey_added": passkey_added,
    "identity_linked": identity_linked,
}
"""By the name of the template, as `Notification.template` gives it."""


def _notice(notice: Notice, shop: str, *, subject: str, heading: str, what: str) -> Letter:
    return Letter(
        subject=subject,
        heading=heading,
        greeting="Hello,",
        opening=(f"{what} on {_moment(notice.happened_at)}. If it was you, there is nothing to do.",),
        facts=(),
        closing=(
            # Without a link: whoever imitates this letter wants one to be followed.
            f"If it was not you, open {shop} as you always do and ask for a new password. When it is set, everybody is"
            " signed out, and every passkey and linked account is removed.",
        ),
        signature=shop,
    )


def _moment(at: datetime) -> str:
    return f"{at.day} {at:%B %Y, %H:%M} UTC"


def _until(link: Link) -> str:
    return f"It works once, and until {link.expires_at:%H:%M} UTC."


def _address_of(shop_url: str, page: str, link: Link) -> str:
    # Behind the number sign: a browser sends that part to no server, so the token stands in no access log.
    return f"{shop_url}/{page}#token={link.token}"


def _greeting(order: Order) -> str:
    return f"Dear {order.recipient_name}," if order.recipient_name else "Hello,"


def _facts(order: Order) -> tuple[tuple[str, str], ...]:
    return (("Order", order.order_id), ("Placed", _moment(order.placed_at)))
