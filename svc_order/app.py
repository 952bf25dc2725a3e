"""The table of services of the order package; the only place of it that constructs."""

from __future__ import annotations

from functools import partial

from mesh import housekeeping, relay
from mesh.runtime import Hosted, Runtime
from mesh.vault.vault import Vault
from svc_order.checkout import store as checkouts
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
from svc_order.sales.rpc import SalesServicer
from svc_order.settings import MASTER_KEYS_FILE, OrderSettings


async def build(runtime: Runtime) -> Hosted:
    """Return what the package hosts."""
    assert runtime.db is not None, "svc_order needs its database"
    settings = OrderSettings(secrets_dir=runtime.settings.secrets_dir)
    vault = await Vault.of_folder(runtime.db, settings.secrets_dir, MASTER_KEYS_FILE)
    participants = Participants(runtime.clients)
    tasks, steps = Tasks(), Steps(participants)
    effects = Effects(runtime.db, steps, tasks, runtime.clock, lease_seconds=settings.lease_seconds)
    saga = Saga(runtime.db, steps, effects, tasks, vault, runtime.clock, settings)
    intake = Intake(runtime.db, runtime.clients, vault, runtime.clock, runtime.ids, settings)
    reads = Reads(runtime.db, vault)
    return Hosted(
        servicers={
            "titan.order.v1.OrderService": OrderServicer(
                runtime.db, reads, effects, vault, runtime.clock, runtime.ids, settings
            ),
            "titan.order.v1.InvoiceService": InvoiceServicer(runtime.db),
            "titan.order.v1.CheckoutService": CheckoutServicer(intake, saga, reads, runtime.clock),
            "titan.order.v1.SalesService": SalesServicer(runtime.db, vault),
        },
        background=[
            saga.sweep,
            vault.follow,
            vault.keep_wrapped,
            partial(housekeeping.run, runtime.db, housekeeping.idempotency_keys, checkouts.prune),
            *relay.work_of(runtime),
        ],
        on_stop=[tasks.close, participants.close],
    )
