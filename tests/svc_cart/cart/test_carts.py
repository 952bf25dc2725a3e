"""What happens between Redis and Postgres: nothing is lost for longer than a second, and nothing closed comes back."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from mesh.audit import Command
from mesh.database import Database
from mesh.failpoints import FailpointReached
from mesh.refusals import Unavailable
from mesh.seams import failpoints
from svc_cart.cart import archive
from svc_cart.cart.rules import Cart
from tests.harness import as_user, reason_of
from tests.svc_cart.conftest import lines_of, new_carts, open_shop, refused


async def test_a_redis_that_lost_everything_comes_back(shop, ada):
    """What was saved is there again, with its id and its order."""
    await shop.add(ada[1], "SKU-2")
    before = await shop.add(ada[1], "SKU-1", 3)
    await shop.carts.flush()

    await shop.redis.flushall()

    assert before == await shop.get(ada[1])
    assert {"SKU-2": 1, "SKU-1": 4} == lines_of(await shop.add(ada[1], "SKU-1"))


async def test_a_change_is_saved_within_a_second_while_the_process_runs(shop, ada):
    """The saver of the process needs nobody to ask it; Redis then has nothing to save."""
    saving = asyncio.create_task(shop.carts.save())
    await shop.add(ada[1], "SKU-1", 2)

    async with asyncio.timeout(1):
        while await shop.saved(ada[0]) is None or await shop.unsaved(ada[0]):
            await asyncio.sleep(0.02)
    saving.cancel()

    assert {"SKU-1": 2} == (await shop.saved(ada[0])).lines


async def test_what_is_not_saved_yet_survives_in_the_process_that_changed_it(shop, ada):
    """A Redis that loses everything right after a change loses nothing, as long as that process lives."""
    await shop.add(ada[1], "SKU-1")
    await shop.carts.flush()
    before = await shop.add(ada[1], "SKU-2")

    await shop.redis.flushall()

    assert before == await shop.get(ada[1])
    await shop.carts.flush()
    assert {"SKU-1": 1, "SKU-2": 1} == (await shop.saved(ada[0])).lines


async def test_the_next_process_saves_what_a_dead_one_changed(shop, ada, cart_db, cart_redis):
    """Whoever dies between a change and its save leaves the cart on the list in Redis."""
    await shop.add(ada[1], "SKU-1", 7)
    survivor = new_carts(cart_db, cart_redis)
    await asyncio.sleep(0.06)

    while await survivor.sweep_once():
        pass

    assert {"SKU-1": 7} == (await shop.saved(ada[0])).lines
    assert not await shop.unsaved(ada[0])


async def test_a_cart_loaded_too_early_takes_what_is_saved_after(shop, ada, cart_db, cart_redis):
    """Redis lost all, another process loaded the older copy, and then the newer one is saved: it wins everywhere."""
    await shop.add(ada[1], "SKU-1")
    await shop.carts.flush()
    newer = await shop.add(ada[1], "SKU-2")
    await shop.redis.flushall()
    async with AsyncExitStack() as stack:
        other = await open_shop(stack, cart_db, cart_redis, shop.catalogue)
        assert {"SKU-1": 1} == lines_of(await other.get(ada[1]))

        await shop.carts.flush()

        assert newer == await other.get(ada[1])


async def test_a_late_save_never_replaces_a_newer_version(shop, ada):
    """Whoever saves what, and however late: the newest change stays, also over a lost Redis."""
    user_id = ada[0]
    await shop.add(ada[1], "SKU-1")
    older = await shop.carts.get(user_id)
    await shop.redis.flushall()
    shop.carts._pending.clear()
    await shop.add(ada[1], "SKU-2")
    await shop.carts.flush()

    async with shop.db.hot() as tx:
        written = await archive.save_carts(tx, [older])

    assert not written
    assert {"SKU-2": 1} == (await shop.saved(user_id)).lines


async def test_a_process_with_a_slow_clock_saves_its_changes_all_the_same(shop, ada, cart_db, cart_redis):
    """Versions grow by one where clocks disagree."""
    async with AsyncExitStack() as stack:
        late = await open_shop(stack, cart_db, cart_redis, shop.catalogue, ahead_seconds=-5)
        await shop.add(ada[1], "SKU-1")
        await late.add(ada[1], "SKU-2")
        await shop.carts.flush()
        await late.carts.flush()

    assert {"SKU-1": 1, "SKU-2": 1} == (await shop.saved(ada[0])).lines


async def test_an_emptied_cart_stays_empty(shop, ada):
    """Nothing to write is something to write."""
    await shop.add(ada[1], "SKU-1")
    await shop.carts.flush()
    await shop.remove(ada[1], "SKU-1")
    await shop.carts.flush()

    await shop.redis.flushall()

    assert {} == lines_of(await shop.get(ada[1]))


async def test_a_closed_cart_stays_closed_when_redis_loses_everything(shop, ada):
    """Also one that was never saved before it was closed."""
    saved = await shop.add(ada[1], "SKU-1")
    await shop.carts.flush()
    await shop.close((ada[0], saved.cart_id))
    fresh = uuid4()
    unsaved = await shop.add(as_user(fresh), "SKU-1")
    await shop.close((fresh, unsaved.cart_id))

    await shop.redis.flushall()
    await shop.carts.flush()

    for user_id in (ada[0], fresh):
        assert "" == (await shop.contents(user_id))[0].cart_id
        assert {} == lines_of(await shop.get(as_user(user_id)))


async def test_a_cart_that_closes_while_its_save_is_noted_stays_closed(shop, ada, cart_db, cart_redis):
    """Redis lost all, another process loaded and closed the older copy: the newer one must not be put over it."""
    cart = await shop.add(ada[1], "SKU-1")
    await shop.carts.flush()
    await shop.add(ada[1], "SKU-2")
    await shop.redis.flushall()
    other = new_carts(cart_db, cart_redis)
    await other.get(ada[0])
    failpoints.arm("cart.save.after_commit", "sleep:300")
    saving = asyncio.create_task(shop.carts.flush())
    async with asyncio.timeout(2):
        while len((await shop.saved(ada[0])).lines) < 2:
            await asyncio.sleep(0.01)

    await other.close({ada[0]: UUID(cart.cart_id)})
    await saving

    assert {} == lines_of(await shop.get(ada[1]))


async def test_a_save_that_comes_after_the_close_is_refused(shop, ada, cart_db, cart_redis):
    """A process that held an unsaved change of the cart cannot bring it back, in Postgres or in Redis."""
    cart = await shop.add(ada[1], "SKU-1")
    await shop.carts.flush()
    await shop.add(ada[1], "SKU-2")  # pending in this process
    other = new_carts(cart_db, cart_redis)
    await other.close({ada[0]: UUID(cart.cart_id)})

    await shop.carts.flush()

    assert (None, {}) == ((await shop.saved(ada[0])).cart_id, dict((await shop.saved(ada[0])).lines))
    assert "" == (await shop.get(ada[1])).cart_id
    await shop.redis.flushall()
    assert "" == (await shop.get(ada[1])).cart_id


async def test_a_save_and_a_close_at_once_end_closed(shop, ada, cart_db, cart_redis):
    """Whichever of the two takes the row first."""
    user_ids = [uuid4() for _ in range(20)]
    carts = {user_id: UUID((await shop.add(as_user(user_id), "SKU-1")).cart_id) for user_id in user_ids}
    other = new_carts(cart_db, cart_redis)

    await asyncio.gather(shop.carts.flush(), other.close(carts), *(other.close({u: c}) for u, c in carts.items()))

    await shop.redis.flushall()
    assert [""] * 20 == [each.cart_id for each in await shop.contents(*user_ids)]


async def test_a_cart_that_was_read_before_it_was_closed_is_not_put_back(shop, ada, cart_db, cart_redis):
    """A reader stands between Postgres and Redis while the cart is closed."""
    cart = await shop.add(ada[1], "SKU-1")
    await shop.carts.flush()
    await shop.redis.flushall()
    reader, closer = new_carts(cart_db, cart_redis), new_carts(cart_db, cart_redis)
    failpoints.arm("cart.load.after_read", "sleep:200")
    reading = asyncio.create_task(reader.get(ada[0]))
    await asyncio.sleep(0.08)

    await closer.close({ada[0]: UUID(cart.cart_id)})

    assert (None, {}) == ((await reading).cart_id, dict((await reading).lines))
    assert "" == (await shop.get(ada[1])).cart_id


async def test_a_close_that_died_half_way_is_finished_by_the_next(shop, ada):
    """Postgres knows that the cart is closed, Redis does not; the order path sees no cart, and the saga asks again."""
    cart = await shop.add(ada[1], "SKU-1")
    failpoints.arm("cart.close.after_commit", "raise*1")
    with pytest.raises(FailpointReached):
        await shop.carts.close({ada[0]: UUID(cart.cart_id)})
    assert cart.cart_id == (await shop.get(ada[1])).cart_id

    assert "" == (await shop.contents(ada[0]))[0].cart_id
    await shop.close((ada[0], cart.cart_id))

    assert "" == (await shop.get(ada[1])).cart_id


async def test_the_cart_after_a_closed_one_is_saved(shop, ada):
    """The close must not take a version that the next cart needs, whoever closes again and when."""
    first = await shop.add(ada[1], "SKU-1")
    await shop.carts.flush()
    await shop.close((ada[0], first.cart_id))
    second = await shop.add(ada[1], "SKU-2")
    await shop.close((ada[0], first.cart_id))
    await shop.carts.flush()

    await shop.redis.flushall()

    assert second == await shop.get(ada[1])


async def test_a_cart_that_postgres_never_saw_is_remembered_as_closed(shop):
    """Its owner's next cart, changed before the close arrived, is saved all the same."""
    user_id, lost = uuid4(), uuid4()
    cart = await shop.add(as_user(user_id), "SKU-1")
    await shop.close((user_id, str(lost)))
    await shop.carts.flush()
    async with shop.db.hot() as tx:
        assert not await archive.save_carts(tx, [Cart(user_id, lost, 2**60, {"SKU-9": 1})])

    await shop.redis.flushall()

    assert cart == await shop.get(as_user(user_id))


async def test_a_save_that_redis_did_not_hear_of_is_swept_later(shop, ada):
    """The list in Redis is a duty, not the truth: what is saved already is taken off it."""
    failpoints.arm("cart.save.after_commit", "raise*1")
    await shop.add(ada[1], "SKU-1")
    with pytest.raises(FailpointReached):
        await shop.carts.flush()
    assert await shop.unsaved(ada[0])
    await asyncio.sleep(0.06)

    while await shop.carts.sweep_once():
        pass

    assert not await shop.unsaved(ada[0])


async def test_a_list_entry_without_a_cart_is_dropped(shop):
    """A cart that left Redis was saved before."""
    await shop.redis.zadd("cart:dirty", {str(uuid4()): 1})

    assert 1 == await shop.carts.sweep_once()
    assert 0 == await shop.carts.sweep_once()


async def test_without_redis_every_call_says_so(cart_db, catalogue, ada):
    """Nothing is answered from the older copy, and nothing hangs."""
    nowhere = Redis(host="127.0.0.1", port=9, socket_connect_timeout=0.2, retry=Retry(NoBackoff(), 0))
    async with AsyncExitStack() as stack:
        shop = await open_shop(stack, cart_db, nowhere, catalogue)
        for call in (shop.get(ada[1]), shop.add(ada[1]), shop.contents(ada[0]), shop.close((ada[0], str(uuid4())))):
            error = await refused(call)
            assert "UNAVAILABLE" == reason_of(error)
            assert "live carts" in error.details()
    await nowhere.aclose()


async def test_a_redis_that_is_full_refuses_to_take_a_cart(shop, ada):
    """It must not forget somebody else's cart instead."""
    await shop.get(ada[1])
    await shop.redis.config_set("maxmemory", 1)
    try:
        assert "UNAVAILABLE" == reason_of(await refused(shop.add(ada[1])))
    finally:
        await shop.redis.config_set("maxmemory", 256 * 1024 * 1024)
    assert {"SKU-1": 1} == lines_of(await shop.add(ada[1]))


class Flaky:
    """A database that a test can take away."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self.away = False
        self.hot_read = db.hot_read

    async def transact(self, fn: Any) -> Any:
        if self.away:
            raise Unavailable("away")
        return await self._db.transact(fn)


async def test_a_database_that_is_away_keeps_what_has_to_be_saved(shop, ada, cart_db, cart_redis):
    """Carts go on in Redis; when the database is back they are saved."""
    database = Flaky(cart_db)
    carts = new_carts(database, cart_redis)  # type: ignore[arg-type]
    before = await carts.get(ada[0])
    database.away = True
    after = await carts.change(
        before, lambda cart: replace(cart, cart_id=uuid4(), lines={"SKU-1": 1}, version=5), Command("a test")
    )
    with pytest.raises(Unavailable):
        await carts.flush()
    assert {"SKU-1": 1} == lines_of(await shop.get(ada[1]))
    database.away = False

    await carts.flush()

    assert after.lines == (await shop.saved(ada[0])).lines


async def test_no_closed_cart_is_saved_again_however_many_were_closed_since(shop, ada):
    """Every cart that was ordered is remembered, not only the last."""
    first = await shop.add(ada[1], "SKU-1")
    await shop.close((ada[0], first.cart_id))
    second = await shop.add(ada[1], "SKU-1")
    await shop.close((ada[0], second.cart_id))

    async with shop.db.hot() as tx:
        late = Cart(ada[0], UUID(first.cart_id), 2**60, {"SKU-1": 1})
        assert not await archive.save_carts(tx, [late])


async def test_a_save_that_waits_for_a_close_is_refused(shop, ada):
    """It looked for the cart among the closed ones before the close was committed."""
    cart = Cart(ada[0], uuid4(), 2**60, {"SKU-1": 1})

    async def save() -> set[UUID]:
        async with shop.db.hot() as tx:
            return await archive.save_carts(tx, [cart])

    async with shop.db.hot() as closing:
        await archive.save_closed(closing, {ada[0]: cart.cart_id}, at=datetime.now(UTC))
        saving = asyncio.create_task(save())
        await asyncio.sleep(0.1)
        assert not saving.done()

    assert set() == await saving
    assert (await shop.saved(ada[0])).cart_id is None


async def test_the_later_change_wins_over_one_that_was_lost_with_redis(shop, ada, cart_db, cart_redis):
    """Two changes waited in one process while Redis lost them, and another process went on from the saved copy."""
    await shop.add(ada[1], "SKU-1")
    await shop.carts.flush()
    await shop.add(ada[1], "SKU-2")
    await shop.add(ada[1], "SKU-3")
    await shop.redis.flushall()
    async with AsyncExitStack() as stack:
        other = await open_shop(stack, cart_db, cart_redis, shop.catalogue)
        newest = await other.add(ada[1], "SKU-4")
        await other.carts.flush()

        await shop.carts.flush()

        assert {"SKU-1": 1, "SKU-4": 1} == lines_of(newest) == (await shop.saved(ada[0])).lines
        assert newest == await shop.get(ada[1])


async def test_what_was_not_ordered_survives_a_redis_that_loses_everything(shop, ada):
    """It moves in the transaction that closes, also where Postgres had never seen the cart."""
    first = await shop.add(ada[1], "SKU-1", 1)
    await shop.add(ada[1], "SKU-2", 4)
    await shop.close((ada[0], first.cart_id), SKU_1=1)
    following = await shop.get(ada[1])
    await shop.redis.flushall()
    await shop.carts.flush()

    assert {"SKU-2": 4} == lines_of(following)
    assert following == await shop.get(ada[1])


async def test_an_add_between_the_close_and_its_echo_in_redis_is_kept(shop, ada, cart_db, cart_redis):
    """Postgres has closed the cart when the shopper adds to it in Redis: that moves to the next cart, and is saved."""
    cart = await shop.add(ada[1], "SKU-1")
    await shop.carts.flush()
    closer = new_carts(cart_db, cart_redis)
    failpoints.arm("cart.close.after_commit", "sleep:300")
    closing = asyncio.create_task(closer.close({ada[0]: UUID(cart.cart_id)}, {UUID(cart.cart_id): {"SKU-1": 1}}))
    async with asyncio.timeout(2):
        while (await shop.saved(ada[0])).cart_id is not None:
            await asyncio.sleep(0.01)

    assert {"SKU-1": 2, "SKU-2": 1} == lines_of([await shop.add(ada[1], s) for s in ("SKU-1", "SKU-2")][-1])
    await closing

    following = await shop.get(ada[1])
    assert {"SKU-1": 1, "SKU-2": 1} == lines_of(following)
    await closer.flush()
    await shop.carts.flush()
    await shop.redis.flushall()
    assert following == await shop.get(ada[1])


async def test_an_add_right_behind_a_move_is_the_one_that_is_saved(shop, ada, cart_db, cart_redis, monkeypatch):
    """The process that moves a rest hears of its own move last: the next add is in Redis, and noted, by then."""
    cart = await shop.add(ada[1], "SKU-1")
    await shop.carts.flush()
    await new_carts(cart_db, cart_redis).close({ada[0]: UUID(cart.cart_id)}, {UUID(cart.cart_id): {"SKU-1": 1}})
    lines = {"SKU-1": 1, "SKU-2": 1}
    stale = replace(await shop.carts.get(ada[0]), cart_id=UUID(cart.cart_id), version=2**60, lines=lines)
    await shop.redis.flushall()
    await shop.live.put_missing([stale])  # as if it had been changed after its close
    close = shop.live.close

    async def close_and_hear_late(carts):
        done = await close(carts)
        monkeypatch.setattr(shop.live, "close", close)
        await shop.add(ada[1], "SKU-3")
        return done

    monkeypatch.setattr(shop.live, "close", close_and_hear_late)
    await shop.contents(ada[0])
    following = await shop.get(ada[1])
    await shop.carts.flush()
    await shop.redis.flushall()

    assert {"SKU-2": 1, "SKU-3": 1} == lines_of(following)
    assert following == await shop.get(ada[1])


async def test_adds_and_closes_at_once_lose_nothing_and_move_nothing_twice(shop, ada, cart_db, cart_redis):
    """Thirty adds of one, five closes of what was ordered, in two processes: what is left is all but the ordered."""
    cart = await shop.add(ada[1], "SKU-1", 5)
    closed = {ada[0]: UUID(cart.cart_id)}, {UUID(cart.cart_id): {"SKU-1": 5}}
    other = new_carts(cart_db, cart_redis)

    await asyncio.gather(
        *(shop.add(ada[1], f"SKU-{number % 3}") for number in range(15)),
        *(each.close(*closed) for each in (other, shop.carts, other)),
        *(shop.add(ada[1], f"SKU-{number % 3}") for number in range(15)),
        other.close(*closed),
        shop.carts.flush(),
    )

    following = await shop.get(ada[1])
    assert {f"SKU-{number}": 10 for number in range(3)} == lines_of(following)
    assert following.cart_id != cart.cart_id
    for carts in (shop.carts, other):
        await carts.flush()
    await shop.redis.flushall()
    assert following == await shop.get(ada[1])


async def test_a_save_of_what_was_closed_does_not_move_it_again(shop, ada, cart_db, cart_redis):
    """A process held the cart unsaved while another closed it and its owner emptied the next one."""
    cart = await shop.add(ada[1], "SKU-1")
    await shop.add(ada[1], "SKU-2")  # pending in this process
    async with AsyncExitStack() as stack:
        other = await open_shop(stack, cart_db, cart_redis, shop.catalogue)
        await other.close((ada[0], cart.cart_id), SKU_1=1)
        emptied = await other.remove(ada[1], "SKU-2")

        await shop.carts.flush()
        await other.close((ada[0], cart.cart_id), SKU_1=1)
        await other.carts.flush()

        assert {} == lines_of(emptied) == lines_of(await shop.get(ada[1]))
        await shop.redis.flushall()
        assert {} == lines_of(await shop.get(ada[1]))


async def test_a_redis_of_yesterday_moves_nothing_a_second_time(shop, ada):
    """It comes back with a cart that was closed and whose rest was moved, ordered and closed as well."""
    cart = await shop.add(ada[1], "SKU-1")
    await shop.add(ada[1], "SKU-2")
    await shop.carts.flush()
    yesterday = await shop.redis.dump(f"cart:{ada[0]}")
    await shop.close((ada[0], cart.cart_id), SKU_1=1)
    following = await shop.get(ada[1])
    await shop.close((ada[0], following.cart_id), SKU_2=1)

    await shop.redis.restore(f"cart:{ada[0]}", 60_000, yesterday, replace=True)

    assert ("", []) == ((found := (await shop.contents(ada[0]))[0]).cart_id, list(found.lines))


async def test_a_close_without_redis_closes_nothing(cart_db, shop, ada):
    """What the shopper added last is known there alone."""
    cart = await shop.add(ada[1], "SKU-1")
    await shop.carts.flush()
    nowhere = Redis(host="127.0.0.1", port=9, socket_connect_timeout=0.2, retry=Retry(NoBackoff(), 0))
    with pytest.raises(Unavailable):
        await new_carts(cart_db, nowhere).close({ada[0]: UUID(cart.cart_id)}, {UUID(cart.cart_id): {"SKU-1": 1}})
    await nowhere.aclose()

    assert cart == await shop.get(ada[1])
    assert cart.cart_id == str((await shop.saved(ada[0])).cart_id)


async def test_closed_carts_are_forgotten_after_a_month(shop, ada):
    """By then no copy of them is left; a close that comes even later moves nothing and changes nothing."""
    old, young = await shop.add(ada[1], "SKU-1"), uuid4()
    await shop.close((ada[0], old.cart_id))
    following = await shop.add(ada[1], "SKU-2")
    await shop.close((ada[0], str(young)))
    aged = "UPDATE closed_carts SET closed_at = now() - interval '31 days' WHERE cart_id = $1"
    async with shop.db.hot() as tx:
        await tx.execute(aged, UUID(old.cart_id))
    pruned = await shop.db.transact(shop.carts.prune_closed)
    async with shop.db.hot_read() as connection:
        left = await archive.list_closed(connection, [UUID(old.cart_id), young])

    await shop.close((ada[0], old.cart_id), SKU_1=1)

    assert (1, {young}) == (pruned, set(left))
    assert following == await shop.get(ada[1])
