"""The shared buckets over a real Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from control.servers.valkey import Valkey
from svc_limits.rate_limit.store import Buckets


@pytest.fixture
async def redis(valkey_server: Valkey) -> AsyncIterator[Redis]:
    """A connection of its own."""
    async with Redis.from_url(valkey_server.url) as client:
        yield client


@pytest.fixture
def buckets(redis: Redis) -> Buckets:
    """The buckets of one process."""
    return Buckets(redis)
