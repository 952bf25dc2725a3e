"""The whole process of svc_cart: its health is that of its Postgres and its Redis."""

from __future__ import annotations

import asyncio
import tempfile
from uuid import UUID

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from control.secrets import SecretFiles
from control.servers.valkey import Valkey
from mesh import settings as mesh_settings
from mesh.runtime import Process
from svc_cart.app import build
from tests.harness import as_service, told_of
from titan.cart.v1 import cart_service_pb2, cart_service_pb2_grpc


async def test_the_process_says_when_its_redis_is_down(fresh_database, tmp_path):
    """Without Redis no cart can change, so Envoy has to look elsewhere; when it is back, the process serves again."""
    user_id = str(UUID(int=7))
    request = cart_service_pb2.BatchGetCartsRequest(user_ids=[user_id])
    valkey = Valkey(data=tmp_path / "valkey", log=tmp_path / "valkey.log", password=SecretFiles(tmp_path).file("redis"))
    with tempfile.TemporaryDirectory(prefix="titan-") as home, valkey:
        environment = {
            "TITAN_HOME": home,
            **told_of("DATABASE", await fresh_database("svc_cart"), tmp_path),
            **told_of("REDIS", valkey.url, tmp_path),
            "TITAN_LAME_DUCK_SECONDS": "0",
            "TITAN_LOG_LEVEL": "CRITICAL",
        }
        settings = mesh_settings.read("svc_cart", environment)
        process = Process("svc_cart", build, settings=settings, auth_patience_seconds=0.0)
        await process.start()
        try:
            async with grpc.aio.insecure_channel(settings.listen) as channel:
                health = health_pb2_grpc.HealthStub(channel)
                stub = cart_service_pb2_grpc.CartServiceStub(channel)

                async def until(status: int) -> None:
                    async with asyncio.timeout(10):
                        question = health_pb2.HealthCheckRequest(service="titan.cart.v1.CartService")
                        while (await health.Check(question)).status != status:
                            await asyncio.sleep(0.1)

                await until(health_pb2.HealthCheckResponse.SERVING)
                response = await stub.BatchGetCarts(request, metadata=as_service("svc_order"))
                valkey.stop()
                await until(health_pb2.HealthCheckResponse.NOT_SERVING)
                valkey.start()
                await until(health_pb2.HealthCheckResponse.SERVING)
                assert response == await stub.BatchGetCarts(request, metadata=as_service("svc_order"))
        finally:
            await process.stop()
    assert user_id == response.carts[0].user_id
