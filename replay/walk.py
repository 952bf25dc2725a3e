"""Walks through the documents of a file in the order of their times, and gathers what became of each.

Many are under way at once, but a buyer's come one after the other, and a delivery is on the shelf before the first
order of its day.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from bookkeeping.books import NOTHING_TO_PAY, Placed, Returned
from bookkeeping.invoices import CreditNote, Invoice
from bookkeeping.returns import Leftover, Purchases, Refund
from replay.deliveries import Delivery
from replay.edge import RUNNING_CALLS
from replay.importer import Importer, Order
from replay.journal import Journal


@dataclass
class Pace:
    """How fast the shop's time goes: `speed` seconds of it in one of ours, or zero for as fast as it goes."""

    speed: float = 0.0
    _began: tuple[float, datetime] | None = None

    @property
    def began(self) -> bool:
        """Whether somebody has waited for the shop's time."""
        return self._began is not None

    async def until(self, at: datetime) -> None:
        """Wait until it is this time in the shop; the first time that is asked for is now."""
        if not self.speed:
            return
        if self._began is None:
            self._began = (time.monotonic(), at)
        due = self._began[0] + (at - self._began[1]).total_seconds() / self.speed
        await asyncio.sleep(max(0.0, due - time.monotonic()))


@dataclass
class Walk:
    """What became of the documents so far."""

    importer: Importer
    journal: Journal
    pace: Pace = field(default_factory=Pace)
    orders: dict[str, Order] = field(default_factory=dict)
    placed: list[Placed] = field(default_factory=list)
    returned: list[Returned] = field(default_factory=list)
    leftovers: list[Leftover] = field(default_factory=list)
    _purchases: Purchases = field(default_factory=Purchases)

    async def through(
        self,
        documents: Sequence[Invoice | CreditNote],
        deliveries: Sequence[Delivery],
        done: Callable[[], object] = lambda: None,
    ) -> None:
        """Place every invoice and honour every credit note; tells `done` after each."""
        last_of: dict[str, asyncio.Task[None]] = {}
        room = asyncio.Semaphore(RUNNING_CALLS)
        coming = list(deliveries)[::-1]
        running: set[asyncio.Task[None]] = set()

        async def one(document: Invoice | CreditNote, before: asyncio.Task[None] | None) -> None:
            try:
                if before is not None:
                    await asyncio.wait([before])
                await (self._place(document) if isinstance(document, Invoice) else self._give_back(document))
                done()
            finally:
                room.release()

        try:
            async with asyncio.TaskGroup() as group:
                for document in documents:
                    if self._comes_anew(document):
                        await self.pace.until(document.at)
                    while coming and coming[-1].on <= document.at.date():
                        if running:
                            await asyncio.wait(running)
                        await self._receive(coming.pop())
                    await room.acquire()
                    task = group.create_task(one(document, last_of.get(document.buyer)))
                    running.add(task)
                    task.add_done_callback(running.discard)
                    if document.buyer:
                        last_of[document.buyer] = task
        except ExceptionGroup as problems:
            raise problems.exceptions[0] from None

    async def unsettled(self, invoices: Sequence[Invoice]) -> list[str]:
        """Return the invoices whose orders do not say that what was given back of them has gone back."""
        given: dict[str, int] = {}
        for each in self.returned:
            if not each.refusal:
                given[each.refund.invoice] = given.get(each.refund.invoice, 0) + each.amount_minor
        buyers = {invoice.number: invoice.buyer for invoice in invoices}
        numbers = sorted(given)
        shown = await asyncio.gather(
            *(self.importer.refunded_minor(self.orders[number].order_id, buyers[number]) for number in numbers)
        )
        return [number for number, minor in zip(numbers, shown, strict=True) if minor != given[number]]

    def _comes_anew(self, document: Invoice | CreditNote) -> bool:
        """Return whether the shop's time is to be waited for: not while a replay that was interrupted catches up."""
        if isinstance(document, Invoice) and document.orderable:
            return document.number not in self.journal.orders
        return self.pace.began

    async def _receive(self, delivery: Delivery) -> None:
        on = delivery.on.isoformat()
        if on not in self.journal.deliveries:
            await self.importer.receive(delivery)
            self.journal.note_delivery(on)

    async def _place(self, invoice: Invoice) -> None:
        if not invoice.orderable:
            self.placed.append(Placed(invoice, refusal=NOTHING_TO_PAY))
            return
        order = self.journal.orders.get(invoice.number)
        if order is None:
            order = await self.importer.place(invoice)
            self.journal.note_order(invoice.number, order)
        self.orders[invoice.number] = order
        self.placed.append(Placed(invoice, order.total_minor, order.refusal))
        if not order.refusal:
            self._purchases.add(invoice, order.order_id)

    async def _give_back(self, note: CreditNote) -> None:
        matched = self._purchases.match(note)
        self.leftovers += matched.leftovers
        for refund in matched.refunds:
            self.returned.append(await self._refund(refund))

    async def _refund(self, refund: Refund) -> Returned:
        given = self.journal.refunds.get(refund.key)
        if given is None:
            given = await self.importer.give_back(refund)
            self.journal.note_refund(refund.key, given)
        return Returned(refund, given.amount_minor, given.refusal)
