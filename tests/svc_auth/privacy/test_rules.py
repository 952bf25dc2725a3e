"""Who may be erased, and when whoever works on it comes back: no clock, no database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from svc_auth.errors import UserHasRoles, WalletNotEmpty
from svc_auth.privacy import rules
from svc_auth.privacy.rules import Erasure, ErasureState, Money
from svc_auth.user.rules import User

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)
DECIDED = Erasure(uuid4(), NOON, None, None, 0, NOON)


def after(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


@pytest.mark.parametrize("money", [Money(1, 0, False), Money(0, 1, False), Money(0, 0, True)])
def test_money_holds_an_erasure_up(money: Money):
    """What is there, what an order holds, and what is on its way: nobody could come for it later."""
    with pytest.raises(WalletNotEmpty) as refusal:
        rules.check_money(money)
    assert str(money.balance_minor) == refusal.value.metadata["balance_minor"]


def test_an_empty_wallet_holds_nothing_up():
    """Most have none."""
    rules.check_money(Money(0, 0, False))


def test_somebody_who_works_here_is_not_erased():
    """Whoever takes their role away first has thought of it."""
    with pytest.raises(UserHasRoles):
        rules.check_user(User(uuid4(), b"found by this", b"sealed", ("support",), 1, NOON))
    rules.check_user(User(uuid4(), b"found by this", b"sealed", (), 1, NOON))


def test_the_first_pass_completes_it_and_the_one_after_the_last_token_ends_it():
    """What a call under way may have left is emptied by the second; no token names the user by then."""
    first = rules.after_pass(DECIDED, at=after(2))
    assert ErasureState.COMPLETE is first.state and first.finished_at is None
    assert after(rules.SETTLED_SECONDS) == first.next_run_at

    second = rules.after_pass(first, at=after(rules.SETTLED_SECONDS))
    assert (after(2), after(rules.SETTLED_SECONDS)) == (second.emptied_at, second.finished_at)


def test_a_pass_that_comes_late_is_the_last_one():
    """All packages were away for an hour: no token is left, so once is enough."""
    assert after(3600) == rules.after_pass(DECIDED, at=after(3600)).finished_at


def test_pauses_double_up_to_five_minutes_and_never_end():
    """An order that was placed at the last moment may take weeks to arrive."""
    erasure, pauses = DECIDED, []
    for _ in range(12):
        erasure = rules.after_failure(erasure, at=NOON)
        pauses.append((erasure.next_run_at - NOON).total_seconds())
    assert [1, 2, 4, 8] == pauses[:4]
    assert rules.MAX_PAUSE_SECONDS == pauses[-1] == max(pauses)
    assert ErasureState.RUNNING is erasure.state
