"""Payments and what a provider says of them, as the cases of the rules want them."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import UTC, datetime

from svc_payment.payment import rules
from svc_payment.payment.rules import Intent, Payment, Status
from svc_payment.providers.interface import Action, Authorization, Notice, NoticeKind, Outcome, ProviderPayment

NOW = datetime(2026, 11, 21, tzinfo=UTC)
USER = uuid.UUID(int=7)


def intent(**changes) -> Intent:
    wanted = {"order_id": uuid.UUID(int=1), "user_id": USER, "amount_minor": 100, "currency": "GBP"}
    return Intent(**{**wanted, "provider": "psp_sim", "card_token": "tok_visa", **changes})


def card(status: Status, **changes) -> Payment:
    begun = rules.begin(intent(), payment_id=uuid.UUID(int=2), at=NOW)
    return replace(begun, status=status, captured_minor=100 if status is Status.CAPTURED else 0, **changes)


def by_wallet(status: Status, number: int = 1, amount_minor: int = 100) -> Payment:
    asked = intent(order_id=uuid.UUID(int=number), provider=rules.WALLET, card_token=None, amount_minor=amount_minor)
    begun = rules.begin(asked, payment_id=uuid.UUID(int=100 + number), at=NOW)
    return replace(begun, status=status, captured_minor=amount_minor if status is Status.CAPTURED else 0)


def answer(outcome: Outcome) -> Authorization:
    action = Action("https://psp.test", NOW) if outcome is Outcome.ACTION_REQUIRED else None
    return Authorization(outcome, "ref", "code" if outcome is Outcome.REFUSED else None, action)


def seen(outcome: Outcome = Outcome.AUTHORIZED, **changes) -> ProviderPayment:
    shown = ProviderPayment("p", answer(outcome), False, 100, "GBP", 0, 0)
    return replace(shown, **changes)


def notice(kind: NoticeKind, amount_minor: int = 100) -> Notice:
    return Notice("n", kind, "p", "ref", None, amount_minor, "GBP", 1, NOW, None)
