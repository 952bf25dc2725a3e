"""The retailer's file where it is at hand, and invented lines where it is not."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from bookkeeping.file import MILLS_PER_POUND, FileLine

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "online_retail_2010-12_to_2011-05.csv.gz"
REAL = Path(os.environ.get("TITAN_REPLAY_CSV") or SHARED).absolute()
needs_the_real_file = pytest.mark.skipif(
    not REAL.exists(), reason=f"there is no {REAL.name} here: name the retailer's file in TITAN_REPLAY_CSV"
)
AT = datetime(2010, 12, 1, 8, 26, tzinfo=UTC)


def line(
    invoice: str = "1",
    code: str = "101A",
    quantity: int = 1,
    price: str = "1.5",
    customer: str = "7",
    at: datetime = AT,
    country: str = "United Kingdom",
) -> FileLine:
    mills = int(Decimal(price) * MILLS_PER_POUND)
    return FileLine(invoice, code, f"NAME OF {code}", quantity, at, mills, customer, country)
