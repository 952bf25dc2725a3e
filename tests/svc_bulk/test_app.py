"""What the package is made of."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace
from typing import Any

from mesh.clients import Clients
from mesh.seams import SystemIds
from svc_bulk.app import NICENESS, build, jobs_of
from svc_bulk.feed.fetching import FeedRules
from tests.harness import titan_contract
from tests.priorities import niceness_of, own_niceness
from titan.bulk.v1 import operation_pb2


async def test_the_package_hosts_what_the_contract_names(db):
    """With its low priority, its worker and its housekeeping beside the services."""
    clients = Clients("unix:/nowhere")
    runtime: Any = SimpleNamespace(db=db, clients=clients, ids=SystemIds())
    hosted = await build(runtime)

    assert {name for name in titan_contract().services if ".bulk." in name} == set(hosted.servicers)
    assert 3 == len(hosted.background)
    await clients.close()


async def test_each_kind_of_work_has_somebody_who_does_it(db):
    """One that the contract allows and nobody does would be a dead letter."""
    clients = Clients("unix:/nowhere")
    runtime: Any = SimpleNamespace(clients=clients, ids=SystemIds())

    jobs = jobs_of(runtime, db, FeedRules(frozenset(), frozenset()))
    assert {field.name for field in operation_pb2.Job.DESCRIPTOR.oneofs_by_name["work"].fields} == set(jobs)
    await clients.close()


def test_every_thread_steps_aside():
    """Also those that were there before, which gRPC and the broker's client have made."""
    own_niceness(below=NICENESS)
    script = (
        "import asyncio, signal, threading; from svc_bulk.app import step_aside\n"
        "threading.Thread(target=signal.pause, daemon=True).start()\n"
        "asyncio.run(step_aside()); print(flush=True); signal.pause()"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, process_group=0) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            assert [NICENESS] * 2 == niceness_of(process.pid)
        finally:
            process.kill()
