"""A svc_order in the test's own loop: real Postgres, real chain, the other packages as fakes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from mesh.clients import Clients
from mesh.database import Database
from mesh.interceptors.audit import Accesses
from mesh.seams import SystemClock, SystemIds, failpoints
from mesh.vault.vault import Vault
from svc_order.checkout.effects import Effects
from svc_order.checkout.intake import Intake
from svc_order.checkout.participants import Participants
from svc_order.checkout.rpc import CheckoutServicer
from svc_order.checkout.saga import Saga
from svc_order.checkout.steps import Steps
from svc_order.checkout.tasks import Tasks
from svc_order.invoice.rpc import InvoiceServicer
from svc_order.order.reads import Reads
from svc_order.order.rpc import OrderServicer
from svc_order.settings import OrderSettings
from tests import harness
from tests.kms import Kms
from tests.svc_order.world import World
from titan.order.v1 import (
    checkout_service_pb2,
    checkout_service_pb2_grpc,
    invoice_service_pb2_grpc,
    order_service_pb2_grpc,
)
from titan.payment.v1 import payment_pb2
from titan.type.v1 import address_pb2, money_pb2

SETTINGS = OrderSettings(secrets_dir=Path("."), lease_seconds=0.4, action_poll_seconds=0.1, sweep_seconds=0.05)
ADDRESS = address_pb2.Address(
    full_name="Ada", line1="1 Mill Lane", city="Leeds", postal_code="LS1 1AA", country_code="GB"
)


@dataclass
class Shop:
    """One process of svc_order, and how tests speak to it."""

    db: Database
    saga: Saga
    intake: Intake
    checkout: Any
    orders: Any
    invoices: Any
    world: World
    reads: Reads
    effects: Effects

    async def place(self, user_id: UUID | None = None, *, roles: tuple[str, ...] | None = None, **fields: Any) -> Any:
        """Place an order as a user; by default two mugs and a tea from lines, paid from the wallet."""
        return (
            await self.checkout.PlaceOrder(order_request(**fields), metadata=harness.as_user(user_id, roles=roles))
        ).order

    async def row(self, order_id: str) -> Any:
        """Return what is stored of an order and its checkout."""
        async with self.db.hot_read() as connection:
            return await connection.fetchrow(
                "SELECT * FROM orders JOIN checkouts USING (order_id) WHERE order_id = $1", UUID(order_id)
            )


def order_request(
    *,
    lines: list[tuple[str, int]] | None = None,
    expected: int | None = None,
    key: str | None = None,
    card: str = "",
    cart: bool = False,
) -> checkout_service_pb2.PlaceOrderRequest:
    """Return a request: from lines, or from the cart; with the total that the fake prices give."""
    lines = lines if lines is not None else [("mug", 2), ("tea", 1)]
    total = expected if expected is not None else sum(World().prices.get(sku, 0) * units for sku, units in lines)
    method = payment_pb2.PaymentMethod(wallet=payment_pb2.WalletMethod())
    if card:
        method = payment_pb2.PaymentMethod(card=payment_pb2.CardMethod(token=card))
    return checkout_service_pb2.PlaceOrderRequest(
        expected_total=money_pb2.Money(currency_code="GBP", minor_units=total),
        shipping_address=ADDRESS,
        contact_email="ada@example.com",
        payment=method,
        lines=[] if cart else [{"sku": sku, "quantity": units} for sku, units in lines],
        request_id=key if key is not None else str(uuid4()),
    )


@pytest.fixture
def world() -> World:
    """The other packages."""
    return World()


@pytest.fixture(scope="module")
async def database(fresh_database: Any) -> AsyncIterator[Database]:
    """One migrated database per test module."""
    db = await Database.connect(await fresh_database("svc_order"), name="svc_order")
    yield db
    await db.close()


@pytest.fixture
async def start(database: Database, world: World) -> AsyncIterator[Any]:
    """`await start()` is a new process of svc_order on the same database and the same world."""
    open_things: list[Any] = []

    async def begin(**settings: Any) -> Shop:
        others = harness.serve(world.servicers())
        target = (await others.__aenter__()).target  # type: ignore[attr-defined]
        clients = Clients(target, metadata=harness.as_service("svc_order"))
        vault = Vault(database, Kms())
        chosen = replace(SETTINGS, **settings)
        tasks, steps = Tasks(), Steps(Participants(clients))
        effects = Effects(database, steps, tasks, SystemClock(), lease_seconds=chosen.lease_seconds)
        saga = Saga(database, steps, effects, tasks, vault, SystemClock(), chosen)
        intake = Intake(database, clients, vault, SystemClock(), SystemIds(), chosen)
        reads = Reads(database, vault)
        own = harness.serve(
            {
                "titan.order.v1.CheckoutService": CheckoutServicer(intake, saga, reads, SystemClock()),
                "titan.order.v1.InvoiceService": InvoiceServicer(database),
                "titan.order.v1.OrderService": OrderServicer(
                    database, reads, effects, vault, SystemClock(), SystemIds(), chosen
                ),
            },
            accesses=Accesses(database),
        )
        channel = await own.__aenter__()
        open_things.append((tasks, own, clients, others))
        return Shop(
            db=database,
            saga=saga,
            intake=intake,
            checkout=checkout_service_pb2_grpc.CheckoutServiceStub(channel),
            orders=order_service_pb2_grpc.OrderServiceStub(channel),
            invoices=invoice_service_pb2_grpc.InvoiceServiceStub(channel),
            world=world,
            reads=reads,
            effects=effects,
        )

    yield begin
    failpoints.reset()
    for tasks, own, clients, others in reversed(open_things):
        await tasks.close()
        await own.__aexit__(None, None, None)
        await clients.close()
        await others.__aexit__(None, None, None)
    async with database.hot() as tx:  # nothing of one test is due in the next
        await tx.execute(
            "UPDATE checkouts SET finished_at = now(), decided_at = now(), refusal = '' WHERE decided_at IS NULL"
        )
        await tx.execute("UPDATE checkouts SET finished_at = now() WHERE finished_at IS NULL")
        await tx.execute("UPDATE order_effects SET finished_at = now() WHERE finished_at IS NULL")


@pytest.fixture
async def shop(start: Any) -> Shop:
    """One process of svc_order."""
    return await start()
