"""The only writer of settlements and their differences; reads what the ledger booked with a provider."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from uuid import UUID

import asyncpg

from svc_payment.errors import SettlementNotFound
from svc_payment.ledger import rules as ledger
from svc_payment.providers.interface import Logged, LoggedKind
from svc_payment.reconciliation.rules import Booked, Difference, DifferenceKind, Found, Side, Totals

# What a provider was asked to capture has the payment's id, and the transfer's group is the payment; what it was asked
# to give back has the id of the refund, which is the transfer's.
_BOOKED = """
SELECT t.kind, t.group_id, t.transfer_id, t.amount_minor, t.currency, t.recorded_at, t.order_id
FROM transfers t WHERE (t.debit_account = ANY($1::uuid[]) OR t.credit_account = ANY($1::uuid[]))
"""
_BOOKED_ON = f"{_BOOKED} AND t.recorded_at >= $2 AND t.recorded_at < $3"
_BOOKED_OF = f"{_BOOKED} AND t.group_id = ANY($2::uuid[])"
_FIRST = """
SELECT min(recorded_at) FROM transfers WHERE debit_account = ANY($1::uuid[]) OR credit_account = ANY($1::uuid[])
"""
_SAVE = """
INSERT INTO settlements (provider, day, compared_at, totals) VALUES ($1, $2, $3, $4)
ON CONFLICT (provider, day) DO UPDATE SET compared_at = excluded.compared_at, totals = excluded.totals
"""
_SAVE_DIFFERENCES = """
INSERT INTO settlement_differences (provider, day, place, kind, movement_kind, payment_id, movement_id, order_id,
                                    their_minor, their_currency, their_at, our_minor, our_currency, our_at)
SELECT $1, $2, d.* FROM unnest($3::int[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::bigint[],
                               $10::text[], $11::timestamptz[], $12::bigint[], $13::text[], $14::timestamptz[]) AS d
"""
_SETTLEMENTS = """
SELECT s.day, s.compared_at, s.totals,
       (SELECT COALESCE(jsonb_object_agg(d.kind, d.number), '{}') FROM (
            SELECT kind, count(*) AS number FROM settlement_differences
            WHERE provider = s.provider AND day = s.day GROUP BY kind
        ) d) AS counts
FROM settlements s WHERE s.provider = $1
"""


@dataclass(frozen=True, slots=True)
class Settled:
    """A day as it was settled last."""

    day: date
    compared_at: datetime
    totals: tuple[Totals, ...]
    counts: dict[DifferenceKind, int]


async def booked_on(
    connection: asyncpg.Connection, provider: str, currencies: Collection[str], begins_at: datetime, ends_at: datetime
) -> list[Booked]:
    """Return what the ledger booked with a provider in a time, its end excluded."""
    rows = await connection.fetch(_BOOKED_ON, _accounts(provider, currencies), begins_at, ends_at)
    return [_booked(row) for row in rows]


async def booked_of(
    connection: asyncpg.Connection, provider: str, currencies: Collection[str], payment_ids: Collection[UUID]
) -> list[Booked]:
    """Return what the ledger ever booked of payments with a provider."""
    rows = await connection.fetch(_BOOKED_OF, _accounts(provider, currencies), list(payment_ids))
    return [_booked(row) for row in rows]


async def first_day(connection: asyncpg.Connection, provider: str, currencies: Collection[str]) -> date | None:
    """Return the day of the first movement with a provider, in UTC, or None before it."""
    at: datetime | None = await connection.fetchval(_FIRST, _accounts(provider, currencies))
    return None if at is None else at.astimezone(UTC).date()


async def last_day(connection: asyncpg.Connection, provider: str) -> date | None:
    """Return the newest day that was settled with a provider."""
    day: date | None = await connection.fetchval("SELECT max(day) FROM settlements WHERE provider = $1", provider)
    return day


async def save(tx: asyncpg.Connection, provider: str, day: date, found: Found, *, at: datetime) -> None:
    """Keep what a day came to, in place of what it came to before."""
    await tx.execute(_SAVE, provider, day, at, [asdict(each) for each in found.totals])
    await tx.execute("DELETE FROM settlement_differences WHERE provider = $1 AND day = $2", provider, day)
    made = found.differences
    theirs, ours = [each.theirs for each in made], [each.ours.logged if each.ours else None for each in made]
    await tx.execute(
        _SAVE_DIFFERENCES,
        provider,
        day,
        list(range(1, len(made) + 1)),
        [each.kind.value for each in made],
        [each.movement.kind.value for each in made],
        [each.movement.payment_id for each in made],
        [each.movement.movement_id for each in made],
        [each.ours.order_id if each.ours else "" for each in made],
        [each and each.amount_minor for each in theirs],
        [each and each.currency for each in theirs],
        [each and each.at for each in theirs],
        [each and each.amount_minor for each in ours],
        [each and each.currency for each in ours],
        [each and each.at for each in ours],
    )


async def get(connection: asyncpg.Connection, provider: str, day: date) -> Settled:
    """Return a settlement.

    Raises:
        SettlementNotFound: The day was not settled.
    """
    row = await connection.fetchrow(f"{_SETTLEMENTS} AND s.day = $2", provider, day)
    if row is None:
        raise SettlementNotFound(f"{day} was not settled with {provider}")
    return _settled(row)


async def list_newest(
    connection: asyncpg.Connection, provider: str, *, before: date | None, limit: int
) -> list[Settled]:
    """Return at most `limit` settlements with a provider, the newest day first, below a day."""
    rows = await connection.fetch(
        f"{_SETTLEMENTS} AND ($2::date IS NULL OR s.day < $2) ORDER BY s.day DESC LIMIT $3", provider, before, limit
    )
    return [_settled(row) for row in rows]


async def list_differences(
    connection: asyncpg.Connection, provider: str, day: date, *, after: int, limit: int
) -> list[Difference]:
    """Return at most `limit` differences of a day behind a place, in their order."""
    rows = await connection.fetch(
        "SELECT kind, movement_kind, payment_id, movement_id, order_id, their_minor, their_currency, their_at,"
        " our_minor, our_currency, our_at FROM settlement_differences"
        " WHERE provider = $1 AND day = $2 AND place > $3 ORDER BY place LIMIT $4",
        provider,
        day,
        after,
        limit,
    )
    return [_difference(row) for row in rows]


def _accounts(provider: str, currencies: Collection[str]) -> list[UUID]:
    return [ledger.clearing(provider, currency).account_id for currency in sorted(currencies)]


def _booked(row: asyncpg.Record) -> Booked:
    kind = LoggedKind.REFUND if row["kind"] == ledger.TransferKind.REFUND else LoggedKind.CAPTURE
    movement_id = row["transfer_id"] if kind is LoggedKind.REFUND else row["group_id"]
    logged = Logged(
        kind, str(row["group_id"]), str(movement_id), row["amount_minor"], row["currency"], row["recorded_at"]
    )
    return Booked(logged, str(row["order_id"] or ""))


def _settled(row: asyncpg.Record) -> Settled:
    totals = tuple(Totals(t["currency"], Side(**t["theirs"]), Side(**t["ours"])) for t in row["totals"])
    counts = {DifferenceKind(kind): number for kind, number in sorted(row["counts"].items())}
    return Settled(row["day"], row["compared_at"], totals, counts)


def _difference(row: asyncpg.Record) -> Difference:
    key = (LoggedKind(row["movement_kind"]), row["payment_id"], row["movement_id"])
    theirs = ours = None
    if row["their_at"] is not None:
        theirs = Logged(*key, row["their_minor"], row["their_currency"], row["their_at"])
    if row["our_at"] is not None:
        ours = Booked(Logged(*key, row["our_minor"], row["our_currency"], row["our_at"]), row["order_id"])
    return Difference(DifferenceKind(row["kind"]), theirs, ours)
