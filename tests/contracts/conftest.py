"""The world of all packages, opened once for every test that needs it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from control.servers.valkey import Valkey
from tests.contracts.world import World, open_world


@pytest.fixture(scope="session")
async def world(
    fresh_database: Callable[[str], Awaitable[str]], valkey_server: Valkey, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    """Every package, served for real."""
    home: Path = tmp_path_factory.mktemp("contracts")
    async with open_world(fresh_database, valkey_server.url, home) as opened:
        yield opened
