"""The table of services of the notifications; the only place that constructs."""

from __future__ import annotations

from mesh.consumer import Consumer
from mesh.runtime import Background, Hosted, Runtime
from svc_notify import settings as notify_settings
from svc_notify.channels.email import EmailChannel
from svc_notify.notification.consumer import GROUP, TOPICS, OrderEvents
from svc_notify.notification.gate import Gate
from svc_notify.notification.rpc import NotificationServicer
from svc_notify.notification.worker import Worker
from titan.order.v1 import order_service_pb2_grpc


async def build(runtime: Runtime) -> Hosted:
    """Return what this package hosts."""
    assert runtime.db is not None, "the topology gives svc_notify a Postgres"
    settings = notify_settings.read()
    gate = Gate()
    email = EmailChannel(settings.smtp)
    worker = Worker(
        runtime.db,
        runtime.clients.get(order_service_pb2_grpc.OrderServiceStub),
        {email.kind: email},
        runtime.clock,
        gate,
        shop=settings.shop_name,
    )
    background: list[Background] = [worker.run]
    if runtime.settings.kafka:
        handle = OrderEvents(
            runtime.clock, runtime.ids, gate, channel=email.kind, domain=settings.message_id_domain, wake=worker.wake
        )
        background.append(Consumer(runtime.settings.kafka, GROUP, TOPICS, runtime.db, handle).run)
    return Hosted(
        servicers={"titan.notify.v1.NotificationService": NotificationServicer(runtime.db)},
        background=background,
        on_stop=[email.close],
    )
