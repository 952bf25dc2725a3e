"""Whoever signs in to Postgres or Redis finds the password that counts, also just when it is replaced."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest
from redis.exceptions import AuthenticationError

from control.atomic_file import replace_text
from control.secrets import SecretFiles
from control.servers.valkey import Valkey
from mesh.database import Database
from mesh.postgres import SIGN_IN_ATTEMPTS, sign_in
from mesh.redis_client import open_redis
from mesh.secret_files import SecretFile, SecretUnusable


class Turning(SecretFile):
    """A file that says something else each time it is read; what it says last it goes on saying."""

    def __init__(self, *readings: Sequence[str]) -> None:
        super().__init__(Path("/nowhere"))
        object.__setattr__(self, "_readings", list(readings))

    def read_all(self) -> tuple[str, ...]:
        readings = self._readings
        return tuple(readings.pop(0) if len(readings) > 1 else readings[0])


@pytest.fixture
def address(database_url: str) -> str:
    """The module's database, without the password."""
    parts = urlsplit(database_url)
    return parts._replace(netloc=f"{parts.username}@{parts.hostname}:{parts.port}").geturl()


@pytest.fixture
def right(database_url: str) -> str:
    """The password of its role."""
    password = urlsplit(database_url).password
    assert password
    return password


@pytest.mark.parametrize(
    "readings",
    [
        [["{right}"]],
        [["{right}", "next"]],
        [["last", "{right}"]],
        [["last"], ["{right}"]],
        [["last"], ["last", "{right}"]],
        [["last", "{right}"], ["{right}"]],
        [["last"], ["older", "{right}"], ["{right}"]],
    ],
)
async def test_each_password_of_the_file_as_it_is_then_is_tried(address: str, right: str, readings: list[list[str]]):
    """The one that counts stands first, or second, or came while another one was being refused."""
    file = Turning(*[[each.format(right=right) for each in reading] for reading in readings])

    connection = await sign_in(address, file)

    assert 1 == await connection.fetchval("SELECT 1")
    await connection.close()


@pytest.mark.parametrize("readings", [[["last"]], [["last", "next"]], [["a"], ["b"], ["c"], ["d"], ["{right}"]]])
async def test_a_server_that_takes_none_of_them_is_not_asked_for_ever(
    address: str, right: str, readings: list[list[str]]
):
    """Each is tried once, and at most so many."""
    file = Turning(*[[each.format(right=right) for each in reading] for reading in readings])

    with pytest.raises(asyncpg.InvalidPasswordError):
        await sign_in(address, file)
    assert SIGN_IN_ATTEMPTS == 3


async def test_a_pool_reads_the_file_for_each_new_connection(address: str, right: str, tmp_path: Path):
    """What is open stays open; a file that cannot be used is told apart from a server that is away."""
    file = SecretFile(tmp_path / "password")
    replace_text(file.path, right)
    db = await Database.connect(address, password=file, pool_size=2, name="signing in")
    try:
        async with db.hot_read() as first:
            file.path.unlink()
            with pytest.raises(SecretUnusable, match="cannot be read"):
                async with db.hot_read():
                    pass
            replace_text(file.path, f"wrong\n{right}\n")
            with pytest.raises(asyncpg.InvalidPasswordError):
                await asyncpg.connect(address, password="wrong")
            alone = await db.connect_alone("a lock")
            assert 1 == await alone.fetchval("SELECT 1") == await first.fetchval("SELECT 1")
            await alone.close()
    finally:
        await db.close()


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """A Redis of our own; `secrets/redis` has its password."""
    folder = tmp_path_factory.mktemp("valkey")
    password = SecretFiles(folder).file("redis")
    with Valkey(data=folder / "data", log=folder / "log", password=password) as server:
        yield server


@pytest.fixture
async def password(valkey: Valkey) -> AsyncIterator[str]:
    """What it takes."""
    yield urlsplit(valkey.url).password or ""


async def test_redis_is_told_the_password_of_the_file_as_it_is_then(valkey: Valkey, password: str):
    """Also when it was replaced between the reading and the answer, or stands second; the user is the one of the
    address."""
    for readings in ([[password]], [["last"], [password]], [["last", password]], [["last"], ["last", password]]):
        for address in (valkey.address, valkey.address.replace("//", "//default@")):
            async with open_redis(address, Turning(*readings)) as client:
                assert await client.ping()
    async with open_redis(valkey.address, Turning(["last"], ["next"], [password])) as client:
        with pytest.raises(AuthenticationError):
            await client.ping()


async def test_each_connection_to_redis_tries_both_passwords_of_the_file(valkey: Valkey, password: str):
    """However many are made at once: none takes another one's turn."""
    async with open_redis(valkey.address, Turning(["last", password])) as client:
        assert [True] * 9 == await asyncio.gather(*(client.ping() for _ in range(9)))
        await client.connection_pool.disconnect()
        assert [True] * 9 == await asyncio.gather(*(client.ping() for _ in range(9)))


async def test_redis_is_away_while_the_file_cannot_be_used(valkey: Valkey, password: str, tmp_path: Path):
    """Its callers know the error; the connection is not kept, half open, for the next one."""
    file = SecretFile(tmp_path / "redis")
    async with open_redis(valkey.address, file) as client:
        with pytest.raises(AuthenticationError, match="cannot be read"):
            await client.ping()
        replace_text(file.path, password)
        assert await client.ping()
