"""The whole process of svc_auth, from its settings to its last answer."""

from __future__ import annotations

import tempfile
from pathlib import Path

import grpc

from mesh import settings as mesh_settings
from mesh.runtime import Process
from svc_auth.app import build
from tests.harness import told_of
from tests.svc_auth.conftest import bearer
from titan.auth.v1 import auth_service_pb2, auth_service_pb2_grpc, user_service_pb2, user_service_pb2_grpc


async def test_the_process_trusts_its_own_tokens_and_serves_without_a_broker(fresh_database, tmp_path, monkeypatch):
    """Keys and ended sessions come from its own database; events wait in the outbox until the broker is back."""
    monkeypatch.setenv("TITAN_AUTH_HOUSE_ACCOUNTS", "admin")
    with tempfile.TemporaryDirectory(prefix="titan-") as home:
        environment = {
            "TITAN_HOME": home,
            **told_of("DATABASE", await fresh_database("svc_auth"), tmp_path),
            "TITAN_KAFKA": "127.0.0.1:9",
            "TITAN_LAME_DUCK_SECONDS": "0",
            "TITAN_LOG_LEVEL": "ERROR",
        }
        settings = mesh_settings.read("svc_auth", environment)
        process = Process("svc_auth", build, settings=settings)
        await process.start()
        try:
            async with grpc.aio.insecure_channel(settings.listen) as channel:
                auth = auth_service_pb2_grpc.AuthServiceStub(channel)
                guest = await auth.CreateGuestSession(auth_service_pb2.CreateGuestSessionRequest())
                me = await user_service_pb2_grpc.UserServiceStub(channel).GetMe(
                    user_service_pb2.GetMeRequest(), metadata=bearer(guest)
                )
                password = (Path(home) / "secrets" / "admin_password").read_text().strip()
                admin = await auth.CreateSession(
                    auth_service_pb2.CreateSessionRequest(email="admin@titan.local", password=password)
                )
        finally:
            await process.stop()
    assert guest.user_id == me.user.user_id
    assert admin.access_token and admin.second_factor_required
