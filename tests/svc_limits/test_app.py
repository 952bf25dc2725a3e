"""The whole process of svc_limits."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from control.servers.valkey import Valkey
from mesh import settings as mesh_settings
from mesh import topology
from mesh.runtime import Process
from mesh.topology import EDGE
from svc_limits.app import build
from tests.harness import as_service, told_of
from titan.limits.v1 import rate_limit_service_pb2 as pb
from titan.limits.v1 import rate_limit_service_pb2_grpc


async def test_the_process_serves_without_authservice_and_counts_by_the_topology(valkey_server: Valkey):
    """It looks at no user's token, so it has nobody to wait for."""
    with tempfile.TemporaryDirectory(prefix="titan-") as home:
        environment = {
            "TITAN_HOME": home,
            **told_of("REDIS", valkey_server.url, Path(home)),
            "TITAN_LAME_DUCK_SECONDS": "0",
            "TITAN_LOG_LEVEL": "CRITICAL",
        }
        settings = mesh_settings.read("svc_limits", environment)
        process = Process("svc_limits", build, settings=settings, auth_patience_seconds=3600)
        await asyncio.wait_for(process.start(), 30)
        try:
            async with grpc.aio.insecure_channel(settings.listen) as channel:
                health = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
                stub = rate_limit_service_pb2_grpc.RateLimitServiceStub(channel)
                request = pb.RateLimitRequest(domain="default")
                whose = {"key": "user", "value": home}
                request.descriptors.add(entries=[{"key": "payments", "value": "top_up"}, whose])
                answer = await stub.ShouldRateLimit(request, metadata=as_service(EDGE), timeout=2)
        finally:
            await process.stop()

    assert health.status == health_pb2.HealthCheckResponse.SERVING
    left = topology.load(settings.topology).limits["default"].payments.burst - 1
    assert (pb.RateLimitResponse.OK, left) == (answer.overall_code, answer.statuses[0].limit_remaining)
