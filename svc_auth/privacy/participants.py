"""The packages that hold data of users, and what an export and an erasure ask of each. Every call may be repeated."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from mesh.clients import Clients
from svc_auth.privacy.rules import Money
from titan.cart.v1 import cart_pb2, cart_service_pb2, cart_service_pb2_grpc
from titan.notify.v1 import notification_service_pb2, notification_service_pb2_grpc
from titan.order.v1 import order_service_pb2, order_service_pb2_grpc
from titan.payment.v1 import wallet_service_pb2, wallet_service_pb2_grpc

CALL_SECONDS = 5.0


class Participants:
    """Calls to the other packages; one that is away raises `Unavailable`."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients

    # Stubs are made when they are needed, as svc_auth stands before everybody whom it asks here.

    async def orders(self, user_id: UUID, *, page_token: str) -> order_service_pb2.ListUserOrdersResponse:
        """Return a page of a user's orders with their invoices."""
        orders: Any = self._clients.get(order_service_pb2_grpc.OrderServiceStub)
        asked = order_service_pb2.ListUserOrdersRequest(user_id=str(user_id), page_token=page_token)
        return await orders.ListUserOrders(asked, timeout=CALL_SECONDS)  # type: ignore[no-any-return]

    async def statement(self, user_id: UUID, *, page_token: str) -> wallet_service_pb2.GetUserStatementResponse:
        """Return a user's wallet and a page of its movements."""
        wallets: Any = self._clients.get(wallet_service_pb2_grpc.WalletServiceStub)
        asked = wallet_service_pb2.GetUserStatementRequest(user_id=str(user_id), page_token=page_token)
        return await wallets.GetUserStatement(asked, timeout=CALL_SECONDS)  # type: ignore[no-any-return]

    async def notifications(
        self, user_id: UUID, *, page_token: str
    ) -> notification_service_pb2.ListUserNotificationsResponse:
        """Return a page of the messages to a user."""
        messages: Any = self._clients.get(notification_service_pb2_grpc.NotificationServiceStub)
        asked = notification_service_pb2.ListUserNotificationsRequest(user_id=str(user_id), page_token=page_token)
        return await messages.ListUserNotifications(asked, timeout=CALL_SECONDS)  # type: ignore[no-any-return]

    async def cart(self, user_id: UUID) -> cart_pb2.CartContents:
        """Return a user's cart."""
        carts: Any = self._clients.get(cart_service_pb2_grpc.CartServiceStub)
        asked = cart_service_pb2.BatchGetCartsRequest(user_ids=[str(user_id)])
        return (await carts.BatchGetCarts(asked, timeout=CALL_SECONDS)).carts[0]  # type: ignore[no-any-return]

    async def money(self, user_id: UUID) -> Money:
        """Return what a user's wallet holds."""
        found = await self.statement(user_id, page_token="")
        return Money(found.wallet.balance.minor_units, found.wallet.pending.minor_units, found.top_up_in_progress)

    async def check_orders(self, user_id: UUID) -> None:
        """Let a user pass all of whose orders have come to their end.

        Raises:
            Refusal: ORDERS_UNDER_WAY.
        """
        await self._erase_orders(user_id, validate_only=True)

    async def empty(self, user_id: UUID) -> None:
        """Leave nothing personal of a user in any package.

        Raises:
            Refusal: ORDERS_UNDER_WAY, where one was placed since it was decided; or a package is away.
        """
        await self._erase_orders(user_id, validate_only=False)
        cart = await self.cart(user_id)
        if cart.cart_id:
            carts: Any = self._clients.get(cart_service_pb2_grpc.CartServiceStub)
            closing = cart_service_pb2.CartToClose(user_id=str(user_id), cart_id=cart.cart_id)
            await carts.BatchCloseCarts(cart_service_pb2.BatchCloseCartsRequest(carts=[closing]), timeout=CALL_SECONDS)
        messages: Any = self._clients.get(notification_service_pb2_grpc.NotificationServiceStub)
        await messages.EraseUser(notification_service_pb2.EraseUserRequest(user_id=str(user_id)), timeout=CALL_SECONDS)

    async def _erase_orders(self, user_id: UUID, *, validate_only: bool) -> None:
        orders: Any = self._clients.get(order_service_pb2_grpc.OrderServiceStub)
        asked = order_service_pb2.EraseUserRequest(user_id=str(user_id), validate_only=validate_only)
        await orders.EraseUser(asked, timeout=CALL_SECONDS)
