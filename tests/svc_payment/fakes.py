"""A card provider in memory: idempotent by the caller's ids like a real one, and as wrong as a test wants it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from mesh.database import in_transaction
from svc_payment.providers.interface import (
    Action,
    Authorization,
    AuthorizationRequest,
    Logged,
    LoggedKind,
    Movement,
    Notice,
    NoticeInvalid,
    NoticeKind,
    Outcome,
    ProviderMismatch,
    ProviderPayment,
    ProviderRefused,
    ProviderUnavailable,
    SignatureInvalid,
)


@dataclass(frozen=True)
class Stored:
    """A payment as the fake has it."""

    amount_minor: int = 0
    currency: str | None = None
    outcome: Outcome = Outcome.AUTHORIZED
    refusal_code: str | None = None
    is_voided: bool = False
    captured_minor: int = 0
    refunded_minor: int = 0


class FakeProvider:
    """Plays `psp_sim`. `lose` counts the replies to lose after the work was done, by call; `hold` stops calls."""

    name = "psp_sim"

    def __init__(self) -> None:
        self.payments: dict[str, Stored] = {}
        self.refunds: dict[str, int] = {}
        self.log: list[Logged] = []
        self.tokens: list[str] = []
        self.calls: Counter[str] = Counter()
        self.lose: Counter[str] = Counter()
        self.unreachable = False
        self.lie_minor = 0
        self.hold: dict[str, asyncio.Event] = {}
        self.notice: Callable[[bytes], Notice] = read_plain

    async def authorize(self, asked: AuthorizationRequest, *, timeout_seconds: float = 10.0) -> Authorization:
        await self._begin("authorize")
        self.tokens.append(asked.token)
        if asked.payment_id not in self.payments:
            outcomes = {
                "tok_declined": (Outcome.REFUSED, "card_declined"),
                "tok_action": (Outcome.ACTION_REQUIRED, None),
                "tok_processing": (Outcome.IN_PROGRESS, None),
            }
            outcome, code = outcomes.get(asked.token, (Outcome.AUTHORIZED, None))
            self.payments[asked.payment_id] = Stored(asked.amount_minor, asked.currency, outcome, code)
        self._end("authorize")
        if self.lie_minor:
            raise ProviderMismatch("another amount was authorized")
        return self._shown(asked.payment_id).authorization

    async def capture(
        self, payment_id: str, *, capture_id: str, amount_minor: int, currency: str, timeout_seconds: float = 10.0
    ) -> Movement:
        await self._begin("capture")
        stored = self.payments.get(payment_id)
        if stored is None or stored.is_voided or stored.outcome is not Outcome.AUTHORIZED:
            raise ProviderRefused("not_authorized", "nothing is held")
        if not stored.captured_minor:
            self._note(LoggedKind.CAPTURE, payment_id, capture_id, amount_minor, currency)
        self.payments[payment_id] = replace(stored, captured_minor=amount_minor)
        self._end("capture")
        return Movement(capture_id, amount_minor, currency, "ref")

    async def refund(
        self, payment_id: str, *, refund_id: str, amount_minor: int, currency: str, timeout_seconds: float = 10.0
    ) -> Movement:
        await self._begin("refund")
        stored = self.payments[payment_id]
        if refund_id not in self.refunds:
            if stored.refunded_minor + amount_minor > stored.captured_minor:
                raise ProviderRefused("refund_above_capture", "too much")
            self.refunds[refund_id] = amount_minor
            self._note(LoggedKind.REFUND, payment_id, refund_id, amount_minor, currency)
            self.payments[payment_id] = replace(stored, refunded_minor=stored.refunded_minor + amount_minor)
        self._end("refund")
        return Movement(refund_id, amount_minor, currency, "ref")

    async def void(self, payment_id: str, *, timeout_seconds: float = 10.0) -> None:
        await self._begin("void")
        stored = self.payments.get(payment_id, Stored(outcome=Outcome.REFUSED))
        if stored.captured_minor:
            raise ProviderRefused("already_captured", "taken")
        self.payments[payment_id] = replace(stored, is_voided=True, outcome=Outcome.REFUSED, refusal_code="voided")
        self._end("void")

    async def query(self, payment_id: str, *, timeout_seconds: float = 10.0) -> ProviderPayment | None:
        await self._begin("query")
        return self._shown(payment_id) if payment_id in self.payments else None

    async def list_log(self, *, begins_at: datetime, ends_at: datetime, timeout_seconds: float = 10.0) -> list[Logged]:
        await self._begin("list_log")
        return [each for each in self.log if begins_at <= each.at < ends_at]

    async def list_log_of(self, payment_id: str, *, timeout_seconds: float = 10.0) -> list[Logged]:
        await self._begin("list_log_of")
        return [each for each in self.log if each.payment_id == payment_id]

    def read_notice(self, body: bytes, signature: str, *, at: datetime) -> Notice:
        if signature != "good":
            raise SignatureInvalid("not signed")
        return self.notice(body)

    async def close(self) -> None:
        pass

    def settle(self, payment_id: str, outcome: Outcome) -> None:
        """Change how an authorization stands, as a customer does on the provider's page."""
        self.payments[payment_id] = replace(self.payments[payment_id], outcome=outcome)

    def _note(self, kind: LoggedKind, payment_id: str, movement_id: str, amount_minor: int, currency: str) -> None:
        self.log.append(Logged(kind, payment_id, movement_id, amount_minor, currency, datetime.now(UTC)))

    def _shown(self, payment_id: str) -> ProviderPayment:
        stored = self.payments[payment_id]
        action = None
        if stored.outcome is Outcome.ACTION_REQUIRED:
            action = Action(f"https://psp.test/{payment_id}", datetime.now(UTC) + timedelta(minutes=15))
        return ProviderPayment(
            payment_id,
            Authorization(stored.outcome, "ref", stored.refusal_code, action),
            stored.is_voided,
            stored.amount_minor + self.lie_minor,
            stored.currency,
            stored.captured_minor,
            stored.refunded_minor,
        )

    async def _begin(self, call: str) -> None:
        assert not in_transaction(), "a provider is never called inside a transaction"
        self.calls[call] += 1
        if self.unreachable:
            raise ProviderUnavailable("no connection", sent=False)
        if call in self.hold:
            await self.hold[call].wait()

    def _end(self, call: str) -> None:
        if self.lose[call] > 0:
            self.lose[call] -= 1
            raise ProviderUnavailable("the reply was lost", sent=True)


def read_plain(body: bytes) -> Notice:
    """Read `<notice id> <kind> <payment id> <amount>`."""
    try:
        notice_id, kind, payment_id, amount = body.decode().split()
        return Notice(
            notice_id, NoticeKind(kind), payment_id, "ref", None, int(amount), "GBP", 1, datetime.now(UTC), None
        )
    except ValueError:
        raise NoticeInvalid("cannot be read") from None
