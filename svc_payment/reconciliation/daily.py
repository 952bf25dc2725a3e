"""Settles days: asks the provider for its log, then the ledger, compares, and keeps what was found.

A provider is asked outside any transaction, and before the ledger: what it has done by then has had time to be booked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from datetime import date, timedelta
from uuid import UUID

import asyncpg

from mesh import audit
from mesh.audit import Command
from mesh.database import Database
from mesh.seams import Clock, failpoint
from mesh.telemetry import get_logger
from svc_payment.errors import ProviderUnavailable, ProviderUnknown, SettlementDayOpen
from svc_payment.providers import interface
from svc_payment.providers.interface import Logged, Provider, Providers
from svc_payment.reconciliation import rules, store
from svc_payment.reconciliation.rules import Booked, DifferenceKind
from svc_payment.reconciliation.store import Settled

log = get_logger("svc_payment.reconciliation")

GRACE = timedelta(hours=1)
"""How long after midnight a day is settled by itself: answers that were lost come meanwhile."""
LOOK_SECONDS = 600.0
"""Between two looks whether a day is to be settled."""
MAX_LOOKUPS = 1000
"""Payments of which a provider is asked one by one, for what one side alone has on a day; more stay missing."""


class Daily:
    """Settles the days of each provider."""

    def __init__(self, db: Database, clock: Clock, providers: Providers, currencies: Collection[str]) -> None:
        self._db = db
        self._clock = clock
        self._providers = providers
        self._currencies = currencies

    async def settle(self, provider_name: str, day: date, by: Command | None = None) -> Settled:
        """Settle a day that is over, again if it was settled before; returns what was found, and logs it.

        `by` is the command that asks for it, where somebody does.

        Raises:
            ProviderUnknown: There is no such provider.
            SettlementDayOpen: The day is not over.
            ProviderUnavailable: Its log can't be read now.
        """
        provider = self._providers.get(provider_name)
        if provider is None:
            raise ProviderUnknown(f"no provider {provider_name}")
        if not rules.is_over(day, self._clock.now()):
            raise SettlementDayOpen(f"{day} is not over")
        try:
            found = await self._compare(provider, day)
        except interface.ProviderError as problem:
            raise ProviderUnavailable("the provider's log can't be read", retry_after_seconds=60) from problem
        at = self._clock.now()

        async def keep(tx: asyncpg.Connection) -> None:
            await store.save(tx, provider_name, day, found, at=at)
            if by is not None:
                await audit.accept(tx, f"settlements/{provider_name}/{day}", by)

        await self._db.transact(keep)
        await failpoint("payment.settlement.after_commit")
        async with self._db.hot_read() as connection:
            settled = await store.get(connection, provider_name, day)
        _tell(provider_name, settled)
        return settled

    async def run(self) -> None:
        """Settle every day that is over, once, for ever; one process of the package at a time."""
        while True:
            for name in self._providers:
                await self.catch_up(name)
            await asyncio.sleep(LOOK_SECONDS)

    async def catch_up(self, provider_name: str) -> int:
        """Settle the days with a provider that are over and were never settled; returns how many."""
        async with self._db.hot_read() as connection:
            last = await store.last_day(connection, provider_name)
            first = await store.first_day(connection, provider_name, self._currencies) if last is None else None
        day = last + timedelta(days=1) if last is not None else first
        settled = 0
        while day is not None and rules.is_over(day, self._clock.now() - GRACE):
            try:
                await self.settle(provider_name, day)
            except ProviderUnavailable:
                log.warning("a day waits for its provider's log", provider=provider_name, day=day.isoformat())
                break
            day, settled = day + timedelta(days=1), settled + 1
        return settled

    async def _compare(self, provider: Provider, day: date) -> rules.Found:
        begins_at, ends_at = rules.span_of(day)
        theirs = await provider.list_log(begins_at=begins_at, ends_at=ends_at)
        async with self._db.hot_read() as connection:
            ours = await store.booked_on(connection, provider.name, self._currencies, begins_at, ends_at)
        not_here, not_there = rules.unmatched(theirs, ours)
        theirs_of: dict[str, list[Logged]] = {}
        for payment_id in sorted(not_here | not_there)[:MAX_LOOKUPS]:
            theirs_of[payment_id] = await provider.list_log_of(payment_id)
        return rules.compare(day, theirs, ours, theirs_of=theirs_of, ours_of=await self._booked_of(provider, not_here))

    async def _booked_of(self, provider: Provider, payment_ids: Collection[str]) -> dict[str, list[Booked]]:
        """Return what the ledger knows of payments; an id that Titan cannot have made is of none."""
        known: dict[str, list[Booked]] = {}
        made_here = [made for made in map(_uuid, payment_ids) if made is not None]
        async with self._db.hot_read() as connection:
            for each in await store.booked_of(connection, provider.name, self._currencies, made_here):
                known.setdefault(each.logged.payment_id, []).append(each)
        return known


def _tell(provider_name: str, settled: Settled) -> None:
    say = log.info if is_reconciled(settled) else log.error
    counts = {kind.lower(): number for kind, number in settled.counts.items()}
    say("a day was settled", provider=provider_name, day=settled.day.isoformat(), **counts)


def is_reconciled(settled: Settled) -> bool:
    """Return whether nothing of a day is left to be looked into."""
    return not any(DifferenceKind(kind) not in rules.HARMLESS for kind in settled.counts)


def _uuid(text: str) -> UUID | None:
    try:
        made = UUID(text)
    except ValueError:
        return None
    return made if str(made) == text else None
