"""The defects. Each replaces as little as it can, and imports nothing of Titan before Titan does.

A change is a function of the module that has just been imported. Where the database itself would stop a defect, because
a constraint backs the rule, `DROPPED` names the constraint that the defect's author forgot as well.
"""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from types import ModuleType
from typing import Any

from tests.faults.planted.hook import Change

SLOW_SECONDS = 0.03
"""How long a defect that is a race leaves the others to win it."""


def _instead(statement: str, old: str, new: str) -> str:
    """Return a statement with a part replaced; a defect that no longer finds its place is none.

    Raises:
        LookupError: The part is not there.
    """
    if old not in statement:
        raise LookupError(f"the statement has no {old!r} any more")
    return statement.replace(old, new)


# Stock.


def no_tombstone_on_release(module: ModuleType) -> None:
    """A release of an order that never came leaves nothing behind."""
    original = module.save_released

    async def save_released(tx: Any, order_ids: Any) -> Any:
        found = "SELECT order_id FROM reservations WHERE order_id = ANY($1::uuid[])"
        known = {row["order_id"] for row in await tx.fetch(found, list(order_ids))}
        answers = iter(await original(tx, [each for each in order_ids if each in known]))
        return [next(answers) if each in known else None for each in order_ids]

    module.save_released = save_released


def stock_read_before_lock(module: ModuleType) -> None:
    """Levels are read, then the SKUs are locked, as if nobody came in between."""
    original, read = module.lock_shelves, module._read_shelves

    async def lock_shelves(tx: Any, skus: Any) -> Any:
        wanted = sorted(skus)
        stale = await read(tx, dict.fromkeys(wanted, 0))
        await asyncio.sleep(SLOW_SECONDS)
        return {sku: replace(shelf, levels=stale[sku].levels) for sku, shelf in (await original(tx, wanted)).items()}

    module.lock_shelves = lock_shelves


def stock_written_as_read(module: ModuleType) -> None:
    """The new levels are written, not what they change by."""
    original = module.save_movements

    async def save_movements(tx: Any, shelves: Any, moved: Any, also: Any = ()) -> None:
        levels = {(sku, each.warehouse_id): each for sku, shelf in shelves.items() for each in shelf.levels}
        await original(tx, shelves, moved, also)
        for place, (on_hand, reserved) in module._sums(moved).items():
            if place in levels:
                await tx.execute(
                    "UPDATE stock SET on_hand = $3, reserved = $4 WHERE sku = $1 AND warehouse_id = $2",
                    *place,
                    levels[place].on_hand + on_hand,
                    levels[place].reserved + reserved,
                )

    module.save_movements = save_movements


# Money.


def no_tombstone_on_void(module: ModuleType) -> None:
    """A void of an order that never came leaves nothing behind."""

    async def void_unknown(tx: Any, order_ids: Any, *, ids: Any, at: Any) -> set[uuid.UUID]:
        return set()

    module.void_unknown = void_unknown


def void_of_nothing_is_done(module: ModuleType) -> None:
    """What is not there needs no void."""
    original, service = module._effect, module.payment_service_pb2

    def _effect(order_id: uuid.UUID, results: Any) -> Any:
        answer = original(order_id, results)
        if order_id not in results:
            return service.PaymentEffectResult(order_id=str(order_id), done=True)
        return answer

    module._effect = _effect


def late_authorize_accepted(module: ModuleType) -> None:
    """A payment that was voided is opened again by whoever asks for it once more."""
    original = module.authorize

    async def authorize(tx: Any, intents: Any, *, ids: Any, at: Any) -> Any:
        await tx.execute(
            "DELETE FROM payments WHERE order_id = ANY($1::uuid[]) AND status = 'VOIDED'",
            [each.order_id for each in intents],
        )
        return await original(tx, intents, ids=ids, at=at)

    module.authorize = authorize


def voids_captured(module: ModuleType) -> None:
    """A payment whose money was taken is voided like any other."""
    original = module.void

    def void(payment: Any) -> Any:
        if payment.status is module.Status.CAPTURED:
            return replace(payment, status=module.Status.VOIDED, captured_minor=0)
        return original(payment)

    module.void = void


def ledger_leg_forgotten(module: ModuleType) -> None:
    """The capture of a card is a new status, and no movement."""
    original = module.of_change

    def of_change(before: Any, after: Any, *, transfer_id: uuid.UUID) -> Any:
        follows = original(before, after, transfer_id=transfer_id)
        return replace(follows, transfers=()) if after.by_provider else follows

    module.of_change = of_change


def ledger_rounds(module: ModuleType) -> None:
    """What one account pays and the other gets are rounded apart."""
    original = module.deltas

    def deltas(transfers: Any, resolutions: Any) -> Any:
        changed = original(transfers, resolutions)
        for account, delta in changed.items():
            if account.user_id is None and delta.posted_credits > 1000:
                delta.posted_credits -= 1
        return changed

    module.deltas = deltas


def balance_read_without_lock(module: ModuleType) -> None:
    """A wallet is looked at, and nobody is kept from looking at the same time."""

    async def lock_balances(tx: Any, accounts: Any) -> Any:
        balances = await module.read_balances(tx, accounts)
        await asyncio.sleep(10 * SLOW_SECONDS)
        return balances

    module.lock_balances = lock_balances


def charge_retried_without_key(module: ModuleType) -> None:
    """Every try of an authorization is a new one to the provider."""
    original = module.PspSim.authorize
    tried: set[str] = set()

    async def authorize(self: Any, asked: Any, **more: Any) -> Any:
        again = asked.payment_id in tried
        tried.add(asked.payment_id)
        return await original(self, replace(asked, payment_id=str(uuid.uuid4())) if again else asked, **more)

    module.PspSim.authorize = authorize


def signature_not_checked(module: ModuleType) -> None:
    """Any signature will do."""

    def verify(*arguments: Any, **more: Any) -> None:
        return None

    module.verify = verify


def webhook_believed(module: ModuleType) -> None:
    """What a notice says of the amount is what was paid."""
    original = module.PaymentService.HandleWebhook

    async def handle(self: Any, request: Any, context: Any) -> Any:
        notice = self._read_notice(request)
        if notice.kind.value in ("authorized", "captured") and notice.amount_minor:
            async with self._db.hot() as tx:
                await tx.execute(
                    "UPDATE payments SET amount_minor = $2::bigint, captured_minor = CASE captured_minor WHEN 0 THEN 0"
                    " ELSE $2::bigint END WHERE payment_id = $1",
                    uuid.UUID(notice.payment_id),
                    notice.amount_minor,
                )
        return await original(self, request, context)

    module.PaymentService.HandleWebhook = handle


def version_gap(module: ModuleType) -> None:
    """Versions of a payment's events skip one."""
    original = module._event

    def _event(message: Any, aggregate_id: str, version: int) -> Any:
        return original(message, aggregate_id, 2 * version - 1)

    module._event = _event


# Orders.


def capture_before_decision(module: ModuleType) -> None:
    """The money is taken as soon as it is held; whether the order counts is decided afterwards."""
    original = module.Saga._toward_decision

    async def _toward_decision(self: Any, job: Any) -> Any:
        verdict = await original(self, job)
        if verdict is not None and verdict.refusal is None:
            await self._steps.capture(job.order.order_id)
        return verdict

    module.Saga._toward_decision = _toward_decision


def decision_overwrites(module: ModuleType) -> None:
    """A confirm does not look whether the order was cancelled meanwhile."""
    original = module.confirm

    def confirm(order: Any, allocations: Any, *, at: Any) -> Any:
        if order.status is module.OrderStatus.CANCELLED:
            order = replace(order, status=module.OrderStatus.PENDING)
        return original(order, allocations, at=at)

    module.confirm = confirm


def no_release(module: ModuleType) -> None:
    """Nobody lets go of the stock of an order that was declined or cancelled."""

    async def release(self: Any, order_id: uuid.UUID) -> None:
        return None

    module.Steps.release = release


def no_void(module: ModuleType) -> None:
    """Nobody lets go of the money of an order that was cancelled."""

    async def undo(self: Any, order_id: uuid.UUID) -> Any:
        await self.release(order_id)
        return module.Undone(0)

    module.Steps.undo = undo


def refund_above_capture(module: ModuleType) -> None:
    """More may go back than is left."""
    original = module.refund

    def refund(order: Any, refund_id: uuid.UUID, *, amount_minor: Any, at: Any, **more: Any) -> Any:
        try:
            return original(order, refund_id, amount_minor=amount_minor, at=at, **more)
        except module.RefundExceedsOrder:
            change = module._refunded(order, refund_id, amount_minor, full=True, release=False, at=at)
            return replace(change, order=replace(change.order, refunded_minor=order.total_minor))

    module.refund = refund


def refund_retried_without_key(module: ModuleType) -> None:
    """Every try of a refund is another refund."""
    original = module.Participants._refund

    async def _refund(self: Any, refunds: Any) -> Any:
        return await original(self, [replace(each, refund_id=uuid.uuid4()) for each in refunds])

    module.Participants._refund = _refund


def sweeper_skips_old(module: ModuleType) -> None:
    """What has waited for long is left to somebody else."""
    module._TAKE = _instead(
        module._TAKE,
        "WHERE finished_at IS NULL AND",
        "WHERE finished_at IS NULL AND recorded_at > now() - interval '1 second' AND",
    )


def keys_are_looked_up_only(module: ModuleType) -> None:
    """A key that was not found is taken for new; its constraint is gone, too."""
    original = module.record

    async def record(tx: Any, items: Any, **more: Any) -> Any:
        await asyncio.sleep(SLOW_SECONDS)
        return await original(tx, items, **more)

    module.record = record


def answer_not_found(module: ModuleType) -> None:
    """What was answered to a key is stored, and not looked for."""

    async def find_known(connection: Any, keys: Any) -> dict[Any, Any]:
        return {}

    module.find_known = find_known


# Events.


def publish_before_commit(module: ModuleType) -> None:
    """An event is sent when it is written, whether its transaction ends well or not."""
    from confluent_kafka import Producer

    original, senders = module.appending, []

    def appending(events: Any, **more: Any) -> Any:
        if not senders:
            senders.append(Producer({"bootstrap.servers": os.environ["TITAN_KAFKA"], "linger.ms": 0}))
        for each in events:
            headers = {"ce_id": str(each.event_id), "ce_type": each.type, "ce_aggregateversion": str(each.version)}
            content = [(name, value.encode()) for name, value in headers.items()]
            senders[0].produce(each.topic, key=each.aggregate_id.encode(), value=each.payload, headers=content)
        senders[0].flush(1.0)
        return original(events, **more)

    module.appending = appending


async def own_connection() -> Any:
    """Open one more connection to the database of this process, as its settings say."""
    from mesh.postgres import sign_in
    from mesh.secret_files import SecretFile

    file = SecretFile(Path(os.environ["TITAN_DATABASE_PASSWORD_FILE"]))
    return await sign_in(os.environ["TITAN_DATABASE_URL"], file)


def outbox_after_commit(module: ModuleType) -> None:
    """Events are written by another transaction, after that of their change."""
    tasks: set[asyncio.Task[None]] = set()

    async def write(made: Any) -> None:
        await asyncio.sleep(10 * SLOW_SECONDS)
        connection = await own_connection()
        try:
            await connection.execute(f"{made.sql} ON CONFLICT DO NOTHING", *made.arguments)
        finally:
            await connection.close()
        module.wake()

    original = module.appending

    def appending(events: Any, *, where: str = "") -> None:
        if made := original(events):

            def later() -> None:
                tasks.add(task := asyncio.get_running_loop().create_task(write(made)))
                task.add_done_callback(tasks.discard)

            module.after_commit(later)

    module.appending = appending


def audit_after_commit(module: ModuleType) -> None:
    """A command is written down when it is done, by another transaction."""
    from mesh.database import after_commit

    tasks: set[asyncio.Task[None]] = set()
    original = module.accepting

    async def write(made: Any) -> None:
        connection = await own_connection()
        try:
            await connection.execute(made.sql, *made.arguments)
        finally:
            await connection.close()

    def accepting(accepted: Any, **more: Any) -> Any:
        if made := original(accepted):

            def later() -> None:
                tasks.add(task := asyncio.get_running_loop().create_task(write(made)))
                task.add_done_callback(tasks.discard)

            after_commit(later)
        return None

    module.accepting = accepting


def denials_are_silent(module: ModuleType) -> None:
    """Whoever is refused is refused, and nobody writes it down."""

    async def note(self: Any, refusal: Any, call: Any) -> None:
        return None

    module.Denials.note = note


def acknowledged_before_applied(module: ModuleType) -> None:
    """The broker is told that a message is done with before it is."""

    async def _work(self: Any, key: Any, partition: Any) -> None:
        while True:
            await partition.filled.wait()
            chunk = list(partition.buffer)
            partition.buffer.clear()
            partition.filled.clear()
            self._orders.append((module._COMMIT, key, (chunk[-1].offset() or 0) + 1))
            await asyncio.sleep(1.0)
            await self._inbox.apply(chunk)

    module.Consumer._work = _work


def inbox_without_memory(module: ModuleType) -> None:
    """Every message is applied, known or not."""
    module._KNOWN = f"{module._KNOWN} AND false"
    module._STANDING = _instead(module._STANDING, "WHERE consumer = $1", "WHERE false AND consumer = $1")
    module._NOTE = f"{module._NOTE} ON CONFLICT DO NOTHING"


def letter_per_message(module: ModuleType) -> None:
    """Nothing else keeps a letter from being written twice."""
    module._ADD = _instead(
        module._ADD, "SELECT notification_id, event_id,", "SELECT notification_id, gen_random_uuid(),"
    )


# What Redis holds.


def carts_live_in_redis(module: ModuleType) -> None:
    """A cart that Redis does not have is empty."""

    async def list_carts(connection: Any, user_ids: Any) -> dict[Any, Any]:
        return {}

    module.list_carts = list_carts


def save_replaces_newer(module: ModuleType) -> None:
    """A save that comes late, as one does that was sent again, replaces what was saved since."""
    original, earlier = module.save_carts, {}
    module._SAVE = _instead(module._SAVE, "c.version < excluded.version AND", "")

    async def save_carts(tx: Any, carts: Any) -> Any:
        written = await original(tx, carts)
        await original(tx, [earlier[cart.user_id] for cart in carts if cart.user_id in earlier])
        earlier.update((cart.user_id, cart) for cart in carts)
        return written

    module.save_carts = save_carts


def revocations_live_in_redis(module: ModuleType) -> None:
    """That a session has ended stands in Redis, and nowhere else."""
    import redis.asyncio

    live: Any = redis.asyncio.from_url(os.environ["TITAN_PLANTED_REDIS"], decode_responses=True)
    original = module.lock_refresh

    async def save_revoked(tx: Any, session_id: uuid.UUID, *, reason: str) -> bool:
        return bool(await live.hset("ended", str(session_id), (await tx.fetchval("SELECT now()")).isoformat()))

    async def list_revoked(connection: Any, *, since: Any) -> Any:
        ended = {key: datetime.fromisoformat(value) for key, value in (await live.hgetall("ended")).items()}
        found = [(uuid.UUID(key), at) for key, at in ended.items() if since is None or at >= since]
        return module.Revoked(found, await connection.fetchval("SELECT now()"))

    async def lock_refresh(tx: Any, hashed: bytes) -> Any:
        state = await original(tx, hashed)
        if state is not None and (at := await live.hget("ended", str(state.session_id))):
            state = replace(state, revoked_at=type(state.expires_at).fromisoformat(at))
        return state

    module.save_revoked, module.list_revoked, module.lock_refresh = save_revoked, list_revoked, lock_refresh


PAYMENT, ORDER, STOCK = "svc_payment.payment", "svc_order", "svc_inventory.inventory.store"

CHANGES: Mapping[str, Mapping[str, Change]] = {
    "no tombstone on release": {f"{STOCK}.reservations": no_tombstone_on_release},
    "stock read before it is locked": {
        f"{STOCK}.shelves": stock_read_before_lock,
        f"{STOCK}.journal": stock_written_as_read,
    },
    "no tombstone on void": {f"{PAYMENT}.store": no_tombstone_on_void, f"{PAYMENT}.rpc": void_of_nothing_is_done},
    "late authorize accepted": {f"{PAYMENT}.store": late_authorize_accepted},
    "void of a captured payment": {f"{PAYMENT}.rules": voids_captured},
    "ledger leg forgotten": {f"{PAYMENT}.effects": ledger_leg_forgotten},
    "ledger rounds": {"svc_payment.ledger.rules": ledger_rounds},
    "balance read without lock": {"svc_payment.ledger.store": balance_read_without_lock},
    "charge retried without key": {"svc_payment.providers.psp_sim": charge_retried_without_key},
    "webhook believed": {
        "svc_payment.providers.signatures": signature_not_checked,
        f"{PAYMENT}.rpc": webhook_believed,
    },
    "version gap": {f"{PAYMENT}.events": version_gap},
    "capture before the decision": {f"{ORDER}.checkout.saga": capture_before_decision},
    "decision overwrites": {f"{ORDER}.order.rules": decision_overwrites},
    "no release": {f"{ORDER}.checkout.steps": no_release},
    "no void": {f"{ORDER}.checkout.steps": no_void},
    "refund above what was paid": {f"{ORDER}.order.rules": refund_above_capture},
    "refund retried without key": {f"{ORDER}.checkout.participants": refund_retried_without_key},
    "sweeper skips what is old": {f"{ORDER}.checkout.store": sweeper_skips_old},
    "answer not found under its key": {f"{ORDER}.checkout.store": answer_not_found},
    "no unique key": {f"{ORDER}.checkout.store": keys_are_looked_up_only},
    "publish before commit": {"mesh.outbox": publish_before_commit},
    "outbox after commit": {"mesh.outbox": outbox_after_commit},
    "audit after commit": {"mesh.audit": audit_after_commit},
    "denials are silent": {"mesh.interceptors.audit": denials_are_silent},
    "acknowledged before applied": {"mesh.consumer": acknowledged_before_applied},
    "inbox without memory": {"mesh.inbox": inbox_without_memory, "svc_notify.notification.store": letter_per_message},
    "carts live in Redis": {"svc_cart.cart.archive": carts_live_in_redis},
    "save replaces a newer cart": {"svc_cart.cart.archive": save_replaces_newer},
    "revocations live in Redis": {"svc_auth.auth.store": revocations_live_in_redis},
}

DROPPED: Mapping[str, tuple[str, str, str, str]] = {
    # package, table, constraint, and how to have it back
    "no unique key": ("svc_order", "checkouts", "checkouts_one_per_key", "UNIQUE (user_id, request_id)"),
    "balance read without lock": (
        "svc_payment",
        "balances",
        "balances_no_overdraft",
        "CHECK (house OR may_owe OR posted_credits - posted_debits - pending_debits >= 0)",
    ),
}
