"""Order, stock and money of Titan in one event loop, on real Postgres, with every background task on a leash.

The coordinator of svc_order, the whole of svc_payment, the whole of svc_inventory and the rules of psp_sim are the real
ones; only the calls between them are made directly, and carts and prices are the fakes of svc_order's own tests. There
are two processes, A and B, on the same databases. Nothing runs by itself: no sweeper and no timer, and a background
task may be made to stand still at any failpoint outside of a transaction, which is a process that was stopped, or is
slow. It goes on when the test says so, or is cancelled, which is a process that died.
"""

from __future__ import annotations

import asyncio
import contextvars
import json
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from mesh import calls, seams
from mesh.contract import ROLES
from mesh.database import Database, in_transaction
from mesh.failpoints import FailpointReached
from mesh.identity import Caller
from mesh.powers import Powers
from mesh.refusals import Refusal, Unavailable
from mesh.seams import ManualClock, SystemIds
from mesh.secret_files import SecretFile
from mesh.vault.vault import Vault
from psp_sim import rules as psp_rules
from psp_sim import wire as psp_wire
from psp_sim.webhooks import Event, sign
from svc_inventory.inventory.rpc import InventoryServicer
from svc_order.checkout import participants
from svc_order.checkout import rpc as checkout_rpc
from svc_order.checkout import steps as order_steps
from svc_order.checkout.effects import Effects
from svc_order.checkout.intake import Intake
from svc_order.checkout.participants import Participants
from svc_order.checkout.rpc import CheckoutServicer
from svc_order.checkout.saga import Saga
from svc_order.checkout.steps import Steps
from svc_order.checkout.tasks import Tasks
from svc_order.order.reads import Reads
from svc_order.order.rpc import OrderServicer
from svc_order.settings import OrderSettings
from svc_payment.app import Parts, assemble
from svc_payment.payment import rpc as payment_rpc
from svc_payment.providers.interface import ProviderRefused, ProviderUnavailable
from svc_payment.providers.psp_sim import PspSim
from svc_payment.settings import Settings as PaymentSettings
from tests.harness import titan_contract, titan_policies
from tests.kms import Kms
from tests.svc_order.world import Carts, Products, World
from titan.inventory.v1 import inventory_service_pb2

WEBHOOK_SECRET = b"secret-for-tests"
AGES = timedelta(hours=2)
"""Longer than any deadline and any lease of the tests."""
UNTIL_QUIET_SECONDS = 20.0
MAX_ROUNDS = 12
"""How many sweeps may be needed until everything has ended; each may end one wait."""

SETTINGS = OrderSettings(
    secrets_dir=Path("."), lease_seconds=3600, action_poll_seconds=3600, give_up_seconds=3600, give_up_attempts=1
)
"""Time passes in `OneLoop.expire` and `OneLoop.sweep` only: leases and polls are out of reach until then."""


class Leash:
    """Stands in for `mesh.seams.failpoints`: background tasks stand still where they are told to, or break off."""

    armed = True

    def __init__(self) -> None:
        self.holds: Callable[[str, str], bool] = lambda owner, point: False
        self.breaks: Counter[str] = Counter()
        self.held: dict[asyncio.Task[Any], tuple[str, str]] = {}
        self.owners: list[Half] = []
        self._gates: dict[asyncio.Task[Any], asyncio.Future[None]] = {}
        self._changed: asyncio.Future[None] | None = None

    async def act(self, point: str) -> None:
        """Do what a failpoint does."""
        if self.breaks[point] > 0:
            self.breaks[point] -= 1
            raise FailpointReached(point)
        task = asyncio.current_task()
        owner = next((each.name for each in self.owners if task in each.tasks), None)
        if task is None or owner is None or in_transaction() or not self.holds(owner, point):
            return
        gate = self._gates[task] = asyncio.get_running_loop().create_future()
        self.held[task] = (owner, point)
        self._tell()
        try:
            await gate
        finally:
            del self.held[task], self._gates[task]

    def let_go(self, task: asyncio.Task[Any]) -> None:
        """Let a task go on, to the next failpoint where it has to stand still."""
        gate = self._gates[task]
        if not gate.done():
            gate.set_result(None)

    async def quiet(self) -> None:
        """Wait until every task of the loop has ended or stands still."""
        me, loop = asyncio.current_task(), asyncio.get_running_loop()
        async with asyncio.timeout(UNTIL_QUIET_SECONDS):
            while True:
                busy = [each for each in asyncio.all_tasks() if each is not me and not self._stands(each)]
                if not busy:
                    return
                self._changed = loop.create_future()
                await asyncio.wait([*busy, self._changed], return_when=asyncio.FIRST_COMPLETED)

    def _stands(self, task: asyncio.Task[Any]) -> bool:
        gate = self._gates.get(task)
        return gate is not None and not gate.done()

    def _tell(self) -> None:
        if self._changed is not None and not self._changed.done():
            self._changed.set_result(None)


class Bank(PspSim):
    """The real adapter on the real rules of psp_sim, without the HTTP between them, and with a log of its own.

    `lose` counts replies to lose after the work was done, by kind of call.
    """

    def __init__(self, clock: ManualClock) -> None:
        super().__init__("http://psp.test", api_key="none", webhook_secrets=lambda: [WEBHOOK_SECRET])
        self._clock = clock
        self.payments: dict[str, psp_rules.Payment] = {}
        self.log: list[psp_rules.Entry] = []
        self.notices: defaultdict[str, list[Event]] = defaultdict(list)
        self.lose: Counter[str] = Counter()

    async def _call(
        self, method: str, path: str, content: Mapping[str, Any] | None, timeout_seconds: float
    ) -> dict[str, Any]:
        parts, at = path.split("/"), self._clock.now()
        payment_id = parts[3] if len(parts) > 3 else (content or {})["payment_id"]
        call = "query" if method == "GET" else parts[4] if len(parts) > 4 else "authorize"
        payment = self._settled(payment_id)
        entry = None
        try:
            match call:
                case "query" if payment is None:
                    raise psp_rules.Refused("payment_not_found", "no such payment")
                case "authorize":
                    asked = psp_rules.Authorize(**content)  # type: ignore[arg-type]
                    entry = psp_rules.authorize(
                        payment, asked, reference=f"psp_{payment_id}", at=at, waits=psp_rules.Waits()
                    )
                case "capture":
                    entry = psp_rules.capture(payment, at=at, **content)  # type: ignore[arg-type]
                case "refund":
                    entry = psp_rules.refund(payment, at=at, **content)  # type: ignore[arg-type]
                case "void":
                    entry = psp_rules.void(payment, payment_id=payment_id, at=at)
        except psp_rules.Refused as refused:
            raise ProviderRefused(refused.code, str(refused)) from None
        payment = self._record(entry) if entry is not None else payment
        assert payment is not None
        if entry is not None and entry.effect and self.lose[call] > 0:
            self.lose[call] -= 1
            raise ProviderUnavailable("the reply was lost", sent=True)
        reply: dict[str, Any] = json.loads(psp_wire.to_reply(payment, entry, public_url="http://psp.test").body)
        return reply

    def customer_answers(self, payment_id: str, *, yes: bool) -> None:
        """The customer answers on the bank's page; too late, or a second time, the page says so."""
        try:
            self._record(psp_rules.answer_action(self._settled(payment_id), confirmed=yes, at=self._clock.now()))
        except psp_rules.Refused:
            return

    def expire(self, payment_id: str) -> None:
        """Let what the bank waits for be over."""
        payment = self.payments.get(payment_id)
        if payment is not None and payment.due_at is not None:
            self.payments[payment_id] = replace(payment, due_at=self._clock.now())
            self._settled(payment_id)

    def moved_minor(self, kind: psp_rules.Kind, payment_id: str) -> list[int]:
        """Return what the log says was really moved."""
        return [e.amount_minor for e in self.log if e.payment_id == payment_id and e.kind is kind and e.effect]

    def _settled(self, payment_id: str) -> psp_rules.Payment | None:
        payment = self.payments.get(payment_id)
        entry = None if payment is None else psp_rules.settle(payment, at=self._clock.now())
        return payment if entry is None else self._record(entry)

    def _record(self, entry: psp_rules.Entry) -> psp_rules.Payment:
        if entry.effect and entry.kind in psp_rules.EVENT_TYPES:
            entry = replace(entry, event_id=f"evt_{len(self.log)}_{entry.payment_id}")
        self.log.append(entry)
        if entry.effect:
            payment = psp_rules.apply(self.payments.get(entry.payment_id), entry)
            self.payments[entry.payment_id] = payment
            if entry.event_id is not None:
                self.notices[entry.payment_id].append(Event(entry, payment.events, ""))
        return self.payments[entry.payment_id]


class Channel:
    """What `mesh.clients.Clients` is to a package, without a network: the servicer is called in a task of its own."""

    def __init__(self, servicers: Mapping[str, Any], package: str) -> None:
        self._servicers = servicers
        self._caller = Caller(service=package)

    def get(self, stub: type) -> Any:
        """Return an object with the methods of a service."""
        return _Stub(self._servicers[stub.__name__.removesuffix("Stub")], self._caller)


class _Stub:
    def __init__(self, servicer: Any, caller: Caller) -> None:
        self._servicer = servicer
        self._caller = caller

    def __getattr__(self, method: str) -> Callable[[Any], Awaitable[Any]]:
        return lambda request: called(getattr(self._servicer, method), request, self._caller)


_METHODS = {method.request_class: method for method in titan_contract().methods.values()}


async def called(handler: Any, request: Any, caller: Caller) -> Any:
    """Serve one call as the server does: in a context of its own, on a copy of the request.

    Raises:
        Unavailable: The one that served it broke off; nobody knows how far it came.
    """
    assert not in_transaction(), "no call is made inside a transaction"

    async def serve() -> Any:
        call = calls.Call()
        call.caller, call.method = caller, _METHODS[type(request)]
        if caller.roles & ROLES:
            call.powers = Powers(titan_policies(), call.method.full_name, caller.roles)
        calls.enter(call)
        return await handler(type(request).FromString(request.SerializeToString()), None)

    try:
        return await asyncio.get_running_loop().create_task(serve(), context=contextvars.Context())
    except FailpointReached as broken:
        raise Unavailable("the connection broke") from broken


@dataclass
class Half:
    """The part of one process that a crash takes."""

    name: str

    @property
    def tasks(self) -> set[asyncio.Task[Any]]:
        """The background tasks that run now."""
        raise NotImplementedError


@dataclass
class OrderHalf(Half):
    """svc_order in one process."""

    running: Tasks
    saga: Saga
    checkout: CheckoutServicer
    orders: OrderServicer

    @property
    def tasks(self) -> set[asyncio.Task[Any]]:
        return self.running._running


@dataclass
class PaymentHalf(Half):
    """svc_payment in one process."""

    parts: Parts

    @property
    def tasks(self) -> set[asyncio.Task[Any]]:
        return {job.task for job in self.parts.worker._jobs.values() if job.task is not None}


class OneLoop:
    """The services, the bank and the time."""

    def __init__(self, leash: Leash, databases: Mapping[str, Database]) -> None:
        self.leash = leash
        self._db = databases
        self.clock = ManualClock(datetime.now(UTC))
        self.bank = Bank(self.clock)
        self.world = World()
        self._ids = SystemIds()
        self.inventory = InventoryServicer(databases["svc_inventory"])
        self.order: dict[str, OrderHalf] = {}
        self.payment: dict[str, PaymentHalf] = {}

    @classmethod
    async def start(cls, leash: Leash, fresh_database: Callable[[str], Awaitable[str]], patch: Any) -> OneLoop:
        """Connect to fresh databases, and take the waits out that only spare work."""
        patch.setattr(seams, "failpoints", leash)
        patch.setattr(order_steps, "ASK_SECONDS", -1.0)
        patch.setattr(participants, "CAPTURE_GATHER_SECONDS", 0.0)
        patch.setattr(checkout_rpc, "UNTIMED_SECONDS", 0.0)
        patch.setattr(payment_rpc, "RETURN_WAIT_SECONDS", 0.0)
        databases = {
            package: await Database.connect(await fresh_database(package), name=package)
            for package in ("svc_order", "svc_payment", "svc_inventory")
        }
        loop = cls(leash, databases)
        for name in ("A", "B"):
            await loop.start_payment(name)
            loop.start_order(name)
        return loop

    async def close(self) -> None:
        """End what still runs."""
        self.leash.holds = lambda owner, point: False
        for name in ("A", "B"):
            await self.crash_order(name)
            await self.crash_payment(name)
        await self.bank.close()
        for db in self._db.values():
            await db.close()

    # Processes.

    async def start_payment(self, name: str) -> None:
        """Start svc_payment of a process."""
        settings = PaymentSettings(
            psp_url="",
            psp_api_key="",
            webhook_secret_file=SecretFile(Path("/nonexistent")),
            public_url="https://shop.test",
            currencies=frozenset({"GBP"}),
        )
        parts = await assemble(self._db["svc_payment"], self.clock, self._ids, {self.bank.name: self.bank}, settings)
        parts.worker._max_running = 4096  # tasks that stand still keep their turns, and nobody may wait for one
        self.payment[name] = PaymentHalf(f"payment {name}", parts)
        self._own()

    def start_order(self, name: str) -> None:
        """Start svc_order of a process."""
        db, payment = self._db["svc_order"], self.payment[name].parts
        channel: Any = Channel(
            {
                "InventoryService": self.inventory,
                "PaymentService": payment.payments,
                "RefundService": payment.refunds,
                "SplitService": payment.splits,
                "CartService": Carts(self.world),
                "ProductService": Products(self.world),
            },
            "svc_order",
        )
        vault, tasks, steps = Vault(db, Kms()), Tasks(), Steps(Participants(channel))
        effects = Effects(db, steps, tasks, self.clock, lease_seconds=SETTINGS.lease_seconds)
        saga = Saga(db, steps, effects, tasks, vault, self.clock, SETTINGS)
        intake = Intake(db, channel, vault, self.clock, self._ids, SETTINGS)
        reads = Reads(db, vault)
        self.order[name] = OrderHalf(
            f"order {name}",
            tasks,
            saga,
            CheckoutServicer(intake, saga, reads, self.clock),
            OrderServicer(db, reads, effects, vault, self.clock, self._ids, SETTINGS),
        )
        self._own()

    async def crash_order(self, name: str) -> None:
        """Kill svc_order of a process, and start it anew."""
        await self._kill(self.order[name])
        self.start_order(name)

    async def crash_payment(self, name: str) -> None:
        """Kill svc_payment of a process, and start it anew; its own svc_order then calls the new one."""
        await self._kill(self.payment[name], self.order[name])
        await self.start_payment(name)
        self.start_order(name)

    async def _kill(self, *halves: Half) -> None:
        tasks = {task for half in halves for task in half.tasks}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.leash.quiet()

    def _own(self) -> None:
        self.leash.owners = [*self.order.values(), *self.payment.values()]

    # Time.

    async def expire(self, order_ids: Sequence[str]) -> None:
        """Let every deadline of these orders pass: the customer's, the checkout's, the bank's."""
        wanted = [UUID(order_id) for order_id in order_ids]
        async with self._db["svc_order"].hot() as tx:
            await tx.execute(
                "UPDATE checkouts SET recorded_at = recorded_at - $2::interval,"
                " action_expires_at = action_expires_at - $2::interval WHERE order_id = ANY($1::uuid[])",
                wanted,
                AGES,
            )
        for payment_id in (await self.payment_ids(order_ids)).values():
            self.bank.expire(payment_id)
        await self._make_due(wanted)

    async def _make_due(self, order_ids: Sequence[UUID] | None = None) -> None:
        async with self._db["svc_order"].hot() as tx:
            for table in ("checkouts", "order_effects"):
                await tx.execute(
                    f"UPDATE {table} SET next_run_at = now() WHERE finished_at IS NULL AND next_run_at > now()"
                    " AND ($1::uuid[] IS NULL OR order_id = ANY($1::uuid[]))",
                    order_ids,
                )
        async with self._db["svc_payment"].hot() as tx:
            await tx.execute("UPDATE provider_work SET due_at = now() WHERE due_at > now()")

    async def sweep(self, name: str, *, everything: bool = True) -> None:
        """Let leases and pauses be over, and one process take up what is due; its tasks run until they stand or end."""
        if everything:
            await self._make_due()
        await self.payment[name].parts.worker.sweep_once()
        await self.leash.quiet()
        await self.order[name].saga.sweep_once()
        await self.leash.quiet()

    async def open_work(self) -> dict[str, list[str]]:
        """Return what has not ended, by order id: the kinds of work."""
        found: defaultdict[str, list[str]] = defaultdict(list)
        async with self._db["svc_order"].hot_read() as connection:
            rows = await connection.fetch(
                "SELECT order_id, 'checkout' AS kind FROM checkouts WHERE finished_at IS NULL"
                " UNION ALL SELECT order_id, kind FROM order_effects WHERE finished_at IS NULL"
            )
        async with self._db["svc_payment"].hot_read() as connection:
            rows += await connection.fetch(
                "SELECT coalesce(p.order_id, r.order_id) AS order_id, 'provider ' || subject_kind AS kind"
                " FROM provider_work w LEFT JOIN payments p ON p.payment_id = w.subject_id"
                " LEFT JOIN refunds r ON r.refund_id = w.subject_id"
            )
        for row in rows:
            found[str(row["order_id"])].append(row["kind"])
        return dict(found)

    async def forget(self) -> None:
        """Leave nothing due behind, whatever a failed example did."""
        async with self._db["svc_order"].hot() as tx:
            await tx.execute("UPDATE checkouts SET decided_at = now(), refusal = '' WHERE decided_at IS NULL")
            await tx.execute("UPDATE checkouts SET finished_at = now() WHERE finished_at IS NULL")
            await tx.execute("UPDATE order_effects SET finished_at = now() WHERE finished_at IS NULL")
        async with self._db["svc_payment"].hot() as tx:
            await tx.execute("DELETE FROM provider_work")

    # What is stored.

    async def payment_ids(self, order_ids: Sequence[str]) -> dict[str, str]:
        """Return the payment of each order that has one."""
        async with self._db["svc_payment"].hot_read() as connection:
            rows = await connection.fetch(
                "SELECT order_id, payment_id FROM payments WHERE order_id = ANY($1::uuid[])",
                [UUID(order_id) for order_id in order_ids],
            )
        return {str(row["order_id"]): str(row["payment_id"]) for row in rows}

    async def rows(self, package: str, query: str, *values: Any) -> list[Any]:
        """Return rows of one package's database."""
        async with self._db[package].hot_read() as connection:
            return list(await connection.fetch(query, *values))

    def database(self, package: str) -> Database:
        """Return one package's database."""
        return self._db[package]

    async def given_stock(self, units: Mapping[str, int]) -> None:
        """Put new SKUs on the shelf."""
        request = inventory_service_pb2.BatchAdjustStockRequest(request_id=uuid4().hex)
        for sku, delta in units.items():
            request.adjustments.add(sku=sku, delta=delta, warehouse_id="main", reason="given")
            self.world.prices[sku] = 1000
        admin = Caller(user_id=uuid4(), roles=frozenset({"admin"}))
        for result in (await called(self.inventory.BatchAdjustStock, request, admin)).results:
            assert not result.HasField("error"), result.error


async def asked(call: Awaitable[Any]) -> Any:
    """Return the answer to a call, or the refusal."""
    try:
        return await call
    except Refusal as refusal:
        return refusal


def signed(event: Event, at: datetime, *, extra_minor: int = 0) -> tuple[bytes, str]:
    """Return a notice of the bank as it arrives: its body and its signature."""
    body = event.body(extra_minor=extra_minor)
    return body, sign(body, at_seconds=int(at.timestamp()), secrets=[WEBHOOK_SECRET])
