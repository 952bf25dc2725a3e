"""NotificationService on the wire."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from mesh import pages
from mesh.database import Database
from svc_notify.notification import store, wire
from titan.notify.v1 import notification_service_pb2 as pb
from titan.notify.v1 import notification_service_pb2_grpc

_LIST = "NotificationService.ListNotifications"
_USER_LIST = "NotificationService.ListUserNotifications"


class NotificationServicer(notification_service_pb2_grpc.NotificationServiceServicer):
    """Serves NotificationService from the notifications' database."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def ListNotifications(
        self, request: pb.ListNotificationsRequest, context: Any
    ) -> pb.ListNotificationsResponse:
        """Refuses with PAGE_TOKEN_INVALID."""
        filters = (request.order_id.lower(), request.user_id.lower(), request.status)
        size = pages.page_size(request.page_size)
        async with self._db.hot_read() as connection:
            found = await store.list_messages(
                connection,
                order_id=UUID(request.order_id) if request.order_id else None,
                user_id=UUID(request.user_id) if request.user_id else None,
                status=wire.status_from_wire(request.status),
                before=pages.decode_id(request.page_token, _LIST, *filters),
                limit=size + 1,
            )
        shown = found[:size]
        more = len(found) > size
        return pb.ListNotificationsResponse(
            notifications=[wire.to_wire(each) for each in shown],
            next_page_token=pages.encode(_LIST, [str(shown[-1].notification_id)], *filters) if more else "",
        )

    async def ListUserNotifications(
        self, request: pb.ListUserNotificationsRequest, context: Any
    ) -> pb.ListUserNotificationsResponse:
        """Refuses with PAGE_TOKEN_INVALID."""
        user_id = UUID(request.user_id)
        before = pages.decode_id(request.page_token, _USER_LIST, user_id)
        size = pages.page_size(request.page_size)
        async with self._db.hot_read() as connection:
            found = await store.list_messages(connection, user_id=user_id, before=before, limit=size + 1)
        shown = found[:size]
        more = pages.encode(_USER_LIST, [str(shown[-1].notification_id)], user_id) if len(found) > size else ""
        return pb.ListUserNotificationsResponse(
            notifications=[wire.to_wire(each) for each in shown], next_page_token=more
        )

    async def EraseUser(self, request: pb.EraseUserRequest, context: Any) -> pb.EraseUserResponse:
        """Has no refusals of its own."""
        user_id = UUID(request.user_id)
        await self._db.transact(lambda tx: store.erase_user(tx, user_id))
        return pb.EraseUserResponse()
