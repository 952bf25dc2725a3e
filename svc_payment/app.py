"""The table of services of the payment domain; the only place that constructs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import asyncpg

from mesh import housekeeping, relay
from mesh.database import Database
from mesh.locks import singleton
from mesh.runtime import Background, Hosted, Runtime
from mesh.seams import Clock, Ids
from svc_payment import settings as payment_settings
from svc_payment.ledger import rules as ledger_rules
from svc_payment.ledger import sealer
from svc_payment.ledger import store as ledger
from svc_payment.ledger.rpc import LedgerService
from svc_payment.payment import store as payments
from svc_payment.payment.rpc import PaymentService
from svc_payment.payment.subjects import PaymentSubjects
from svc_payment.payout.rpc import PayoutService
from svc_payment.providers import psp_sim
from svc_payment.providers.interface import Providers
from svc_payment.providers.psp_sim import PspSim
from svc_payment.reconciliation.daily import Daily
from svc_payment.reconciliation.rpc import SettlementService
from svc_payment.refund.rpc import RefundService
from svc_payment.refund.subjects import RefundSubjects
from svc_payment.settings import Settings
from svc_payment.settlement.settler import ProviderSettler, Subjects
from svc_payment.settlement.store import SubjectKind
from svc_payment.settlement.worker import Worker
from svc_payment.split.rpc import SplitService
from svc_payment.wallet.rpc import WalletService, top_up_response
from svc_payment.wallet.subjects import TopUpSubjects


@dataclass(frozen=True)
class Parts:
    """What the package consists of."""

    payments: PaymentService
    wallets: WalletService
    refunds: RefundService
    ledger: LedgerService
    settlements: SettlementService
    splits: SplitService
    payouts: PayoutService
    daily: Daily
    worker: Worker
    settlers: Mapping[SubjectKind, ProviderSettler[Any, Any]]

    def servicers(self) -> Mapping[str, Any]:
        """Return the servicers by full gRPC service name."""
        return {
            "titan.payment.v1.PaymentService": self.payments,
            "titan.payment.v1.WalletService": self.wallets,
            "titan.payment.v1.RefundService": self.refunds,
            "titan.payment.v1.LedgerService": self.ledger,
            "titan.payment.v1.SettlementService": self.settlements,
            "titan.payment.v1.SplitService": self.splits,
            "titan.payment.v1.PayoutService": self.payouts,
        }

    async def close(self) -> None:
        """Finish what waits, and leave what providers owe to the next process."""
        await self.payments.close()
        await self.wallets.close()
        await self.worker.close()
        for settler in self.settlers.values():
            await settler.close()


async def assemble(db: Database, clock: Clock, ids: Ids, providers: Providers, settings: Settings) -> Parts:
    """Put the package together, and open the accounts of the house, which every movement needs."""
    accounts = [
        account
        for currency in sorted(settings.currencies)
        for account in (
            ledger_rules.sales(currency),
            ledger_rules.fees(currency),
            ledger_rules.payouts(currency),
            ledger_rules.imported(currency),
            *(ledger_rules.clearing(name, currency) for name in providers),
        )
    ]
    await db.transact(lambda tx: ledger.open_accounts(tx, accounts, at=clock.now()))
    owed: tuple[Subjects[Any, Any], ...] = (
        PaymentSubjects(clock, ids, return_url=settings.return_url),
        RefundSubjects(clock),
        TopUpSubjects(clock, answer=top_up_response),
    )
    settlers = {each.kind: ProviderSettler(db, providers, each) for each in owed}
    worker = Worker(db, settlers)
    daily = Daily(db, clock, providers, settings.currencies)
    return Parts(
        payments=PaymentService(db, clock, ids, worker, providers, currencies=settings.currencies),
        wallets=WalletService(db, clock, ids, worker, currencies=settings.currencies),
        refunds=RefundService(db, clock, worker),
        ledger=LedgerService(db, clock),
        settlements=SettlementService(db, daily),
        splits=SplitService(db, clock, fee_basis_points=settings.fee_basis_points),
        payouts=PayoutService(db, clock, ids),
        daily=daily,
        worker=worker,
        settlers=settlers,
    )


async def build(runtime: Runtime) -> Hosted:
    """Return what this package hosts."""
    assert runtime.db is not None, "the topology gives svc_payment a Postgres"
    settings = payment_settings.read(runtime.settings.secrets_dir)
    card_provider = PspSim(settings.psp_url, api_key=settings.psp_api_key, webhook_secrets=settings.webhook_secrets)
    parts = await assemble(runtime.db, runtime.clock, runtime.ids, {psp_sim.NAME: card_provider}, settings)
    return Hosted(
        servicers=parts.servicers(),
        background=[parts.worker.sweep, *_background(runtime, runtime.db, parts.daily)],
        on_stop=[parts.close, card_provider.close],
    )


def _background(runtime: Runtime, db: Database, daily: Daily) -> list[Background]:
    async def seal() -> None:
        await singleton(db, "ledger sealer", partial(sealer.run, db))

    async def prune(tx: asyncpg.Connection) -> int:
        return await payments.prune_notices(tx, at=runtime.clock.now(), limit=housekeeping.PRUNE_ROWS)

    async def settle() -> None:
        await singleton(db, "daily settlement", daily.run)

    return [seal, settle, partial(housekeeping.run, db, prune), *relay.work_of(runtime)]
