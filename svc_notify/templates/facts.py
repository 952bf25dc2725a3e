"""What a letter is written from: an order, a one-time link or a change of an account, in the terms of this package."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

_SYMBOLS = {"GBP": "£", "EUR": "€", "USD": "$"}
_FRACTION_DIGITS = {
    **dict.fromkeys(("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "VND", "VUV"), 0),
    **dict.fromkeys(("XAF", "XOF", "XPF"), 0),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
}
"""ISO 4217 currencies that do not have two digits."""


@dataclass(frozen=True, slots=True)
class Amount:
    """An exact amount of money."""

    minor_units: int
    currency: str

    def __str__(self) -> str:
        digits = _FRACTION_DIGITS.get(self.currency, 2)
        major, minor = divmod(abs(self.minor_units), 10**digits)
        number = f"{major:,}.{minor:0{digits}d}" if digits else f"{major:,}"
        sign = "-" if self.minor_units < 0 else ""
        symbol = _SYMBOLS.get(self.currency)
        return f"{sign}{symbol}{number}" if symbol else f"{sign}{self.currency} {number}"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of an order."""

    title: str
    sku: str
    quantity: int
    unit_price: Amount
    total: Amount


@dataclass(frozen=True, slots=True)
class Order:
    """An order as its customer knows it; the address one line each, as on an envelope."""

    order_id: str
    placed_at: datetime
    lines: tuple[Line, ...]
    shipping: Amount
    tax: Amount
    total: Amount
    recipient_name: str = field(repr=False)
    address: tuple[str, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Link:
    """A one-time link."""

    token: str = field(repr=False)
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Notice:
    """A change of how somebody signs in; `provider` is whose identity was linked, if one was."""

    happened_at: datetime
    provider: str = ""


Details = Mapping[str, str]
"""What else the event said: a tracking code, a reason, an amount."""
