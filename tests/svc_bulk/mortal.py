"""`python -m tests.svc_bulk.mortal DATABASE TARGET`: a worker in a process of its own, to be killed by a failpoint.

It takes one operation and ends with it, or of it.
"""

from __future__ import annotations

import asyncio
import sys
from types import SimpleNamespace
from typing import Any

from mesh.clients import Clients
from mesh.database import Database
from mesh.seams import SystemIds
from svc_bulk.app import jobs_of
from svc_bulk.feed.fetching import FeedRules
from svc_bulk.operation.worker import Worker


async def main(url: str, target: str) -> None:
    """Work off what is due."""
    db = await Database.connect(url, pool_size=2, name="mortal")
    clients = Clients(target, metadata=(("x-titan-caller", "spiffe://titan.local/svc/svc_bulk"),))
    runtime: Any = SimpleNamespace(clients=clients, ids=SystemIds())
    worker = Worker(db, SystemIds(), jobs_of(runtime, db, FeedRules(frozenset(), frozenset())), rest_share=0.0)
    await worker.take_due()
    await worker.settle()
    await clients.close()
    await db.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
