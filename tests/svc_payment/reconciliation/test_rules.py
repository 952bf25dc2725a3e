"""A day of a provider's log against the ledger, without a server."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from svc_payment.providers.interface import Logged, LoggedKind
from svc_payment.reconciliation import rules
from svc_payment.reconciliation.rules import Booked, DifferenceKind, Found

DAY = date(2026, 11, 21)
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
NEXT = NOON + timedelta(days=1)


def took(payment: str = "p", minor: int = 1000, *, at: datetime = NOON, currency: str = "GBP") -> Logged:
    return Logged(LoggedKind.CAPTURE, payment, payment, minor, currency, at)


def gave(payment: str = "p", minor: int = 300, *, at: datetime = NOON, refund: str = "r") -> Logged:
    return Logged(LoggedKind.REFUND, payment, refund, minor, "GBP", at)


def settled(theirs: list[Logged], ours: list[Logged]) -> Found:
    """Compare a day of all that both sides ever did, asking each of what `unmatched` names."""
    there, here = [[each for each in side if each.at.date() == DAY] for side in (theirs, ours)]
    booked = [Booked(each) for each in here]
    not_here, not_there = rules.unmatched(there, booked)
    theirs_of: defaultdict[str, list[Logged]] = defaultdict(list)
    ours_of: defaultdict[str, list[Booked]] = defaultdict(list)
    for each in theirs:
        if each.payment_id in not_here | not_there:
            theirs_of[each.payment_id].append(each)
    for each in ours:
        if each.payment_id in not_here:
            ours_of[each.payment_id].append(Booked(each))
    return rules.compare(DAY, there, booked, theirs_of=theirs_of, ours_of=ours_of)


def kinds(found: Found) -> list[str]:
    return [each.kind.value for each in found.differences]


def test_a_day_that_both_tell_alike_has_no_difference() -> None:
    """Whatever the times of day; the sums are of each side."""
    found = settled([took(), gave()], [took(at=NOON + timedelta(seconds=9)), gave()])
    assert () == found.differences
    (totals,) = found.totals
    assert totals.theirs == totals.ours == rules.Side(1, 1000, 1, 300)
    assert 700 == totals.ours.net_minor


@pytest.mark.parametrize(
    ("theirs", "ours", "expected"),
    [
        ([took()], [], ["MISSING_HERE"]),
        ([], [took()], ["MISSING_THERE"]),
        ([took(minor=999)], [took()], ["AMOUNT_DIFFERS"]),
        ([took(currency="EUR")], [took()], ["AMOUNT_DIFFERS"]),
        ([took()], [took(at=NEXT)], ["OTHER_DAY"]),
        ([took(at=NOON - timedelta(days=40))], [took()], ["OTHER_DAY"]),
        ([took(minor=1, at=NEXT)], [took()], ["AMOUNT_DIFFERS"]),
        ([took(), gave(minor=1000)], [], ["RETURNED_THERE"] * 2),
        ([took(), gave(minor=1000, at=NEXT)], [], ["RETURNED_THERE"]),
        ([took(), gave(minor=999)], [], ["MISSING_HERE"] * 2),
        ([took(), gave(minor=1000)], [took()], ["MISSING_HERE"]),
        ([took(), gave()], [took(), gave(refund="other")], ["MISSING_HERE", "MISSING_THERE"]),
        ([took("a"), took("b")], [took("b"), took("c")], ["MISSING_HERE", "MISSING_THERE"]),
    ],
)
def test_a_difference_has_its_kind(theirs: list[Logged], ours: list[Logged], expected: list[str]) -> None:
    assert expected == kinds(settled(theirs, ours))


def test_what_explains_itself_needs_nobody() -> None:
    assert {DifferenceKind.OTHER_DAY, DifferenceKind.RETURNED_THERE} == rules.HARMLESS


def test_a_day_is_over_at_midnight_in_utc() -> None:
    begins_at, ends_at = rules.span_of(DAY)
    assert (begins_at, ends_at) == (NOON.replace(hour=0), NEXT.replace(hour=0))
    last_moment = ends_at - timedelta(microseconds=1)
    assert [False, True] == [rules.is_over(DAY, at) for at in (last_moment, ends_at)]


MOVEMENTS = st.lists(
    st.builds(
        lambda kind, payment, movement, minor, currency, days: Logged(
            kind, payment, movement, minor, currency, NOON + timedelta(days=days)
        ),
        st.sampled_from(LoggedKind),
        st.sampled_from("pq"),
        st.sampled_from("ab"),
        st.integers(1, 3),
        st.sampled_from(("GBP", "EUR")),
        st.integers(-1, 1),
    ),
    max_size=6,
    unique_by=rules.key_of,
)


@settings(deadline=None)
@given(MOVEMENTS, MOVEMENTS)
def test_the_differences_are_the_whole_difference(theirs: list[Logged], ours: list[Logged]) -> None:
    """Whatever the two sides did: nothing is explained that is not listed, and nothing is listed twice."""
    found = settled(theirs, ours)
    for totals in found.totals:
        apart = totals.theirs.net_minor - totals.ours.net_minor
        assert apart == sum(each.net_minor(DAY, totals.currency) for each in found.differences)
    keys = [rules.key_of(each.movement) for each in found.differences]
    assert len(keys) == len(set(keys))
    same = {each for each in theirs if each in ours and each.at.date() == DAY}
    assert not {rules.key_of(each) for each in same} & set(keys)
