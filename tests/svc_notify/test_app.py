"""What the package is made of."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

from mesh.clients import Clients
from mesh.seams import SystemClock, SystemIds
from svc_notify.app import build
from tests.harness import titan_contract


async def test_the_package_hosts_what_the_contract_names(db):
    """With its consumer, its worker and its housekeeping beside the service.

    Without a broker there is nothing to consume.
    """
    for kafka, background in (("127.0.0.1:1", 3), ("", 2)):
        clients = Clients("unix:/nowhere")
        settings = SimpleNamespace(kafka=kafka, secrets_dir=Path("/nowhere"))
        runtime = SimpleNamespace(db=db, clients=clients, clock=SystemClock(), ids=SystemIds(), settings=settings)
        hosted = await build(runtime)
        assert {name for name in titan_contract().services if ".notify." in name} == set(hosted.servicers)
        assert background == len(hosted.background)
        for ending in hosted.on_stop:
            await ending()
        await clients.close()
