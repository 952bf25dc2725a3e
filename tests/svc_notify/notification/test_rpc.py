"""NotificationService through the real chain, on a real Postgres."""

from __future__ import annotations

from uuid import uuid4

import grpc
import pytest

from mesh.interceptors.audit import Accesses
from svc_notify.channels.interface import Outcome, Verdict
from svc_notify.notification.rpc import NotificationServicer
from tests.harness import as_service, as_user, reason_of, serve
from tests.svc_notify.conftest import received
from titan.notify.v1 import notification_pb2, notification_service_pb2_grpc
from titan.notify.v1 import notification_service_pb2 as pb

SERVICE = "titan.notify.v1.NotificationService"
TICKET = "SUP-4711"


@pytest.fixture(scope="module")
async def stub(db):
    async with serve({SERVICE: NotificationServicer(db)}, accesses=Accesses(db)) as channel:
        yield notification_service_pb2_grpc.NotificationServiceStub(channel)


@pytest.fixture
def listing(stub):
    async def call(metadata=None, **request):
        return await stub.ListNotifications(
            pb.ListNotificationsRequest(**{"ticket_id": TICKET, **request}),
            metadata=metadata or as_user(roles=("support",)),
        )

    return call


async def test_support_reads_what_was_sent_to_whom_and_when(desk, listing):
    """The recipient is masked; the rest is what a person at a desk needs."""
    order_id, user_id = desk.order(), uuid4()
    await desk.happens(received("OrderConfirmed", order_id, user_id=user_id))
    await desk.worker.send_due()
    (shown,) = (await listing()).notifications
    assert ("a***", "order_confirmed", str(order_id), str(user_id), 1) == (
        shown.recipient,
        shown.template,
        shown.order_id,
        shown.user_id,
        shown.attempts,
    )
    assert notification_pb2.NOTIFICATION_STATUS_SENT == shown.status
    assert notification_pb2.NOTIFICATION_CHANNEL_EMAIL == shown.channel
    assert shown.HasField("send_time") and shown.message_id.startswith(f"<{shown.notification_id}@")


async def test_pages_go_from_the_newest_to_the_oldest(desk, listing):
    """Each message stands on one page."""
    for _ in range(5):
        await desk.happens(received("OrderConfirmed", desk.order()))
    wanted = [str(row["notification_id"]) for row in reversed(await desk.rows())]
    seen, token = [], ""
    for _ in range(3):
        page = await listing(page_size=2, page_token=token)
        seen += [each.notification_id for each in page.notifications]
        token = page.next_page_token
    assert wanted == seen and "" == token


async def test_filters_narrow_the_list(desk, channel, listing):
    """By order, by user, and by status: FAILED lists the dead letters with why."""
    order_id, user_id = desk.order(), uuid4()
    await desk.happens(received("OrderConfirmed", order_id))
    await desk.happens(received("OrderConfirmed", desk.order(), user_id=user_id))
    channel.answers = [Outcome(Verdict.REFUSED, "SMTP 550")]
    await desk.worker.send_due()
    assert [str(order_id)] == [n.order_id for n in (await listing(order_id=str(order_id))).notifications]
    assert [str(user_id)] == [n.user_id for n in (await listing(user_id=str(user_id))).notifications]
    dead = await listing(status=notification_pb2.NOTIFICATION_STATUS_FAILED)
    assert [(str(order_id), "SMTP 550")] == [(n.order_id, n.problem) for n in dead.notifications]
    assert [] == list((await listing(order_id=str(order_id), user_id=str(user_id))).notifications)


async def test_a_page_token_of_other_filters_is_refused(desk, listing):
    """A token belongs to the list that it was given for."""
    for _ in range(2):
        await desk.happens(received("OrderConfirmed", desk.order()))
    token = (await listing(page_size=1)).next_page_token
    for request in ({"user_id": str(uuid4()), "page_token": token}, {"page_token": "nonsense"}):
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await listing(**request)
        assert "PAGE_TOKEN_INVALID" == reason_of(refusal.value)


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ((), "UNAUTHENTICATED"),
        (as_user(), "ACCESS_DENIED"),
        (as_user(roles=("warehouse",)), "ACCESS_DENIED"),
        (as_service("svc_order"), "UNAUTHENTICATED"),
    ],
)
async def test_only_admin_and_support_may_read(stub, metadata, reason):
    """A customer's letters are the customer's business."""
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await stub.ListNotifications(pb.ListNotificationsRequest(), metadata=metadata)
    assert reason == reason_of(refusal.value)


@pytest.mark.parametrize("request_", [{"page_size": 101}, {"page_size": -1}, {"order_id": "x"}, {"status": 9}])
async def test_input_outside_the_contract_is_refused(listing, request_):
    """Before any query."""
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await listing(**request_)
    assert "INVALID_INPUT" == reason_of(refusal.value)


async def test_support_reads_under_a_ticket_and_the_log_has_it(listing, db):
    """An administrator needs none, and leaves no row."""
    clerk, user_id = uuid4(), uuid4()
    support = as_user(clerk, roles=("support",))
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await listing(metadata=support, ticket_id="")
    assert "TICKET_REQUIRED" == reason_of(refusal.value)
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await listing(metadata=support, ticket_id="Ada's wish")
    assert "INVALID_INPUT" == reason_of(refusal.value)
    await listing(metadata=support, user_id=str(user_id))
    await listing(metadata=as_user(clerk, roles=("admin",)), user_id=str(user_id), ticket_id="")

    async with db.hot_read() as connection:
        found = await connection.fetch("SELECT outcome, resource FROM audit_entries WHERE actor_id = $1", clerk)
    assert [("ACCEPTED", f"users/{user_id}?ticket={TICKET}")] == [tuple(row) for row in found]
