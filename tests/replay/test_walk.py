"""The order in which things happen, and what an interruption leaves to the next replay."""

from __future__ import annotations

import asyncio
import time
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from bookkeeping.books import NOTHING_TO_PAY
from bookkeeping.file import FileLine
from bookkeeping.invoices import Invoice, documents, shelf
from replay import edge as edge_module
from replay.deliveries import Delivery, ample
from replay.edge import ReplayFailed
from replay.importer import Importer
from replay.journal import Journal
from replay.walk import Pace, Walk
from tests.bookkeeping.files import AT, line
from tests.replay.shop import Shop, refusal

LINES = [
    line("1", quantity=3),
    line("2", "102", customer="8"),
    line("3", price="0.001"),
    line("4", quantity=2),
    line("C5", quantity=-4),
    line("6", "102", customer="8", at=AT + timedelta(days=1)),
]


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch) -> Shop:
    monkeypatch.setattr(edge_module, "PAUSES_SECONDS", (0.0, 0.0))
    return Shop()


async def walk(
    shop: Shop,
    tmp_path: Path,
    lines: list[FileLine] = LINES,
    deliveries: list[Delivery] | None = None,
    pace: Pace | None = None,
) -> Walk:
    """Replay lines as a process of its own would."""
    made = documents(lines)
    orders = [each for each in made if isinstance(each, Invoice) and each.orderable]
    journal = Journal.open(tmp_path, "lines")
    try:
        importer = Importer(shop.edge())
        await importer.put_on_the_shelf(shelf(lines, orders))
        await importer.make_buyers(orders)
        walked = Walk(importer, journal, pace or Pace())
        await walked.through(made, ample(orders) if deliveries is None else deliveries)
        return walked
    finally:
        journal.close()


def numbers(walked: Walk) -> list[str]:
    return sorted(each.invoice.number for each in walked.placed if not each.refusal)


async def test_invoices_are_placed_and_what_came_back_of_them_goes_back(shop: Shop, tmp_path: Path) -> None:
    """Of the newest order first; an invoice of nothing is no order; the orders show what went back."""
    walked = await walk(shop, tmp_path)
    assert ["1", "2", "4", "6"] == numbers(walked)
    assert [("3", NOTHING_TO_PAY)] == [(each.invoice.number, each.refusal) for each in walked.placed if each.refusal]
    assert [("4", 300), ("1", 300)] == [(each.refund.invoice, each.amount_minor) for each in walked.returned]
    orders = [each.invoice for each in walked.placed]
    assert [] == await walked.unsettled(orders)
    shop.refunded["order of invoice-4"] += 1
    assert ["4"] == await walked.unsettled(orders)


async def test_a_delivery_waits_for_the_orders_before_it_and_later_ones_for_it(shop: Shop, tmp_path: Path) -> None:
    """So a shortage of a day is of that day's stock."""
    deliveries = [
        Delivery(AT.date(), {"101A": 9}),
        Delivery(AT.date() + timedelta(days=1), {"102": 9}),
    ]
    walked = await walk(shop, tmp_path, deliveries=deliveries)
    assert ["1", "4", "6"] == numbers(walked)
    assert {"2": "OUT_OF_STOCK"} == {
        each.invoice.number: each.refusal for each in walked.placed if each.refusal not in ("", NOTHING_TO_PAY)
    }


async def test_a_buyers_documents_come_one_after_the_other(shop: Shop, tmp_path: Path) -> None:
    """Also several of one minute: what comes back must have been bought."""
    lines = [line(f"{n}") for n in range(40)] + [line("C99", quantity=-40)]
    walked = await walk(shop, tmp_path, lines)
    placed = [each.key for each in shop.to("/v1/orders")]
    assert [f"invoice-{n}" for n in range(40)] == placed
    assert 40 * 150 == sum(each.amount_minor for each in walked.returned) and not walked.leftovers


async def test_what_comes_back_waits_for_its_order_and_nobody_else_does(shop: Shop, tmp_path: Path) -> None:
    """A slow answer to one buyer holds up that buyer alone."""
    shop.held = {"invoice-1": "invoice-3"}
    walked = await walk(shop, tmp_path, [line("1"), line("C2", quantity=-1), line("3", customer="8")])
    assert [150] == [each.amount_minor for each in walked.returned] and not walked.leftovers


async def test_what_comes_back_of_a_refused_order_was_not_bought(shop: Shop, tmp_path: Path) -> None:
    """Its money was never taken."""
    shop.say("/v1/orders", refusal(400, "OUT_OF_STOCK"))
    walked = await walk(shop, tmp_path, [line("1"), line("C2", quantity=-1)])
    assert [] == walked.returned and [150] == [each.amount_minor for each in walked.leftovers]


@pytest.mark.parametrize("calls", range(1, 22))
async def test_a_replay_that_was_interrupted_goes_on_and_does_nothing_twice(
    shop: Shop, tmp_path: Path, calls: int
) -> None:
    """Wherever it was; what the journal has is not asked for again, and the sums are those of a whole one."""
    shop.dies_after = calls
    try:
        await walk(shop, tmp_path)
    except ReplayFailed:
        journal = Journal.open(tmp_path, "lines")
        known = {f"invoice-{number}" for number in journal.orders} | journal.refunds.keys()
        journal.close()
        before = len(shop.asked)
    else:
        known, before = set(), len(shop.asked)
    shop.dies_after = None
    walked = await walk(shop, tmp_path)
    again = {each.key for each in shop.asked[before:]}
    assert not known & again
    assert ["1", "2", "4", "6"] == numbers(walked)
    assert [300, 300] == [each.amount_minor for each in walked.returned]
    assert {"order of invoice-4": 300, "order of invoice-1": 300} == {k: v for k, v in shop.refunded.items() if v}


async def test_the_shops_time_goes_as_fast_as_was_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first moment is now; a minute of the shop at a speed of 60 is a second, less what has gone by."""
    waited: list[float] = []
    now = 1000.0

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    monkeypatch.setattr(time, "monotonic", lambda: now)
    pace = Pace(60.0)
    await pace.until(AT)
    await pace.until(AT + timedelta(minutes=1))
    now = 1000.75
    await pace.until(AT + timedelta(minutes=1))
    now = 1005.0
    await pace.until(AT + timedelta(minutes=2))
    await Pace().until(AT)
    assert [0.0, 1.0, 0.25, 0.0] == waited


class Watched(Pace):
    """A pace that waits for nothing, and notes for what it was asked to and what the shop had heard by then."""

    def __init__(self, shop: Shop) -> None:
        super().__init__()
        self.shop = shop
        self.waited: list[tuple[datetime, int]] = []

    async def until(self, at: datetime) -> None:
        self._began = (0.0, at)
        self.waited.append((at, len(self.shop.orders)))


async def test_each_document_waits_for_its_time_and_what_is_done_already_for_nothing(
    shop: Shop, tmp_path: Path
) -> None:
    """Deliveries and credit notes too. A replay that was interrupted catches up as fast as it goes."""
    first = Watched(shop)
    await walk(shop, tmp_path, LINES[:5], pace=first)
    assert [AT] * 5 == [at for at, _ in first.waited] and 0 == first.waited[0][1]

    again = Watched(shop)
    await walk(shop, tmp_path, LINES, pace=again)
    assert [(AT + timedelta(days=1), 3)] == again.waited
