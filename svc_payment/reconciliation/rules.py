"""Holds a day of a provider's log against the ledger: pure, and every penny of the difference is in a listed movement.

A movement is known on both sides by its kind, its payment and its own id, which Titan made. What one side has on the
day and the other has not is looked for on every other day before it counts as missing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum

from svc_payment.providers.interface import Logged, LoggedKind

Key = tuple[LoggedKind, str, str]
"""Kind, payment id and movement id."""


class DifferenceKind(StrEnum):
    """In what the two sides differ; the twin of `SettlementDifferenceKind`."""

    MISSING_HERE = "MISSING_HERE"
    MISSING_THERE = "MISSING_THERE"
    AMOUNT_DIFFERS = "AMOUNT_DIFFERS"
    OTHER_DAY = "OTHER_DAY"
    RETURNED_THERE = "RETURNED_THERE"


HARMLESS = frozenset({DifferenceKind.OTHER_DAY, DifferenceKind.RETURNED_THERE})
"""What explains itself, and needs nobody to look into it."""


@dataclass(frozen=True, slots=True)
class Booked:
    """A movement as the ledger has it, and the order that it is for."""

    logged: Logged
    order_id: str = ""


@dataclass(frozen=True, slots=True)
class Difference:
    """A movement that the two sides don't tell alike; at least one of them has it."""

    kind: DifferenceKind
    theirs: Logged | None
    ours: Booked | None

    @property
    def movement(self) -> Logged:
        """The movement, as whoever has it tells it."""
        if self.theirs is not None:
            return self.theirs
        assert self.ours is not None, "one side has it"
        return self.ours.logged

    def net_minor(self, day: date, currency: str) -> int:
        """Return by how much it sets the two sides apart on a day, theirs less ours."""
        theirs = 0 if self.theirs is None else _net_minor([self.theirs], day, currency)
        return theirs - (0 if self.ours is None else _net_minor([self.ours.logged], day, currency))


@dataclass(frozen=True, slots=True)
class Side:
    """What one side moved, in minor units."""

    captures: int
    captured_minor: int
    refunds: int
    refunded_minor: int

    @property
    def net_minor(self) -> int:
        """Captured less refunded."""
        return self.captured_minor - self.refunded_minor


@dataclass(frozen=True, slots=True)
class Totals:
    """A day in one currency."""

    currency: str
    theirs: Side
    ours: Side


@dataclass(frozen=True, slots=True)
class Found:
    """What a day came to."""

    totals: tuple[Totals, ...]
    differences: tuple[Difference, ...]


def span_of(day: date) -> tuple[datetime, datetime]:
    """Return when a day begins and when it is over, in UTC."""
    begins_at = datetime(day.year, day.month, day.day, tzinfo=UTC)
    return begins_at, begins_at + timedelta(days=1)


def is_over(day: date, now: datetime) -> bool:
    """Return whether nothing more can happen on a day."""
    return day < now.astimezone(UTC).date()


def unmatched(theirs: Iterable[Logged], ours: Iterable[Booked]) -> tuple[set[str], set[str]]:
    """Return the payments of which the other side is to be asked: theirs that are not here, ours that are not there."""
    there, here = {key_of(each) for each in theirs}, {key_of(each.logged) for each in ours}
    return {payment_id for _, payment_id, _ in there - here}, {payment_id for _, payment_id, _ in here - there}


def compare(
    day: date,
    theirs: Sequence[Logged],
    ours: Sequence[Booked],
    *,
    theirs_of: Mapping[str, Sequence[Logged]],
    ours_of: Mapping[str, Sequence[Booked]],
) -> Found:
    """Hold the movements of a day against each other.

    `theirs_of` and `ours_of` have all that each side knows, whatever the day, of the payments that `unmatched` names:
    both sides of those that are theirs, and theirs of those that are ours.
    """
    there = {key_of(each): each for each in theirs}
    here = {key_of(each.logged): each for each in ours}
    elsewhere_there = {key_of(each): each for known in theirs_of.values() for each in known}
    elsewhere_here = {key_of(each.logged): each for known in ours_of.values() for each in known}
    differences = []
    for key in sorted(there.keys() | here.keys()):
        difference = _differing(
            there.get(key) or elsewhere_there.get(key),
            here.get(key) or elsewhere_here.get(key),
            same_day=key in there and key in here,
            undone=_is_undone(theirs_of.get(key[1], ()), ours_of.get(key[1], ())),
        )
        if difference is not None:
            differences.append(difference)
    return Found(
        totals=_totals(theirs, [each.logged for each in ours]),
        differences=tuple(sorted(differences, key=lambda each: (each.kind, key_of(each.movement)))),
    )


def key_of(movement: Logged) -> Key:
    """Return what a movement is known by on both sides."""
    return movement.kind, movement.payment_id, movement.movement_id


def _differing(theirs: Logged | None, ours: Booked | None, *, same_day: bool, undone: bool) -> Difference | None:
    if theirs is None:
        return Difference(DifferenceKind.MISSING_THERE, None, ours)
    if ours is None:
        return Difference(DifferenceKind.RETURNED_THERE if undone else DifferenceKind.MISSING_HERE, theirs, None)
    if (theirs.amount_minor, theirs.currency) != (ours.logged.amount_minor, ours.logged.currency):
        return Difference(DifferenceKind.AMOUNT_DIFFERS, theirs, ours)
    return None if same_day else Difference(DifferenceKind.OTHER_DAY, theirs, ours)


def _is_undone(theirs: Sequence[Logged], ours: Sequence[Booked]) -> bool:
    """Return whether the provider gave back all that it took of a payment, and nothing of it was ever booked here."""
    sums: defaultdict[str, int] = defaultdict(int)
    for each in theirs:
        sums[each.currency] += _signed_minor(each)
    return bool(theirs) and not ours and not any(sums.values())


def _totals(theirs: Sequence[Logged], ours: Sequence[Logged]) -> tuple[Totals, ...]:
    currencies = sorted({each.currency for each in (*theirs, *ours)})
    return tuple(Totals(currency, _side(theirs, currency), _side(ours, currency)) for currency in currencies)


def _side(movements: Iterable[Logged], currency: str) -> Side:
    amounts: dict[LoggedKind, list[int]] = {kind: [] for kind in LoggedKind}
    for each in movements:
        if each.currency == currency:
            amounts[each.kind].append(each.amount_minor)
    captured, refunded = amounts[LoggedKind.CAPTURE], amounts[LoggedKind.REFUND]
    return Side(len(captured), sum(captured), len(refunded), sum(refunded))


def _net_minor(movements: Iterable[Logged], day: date, currency: str) -> int:
    begins_at, ends_at = span_of(day)
    return sum(_signed_minor(m) for m in movements if m.currency == currency and begins_at <= m.at < ends_at)


def _signed_minor(movement: Logged) -> int:
    return movement.amount_minor if movement.kind is LoggedKind.CAPTURE else -movement.amount_minor
