"""The commands that change carts reach the audit log, once, whoever dies on the way."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest

from mesh.audit import Command
from svc_cart.cart import commands
from svc_cart.cart.commands import Given
from tests.svc_cart.conftest import new_carts


async def logged(shop, user_id) -> list[tuple[str, str, str]]:
    """Return method, resource and the actor of what the log has of a user's cart, the oldest first."""
    async with shop.db.hot_read() as connection:
        rows = await connection.fetch(
            "SELECT method, resource, actor_id FROM audit_entries WHERE resource LIKE $1 ORDER BY seq",
            f"carts/{user_id}/%",
        )
    return [(row["method"].rpartition(".")[2], row["resource"], row["actor_id"]) for row in rows]


async def waiting(shop) -> int:
    return await shop.redis.zcard("cart:commands")


def test_a_command_survives_its_stay_in_redis():
    """The same line whenever it is asked for, since it is taken off the list by its line."""
    given = Given(uuid4(), 7, Command("m", actor_id=uuid4(), key_hash=b"\x00"))
    assert given == Given.from_json(given.to_json())
    assert given.to_json() == Given.from_json(given.to_json()).to_json()


async def test_a_command_is_saved_in_the_transaction_of_its_cart(shop, ada):
    """What changed the cart since the last save, each under the version that it made."""
    await shop.add(ada[1], "SKU-1")
    await shop.add(ada[1], "SKU-2")
    cart = await shop.carts.get(ada[0])
    await shop.carts.flush()

    found = await logged(shop, ada[0])
    assert [("AddItem", ada[0])] * 2 == [(method, actor) for method, _, actor in found]
    assert f"carts/{ada[0]}/versions/{cart.version}" == found[-1][1]
    async with shop.db.hot_read() as connection:
        assert await connection.fetchval(
            "SELECT c.xmin::text = (e.xid::text::bigint % 4294967296)::text FROM carts c, audit_entries e"
            " WHERE c.user_id = $1 AND e.resource = $2",
            ada[0],
            found[-1][1],
        )
    assert not await waiting(shop)


async def test_the_next_process_logs_what_a_dead_one_was_told(shop, ada, cart_db, cart_redis):
    """The script that changed the cart left the command in Redis; and saving it again writes it no second time."""
    await shop.add(ada[1], "SKU-1")
    assert 1 == await waiting(shop)
    survivor = new_carts(cart_db, cart_redis)
    await asyncio.sleep(0.06)
    while await survivor.sweep_once():
        pass
    await shop.carts.flush()  # it was not dead after all

    assert ["AddItem"] == [method for method, *_ in await logged(shop, ada[0])]
    assert not await waiting(shop)


async def test_a_redis_that_loses_everything_loses_no_command_of_a_living_process(shop, ada):
    """The process that made the change remembers it, as it remembers the cart."""
    await shop.add(ada[1], "SKU-1")
    await shop.redis.flushall()
    await shop.carts.flush()
    assert ["AddItem"] == [method for method, *_ in await logged(shop, ada[0])]


@pytest.mark.parametrize("times", [1, 2])
async def test_two_that_save_the_same_commands_at_once_write_them_once(shop, times):
    """In whatever order they have them: neither waits for the other in a circle."""
    user_id = uuid4()
    given = [Given(user_id, version, Command("titan.cart.v1.CartService.AddItem")) for version in range(1, 40)]

    await asyncio.gather(
        *(shop.db.transact(lambda tx, some=some: commands.save(tx, some)) for some in (given, given[::-1]) * times)
    )

    assert len(given) == len(await logged(shop, user_id))
