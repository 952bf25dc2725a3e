"""The only writer of the history of prices: what was said of a SKU last in each minute, in whatever order it comes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import asyncpg

# The later one of a minute stays; of two at one time the one of the larger name: every order of arrival ends alike.
_SAVE = """
INSERT INTO price_history AS h (sku, minute, effective_at, told_by, source, currency_code, price_minor)
SELECT DISTINCT ON (sku, minute)
       sku, date_trunc('minute', effective_at, 'UTC') AS minute, effective_at, told_by, source, currency_code,
       price_minor
FROM unnest($1::text[], $2::timestamptz[], $3::text[], $4::text[], $5::text[], $6::bigint[])
     AS p (sku, effective_at, told_by, source, currency_code, price_minor)
ORDER BY sku, minute, effective_at DESC, told_by COLLATE "C" DESC
ON CONFLICT (sku, minute) DO UPDATE
SET effective_at = excluded.effective_at, told_by = excluded.told_by, source = excluded.source,
    currency_code = excluded.currency_code, price_minor = excluded.price_minor
WHERE (excluded.effective_at, excluded.told_by) > (h.effective_at, h.told_by)
"""
_LIST = """
SELECT minute, source, currency_code, price_minor FROM (
    SELECT *, lag(currency_code) OVER by_time AS currency_before, lag(price_minor) OVER by_time AS price_before
    FROM price_history WHERE sku = $1 WINDOW by_time AS (ORDER BY minute)
) h
WHERE (currency_code, price_minor) IS DISTINCT FROM (currency_before, price_before)
  AND ($2::timestamptz IS NULL OR minute <= $2) AND ($3::timestamptz IS NULL OR minute < $3)
ORDER BY minute DESC LIMIT $4
"""


class PriceSource(StrEnum):
    """Who said what a SKU costs; the twin of `titan.catalog.v1.PriceSource`."""

    CATALOGUE = "CATALOGUE"
    ORDER = "ORDER"


@dataclass(frozen=True, slots=True)
class Told:
    """What a SKU costs from some time on, and the name of who says so: the same again is the same entry."""

    sku: str
    effective_at: datetime
    told_by: str
    source: PriceSource
    currency_code: str
    price_minor: int


@dataclass(frozen=True, slots=True)
class Historic:
    """A change of a price, to the minute."""

    minute: datetime
    source: PriceSource
    currency_code: str
    price_minor: int


async def save(tx: asyncpg.Connection, told: Sequence[Told]) -> None:
    """Note prices; what is known of a later moment of the same minute stays."""
    if not told:
        return
    await tx.execute(
        _SAVE,
        [each.sku for each in told],
        [each.effective_at for each in told],
        [each.told_by for each in told],
        [each.source.value for each in told],
        [each.currency_code for each in told],
        [each.price_minor for each in told],
    )


async def list_changes(
    connection: asyncpg.Connection, sku: str, *, as_of: datetime | None, before: datetime | None, limit: int
) -> list[Historic]:
    """Return at most `limit` changes of a SKU's price by a time and before a minute, the newest first."""
    rows = await connection.fetch(_LIST, sku, as_of, before, limit)
    return [Historic(minute, PriceSource(source), currency, minor) for minute, source, currency, minor in rows]
