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
