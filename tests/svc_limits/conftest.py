"""The shared buckets over a real Redis."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
from redis.asyncio import Redis

from control.secrets import SecretFiles
from control.servers.ports import free_port
from control.servers.valkey import REDIS_SECRET, Valkey
from mesh import telemetry
from mesh.redis_client import open_redis
from svc_limits.rate_limit.store import Buckets

Opened = Callable[[str], Redis]


@pytest.fixture(scope="package", autouse=True)
def logs_as_they_were() -> Iterator[None]:
    """A process sets up its logs; here it shares them with other tests."""
    root, sink = logging.getLogger(), telemetry.SINK
    before = (root.handlers, root.level, sink.level, sink.fixed)
    yield
    root.handlers, level, sink.level, sink.fixed = before
    root.setLevel(level)


@pytest.fixture
async def opened(secret_files: SecretFiles) -> AsyncIterator[Opened]:
    """Open the Redis at an address as a process does."""
    clients = []

    def open_at(address: str) -> Redis:
        clients.append(open_redis(address, secret_files.file(REDIS_SECRET)))
        return clients[-1]

    yield open_at
    for client in clients:
        await client.aclose()


@pytest.fixture
def redis(opened: Opened, valkey_server: Valkey) -> Redis:
    """A client of its own."""
    return opened(valkey_server.address)


@pytest.fixture
def no_redis(opened: Opened) -> Buckets:
    """The buckets of a process whose Redis is away."""
    return Buckets(opened(f"redis://127.0.0.1:{free_port()}/0"))


@pytest.fixture
def buckets(redis: Redis) -> Buckets:
    """The buckets of one process."""
    return Buckets(redis)
