"""What each line of the file is: three small tables, and nothing else in the replay knows a stock code.

The first says what a stock code stands for, the second what a document's number is one of, the third what becomes of a
line. A line that they do not know is UNCLASSIFIED: it is listed and counted, and no order holds it.
"""

from __future__ import annotations

import enum
import re
from functools import lru_cache

from bookkeeping.file import FileLine


class Kind(enum.StrEnum):
    """What a stock code stands for."""

    GOODS = "goods"
    VOUCHER = "gift voucher"
    BY_HAND = "entered by hand"
    SHIPPING = "shipping"
    DISCOUNT = "discount"
    MARKETPLACE = "marketplace fee"
    BANK = "bank charge"
    SAMPLES = "samples"
    CHARITY = "charity"
    BAD_DEBT = "bad debt"
    ADJUSTMENT = "adjustment"
    UNKNOWN = "unknown"


CODES: tuple[tuple[str, Kind], ...] = (
    (r"POST|DOT|C2|C3", Kind.SHIPPING),
    (r"D", Kind.DISCOUNT),
    (r"M", Kind.BY_HAND),
    (r"AMAZONFEE", Kind.MARKETPLACE),
    (r"BANK CHARGES", Kind.BANK),
    (r"S", Kind.SAMPLES),
    (r"CRUK", Kind.CHARITY),
    (r"B", Kind.BAD_DEBT),
    (r"ADJUST\d*", Kind.ADJUSTMENT),
    (r"gift(_\w+)?", Kind.VOUCHER),
    (r"PADS|(DCGS|SP)\w+|\d+[A-Z]{0,3}", Kind.GOODS),
)
"""Stock codes, whole and in either case -> what they stand for; the first that fits."""

SOLD = frozenset({Kind.GOODS, Kind.VOUCHER, Kind.BY_HAND})
"""What an order has lines of. Only goods lie on shelves; the other two are charges."""
BOOKED = frozenset({Kind.MARKETPLACE, Kind.BANK, Kind.SAMPLES, Kind.CHARITY, Kind.BAD_DEBT, Kind.ADJUSTMENT})
"""What the bookkeeper wrote into the file beside the trade: no customer ordered it, on whatever invoice it stands."""


class LineClass(enum.StrEnum):
    """What becomes of a line."""

    SALE = "sale"
    CANCELLATION = "cancellation of an earlier invoice"
    BOOKED = "booked beside the trade"
    ADJUSTMENT = "adjustment by the bookkeeper"
    STOCK_CORRECTION = "stock correction without a price"
    FREE = "goods without a price"
    NEGATIVE = "quantity or price of the wrong sign"
    UNCLASSIFIED = "unclassified"


@lru_cache(maxsize=65536)
def kind_of(stock_code: str) -> Kind:
    """Return what a stock code stands for."""
    fits = (kind for pattern, kind in CODES if re.fullmatch(pattern, stock_code, re.IGNORECASE | re.ASCII))
    return next(fits, Kind.UNKNOWN)


def classify(line: FileLine) -> LineClass:
    """Return what becomes of a line.

    On an ordinary invoice a sale has a positive quantity and price, and a discount takes something off; on a credit
    note, whose number begins with C, both go the other way.
    """
    quantity, price = line.quantity, line.price_mills
    return _class_of(kind_of(line.stock_code), _series(line.invoice), _sign(quantity), _sign(price))


class _Series(enum.Enum):
    INVOICE = enum.auto()
    CREDIT_NOTE = enum.auto()
    BOOKKEEPER = enum.auto()
    UNKNOWN = enum.auto()


SERIES: tuple[tuple[str, _Series], ...] = (
    (r"\d+", _Series.INVOICE),
    (r"C\d+", _Series.CREDIT_NOTE),
    (r"A\d+", _Series.BOOKKEEPER),
)
"""Numbers of documents, whole -> what they number."""


@lru_cache(maxsize=65536)
def _series(number: str) -> _Series:
    fits = (series for pattern, series in SERIES if re.fullmatch(pattern, number, re.ASCII))
    return next(fits, _Series.UNKNOWN)


def _sign(of: int) -> int:
    return (of > 0) - (of < 0)


@lru_cache(maxsize=1024)
def _class_of(kind: Kind, series: _Series, quantity: int, price: int) -> LineClass:
    """Return the class of a kind on a document, by the signs of quantity and price; the first that fits."""
    adds, takes_off = (quantity, price) == (1, 1), (quantity, price) == (-1, 1)
    fits = (
        (price == 0, LineClass.FREE if quantity > 0 else LineClass.STOCK_CORRECTION),
        (series is _Series.UNKNOWN, LineClass.UNCLASSIFIED),
        (series is _Series.BOOKKEEPER, LineClass.ADJUSTMENT),
        (kind is Kind.UNKNOWN, LineClass.UNCLASSIFIED),
        (kind in BOOKED, LineClass.BOOKED),
        (series is _Series.CREDIT_NOTE, LineClass.CANCELLATION if takes_off else LineClass.NEGATIVE),
        (takes_off if kind is Kind.DISCOUNT else adds, LineClass.SALE),
    )
    return next((found for fit, found in fits if fit), LineClass.NEGATIVE)
