"""Builds the simulator: the log, the calls, the deliveries and the clockwork. The only place that constructs."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator

import aiohttp
import uvicorn
from starlette.applications import Starlette

from psp_sim import rules
from psp_sim.api import Api
from psp_sim.behaviour import Control
from psp_sim.connection import CuttableProtocol
from psp_sim.settings import BadSettings, Settings
from psp_sim.store import Store
from psp_sim.webhooks import MAX_SENDING_EVENTS, Webhooks

SETTLE_EVERY_SECONDS = 0.1
WEBHOOK_TIMEOUT_SECONDS = 5.0


def build(settings: Settings, control: Control | None = None) -> Starlette:
    """Return the application; its log is open while it runs."""
    control = control or Control()
    trust = trusted(settings)
    store = Store(settings.log_path)

    @contextlib.asynccontextmanager
    async def running(app: Starlette) -> AsyncIterator[None]:
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=MAX_SENDING_EVENTS, ssl=trust),
            timeout=aiohttp.ClientTimeout(total=WEBHOOK_TIMEOUT_SECONDS),
            cookie_jar=aiohttp.DummyCookieJar(),
        ) as client:
            webhooks = Webhooks(store, settings, control, client)
            webhooks.start()
            settling = asyncio.create_task(settle(store))
            try:
                yield
            finally:
                settling.cancel()
                await webhooks.close()
                await store.close()

    return Starlette(routes=Api(store, settings, control).routes(), lifespan=running)


def trusted(settings: Settings) -> ssl.SSLContext:
    """Return whom webhooks over https are sent to.

    Raises:
        BadSettings: The file of authorities cannot be read.
    """
    try:
        return ssl.create_default_context(cafile=settings.webhook_ca_path)
    except OSError as problem:
        raise BadSettings(f"TITAN_PSP_WEBHOOK_CA_FILE: cannot use {settings.webhook_ca_path}: {problem}") from problem


async def settle(store: Store) -> None:
    """Decide what only waits for the time, over and over."""
    while True:
        for payment_id in list(store.undecided):
            payment = store.find_payment(payment_id)
            entry = rules.settle(payment, at=store.now()) if payment else None
            if entry is not None:
                store.record(entry)
        await store.durable()
        await asyncio.sleep(SETTLE_EVERY_SECONDS)


def listen(host: str, port: int) -> socket.socket:
    """Bind the address before the log is opened, so that a second start fails early and clearly.

    Raises:
        BadSettings: The address is taken or not ours.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Without the protocol named, asyncio leaves Nagle's algorithm on, and every reply takes 40 ms.
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host.strip("[]"), port))
    except OSError as problem:
        bound.close()
        raise BadSettings(f"TITAN_PSP_LISTEN: cannot listen on {host}:{port}: {problem.strerror}") from problem
    return bound


def server(settings: Settings, control: Control | None = None) -> uvicorn.Server:
    """Return a server for the application; the caller hands it the bound socket."""
    config = uvicorn.Config(
        build(settings, control),
        http=CuttableProtocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=5,
    )
    return uvicorn.Server(config)
