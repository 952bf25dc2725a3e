"""What a journal amounts to: the order that the decisions made, whatever they were."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.refusals import Refusal
from svc_order.order import journal, rules
from svc_order.order.rules import Entry, OrderStatus
from tests.svc_order.order.test_rules import AT, LATER, STEPS, order


def test_the_past_of_a_journal_ends_with_the_first_entry_that_had_not_happened() -> None:
    """By when they count, or were recorded; a later entry never counts before those that it was decided on."""
    minutes = [AT + timedelta(minutes=n) for n in range(5)]
    entries = [
        Entry(n + 1, "OrderRefunded", {}, recorded_at=minutes[4], effective_at=at)
        for n, at in enumerate((minutes[0], minutes[2], minutes[1]))
    ]
    assert [0, 1, 1, 3] == [len(journal.as_of(entries, at)) for at in (AT - timedelta(seconds=1), *minutes[:3])]
    assert [0, 3] == [len(journal.as_of(entries, at, recorded=True)) for at in minutes[3:]]


@given(st.lists(st.sampled_from(sorted(STEPS)), max_size=12))
def test_an_order_is_the_fold_of_its_journal(steps: list[str]) -> None:
    """Whatever happens in whichever order, the journal alone gives the same order, without a gap."""
    change = rules.place(order())
    now, entries = change.order, [change.entry]
    for step in steps:
        try:
            change = STEPS[step](now)
        except Refusal:
            continue
        now = change.order
        if change.entry is not None:
            entries.append(change.entry)
    assert journal.replay(now.order_id, [entry for entry in entries if entry]) == now
    assert [entry.version for entry in entries if entry] == list(range(1, now.version + 1))
    assert 0 <= now.refunded_minor <= now.total_minor


def test_a_journal_with_a_gap_is_refused() -> None:
    placed = rules.place(order())
    shipped = rules.ship(order(OrderStatus.CONFIRMED, version=2), "", at=LATER)
    assert placed.entry is not None and shipped.entry is not None
    with pytest.raises(ValueError, match="breaks at version 3"):
        journal.replay(UUID(int=1), [placed.entry, shipped.entry])
    with pytest.raises(ValueError, match="is empty"):
        journal.replay(UUID(int=1), [])
