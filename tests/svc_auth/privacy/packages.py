"""The other packages, as far as exports and erasures ask of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from uuid import UUID

from mesh import pages
from mesh.refusals import Refusal
from svc_auth.privacy.rules import Money
from titan.cart.v1 import cart_pb2
from titan.notify.v1 import notification_pb2, notification_service_pb2
from titan.order.v1 import invoice_pb2, order_pb2, order_service_pb2
from titan.payment.v1 import wallet_pb2, wallet_service_pb2
from titan.type.v1 import money_pb2


class FakePackages:
    """What they hold, which of them refuse or fail, and how often each user was emptied."""

    def __init__(self) -> None:
        self.wallets: dict[UUID, Money] = {}
        self.orders_of: dict[UUID, list[order_pb2.Order]] = {}
        self.under_way: dict[UUID, Refusal] = {}
        self.failures: dict[UUID, list[Refusal]] = {}
        self.meanwhile: dict[UUID, Callable[[], Awaitable[object]]] = {}
        """What happens while they are asked about a user."""
        self.emptied: Counter[UUID] = Counter()

    async def money(self, user_id: UUID) -> Money:
        return self.wallets.get(user_id, Money(0, 0, False))

    async def check_orders(self, user_id: UUID) -> None:
        if user_id in self.under_way:
            raise self.under_way[user_id]
        await self._happen(user_id)

    async def empty(self, user_id: UUID) -> None:
        await self._happen(user_id)
        if self.failures.get(user_id):
            raise self.failures[user_id].pop(0)
        self.emptied[user_id] += 1

    async def _happen(self, user_id: UUID) -> None:
        if user_id in self.meanwhile:
            await self.meanwhile.pop(user_id)()

    async def cart(self, user_id: UUID) -> cart_pb2.CartContents:
        return cart_pb2.CartContents(user_id=str(user_id), lines=[cart_pb2.CartLine(sku="mug", quantity=2)])

    async def orders(self, user_id: UUID, *, page_token: str) -> order_service_pb2.ListUserOrdersResponse:
        """Two orders a page."""
        start = pages.decode_number(page_token, "orders") or 0
        held = self.orders_of.get(user_id, [])
        more = pages.encode("orders", [start + 2]) if len(held) > start + 2 else ""
        shown = held[start : start + 2]
        return order_service_pb2.ListUserOrdersResponse(
            orders=shown,
            invoices=[invoice_pb2.Invoice(order_id=order.order_id) for order in shown],
            credit_notes=[invoice_pb2.CreditNote(order_id=order.order_id) for order in shown],
            words=[order_pb2.OrderWords(order_id=order.order_id, text="too small") for order in shown],
            next_page_token=more,
        )

    async def statement(self, user_id: UUID, *, page_token: str) -> wallet_service_pb2.GetUserStatementResponse:
        balance = money_pb2.Money(currency_code="GBP", minor_units=(await self.money(user_id)).balance_minor)
        transfer = wallet_pb2.WalletTransfer(transfer_id="t", amount=balance)
        return wallet_service_pb2.GetUserStatementResponse(
            wallet=wallet_pb2.Wallet(balance=balance), transfers=[transfer]
        )

    async def notifications(
        self, user_id: UUID, *, page_token: str
    ) -> notification_service_pb2.ListUserNotificationsResponse:
        return notification_service_pb2.ListUserNotificationsResponse(
            notifications=[notification_pb2.Notification(notification_id="n", user_id=str(user_id))]
        )
