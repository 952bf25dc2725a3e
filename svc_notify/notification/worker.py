"""Sends the messages that wait: leases a few, asks for what they are about in one call each, hands them to a channel.

Orders, one-time links and addresses live in memory for one round and are stored nowhere. A crash between a channel's
yes and its note sends the message again, under the same Message-ID. While a channel is down, or the service that knows
what a message is about, such messages are not tried and no try is counted; the worker as a whole waits, longer each
time, and shuts the gate when the queue grows full.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from prometheus_client import Counter, Gauge

from mesh.database import Database
from mesh.refusals import Refusal
from mesh.seams import Clock, failpoint
from mesh.telemetry import REGISTRY, get_logger, join_unrecorded_trace
from svc_notify.channels.interface import Channel, ChannelKind, Message, Outcome, Verdict
from svc_notify.notification import rules, store, wire
from svc_notify.notification.gate import Gate
from svc_notify.notification.rules import Notification, NotificationStatus, Result
from svc_notify.templates import html, plain
from svc_notify.templates.letters import LETTERS, LINK_LETTERS, NOTICE_LETTERS, Letter
from titan.auth.v1 import link_pb2, user_pb2
from titan.auth.v1 import link_service_pb2 as links_pb
from titan.auth.v1 import user_service_pb2 as users_pb
from titan.order.v1 import order_pb2
from titan.order.v1 import order_service_pb2 as orders_pb

BATCH_MESSAGES = 50
RECEIPTS_PER_CALL = 8
GATHER_SECONDS = 0.25
"""How long a message waits for company: a round asks for orders, connects and notes what became of it once for all."""
POLL_SECONDS = 1.0
"""For what another process wrote or gave back; this one's own events wake the worker."""
RECEIPTS_TIMEOUT_SECONDS = 5.0
LINKS_TIMEOUT_SECONDS = 5.0
CONTACTS_TIMEOUT_SECONDS = 5.0
FINISH_SECONDS = 5.0
RENEW_SECONDS = 0.75
"""Well within `store.LEASE_SECONDS`: a slow server must not let another process send the same letters."""

log = get_logger("svc_notify.worker")

TRIES = Counter(
    "titan_notify_tries", "Messages tried, by what became of them.", ["channel", "verdict"], registry=REGISTRY
)
PAUSED = Gauge("titan_notify_paused", "1 while nothing is sent because something is down.", registry=REGISTRY)


@dataclass(frozen=True, slots=True)
class Round:
    """What one round did: how many messages it took, and what is down, if anything."""

    taken: int
    down: str = ""


_NO_ORDER = Outcome(Verdict.LATER, rules.UNKNOWN_ORDER)
"""Its event came from OrderService, so that may be behind for a moment, as after a restored backup."""
_NO_LINK = Outcome(Verdict.REFUSED, rules.LINK_OVER)
"""It was used, replaced by a newer one or is too old: it will never count again."""

_NO_CONTACT = Outcome(Verdict.REFUSED, rules.NO_ADDRESS)
"""The user is gone, and so is the account that the letter would be about."""
_About = order_pb2.Order | link_pb2.Link | user_pb2.Contact


@dataclass
class _Found:
    """What the messages of a round are about, and what becomes of those whose service is away."""

    orders: Mapping[UUID, order_pb2.Order] = field(default_factory=dict)
    links: Mapping[UUID, link_pb2.Link] = field(default_factory=dict)
    contacts: Mapping[UUID, user_pb2.Contact] = field(default_factory=dict)
    no_orders: Outcome = _NO_ORDER
    no_links: Outcome = _NO_LINK
    no_contacts: Outcome = _NO_CONTACT

    def of(self, notification: Notification) -> _About | Outcome:
        """Return what a message is about, or what becomes of it without."""
        if notification.link_id is not None:
            return self.links.get(notification.link_id, self.no_links)
        if notification.order_id is not None:
            return self.orders.get(notification.order_id, self.no_orders)
        return self.contacts.get(notification.user_id, self.no_contacts)


class Worker:
    """The sender of one process; any number of processes may have one."""

    def __init__(
        self,
        db: Database,
        orders: Any,
        links: Any,
        users: Any,
        channels: Mapping[ChannelKind, Channel],
        clock: Clock,
        gate: Gate,
        *,
        shop: str,
        shop_url: str,
        poll_seconds: float = POLL_SECONDS,
        gather_seconds: float = GATHER_SECONDS,
        first_pause_seconds: float = rules.FIRST_PAUSE_SECONDS,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._db = db
        self._orders = orders
        self._links = links
        self._users = users
        self._channels = channels
        self._clock = clock
        self._gate = gate
        self._shop = shop
        self._shop_url = shop_url
        self._poll_seconds = poll_seconds
        self._gather_seconds = gather_seconds
        self._first_pause_seconds = first_pause_seconds
        self._jitter = jitter
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Look for messages now."""
        self._woken.set()

    async def run(self) -> None:
        """Send what is due, until cancelled; a round that is under way then is given a few seconds to end."""
        join_unrecorded_trace()
        failures = 0
        while True:
            self._woken.clear()
            working = asyncio.ensure_future(self.send_due())
            try:
                done = await asyncio.shield(working)
            except asyncio.CancelledError:
                await asyncio.wait([working], timeout=FINISH_SECONDS)
                working.cancel()
                raise
            if done.down:
                failures += 1
                await self._pause(failures, done.down)
                continue
            if failures:
                log.info("sending goes on")
                failures = 0
                PAUSED.set(0)
            self._gate.open()
            if done.taken < BATCH_MESSAGES:
                await self._rest()

    async def send_due(self, limit: int = BATCH_MESSAGES) -> Round:
        """Try the messages that are due, at most `limit`; returns when what became of them is stored."""
        claimed = await self._db.transact(lambda tx: store.claim_due(tx, at=self._clock.now(), limit=limit))
        if not claimed:
            return Round(0)
        await failpoint("notify.after_claim")
        ids = [n.notification_id for n in claimed]
        results: list[Result] = []
        down = ""
        async with self._held(ids):
            found = await self._ask(claimed)
            for kind in {n.channel for n in claimed}:
                tried = await self._send_by(kind, [n for n in claimed if n.channel is kind], found)
                results += [result for result, _ in tried]
                down = next((o.problem or kind.value for _, o in tried if o.verdict is Verdict.DOWN), down)
        await failpoint("notify.after_send")
        await self._db.transact(lambda tx: store.save_results(tx, results))
        await failpoint("notify.after_save")
        return Round(len(claimed), down)

    @asynccontextmanager
    async def _held(self, ids: Sequence[UUID]) -> AsyncIterator[None]:
        """Renew the lease of messages for as long as they are being sent."""
        renewing = asyncio.create_task(self._renew(ids), name="lease of letters")
        try:
            yield
        finally:
            renewing.cancel()
            await asyncio.gather(renewing, return_exceptions=True)

    async def _renew(self, ids: Sequence[UUID]) -> None:
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            try:
                await self._db.transact(lambda tx: store.renew(tx, ids, at=self._clock.now()))
            except Refusal as refusal:
                log.warning("a lease is not renewed", why=refusal.reason)

    async def _ask(self, claimed: Sequence[Notification]) -> _Found:
        """Return what the messages are about. While one of the services is away, those of the others still go."""
        order_ids = sorted({str(n.order_id) for n in claimed if n.order_id is not None})
        link_ids = sorted({str(n.link_id) for n in claimed if n.link_id is not None})
        user_ids = sorted({str(n.user_id) for n in claimed if n.order_id is None and n.link_id is None})
        found = _Found()
        try:
            found.orders = await self._ask_for_orders(order_ids)
        except Refusal as refusal:
            found.no_orders = Outcome(Verdict.DOWN, f"orders: {refusal.reason}")
        try:
            found.links = await self._ask_for_links(link_ids)
        except Refusal as refusal:
            found.no_links = Outcome(Verdict.DOWN, f"links: {refusal.reason}")
        try:
            found.contacts = await self._ask_for_contacts(user_ids)
        except Refusal as refusal:
            found.no_contacts = Outcome(Verdict.DOWN, f"contacts: {refusal.reason}")
        return found

    async def _ask_for_contacts(self, user_ids: list[str]) -> dict[UUID, user_pb2.Contact]:
        if not user_ids:
            return {}
        request = users_pb.BatchGetContactsRequest(user_ids=user_ids)
        answer = await self._users.BatchGetContacts(request, timeout=CONTACTS_TIMEOUT_SECONDS)
        return {UUID(each.user_id): each for each in answer.contacts}

    async def _ask_for_links(self, link_ids: list[str]) -> dict[UUID, link_pb2.Link]:
        if not link_ids:
            return {}
        request = links_pb.BatchGetLinksRequest(link_ids=link_ids)
        answer = await self._links.BatchGetLinks(request, timeout=LINKS_TIMEOUT_SECONDS)
        return {UUID(each.link_id): each.link for each in answer.results if each.HasField("link")}

    async def _ask_for_orders(self, order_ids: list[str]) -> dict[UUID, order_pb2.Order]:
        found: dict[UUID, order_pb2.Order] = {}
        while order_ids:
            asked, order_ids = order_ids[:RECEIPTS_PER_CALL], order_ids[RECEIPTS_PER_CALL:]
            request = orders_pb.BatchGetReceiptsRequest(order_ids=asked)
            answer = await self._orders.BatchGetReceipts(request, timeout=RECEIPTS_TIMEOUT_SECONDS)
            assert len(answer.remaining_order_ids) < len(asked), "an answer has room for one order at least"
            order_ids = [*answer.remaining_order_ids, *order_ids]
            found |= {UUID(each.order_id): each.order for each in answer.receipts if each.HasField("order")}
        return found

    async def _send_by(
        self, kind: ChannelKind, wanted: Sequence[Notification], found: _Found
    ) -> list[tuple[Result, Outcome]]:
        channel = self._channels[kind]
        composed: list[tuple[Notification, Message]] = []
        outcomes: dict[UUID, tuple[Outcome, str]] = {}
        for notification in wanted:
            message = self._compose(notification, found)
            if isinstance(message, Outcome):
                outcomes[notification.notification_id] = (message, "")
            else:
                composed.append((notification, message))
        for (notification, message), outcome in zip(
            composed, await channel.send([message for _, message in composed]) if composed else [], strict=True
        ):
            outcomes[notification.notification_id] = (outcome, channel.mask(message.recipient))
        tried = []
        for notification in wanted:
            outcome, recipient = outcomes[notification.notification_id]
            result = rules.judge(
                notification, outcome, recipient=recipient, at=self._clock.now(), jitter=self._jitter()
            )
            TRIES.labels(kind.value, outcome.verdict.value).inc()
            _tell(notification, result)
            tried.append((result, outcome))
        return tried

    def _compose(self, notification: Notification, found: _Found) -> Message | Outcome:
        about = found.of(notification)
        if isinstance(about, Outcome):
            return about
        recipient = _ADDRESSES[notification.channel](about)
        if not recipient:
            return Outcome(Verdict.REFUSED, rules.NO_ADDRESS)
        try:
            letter = self._letter(notification, about)
            text, page = plain.render(letter), html.render(letter)
        except (ValueError, LookupError) as error:
            # A letter that cannot be written is a defect of ours, of this letter alone; its neighbours still go.
            log.exception("letter cannot be written", error, notification_id=str(notification.notification_id))
            return Outcome(Verdict.LATER, rules.UNWRITABLE)
        return Message(
            recipient=recipient,
            subject=letter.subject,
            text=text,
            html=page,
            message_id=notification.message_id,
            created_at=notification.created_at,
        )

    def _letter(self, notification: Notification, about: _About) -> Letter:
        if isinstance(about, link_pb2.Link):
            return LINK_LETTERS[notification.template](wire.link_from_wire(about), self._shop, self._shop_url)
        if isinstance(about, user_pb2.Contact):
            return NOTICE_LETTERS[notification.template](wire.notice_from(notification.details), self._shop)
        return LETTERS[notification.template](wire.order_from_wire(about), notification.details, self._shop)

    async def _pause(self, failures: int, why: str) -> None:
        seconds = rules.backoff_seconds(failures, self._jitter(), self._first_pause_seconds, rules.MAX_PAUSE_SECONDS)
        async with self._db.hot_read() as connection:
            waiting = await store.count_waiting(connection, most=self._gate.max_waiting)
        full = waiting >= self._gate.max_waiting
        if full:
            self._gate.shut(why)
        if failures == 1 or full:
            log.warning("sending pauses", why=why, waiting=waiting, full=full, seconds=round(seconds, 2))
        PAUSED.set(1)
        await asyncio.sleep(seconds)

    async def _rest(self) -> None:
        try:
            async with asyncio.timeout(self._poll_seconds):
                await self._woken.wait()
            await asyncio.sleep(self._gather_seconds)
        except TimeoutError:
            return


def _email_of(about: _About) -> str:
    address: str = about.contact_email if isinstance(about, order_pb2.Order) else about.email
    return address


_ADDRESSES: dict[ChannelKind, Callable[[_About], str]] = {ChannelKind.EMAIL: _email_of}
"""Where each channel finds its address."""


def _tell(notification: Notification, result: Result) -> None:
    """Write one line about a try, without anything about the person."""
    if result.status is NotificationStatus.PENDING and result.attempts == notification.attempts:
        return  # the pause that follows is told once for all
    fields = {
        "notification_id": str(result.notification_id),
        "template": notification.template,
        "about": str(notification.order_id or notification.link_id or notification.user_id),
        "attempts": result.attempts,
    }
    if result.status is NotificationStatus.SENT:
        log.info("message sent", **fields)
    elif result.status is NotificationStatus.FAILED:
        log.error("message is dead", problem=result.problem, **fields)
    else:
        log.warning("message waits", problem=result.problem, due_at=result.due_at.isoformat(), **fields)
