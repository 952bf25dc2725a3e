"""Builds the edge and runs it until it is told to stop; the only place that constructs."""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
import time

import uvloop

from edge_http import comments, description, health
from edge_http.asgi import Edge
from edge_http.server import HttpServer
from mesh import contract, telemetry
from mesh import settings as mesh_settings
from mesh.clients import Clients
from mesh.contract import Contract, ContractProblem
from mesh.server import AddressTaken
from mesh.settings import SettingProblem, Settings

PACKAGE = "edge_http"
CANNOT_START = 78
"""EX_CONFIG of sysexits.h: starting again will not help until a person changes something."""

log = telemetry.get_logger("edge_http")


def build(known: Contract, clients: Clients, *, max_running_calls: int = 512) -> Edge:
    """Return the application with all its pages."""
    edge = Edge(
        known,
        clients,
        pages={"/healthz": health.alive, **description.pages(known, comments.load())},
        quiet=frozenset({"/healthz", "/readyz"}),
        max_running_calls=max_running_calls,
    )
    edge.add_page("/readyz", health.Readiness(known, clients, edge.stopping).ready)
    return edge


def main() -> None:
    """Run the edge until SIGTERM."""
    try:
        settings = mesh_settings.read(PACKAGE)
        uvloop.run(_life(settings))
    except (SettingProblem, ContractProblem, AddressTaken, OSError) as problem:
        print(f"{PACKAGE} cannot start: {problem}", file=sys.stderr, flush=True)
        sys.exit(CANNOT_START)


async def _life(settings: Settings) -> None:
    began = time.monotonic()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    reporting = telemetry.setup(settings)
    clients = Clients(settings.outbound)
    try:
        known = contract.load()
        known.check()
        edge = build(known, clients, max_running_calls=settings.max_running_calls)
        server = HttpServer(edge, settings.listen, drain_seconds=settings.drain_seconds)
        await server.start()
        # What was made until now lives as long as the process: the collector need not look at it again.
        gc.collect()
        gc.freeze()
        gc.set_threshold(10_000, 20, 50)
        log.info("serving", routes=len(edge.endpoints), ready_ms=round((time.monotonic() - began) * 1000))
        await stop.wait()
        log.info("draining", running=edge.running, streams=edge.open_streams)
        edge.stopping.set()
        await asyncio.sleep(settings.lame_duck_seconds)
        await server.stop()
    finally:
        await clients.close()
        await asyncio.to_thread(reporting.close)
