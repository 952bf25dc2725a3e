"""Erasing a user: no letter more, and no trace of where the ones before went."""

from __future__ import annotations

from uuid import uuid4

import grpc
import pytest

from svc_notify.notification.rpc import NotificationServicer
from tests.harness import as_service, reason_of, serve
from tests.svc_notify.conftest import received
from titan.notify.v1 import notification_pb2, notification_service_pb2_grpc
from titan.notify.v1 import notification_service_pb2 as pb

SERVICE = "titan.notify.v1.NotificationService"
AUTH = as_service("svc_auth")


@pytest.fixture(scope="module")
async def stub(db):
    async with serve({SERVICE: NotificationServicer(db)}, callers={SERVICE: frozenset({"svc_auth"})}) as channel:
        yield notification_service_pb2_grpc.NotificationServiceStub(channel)


async def erase(stub, user_id):
    await stub.EraseUser(pb.EraseUserRequest(user_id=str(user_id)), metadata=AUTH)


async def messages_to(stub, user_id, **fields):
    asked = pb.ListUserNotificationsRequest(user_id=str(user_id), **fields)
    return await stub.ListUserNotifications(asked, metadata=AUTH)


async def test_an_export_lists_what_a_user_was_written(desk, stub):
    """And what nobody else was, page by page."""
    user_id = uuid4()
    for _ in range(3):
        await desk.happens(received("OrderConfirmed", desk.order(), user_id=user_id))
    await desk.happens(received("OrderConfirmed", desk.order()))
    first = await messages_to(stub, user_id, page_size=2)
    second = await messages_to(stub, user_id, page_size=2, page_token=first.next_page_token)
    found = [each.notification_id for each in (*first.notifications, *second.notifications)]
    assert 3 == len(set(found)) and sorted(found, reverse=True) == found and not second.next_page_token
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await messages_to(stub, uuid4(), page_token=first.next_page_token)
    assert "PAGE_TOKEN_INVALID" == reason_of(refusal.value)


async def test_what_waits_is_not_sent_and_others_get_theirs(desk, stub, channel):
    """A letter that is due this second is not written any more."""
    user_id = uuid4()
    await desk.happens(received("OrderConfirmed", desk.order(), user_id=user_id))
    await desk.happens(received("OrderConfirmed", desk.order(to="bob@example.com")))
    await erase(stub, user_id)
    await desk.worker.send_due()
    assert ["bob@example.com"] == [message.recipient for message in channel.taken]


async def test_what_happens_later_makes_no_letter(desk, stub):
    """Nor does an event that was published before and comes again."""
    user_id, order_id = uuid4(), desk.order()
    event = received("OrderConfirmed", order_id, user_id=user_id)
    await desk.happens(event)
    for _ in range(2):
        await erase(stub, user_id)
    await desk.happens(event)
    await desk.happens(received("OrderShipped", order_id, version=3, user_id=user_id))
    assert [] == await desk.rows()


async def test_letters_of_before_forget_where_they_went_and_what_they_said(desk, stub):
    """That they were sent, and when, stays; others keep theirs."""
    user_id, order_id = uuid4(), desk.order()
    for reader_id, about in ((user_id, order_id), (uuid4(), desk.order())):
        await desk.happens(received("OrderConfirmed", about, user_id=reader_id))
        await desk.worker.send_due()
        await desk.happens(received("OrderShipped", about, version=3, user_id=reader_id, tracking_code="JD0002"))
        await desk.worker.send_due()
    assert {"a***"} == {sent.recipient for sent in (await messages_to(stub, user_id)).notifications}
    assert {"JD0002"} == {row["details"].get("tracking_code") for row in await desk.rows() if row["details"]}

    await erase(stub, user_id)

    kept = (await messages_to(stub, user_id)).notifications
    assert [("", notification_pb2.NOTIFICATION_STATUS_SENT)] * 2 == [(each.recipient, each.status) for each in kept]
    details = [(row["user_id"], row["details"]) for row in await desk.rows()]
    assert [{}, {}] == [each for owner_id, each in details if owner_id == user_id]
    assert any(each for owner_id, each in details if owner_id != user_id)
