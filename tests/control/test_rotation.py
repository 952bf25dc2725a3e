"""A password is replaced while others sign in, on a real Postgres and a real Redis: none is refused, none cut off."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import asyncpg
import pytest
from redis.exceptions import AuthenticationError

from control.atomic_file import replace_text
from control.remote import Refused
from control.rotation import Rotation
from control.secrets import SecretFiles
from control.servers.postgres import SUPERUSER, Postgres, secret_of
from control.servers.valkey import REDIS_SECRET, Valkey, user_rules
from mesh.postgres import sign_in
from mesh.redis_client import open_redis
from mesh.secret_files import SecretFile

ROLE = "svc_rotated"
TURNS = 5


@pytest.fixture(scope="module")
async def postgres(postgres_server: Postgres) -> Postgres:
    """A server with a package on it."""
    await postgres_server.create_databases([ROLE], extensions=())
    return postgres_server


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> SecretFiles:
    """The secrets of a Redis of our own: others of this run keep the URL of the shared one."""
    return SecretFiles(tmp_path_factory.mktemp("secrets"))


@pytest.fixture(scope="module")
def valkey(secrets: SecretFiles, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """That Redis."""
    folder = tmp_path_factory.mktemp("valkey")
    with Valkey(data=folder / "data", log=folder / "log", password=secrets.file(REDIS_SECRET)) as server:
        yield server


@asynccontextmanager
async def signing_in_meanwhile(sign_in_once: Callable[[], Awaitable[None]]) -> AsyncIterator[list[int]]:
    """Sign in over and over for as long as the block runs, several at once; the first refusal ends the test."""
    count, stop = [0], asyncio.Event()

    async def again() -> None:
        while not stop.is_set():
            await sign_in_once()
            count[0] += 1

    async with asyncio.TaskGroup() as everybody:
        for _ in range(3):
            everybody.create_task(again())
        try:
            yield count
        finally:
            stop.set()


async def served(count: list[int]) -> None:
    """Wait until everybody has signed in since."""
    until = count[0] + 6
    async with asyncio.timeout(20):
        while count[0] < until:
            await asyncio.sleep(0.001)


@pytest.mark.parametrize("role", [ROLE, SUPERUSER])
async def test_a_role_gets_another_password_and_nobody_is_refused(
    postgres: Postgres, secret_files: SecretFiles, role: str
):
    """Whoever is signed in stays so; afterwards the old password opens nothing, and the file has the new one alone."""
    database = ROLE if role == ROLE else "postgres"
    address, file, name = postgres._address(role, database), postgres.password_of(role), secret_of(role)
    rotation = Rotation(secret_files, {name: partial(postgres.learn_password, role)})

    async def once() -> None:
        await (await sign_in(address, file)).close()

    staying, seen = await sign_in(address, file), [file.read()]
    async with signing_in_meanwhile(once) as count:
        for _ in range(TURNS):
            await rotation.replace(name)
            seen.extend(file.read_all())
            await served(count)

    assert TURNS + 1 == len(set(seen)) == len(seen)
    assert 1 == await staying.fetchval("SELECT 1")
    await staying.close()
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(address, password=seen[-2])


async def test_redis_gets_another_password_and_nobody_is_refused(valkey: Valkey, secrets: SecretFiles):
    """As a role does; the server's own file has the hash of the new password, and nothing of the others."""
    file, seen = secrets.file(REDIS_SECRET), [secrets.read(REDIS_SECRET)]
    rotation = Rotation(secrets, {REDIS_SECRET: valkey.learn_passwords})

    async def once() -> None:
        async with open_redis(valkey.address, file) as client:
            await client.ping()

    async with open_redis(valkey.address, file) as staying:
        await staying.set("kept", "yes")
        connection = (await staying.client_info())["id"]
        async with signing_in_meanwhile(once) as count:
            for _ in range(TURNS):
                await rotation.replace(REDIS_SECRET)
                seen.extend(file.read_all())
                await served(count)
        assert (b"yes", connection) == (await staying.get("kept"), (await staying.client_info())["id"])

    assert TURNS + 1 == len(set(seen)) == len(seen)
    assert [seen[-1]] == [each for each in seen if await opens(valkey, each)]
    configuration = (valkey.data / "valkey.conf").read_text()
    assert f"user default {' '.join(user_rules(seen[-1:]))}\n" in configuration
    assert not any(password in configuration for password in seen)


async def opens(valkey: Valkey, password: str) -> bool:
    """Say whether a password opens the door."""
    file = SecretFile(valkey.data / "tried")
    replace_text(file.path, password)
    async with open_redis(valkey.address, file) as client:
        try:
            return bool(await client.ping())
        except AuthenticationError:
            return False


async def test_redis_takes_both_passwords_of_its_file_and_no_other(valkey: Valkey, secrets: SecretFiles):
    """Whoever has read the file before the last step signs in after it; a Redis that starts again knows both too."""
    secrets.add_successor(REDIS_SECRET)
    old, new = secrets.read_all(REDIS_SECRET)
    assert [True, False] == [await opens(valkey, each) for each in (old, new)]
    await valkey.learn_passwords()
    assert [True, True] == [await opens(valkey, each) for each in (old, new)]
    assert f"user default {' '.join(user_rules([old, new]))}\n" in (valkey.data / "valkey.conf").read_text()
    secrets.drop_predecessor(REDIS_SECRET)
    await valkey.learn_passwords()
    assert [False, True] == [await opens(valkey, each) for each in (old, new)]
    valkey.stop()
    valkey.start()
    assert [False, True] == [await opens(valkey, each) for each in (old, new)]


@pytest.mark.parametrize("broken_at", [1, 2])
async def test_a_rotation_that_breaks_off_leaves_a_door_that_opens_and_goes_on(
    postgres: Postgres, secret_files: SecretFiles, broken_at: int
):
    """Before the server learns the new password, or when it has to forget the old one; the next run ends it."""
    address, file, name = postgres.package_address(ROLE), postgres.password_of(ROLE), secret_of(ROLE)
    old, calls = file.read(), 0

    async def learn() -> None:
        nonlocal calls
        calls += 1
        if calls == broken_at:
            raise ConnectionError("the server is away")
        await postgres.learn_password(ROLE)

    rotation = Rotation(secret_files, {name: learn})
    with pytest.raises(Refused, match=f"{name} is not replaced yet, run it again: the server is away"):
        await rotation.replace(name)
    coming = file.read_all()[-1]
    await (await sign_in(address, file)).close()
    await postgres.create_databases([ROLE], extensions=())  # what the next start does
    await (await sign_in(address, file)).close()
    assert old != coming

    await rotation.replace(name)
    await (await sign_in(address, file)).close()
    assert 1 == len(file.read_all()) and old != file.read()
    assert (file.read() == coming) == (broken_at == 1)


async def test_the_start_of_a_mesh_ends_what_was_broken_off(tmp_path: Path):
    """With the password that its server may know already; whoever has one alone keeps it."""
    secrets, learned = SecretFiles(tmp_path), []

    async def learn(name: str) -> None:
        learned.append((name, secrets.read_all(name)))

    kept = secrets.read("redis")
    secrets.add_successor("database_svc_order")
    both = secrets.read_all("database_svc_order")

    await Rotation(secrets, {each: partial(learn, each) for each in ("redis", "database_svc_order")}).finish()

    assert [("database_svc_order", both), ("database_svc_order", both[1:])] == learned
    assert (both[1:], (kept,)) == (secrets.read_all("database_svc_order"), secrets.read_all("redis"))


async def test_two_do_not_replace_at_once(tmp_path: Path):
    """In another container as well: the second says so, and changes nothing."""
    first, second, seen = SecretFiles(tmp_path), SecretFiles(tmp_path), []

    async def learn() -> None:
        with pytest.raises(Refused, match="run it again: somebody else is about the secrets"):
            await Rotation(second, {"redis": unheard}).replace("redis")
        seen.append(first.read_all("redis"))

    async def unheard() -> None:
        raise AssertionError("it has changed nothing")

    old = first.read("redis")
    await Rotation(first, {"redis": learn}).replace("redis")

    new = first.read("redis")
    assert [(old, new), (new,)] == seen
    with second.held():
        pass


async def test_whoever_has_copies_is_told_of_every_step(tmp_path: Path):
    """First both, then the new one alone; each time before the server is told."""
    secrets, steps = SecretFiles(tmp_path), []
    old = secrets.read("password")

    async def learn() -> None:
        steps.append("learn")

    def hand_out(name: str) -> None:
        steps.append(secrets.read_all(name))

    await Rotation(secrets, {"password": learn}, hand_out=hand_out).replace("password")

    new = secrets.read("password")
    assert [(old, new), "learn", (new,), "learn"] == steps


async def test_there_is_no_password_of_that_name(tmp_path: Path):
    """The message says which there are, and no server is told anything."""

    async def learn() -> None:
        raise AssertionError("nothing has changed")

    rotation = Rotation(SecretFiles(tmp_path), {"redis": learn, "database_svc_order": learn})
    with pytest.raises(Refused, match="there is no password admin_password; there are redis, database_svc_order"):
        await rotation.replace("admin_password")
