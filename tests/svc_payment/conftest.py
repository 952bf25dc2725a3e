"""The payment package behind the real chain of interceptors, on a database of its own per test module, with a card
provider that the test holds in its hands."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from uuid import UUID, uuid4

import pytest

from mesh.refusals import Refusal
from mesh.seams import SystemClock, SystemIds, failpoints
from mesh.secret_files import SecretFile
from svc_payment.app import Parts, assemble
from svc_payment.ledger import audit
from svc_payment.settings import Settings
from tests.harness import as_service, as_user, serve
from tests.svc_payment.fakes import FakeProvider
from titan.payment.v1 import (
    ledger_service_pb2,
    ledger_service_pb2_grpc,
    payment_pb2,
    payment_service_pb2,
    payment_service_pb2_grpc,
    payout_service_pb2_grpc,
    refund_service_pb2,
    refund_service_pb2_grpc,
    settlement_service_pb2_grpc,
    split_pb2,
    split_service_pb2,
    split_service_pb2_grpc,
    wallet_service_pb2,
    wallet_service_pb2_grpc,
)
from titan.type.v1.money_pb2 import Money

CALLERS = {
    "titan.payment.v1.PaymentService": frozenset({"svc_order", "edge_http"}),
    "titan.payment.v1.WalletService": frozenset({"svc_auth", "edge_http"}),
    "titan.payment.v1.RefundService": frozenset({"svc_order", "edge_http"}),
    "titan.payment.v1.LedgerService": frozenset({"edge_http"}),
    "titan.payment.v1.SettlementService": frozenset({"edge_http", "svc_bulk"}),
    "titan.payment.v1.SplitService": frozenset({"svc_order", "edge_http"}),
    "titan.payment.v1.PayoutService": frozenset({"edge_http"}),
}


def settings_for_tests() -> Settings:
    return Settings(
        psp_url="http://127.0.0.1:1",
        psp_api_key="key-for-tests",
        webhook_secret_file=SecretFile(Path("/nonexistent")),
        public_url="https://shop.test",
        currencies=frozenset({"GBP"}),
    )


@pytest.fixture(scope="module")
def provider() -> FakeProvider:
    """The card provider `psp_sim`, played by the test."""
    return FakeProvider()


@pytest.fixture(scope="module")
async def parts(db, provider) -> AsyncIterator[Parts]:
    """The package, assembled as the process does it."""
    assembled = await assemble(db, SystemClock(), SystemIds(), {provider.name: provider}, settings_for_tests())
    yield assembled
    await assembled.close()


@pytest.fixture(scope="module")
async def stubs(parts) -> AsyncIterator[SimpleNamespace]:
    """A stub per service."""
    async with serve(parts.servicers(), callers=CALLERS) as channel:
        yield SimpleNamespace(
            payments=payment_service_pb2_grpc.PaymentServiceStub(channel),
            wallets=wallet_service_pb2_grpc.WalletServiceStub(channel),
            refunds=refund_service_pb2_grpc.RefundServiceStub(channel),
            ledger=ledger_service_pb2_grpc.LedgerServiceStub(channel),
            settlements=settlement_service_pb2_grpc.SettlementServiceStub(channel),
            splits=split_service_pb2_grpc.SplitServiceStub(channel),
            payouts=payout_service_pb2_grpc.PayoutServiceStub(channel),
        )


class Till:
    """What a test says to the package, as the caller that may say it."""

    def __init__(self, stubs: SimpleNamespace) -> None:
        self.stubs = stubs
        self.order = as_service("svc_order")

    async def given_wallet(self, amount_minor: int) -> UUID:
        """Return a new user whose wallet holds so much."""
        user_id = uuid4()
        (result,) = await self.credit([(user_id, amount_minor)])
        assert result.wallet.balance.minor_units == amount_minor
        return user_id

    async def credit(self, credits: list[tuple[UUID, int]], *, request_id: str = "", currency: str = "GBP"):
        request = wallet_service_pb2.BatchCreditWalletsRequest(
            request_id=request_id or uuid4().hex,
            credits=[
                wallet_service_pb2.WalletCredit(user_id=str(user_id), amount=money(amount_minor, currency))
                for user_id, amount_minor in credits
            ],
        )
        importer = as_user(roles=("importer",))
        return (await self.stubs.wallets.BatchCreditWallets(request, metadata=importer)).results

    async def wallet(self, user_id: UUID) -> tuple[int, int]:
        """Return what the user can spend, and what is pending."""
        request = wallet_service_pb2.GetWalletRequest()
        wallet = (await self.stubs.wallets.GetWallet(request, metadata=as_user(user_id))).wallet
        return wallet.balance.minor_units, wallet.pending.minor_units

    async def top_up(self, user_id: UUID, amount_minor: int, *, token="tok_visa", key="", currency="GBP", **more):
        request = wallet_service_pb2.TopUpWalletRequest(
            amount=money(amount_minor, currency), card_token=token, request_id=key or uuid4().hex
        )
        return await self.stubs.wallets.TopUpWallet(request, metadata=as_user(user_id), **more)

    async def authorize(self, *intents: payment_service_pb2.PaymentIntent):
        request = payment_service_pb2.BatchAuthorizeRequest(intents=intents)
        return (await self.stubs.payments.BatchAuthorize(request, metadata=self.order)).results

    async def capture(self, *order_ids: str):
        request = payment_service_pb2.BatchCaptureRequest(order_ids=order_ids)
        return (await self.stubs.payments.BatchCapture(request, metadata=self.order)).results

    async def void(self, *order_ids: str):
        request = payment_service_pb2.BatchVoidRequest(order_ids=order_ids)
        return (await self.stubs.payments.BatchVoid(request, metadata=self.order)).results

    async def refund(self, *intents: refund_service_pb2.RefundIntent):
        request = refund_service_pb2.BatchRefundRequest(intents=intents)
        return (await self.stubs.refunds.BatchRefund(request, metadata=self.order)).results

    async def hold(self, order_id: str, **sold: int) -> str:
        """Hold sellers' shares of an order; returns the reason of a refusal."""
        request = split_service_pb2.BatchHoldSharesRequest(orders=[shares_of(order_id, **sold)])
        return reason_in((await self.stubs.splits.BatchHoldShares(request, metadata=self.order)).results[0])

    async def release(self, order_id: str, **sold: int) -> str:
        """Release sellers' shares of an order; returns the reason of a refusal."""
        request = split_service_pb2.BatchReleaseSharesRequest(orders=[shares_of(order_id, **sold)])
        return reason_in((await self.stubs.splits.BatchReleaseShares(request, metadata=self.order)).results[0])

    async def balance(self, seller_id: str) -> tuple[int, int]:
        """Return what a seller has in escrow, and is owed."""
        request = split_service_pb2.GetSellerBalanceRequest(seller_id=seller_id)
        found = await self.stubs.splits.GetSellerBalance(request, metadata=as_user(roles=("finance",)))
        (only,) = found.balances
        return only.escrow.minor_units, only.payable.minor_units

    async def verify(self) -> ledger_service_pb2.VerifyLedgerResponse:
        request = ledger_service_pb2.VerifyLedgerRequest()
        return await self.stubs.ledger.VerifyLedger(request, metadata=as_user(roles=("finance",)))


def money(amount_minor: int, currency: str = "GBP") -> Money:
    return Money(currency_code=currency, minor_units=amount_minor)


def by_wallet(user_id: UUID, amount_minor: int, *, order_id: str = "", currency: str = "GBP"):
    """Return an intent to pay an order from a wallet."""
    return payment_service_pb2.PaymentIntent(
        order_id=order_id or str(uuid4()),
        user_id=str(user_id),
        amount=money(amount_minor, currency),
        method=payment_pb2.PaymentMethod(wallet=payment_pb2.WalletMethod()),
    )


def by_card(amount_minor: int, *, token: str = "tok_visa", order_id: str = "", provider: str = "", user_id=None):
    """Return an intent to pay an order by card."""
    return payment_service_pb2.PaymentIntent(
        order_id=order_id or str(uuid4()),
        user_id=str(user_id or uuid4()),
        amount=money(amount_minor),
        method=payment_pb2.PaymentMethod(card=payment_pb2.CardMethod(token=token, provider=provider)),
    )


def refund_of(
    order_id: str,
    amount_minor: int | None = None,
    *,
    refund_id: str = "",
    currency: str = "GBP",
    sold: Mapping[str, int] | None = None,
    borne: Mapping[str, int] | None = None,
):
    """Return an intent to refund an order, all of it unless an amount is said; who sold it, and who bears what."""
    amount = None if amount_minor is None else money(amount_minor, currency)
    return refund_service_pb2.RefundIntent(
        refund_id=refund_id or str(uuid4()),
        order_id=order_id,
        amount=amount,
        sold=amounts(sold or {}),
        borne=amounts(borne or {}),
    )


def shares_of(order_id: str, **sold: int) -> split_service_pb2.OrderShares:
    """Return what sellers sold of an order."""
    return split_service_pb2.OrderShares(order_id=order_id, sold=amounts(sold))


def amounts(by_seller: Mapping[str, int]) -> list[split_pb2.SellerAmount]:
    """Return amounts by seller as the contract has them."""
    return [split_pb2.SellerAmount(seller_id=each, amount_minor=minor) for each, minor in by_seller.items()]


def reason_in(result: object) -> str:
    """Return the reason of the error inside a batch result; empty where there is none."""
    return Refusal.from_status(result.error).reason if result.HasField("error") else ""


@pytest.fixture(scope="module")
def till(stubs) -> Till:
    """The package, as its callers see it."""
    return Till(stubs)


@pytest.fixture(autouse=True)
async def in_balance(request: pytest.FixtureRequest) -> AsyncIterator[None]:
    """After every test on a database the ledger adds up, and no failpoint stays armed."""
    yield
    failpoints.reset()
    if "till" in request.fixturenames:
        assert [] == (await audit.verify(request.getfixturevalue("db"))).problems


@pytest.fixture
async def honest(provider, parts) -> AsyncIterator[None]:
    """The provider is well again before and after each test, and the sweeper runs."""
    sweeper = asyncio.create_task(parts.worker.sweep())
    yield
    provider.unreachable, provider.lie_minor = False, 0
    for held in provider.hold.values():
        held.set()
    provider.hold.clear()
    provider.lose.clear()
    sweeper.cancel()
    await asyncio.gather(sweeper, return_exceptions=True)
