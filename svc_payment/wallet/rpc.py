"""WalletService: decodes, calls, encodes."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from mesh import audit, calls, pages
from mesh.batcher import Batcher
from mesh.database import Database
from mesh.idempotency import fingerprint
from mesh.identity import caller_of
from mesh.refusals import Refusal
from mesh.seams import Clock, Ids, failpoint
from svc_payment.errors import ProviderUnavailable, TopUpInProgress
from svc_payment.ledger import rules as ledger_rules
from svc_payment.ledger import store as ledger
from svc_payment.ledger.rules import TransferKind
from svc_payment.ledger.store import Balance
from svc_payment.payment.rules import DEFAULT_PROVIDER
from svc_payment.settlement import store as settlement
from svc_payment.settlement.worker import Worker
from svc_payment.wallet import rules, store
from svc_payment.wallet.rules import CURRENCY, Credit, TopUp, TopUpStatus
from svc_payment.wallet.store import Credited, Movement
from titan.payment.v1 import wallet_pb2, wallet_service_pb2
from titan.type.v1 import money_pb2

WAIT_SECONDS = 9.0
"""How long a top-up waits for its provider where the call brings no deadline."""

POLL_SECONDS = 0.1
"""Between two looks at a top-up that another process works on."""

PATIENT_ATTEMPTS = 2
"""Repeated tries that a call waits for, so that one lost reply is not told to the user."""

_KINDS: Mapping[TransferKind, wallet_pb2.WalletTransferKind] = {
    TransferKind.TOP_UP: wallet_pb2.WALLET_TRANSFER_KIND_TOP_UP,
    TransferKind.CREDIT: wallet_pb2.WALLET_TRANSFER_KIND_CREDIT,
    TransferKind.PAYMENT: wallet_pb2.WALLET_TRANSFER_KIND_PAYMENT,
    TransferKind.REFUND: wallet_pb2.WALLET_TRANSFER_KIND_REFUND,
}


class WalletService:
    """The users' wallets; a caller sees their own alone."""

    def __init__(self, db: Database, clock: Clock, ids: Ids, worker: Worker, *, currencies: Collection[str]) -> None:
        self._db = db
        self._clock = clock
        self._ids = ids
        self._worker = worker
        self._currencies = currencies
        self._reads: Batcher[uuid.UUID, Balance] = Batcher(self._read_many, name="wallet.get")

    async def GetWallet(
        self, request: wallet_service_pb2.GetWalletRequest, context: Any
    ) -> wallet_service_pb2.GetWalletResponse:
        """Refuses nothing of its own; a wallet that nobody ever used is empty."""
        balance = await self._reads.submit(caller_of(context).require_user_id())
        return wallet_service_pb2.GetWalletResponse(wallet=_wallet(balance.available_minor, balance.pending_debits))

    async def TopUpWallet(
        self, request: wallet_service_pb2.TopUpWalletRequest, context: Any
    ) -> wallet_service_pb2.TopUpWalletResponse:
        """Refuses with PAYMENT_DECLINED, CURRENCY_NOT_SUPPORTED, PROVIDER_UNAVAILABLE or TOP_UP_IN_PROGRESS."""
        user_id = caller_of(context).require_user_id()
        rules.check_currency(request.amount.currency_code, self._currencies)
        asked = TopUp(
            top_up_id=self._ids.new(),
            user_id=user_id,
            request_id=request.request_id,
            fingerprint=fingerprint(request),
            provider=DEFAULT_PROVIDER,
            amount_minor=request.amount.minor_units,
            currency=request.amount.currency_code,
            status=TopUpStatus.AUTHORIZING,
            created_at=self._clock.now(),
        )
        by = audit.command(request.request_id)
        stored, work = await self._db.transact(
            lambda tx: store.begin_top_up(tx, asked, card_token=request.card_token, at=self._clock.now(), by=by)
        )
        await failpoint("payment.top_up.after_commit")
        self._worker.start(work)
        settled = await self._settled(stored)
        if settled.status is TopUpStatus.DECLINED:
            raise rules.declined_top_up(settled.decline_code)
        assert settled.response is not None
        return wallet_service_pb2.TopUpWalletResponse.FromString(settled.response)

    async def ListWalletTransfers(
        self, request: wallet_service_pb2.ListWalletTransfersRequest, context: Any
    ) -> wallet_service_pb2.ListWalletTransfersResponse:
        """Refuses with PAGE_TOKEN_INVALID."""
        user_id = caller_of(context).require_user_id()
        before = pages.decode_number(request.page_token, "ListWalletTransfers", user_id)
        size = pages.page_size(request.page_size)
        async with self._db.hot_read() as connection:
            found = await store.list_movements(connection, user_id, CURRENCY, before_seq=before, limit=size + 1)
        shown = found[:size]
        more = pages.encode("ListWalletTransfers", [shown[-1].seq], user_id) if len(found) > size else ""
        return wallet_service_pb2.ListWalletTransfersResponse(
            transfers=[_movement(each) for each in shown], next_page_token=more
        )

    async def GetUserStatement(
        self, request: wallet_service_pb2.GetUserStatementRequest, context: Any
    ) -> wallet_service_pb2.GetUserStatementResponse:
        """Refuses with PAGE_TOKEN_INVALID."""
        user_id = uuid.UUID(request.user_id)
        before = pages.decode_number(request.page_token, "GetUserStatement", user_id)
        size = pages.page_size(request.page_size)
        account = ledger_rules.wallet(user_id, CURRENCY)
        async with self._db.hot_read() as connection:
            # Asked first: a top-up that ends in between is seen in the balance, and never in neither.
            underway = await store.has_open_top_up(connection, user_id)
            balances = await ledger.read_balances(connection, [account])
            found = await store.list_movements(connection, user_id, CURRENCY, before_seq=before, limit=size + 1)
        balance, shown = balances.get(account, Balance()), found[:size]
        return wallet_service_pb2.GetUserStatementResponse(
            wallet=_wallet(balance.available_minor, balance.pending_debits),
            top_up_in_progress=underway,
            transfers=[_movement(each) for each in shown],
            next_page_token=pages.encode("GetUserStatement", [shown[-1].seq], user_id) if len(found) > size else "",
        )

    async def BatchCreditWallets(
        self, request: wallet_service_pb2.BatchCreditWalletsRequest, context: Any
    ) -> wallet_service_pb2.BatchCreditWalletsResponse:
        """Results carry CURRENCY_NOT_SUPPORTED, or IDEMPOTENCY_KEY_REUSED for another amount under the same key."""
        asked = [
            Credit(uuid.UUID(each.user_id), each.amount.minor_units, each.amount.currency_code)
            for each in request.credits
        ]
        refused = rules.check_credits(asked, self._currencies)
        wanted = [each for each, refusal in zip(asked, refused, strict=True) if refusal is None]
        done: list[Credited | Refusal] = []
        by = audit.command(request.request_id)
        if wanted:
            done = await self._db.transact(
                lambda tx: store.credit_wallets(
                    tx, wanted, request_id=request.request_id, ids=self._ids, at=self._clock.now(), by=by
                )
            )
            await failpoint("payment.credit.after_commit")
        outcomes = iter(done)
        return wallet_service_pb2.BatchCreditWalletsResponse(
            results=[
                _credit_result(each, refusal if refusal is not None else next(outcomes))
                for each, refusal in zip(asked, refused, strict=True)
            ]
        )

    async def close(self) -> None:
        """Finish the reads that wait."""
        await self._reads.close()

    async def _settled(self, top_up: TopUp) -> TopUp:
        """Wait until a top-up is settled, by this process or another.

        Raises:
            ProviderUnavailable: The last try did not reach the provider; the sweeper goes on.
            TopUpInProgress: The time of the call is over, or too many wait; the worker goes on.
        """
        loop = asyncio.get_running_loop()
        left = calls.remaining_for_children()
        until = loop.time() + (WAIT_SECONDS if left is None else left)
        while not top_up.is_settled:
            if loop.time() >= until:
                raise TopUpInProgress("the provider has not answered yet", retry_after_seconds=1)
            if not await self._worker.wait(top_up.top_up_id, timeout_seconds=until - loop.time()):
                raise TopUpInProgress("many top-ups wait for the provider", retry_after_seconds=1)
            async with self._db.hot_read() as connection:
                found = (await store.find_top_ups(connection, [top_up.top_up_id]))[top_up.top_up_id]
                work = (await settlement.find(connection, [top_up.top_up_id])).get(top_up.top_up_id)
            top_up = found
            if top_up.is_settled:
                break
            if work is not None and work.problem is not None and work.attempts >= PATIENT_ATTEMPTS:
                raise ProviderUnavailable("the provider can't be reached", retry_after_seconds=1)
            await asyncio.sleep(min(POLL_SECONDS, max(0.0, until - loop.time())))
        return top_up

    async def _read_many(self, user_ids: list[uuid.UUID]) -> Sequence[Balance]:
        accounts = {user_id: ledger_rules.wallet(user_id, CURRENCY) for user_id in user_ids}
        async with self._db.hot_read() as connection:
            balances = await ledger.read_balances(connection, accounts.values())
        return [balances.get(accounts[user_id], Balance()) for user_id in user_ids]


def top_up_response(top_up: TopUp, balance: Balance) -> bytes:
    """Return the answer to a top-up that left this balance, as it is kept for every repetition."""
    response = wallet_service_pb2.TopUpWalletResponse(
        wallet=_wallet(balance.available_minor, balance.pending_debits, top_up.currency)
    )
    serialized: bytes = response.SerializeToString(deterministic=True)
    return serialized


def _wallet(balance_minor: int, pending_minor: int, currency: str = CURRENCY) -> wallet_pb2.Wallet:
    return wallet_pb2.Wallet(
        balance=money_pb2.Money(currency_code=currency, minor_units=balance_minor),
        pending=money_pb2.Money(currency_code=currency, minor_units=pending_minor),
    )


def _movement(movement: Movement) -> wallet_pb2.WalletTransfer:
    wire = wallet_pb2.WalletTransfer(
        transfer_id=str(movement.transfer_id),
        amount=money_pb2.Money(currency_code=movement.currency, minor_units=movement.amount_minor),
        kind=_KINDS[movement.kind],
        order_id="" if movement.order_id is None else str(movement.order_id),
    )
    wire.create_time.FromDatetime(movement.posted_at)
    return wire


def _credit_result(credit: Credit, outcome: Credited | Refusal) -> wallet_service_pb2.WalletCreditResult:
    user_id = str(credit.user_id)
    if isinstance(outcome, Refusal):
        return wallet_service_pb2.WalletCreditResult(user_id=user_id, error=outcome.to_status())
    wallet = _wallet(outcome.balance_minor, outcome.pending_minor, outcome.currency)
    return wallet_service_pb2.WalletCreditResult(user_id=user_id, wallet=wallet)
