"""Notifications on a real Postgres and a real mailbox; the services that it asks are fakes."""

from __future__ import annotations

import email
import email.policy
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from email.message import EmailMessage
from uuid import UUID, uuid4

import pytest

from control.servers.mailbox import Mailbox
from mesh.received import Received
from mesh.refusals import Unavailable
from mesh.seams import ManualClock, SystemIds
from svc_notify.channels.email import EmailChannel, SmtpSettings
from svc_notify.channels.interface import ChannelKind, Outcome, Verdict
from svc_notify.notification.consumer import MessageEvents
from svc_notify.notification.gate import Gate
from svc_notify.notification.worker import Worker
from titan.auth.v1 import events_pb2 as auth_events_pb2
from titan.auth.v1 import link_pb2, user_pb2
from titan.auth.v1 import link_service_pb2 as links_pb
from titan.auth.v1 import user_service_pb2 as users_pb
from titan.order.v1 import events_pb2, order_pb2
from titan.order.v1 import order_service_pb2 as orders_pb
from titan.type.v1 import address_pb2, money_pb2

ADDRESS = address_pb2.Address(
    full_name="Ada <b>Byron</b>", line1="1 Mill Lane", city="Leeds", postal_code="LS1 1AA", country_code="GB"
)


def gbp(minor: int) -> money_pb2.Money:
    return money_pb2.Money(currency_code="GBP", minor_units=minor)


def an_order(order_id: UUID, *, to: str = "ada@example.com") -> order_pb2.Order:
    """Return an order of two mugs and a tea."""
    order = order_pb2.Order(
        order_id=str(order_id),
        status=order_pb2.ORDER_STATUS_CONFIRMED,
        total=gbp(2749),
        tax=gbp(458),
        shipping=gbp(0),
        contact_email=to,
        shipping_address=ADDRESS,
        lines=[
            order_pb2.OrderLine(
                line_number=1, sku="mug", title="Mug & saucer", quantity=2, unit_price=gbp(1000), line_total=gbp(2000)
            ),
            order_pb2.OrderLine(
                line_number=2, sku="tea", title="Black tea, 500 g", quantity=1, unit_price=gbp(749), line_total=gbp(749)
            ),
        ],
    )
    order.effective_time.FromDatetime(datetime(2026, 3, 4, 9, 26, tzinfo=UTC))
    return order


class FakeOrders:
    """What OrderService answers to BatchGetReceipts; it counts the calls, and can be away or have little room."""

    def __init__(self) -> None:
        self.known: dict[UUID, order_pb2.Order] = {}
        self.calls: list[list[str]] = []
        self.away = False
        self.room = 8

    async def BatchGetReceipts(self, request, *, timeout):  # noqa: ASYNC109
        self.calls.append(list(request.order_ids))
        if self.away:
            raise Unavailable("away")
        return orders_pb.BatchGetReceiptsResponse(
            receipts=[
                orders_pb.Receipt(order_id=i, order=self.known.get(UUID(i))) for i in request.order_ids[: self.room]
            ],
            remaining_order_ids=request.order_ids[self.room :],
        )


class FakeLinks:
    """What LinkService answers to BatchGetLinks; it counts the calls, and can be away."""

    def __init__(self) -> None:
        self.known: dict[UUID, link_pb2.Link] = {}
        self.calls: list[list[str]] = []
        self.away = False

    async def BatchGetLinks(self, request, *, timeout):  # noqa: ASYNC109
        self.calls.append(list(request.link_ids))
        if self.away:
            raise Unavailable("away")
        return links_pb.BatchGetLinksResponse(
            results=[links_pb.LinkResult(link_id=i, link=self.known.get(UUID(i))) for i in request.link_ids]
        )


class FakeUsers:
    """What UserService answers to BatchGetContacts; it counts the calls, and can be away."""

    def __init__(self) -> None:
        self.known: dict[UUID, str] = {}
        self.calls: list[list[str]] = []
        self.away = False

    async def BatchGetContacts(self, request, *, timeout):  # noqa: ASYNC109
        self.calls.append(list(request.user_ids))
        if self.away:
            raise Unavailable("away")
        return users_pb.BatchGetContactsResponse(
            contacts=[user_pb2.Contact(user_id=i, email=self.known.get(UUID(i), "")) for i in request.user_ids]
        )


class ListChannel:
    """A channel that keeps what it takes; `answers` says what becomes of the next messages."""

    kind = ChannelKind.EMAIL

    def __init__(self) -> None:
        self.taken = []
        self.answers: list[Outcome] = []

    def mask(self, recipient):
        return f"{recipient[:1]}***"

    async def send(self, messages):
        outcomes = [self.answers.pop(0) if self.answers else Outcome(Verdict.TAKEN) for _ in messages]
        self.taken += [m for m, o in zip(messages, outcomes, strict=True) if o.verdict is Verdict.TAKEN]
        return outcomes

    async def close(self):
        pass


@pytest.fixture(autouse=True)
async def _empty(request) -> None:
    if "db" in request.fixturenames:
        async with request.getfixturevalue("db").hot() as tx:
            await tx.execute("TRUNCATE notifications, inbox, inbox_aggregates")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def orders() -> FakeOrders:
    return FakeOrders()


@pytest.fixture
def links() -> FakeLinks:
    return FakeLinks()


@pytest.fixture
def users() -> FakeUsers:
    return FakeUsers()


@pytest.fixture
def gate() -> Gate:
    return Gate(max_waiting=3)


class Desk:
    """The consumer and the worker of one process, and the events that tests give them."""

    def __init__(self, db, orders, links, users, channel, clock, gate) -> None:
        self.db, self.orders, self.links, self.users, self.clock, self.gate = db, orders, links, users, clock, gate
        self.worker = Worker(
            db,
            orders,
            links,
            users,
            {channel.kind: channel},
            clock,
            gate,
            shop="Titan",
            shop_url="https://shop.titan.local",
            poll_seconds=0.05,
            first_pause_seconds=0.02,
            jitter=lambda: 0.0,
        )
        self.handle = MessageEvents(
            clock, SystemIds(), gate, channel=channel.kind, domain="titan.local", wake=self.worker.wake
        )

    def order(self, **fields) -> UUID:
        order_id = uuid4()
        self.orders.known[order_id] = an_order(order_id, **fields)
        return order_id

    def link(self, purpose: str = "PASSWORD_RESET", *, to: str = "ada@example.com") -> UUID:
        link_id = uuid4()
        self.links.known[link_id] = link_pb2.Link(
            purpose=link_pb2.LinkPurpose.Value(f"LINK_PURPOSE_{purpose}"),
            email=to,
            token="s3cret-token",
            expire_time=datetime(2026, 3, 4, 9, 56, tzinfo=UTC),
        )
        return link_id

    def user(self, *, to: str = "ada@example.com") -> UUID:
        user_id = uuid4()
        self.users.known[user_id] = to
        return user_id

    async def happens(self, *received: Received) -> None:
        await self.db.transact(lambda tx: self.handle(tx, received))

    async def rows(self) -> list:
        async with self.db.hot_read() as connection:
            return await connection.fetch("SELECT * FROM notifications ORDER BY notification_id")


@pytest.fixture
def channel() -> ListChannel:
    return ListChannel()


@pytest.fixture
def desk(db, orders, links, users, channel, clock, gate) -> Desk:
    """A desk whose channel is a list."""
    return Desk(db, orders, links, users, channel, clock, gate)


def received(kind: str, order_id: UUID, *, version: int = 2, user_id: UUID | None = None, **fields) -> Received:
    """Return an event of an order as it comes out of the broker."""
    event = getattr(events_pb2, kind)(order_id=str(order_id), user_id=str(user_id or uuid4()), **fields)
    return Received(
        topic="titan.order.v1",
        type=f"titan.order.v1.{kind}",
        event_id=uuid4(),
        aggregate_id=str(order_id),
        version=version,
        subject=str(order_id),
        time=datetime.now(UTC),
        source="svc_order",
        cell="local",
        payload=event.SerializeToString(),
        traceparent=None,
        partition=0,
        offset=0,
    )


def link_requested(link_id: UUID, purpose: str = "PASSWORD_RESET", *, user_id: UUID | None = None) -> Received:
    """Return the event of a one-time link as it comes out of the broker."""
    number = link_pb2.LinkPurpose.Value(f"LINK_PURPOSE_{purpose}")
    event = auth_events_pb2.LinkRequested(link_id=str(link_id), user_id=str(user_id or uuid4()), purpose=number)
    return replace(
        received("OrderConfirmed", link_id, version=1),
        topic="titan.auth.mail.v1",
        type="titan.auth.v1.LinkRequested",
        source="svc_auth",
        payload=event.SerializeToString(),
    )


def sign_in_changed(user_id: UUID, change: str = "PASSWORD_CHANGED", *, provider: str = "") -> Received:
    """Return the event of a change of somebody's account as it comes out of the broker."""
    number = auth_events_pb2.SignInChange.Value(f"SIGN_IN_CHANGE_{change}")
    event = auth_events_pb2.SignInChanged(
        notice_id=str(uuid4()), user_id=str(user_id), change=number, provider=provider
    )
    return replace(
        link_requested(UUID(event.notice_id)),
        type="titan.auth.v1.SignInChanged",
        payload=event.SerializeToString(),
    )


@pytest.fixture(scope="module")
def mailbox(titan_home) -> Iterator[Mailbox]:
    """A mailbox of this module's own, which tests stop and start."""
    with Mailbox(data=titan_home / "mail-notify", log=titan_home / "log" / "mail-notify.log") as server:
        yield server


@pytest.fixture
async def email_channel(mailbox) -> AsyncIterator[EmailChannel]:
    """The real channel to that mailbox, which is emptied first."""
    for letter in (mailbox.data / "new").iterdir():
        letter.unlink()
    channel = EmailChannel(SmtpSettings(host="127.0.0.1", port=mailbox.port))
    yield channel
    await channel.close()


def letters(mailbox: Mailbox) -> list[EmailMessage]:
    """Return what the mailbox holds, in the order of arrival."""
    files = sorted((mailbox.data / "new").iterdir(), key=lambda f: f.stat().st_mtime_ns)
    return [email.message_from_bytes(f.read_bytes(), policy=email.policy.default) for f in files]  # type: ignore[misc]
