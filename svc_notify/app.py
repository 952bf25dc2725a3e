"""The table of services of the notifications; the only place that constructs."""

from __future__ import annotations

from functools import partial

import asyncpg

from mesh import housekeeping
from mesh.consumer import Consumer
from mesh.database import Database
from mesh.runtime import Background, Hosted, Runtime
from mesh.seams import Clock
from svc_notify import settings as notify_settings
from svc_notify.channels.email import EmailChannel
from svc_notify.notification import store
from svc_notify.notification.consumer import GROUP, TOPICS, MessageEvents
from svc_notify.notification.gate import Gate
from svc_notify.notification.rpc import NotificationServicer
from svc_notify.notification.worker import Worker
from titan.auth.v1 import link_service_pb2_grpc, user_service_pb2_grpc
from titan.order.v1 import order_service_pb2_grpc


async def build(runtime: Runtime) -> Hosted:
    """Return what this package hosts."""
    assert runtime.db is not None, "the topology gives svc_notify a Postgres"
    settings = notify_settings.read(runtime.settings.secrets_dir)
    gate = Gate()
    email = EmailChannel(settings.smtp)
    worker = Worker(
        runtime.db,
        runtime.clients.get(order_service_pb2_grpc.OrderServiceStub),
        runtime.clients.get(link_service_pb2_grpc.LinkServiceStub),
        runtime.clients.get(user_service_pb2_grpc.UserServiceStub),
        {email.kind: email},
        runtime.clock,
        gate,
        shop=settings.shop_name,
        shop_url=settings.shop_url,
    )
    background: list[Background] = [worker.run, _housekeeping(runtime.db, runtime.clock)]
    if runtime.settings.kafka:
        handle = MessageEvents(
            runtime.clock, runtime.ids, gate, channel=email.kind, domain=settings.message_id_domain, wake=worker.wake
        )
        background.append(Consumer(runtime.settings.kafka, GROUP, TOPICS, runtime.db, handle).run)
    return Hosted(
        servicers={"titan.notify.v1.NotificationService": NotificationServicer(runtime.db)},
        background=background,
        on_stop=[email.close],
    )


def _housekeeping(db: Database, clock: Clock) -> Background:
    async def letters(tx: asyncpg.Connection) -> int:
        return await store.prune_letters(tx, at=clock.now(), limit=housekeeping.PRUNE_ROWS)

    async def receipts(tx: asyncpg.Connection) -> int:
        return await store.prune_receipts(tx, at=clock.now(), limit=housekeeping.PRUNE_ROWS)

    return partial(housekeeping.run, db, letters, receipts)
