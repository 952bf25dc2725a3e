"""The log file: what it holds, and what a restart makes of it."""

from datetime import UTC, datetime

import pytest

from psp_sim import rules
from psp_sim.rules import Authorize, Status
from psp_sim.store import BadLog, Store

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def authorized(store: Store, payment_id: str = "p1", token: str = "tok_visa") -> None:
    asked = Authorize(payment_id, 1000, "GBP", token, webhook_url="http://127.0.0.1:1/")
    store.record(rules.authorize(None, asked, reference=f"psp_{payment_id}", at=NOW, waits=rules.Waits()))


async def test_a_restart_rebuilds_every_payment(tmp_path):
    """What was written is what is remembered, events that were not delivered among it."""
    store = Store(tmp_path / "log")
    authorized(store)
    store.record(rules.capture(store.find_payment("p1"), capture_id="c1", amount_minor=400, at=NOW))
    store.record(rules.refund(store.find_payment("p1"), refund_id="r1", amount_minor=100, at=NOW))
    authorized(store, "p2", "tok_action")
    store.record(rules.void(None, payment_id="p3", at=NOW))
    before = [store.find_payment(each) for each in ("p1", "p2", "p3")]
    waiting = store.list_undelivered()
    store.record_delivery(waiting[0][0], "delivered")
    await store.close()

    again = Store(tmp_path / "log")

    assert before == [again.find_payment(each) for each in ("p1", "p2", "p3")]
    assert waiting[1:] == again.list_undelivered()
    assert {"p2"} == again.undecided
    await again.close()


async def test_half_a_line_at_the_end_is_cut_off(tmp_path):
    """A line that was being written when the machine died was told to nobody."""
    store = Store(tmp_path / "log")
    authorized(store)
    await store.close()
    whole = (tmp_path / "log").read_bytes()
    (tmp_path / "log").write_bytes(whole + whole[:40])

    again = Store(tmp_path / "log")
    authorized(again, "p2")
    await again.close()

    third = Store(tmp_path / "log")
    assert [Status.AUTHORIZED] * 2 == [third.find_payment(each).status for each in ("p1", "p2")]
    await third.close()


async def test_a_broken_line_stops_the_start(tmp_path):
    """A log that cannot be read is not guessed at."""
    (tmp_path / "log").write_text('{"kind": "capture"}\n')

    with pytest.raises(BadLog, match="line 1"):
        Store(tmp_path / "log")


async def test_two_processes_cannot_share_a_log(tmp_path):
    """The second one is told which file is in use."""
    store = Store(tmp_path / "log")

    with pytest.raises(BadLog, match="in use"):
        Store(tmp_path / "log")
    await store.close()


async def test_no_token_is_ever_written(tmp_path):
    """The log holds a salted digest instead, and is closed to other users."""
    store = Store(tmp_path / "log")
    authorized(store, token="tok_visa")
    await store.durable()
    await store.close()

    assert "tok_" not in (tmp_path / "log").read_text()
    assert 0o600 == (tmp_path / "log").stat().st_mode & 0o777
