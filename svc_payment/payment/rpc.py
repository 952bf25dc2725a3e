"""PaymentService: decodes, calls, encodes. A provider is called by the worker after the commit, never from here."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import status_pb2

from mesh import audit, calls
from mesh.audit import Command
from mesh.batcher import Batcher
from mesh.database import Database
from mesh.identity import caller_of
from mesh.refusals import InvalidInput, Refusal
from mesh.seams import Clock, Ids, failpoint
from mesh.writes import write
from svc_payment.errors import (
    PaymentConflict,
    PaymentNotFound,
    ProviderUnknown,
    WebhookInvalid,
    WebhookSignatureInvalid,
)
from svc_payment.payment import answers, rules, store
from svc_payment.payment.rules import Intent, Payment, Status
from svc_payment.payment.store import NoticeSeen
from svc_payment.providers.interface import Notice, NoticeInvalid, Providers, SignatureInvalid
from svc_payment.settlement import held
from svc_payment.settlement import store as settlement
from svc_payment.settlement.held import Held
from svc_payment.settlement.store import SubjectKind, Work
from svc_payment.settlement.worker import Worker
from titan.payment.v1 import payment_pb2, payment_service_pb2
from titan.type.v1 import money_pb2

RETURN_WAIT_SECONDS = 2.0
"""How long a customer who comes back waits for the provider's answer; the page can ask again."""

MAX_NOTICE_BYTES = 65_536

_WIRE: Mapping[Status, payment_pb2.PaymentStatus] = {
    Status.IN_PROGRESS: payment_pb2.PAYMENT_STATUS_IN_PROGRESS,
    Status.ACTION_REQUIRED: payment_pb2.PAYMENT_STATUS_ACTION_REQUIRED,
    Status.AUTHORIZED: payment_pb2.PAYMENT_STATUS_AUTHORIZED,
    Status.CAPTURING: payment_pb2.PAYMENT_STATUS_AUTHORIZED,
    Status.CAPTURED: payment_pb2.PAYMENT_STATUS_CAPTURED,
    Status.REFUSED: payment_pb2.PAYMENT_STATUS_REFUSED,
    Status.VOIDING: payment_pb2.PAYMENT_STATUS_VOIDED,
    Status.VOIDED: payment_pb2.PAYMENT_STATUS_VOIDED,
}


@dataclass(frozen=True, slots=True)
class Decided:
    """Where a payment stands after a decision, and why the decision was refused, if it was."""

    payment: Payment
    refusal: Refusal | None = None


class PaymentService:
    """Payments of orders; results stand in the order of the request, and one item never fails its neighbours."""

    def __init__(
        self,
        db: Database,
        clock: Clock,
        ids: Ids,
        worker: Worker,
        providers: Providers,
        *,
        currencies: Collection[str],
    ) -> None:
        self._db = db
        self._clock = clock
        self._ids = ids
        self._worker = worker
        self._providers = providers
        self._currencies = currencies
        self._reads: Batcher[uuid.UUID, Payment | None] = Batcher(self._find_many, name="payment.get")
        self._notices: Batcher[tuple[NoticeSeen, Notice, Command], None] = Batcher(
            self._take_notices, name="payment.webhook"
        )

    async def BatchAuthorize(
        self, request: payment_service_pb2.BatchAuthorizeRequest, context: Any
    ) -> payment_service_pb2.BatchAuthorizeResponse:
        """Results carry PAYMENT_DECLINED, INSUFFICIENT_FUNDS, PAYMENT_VOIDED, PAYMENT_CONFLICT, PROVIDER_UNKNOWN or
        CURRENCY_NOT_SUPPORTED."""
        asked = [self._checked(each) for each in request.intents]
        firsts: dict[uuid.UUID, Intent] = {}
        for each in asked:
            if isinstance(each, Intent):
                firsts.setdefault(each.order_id, each)
        payments: dict[uuid.UUID, Payment] = {}
        if firsts:
            payments, work = await self._db.transact(
                lambda tx: store.authorize(tx, list(firsts.values()), ids=self._ids, at=self._clock.now())
            )
            await failpoint("payment.authorize.after_commit")
            self._worker.start(work)
        return payment_service_pb2.BatchAuthorizeResponse(
            results=[
                _refused(wire.order_id, each) if isinstance(each, Refusal) else _answer(payments[each.order_id], each)
                for wire, each in zip(request.intents, asked, strict=True)
            ]
        )

    async def BatchCapture(
        self, request: payment_service_pb2.BatchCaptureRequest, context: Any
    ) -> payment_service_pb2.BatchCaptureResponse:
        """Results carry PAYMENT_NOT_FOUND, PAYMENT_VOIDED or PAYMENT_NOT_AUTHORIZED."""
        order_ids = [uuid.UUID(each) for each in request.order_ids]

        async def decide(tx: asyncpg.Connection) -> tuple[dict[uuid.UUID, Decided], list[Work]]:
            locked = await store.lock(tx, order_ids)
            await failpoint("payment.capture.after_lock")
            decided = await self._change(tx, locked, rules.capture)
            await failpoint("payment.capture.before_commit")
            return decided

        results, work = await self._db.transact(decide)
        await failpoint("payment.capture.after_commit")
        self._worker.start(work)
        return payment_service_pb2.BatchCaptureResponse(results=[_effect(each, results) for each in order_ids])

    async def BatchVoid(
        self, request: payment_service_pb2.BatchVoidRequest, context: Any
    ) -> payment_service_pb2.BatchVoidResponse:
        """Results carry PAYMENT_CAPTURED."""
        order_ids = [uuid.UUID(each) for each in request.order_ids]

        async def decide(tx: asyncpg.Connection) -> tuple[dict[uuid.UUID, Decided], list[Work]]:
            await store.void_unknown(tx, sorted(set(order_ids)), ids=self._ids, at=self._clock.now())
            await failpoint("payment.void.after_claim")
            decided = await self._change(tx, await store.lock(tx, order_ids), rules.void)
            await failpoint("payment.void.before_commit")
            return decided

        results, work = await self._db.transact(decide)
        await failpoint("payment.void.after_commit")
        self._worker.start(work)
        return payment_service_pb2.BatchVoidResponse(results=[_effect(each, results) for each in order_ids])

    async def GetPayment(
        self, request: payment_service_pb2.GetPaymentRequest, context: Any
    ) -> payment_service_pb2.GetPaymentResponse:
        """Refuses with PAYMENT_NOT_FOUND, for somebody else's payment too."""
        user_id = caller_of(context).require_user_id()
        payment = await self._reads.submit(uuid.UUID(request.payment_id))
        if payment is None or payment.user_id != user_id:
            raise PaymentNotFound("no such payment")
        return payment_service_pb2.GetPaymentResponse(payment=to_wire(payment))

    async def ReturnFromProvider(
        self, request: payment_service_pb2.ReturnFromProviderRequest, context: Any
    ) -> payment_service_pb2.ReturnFromProviderResponse:
        """Refuses with PAYMENT_NOT_FOUND."""
        payment_id = uuid.UUID(request.payment_id)
        payment = await self._reads.submit(payment_id)
        if payment is None or payment.is_tombstone:
            raise PaymentNotFound("no such payment")
        if payment.by_provider and payment.status in rules.UNDECIDED:
            await self._ask_again(payment_id)
            payment = await self._reads.submit(payment_id) or payment
        return payment_service_pb2.ReturnFromProviderResponse(order_id=str(payment.order_id), status=status_of(payment))

    async def HandleWebhook(
        self, request: payment_service_pb2.HandleWebhookRequest, context: Any
    ) -> payment_service_pb2.HandleWebhookResponse:
        """Refuses with PROVIDER_UNKNOWN, WEBHOOK_SIGNATURE_INVALID or WEBHOOK_INVALID."""
        notice = self._read_notice(request)
        try:
            payment_id = uuid.UUID(notice.payment_id)
        except ValueError:
            raise WebhookInvalid("the payment id is not a UUID") from None
        seen = NoticeSeen(request.provider, notice.notice_id, payment_id, notice.kind.value)
        await held.submit(self._notices, (seen, notice, audit.command()))
        return payment_service_pb2.HandleWebhookResponse()

    async def close(self) -> None:
        """Finish the reads and the notices that wait."""
        await self._reads.close()
        await self._notices.close()

    async def _take_notices(self, notices: list[tuple[NoticeSeen, Notice, Command]]) -> Sequence[Exception | None]:
        """Keep notices, and have the provider asked about what they tell that is news."""

        async def take(tx: asyncpg.Connection) -> tuple[list[Work], set[uuid.UUID]]:
            payments, held_elsewhere = await store.lock_free(tx, [seen.payment_id for seen, _, _ in notices])
            taken = [each for each in notices if each[0].payment_id not in held_elsewhere]
            new = await store.note_webhooks(tx, [seen for seen, _, _ in taken], at=self._clock.now())
            accepted = {seen.key: (by, resource(seen.payment_id)) for seen, _, by in taken if seen.key in new}
            await write(tx, audit.accepting(list(accepted.values())))
            await failpoint("payment.webhook.before_commit")
            asked = {
                seen.payment_id: Work(SubjectKind.PAYMENT, seen.payment_id, seen.provider)
                for seen, notice, _ in taken
                for payment in [payments.get(seen.payment_id)]
                if seen.key in new
                and payment is not None
                and payment.provider == seen.provider
                and answers.needs_query(payment, notice)
            }
            await settlement.add(tx, list(asked.values()), keep_token=True)
            return list(asked.values()), held_elsewhere

        work, held_elsewhere = await self._db.transact(take)
        await failpoint("payment.webhook.after_commit")
        self._worker.start(work)
        return [Held() if seen.payment_id in held_elsewhere else None for seen, _, _ in notices]

    def _checked(self, wire: payment_service_pb2.PaymentIntent) -> Intent | Refusal:
        """Return what an item asks for, or why it can't be asked for."""
        card = wire.method.card if wire.method.WhichOneof("method") == "card" else None
        intent = Intent(
            order_id=uuid.UUID(wire.order_id),
            user_id=uuid.UUID(wire.user_id),
            amount_minor=wire.amount.minor_units,
            currency=wire.amount.currency_code,
            provider=rules.WALLET if card is None else card.provider or rules.DEFAULT_PROVIDER,
            card_token=None if card is None else card.token,
        )
        if intent.amount_minor < 0:
            return InvalidInput.of("amount.minor_units", "must not be less than zero")
        try:
            rules.check_intent(intent, providers=self._providers, currencies=self._currencies)
        except Refusal as refusal:
            return refusal
        return intent

    async def _change(
        self, tx: asyncpg.Connection, locked: Mapping[uuid.UUID, Payment], decide: Callable[[Payment], Payment]
    ) -> tuple[dict[uuid.UUID, Decided], list[Work]]:
        """Apply one decision to locked payments; returns each result by order id, and the work for providers."""
        at = self._clock.now()
        results: dict[uuid.UUID, Decided] = {}
        changes: list[tuple[Payment | None, Payment]] = []
        for order_id, payment in locked.items():
            try:
                after = decide(payment)
            except Refusal as refusal:
                results[order_id] = Decided(payment, refusal)
                continue
            results[order_id] = Decided(after)
            if after is not payment:
                changes.append((payment, after))
        work = [
            Work(SubjectKind.PAYMENT, after.payment_id, after.provider or "")
            for _, after in changes
            if not rules.is_done(after)
        ]
        await settlement.add(tx, work)
        for saved in await store.save(tx, changes, ids=self._ids, at=at):
            results[saved.order_id] = Decided(saved)
        return results, work

    async def _ask_again(self, payment_id: uuid.UUID) -> None:
        """Have the provider asked about an undecided payment now, and wait a little for its answer."""

        async def hasten(tx: asyncpg.Connection) -> list[Work]:
            payment = await store.lock_by_id(tx, payment_id)
            if payment is None or payment.status not in rules.UNDECIDED:
                return []
            work = [Work(SubjectKind.PAYMENT, payment_id, payment.provider or "")]
            await settlement.add(tx, work, keep_token=True)
            await audit.accept(tx, resource(payment_id))
            return work

        self._worker.start(await self._db.transact(hasten))
        left = calls.remaining_for_children()
        wait_seconds = RETURN_WAIT_SECONDS if left is None else min(RETURN_WAIT_SECONDS, left)
        await self._worker.wait(payment_id, timeout_seconds=wait_seconds)

    def _read_notice(self, request: payment_service_pb2.HandleWebhookRequest) -> Notice:
        provider = self._providers.get(request.provider)
        if provider is None:
            raise ProviderUnknown(f"there is no provider {request.provider}", provider=request.provider)
        body = request.payload.data
        if len(body) > MAX_NOTICE_BYTES:
            raise WebhookInvalid("the notice is too large")
        try:
            return provider.read_notice(body, request.signature, at=self._clock.now())
        except SignatureInvalid:
            raise WebhookSignatureInvalid("the signature does not count") from None
        except NoticeInvalid:
            raise WebhookInvalid("the notice can't be read") from None

    async def _find_many(self, payment_ids: list[uuid.UUID]) -> Sequence[Payment | None]:
        async with self._db.hot_read() as connection:
            found = await store.find_by_ids(connection, payment_ids)
        return [found.get(each) for each in payment_ids]


def resource(payment_id: uuid.UUID) -> str:
    """Return the name of a payment in the audit log."""
    return f"payments/{payment_id}"


def to_wire(payment: Payment) -> payment_pb2.Payment:
    """Return a payment as the contract shows it."""
    created = Timestamp()
    created.FromDatetime(payment.created_at)
    return payment_pb2.Payment(
        payment_id=str(payment.payment_id),
        order_id=str(payment.order_id),
        amount=_money(payment, payment.amount_minor or 0),
        status=status_of(payment),
        provider=payment.provider or "",
        captured=_money(payment, payment.captured_minor),
        refunded=_money(payment, payment.refunded_minor),
        next_action=_next_action(payment),
        create_time=created,
    )


def status_of(payment: Payment) -> payment_pb2.PaymentStatus:
    """Return where a payment stands in the words of the contract."""
    if payment.status is Status.CAPTURED and payment.refunded_minor:
        if payment.refunded_minor == payment.captured_minor:
            return payment_pb2.PAYMENT_STATUS_REFUNDED
        return payment_pb2.PAYMENT_STATUS_PARTIALLY_REFUNDED
    return _WIRE[payment.status]


def _answer(payment: Payment, intent: Intent) -> payment_service_pb2.AuthorizeResult:
    error: status_pb2.Status | None = None
    status = status_of(payment)
    try:
        rules.refuse_repeated(payment, intent)
    except PaymentConflict as conflict:
        # The stored payment may well hold money, but not what this caller asked for: it must not read AUTHORIZED.
        error, status = conflict.to_status(), payment_pb2.PAYMENT_STATUS_REFUSED
    except Refusal as refusal:
        error = refusal.to_status()
    return payment_service_pb2.AuthorizeResult(
        order_id=str(payment.order_id),
        payment_id=str(payment.payment_id),
        status=status,
        next_action=_next_action(payment) if error is None else None,
        error=error,
    )


def _refused(order_id: str, refusal: Refusal) -> payment_service_pb2.AuthorizeResult:
    return payment_service_pb2.AuthorizeResult(
        order_id=order_id, status=payment_pb2.PAYMENT_STATUS_REFUSED, error=refusal.to_status()
    )


def _effect(order_id: uuid.UUID, results: Mapping[uuid.UUID, Decided]) -> payment_service_pb2.PaymentEffectResult:
    result = results.get(order_id)
    if result is None:
        error = PaymentNotFound("no such payment").to_status()
        return payment_service_pb2.PaymentEffectResult(order_id=str(order_id), error=error)
    return payment_service_pb2.PaymentEffectResult(
        order_id=str(order_id),
        status=status_of(result.payment),
        done=result.refusal is None and rules.is_done(result.payment),
        error=None if result.refusal is None else result.refusal.to_status(),
    )


def _next_action(payment: Payment) -> payment_pb2.NextAction | None:
    if payment.status is not Status.ACTION_REQUIRED or payment.action_url is None:
        return None
    action = payment_pb2.NextAction(url=payment.action_url)
    if payment.action_expires_at is not None:
        action.expire_time.FromDatetime(payment.action_expires_at)
    return action


def _money(payment: Payment, minor_units: int) -> money_pb2.Money:
    return money_pb2.Money(currency_code=payment.currency or "", minor_units=minor_units)
