"""The buckets on a real Redis. No test waits for a token: it moves the moment at which a bucket is full instead."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from control.servers.valkey import Valkey
from mesh.refusals import Unavailable
from mesh.topology import Bucket
from svc_limits.rate_limit.rules import Drained
from svc_limits.rate_limit.store import Buckets
from tests.svc_limits.conftest import Opened

SLOW = 0.001
TOKEN_MICROSECONDS = 1_000_000_000
"""How long a token takes to come back at this rate: longer than any test."""


A_YEAR_MICROSECONDS = 365 * 24 * 3600 * 1_000_000


def a_bucket(burst: int = 3, per_second: float = SLOW) -> Drained:
    """Return a bucket that nobody has drained."""
    return Drained(f"test:{uuid4().hex}", Bucket(burst, per_second))


async def pass_by(redis: Redis, bucket: Drained, *, microseconds: int) -> None:
    """Let time go by for a bucket."""
    await redis.decrby(bucket.key, microseconds)


async def test_a_bucket_gives_what_it_has_and_then_says_how_long_to_wait(buckets: Buckets):
    bucket = a_bucket(burst=3)
    taken = [(await buckets.take([bucket]))[0] for _ in range(5)]

    assert [(True, 2), (True, 1), (True, 0), (False, 0), (False, 0)] == [(each.had_one, each.left) for each in taken]
    assert [0, 0, 0] == [each.wait_microseconds for each in taken[:3]]
    assert TOKEN_MICROSECONDS >= taken[3].wait_microseconds >= taken[4].wait_microseconds > 0


async def test_whoever_waits_as_long_as_was_said_gets_one_token(buckets: Buckets, redis: Redis):
    bucket = a_bucket(burst=3)
    for _ in range(3):
        await buckets.take([bucket])
    (refused,) = await buckets.take([bucket])

    await pass_by(redis, bucket, microseconds=refused.wait_microseconds)
    (first,), (second,) = await buckets.take([bucket]), await buckets.take([bucket])

    assert (True, False) == (first.had_one, second.had_one)


async def test_a_bucket_that_is_left_alone_is_full_and_no_more_than_full(buckets: Buckets, redis: Redis):
    bucket = a_bucket(burst=3)
    await buckets.take([bucket])
    await pass_by(redis, bucket, microseconds=1000 * TOKEN_MICROSECONDS)

    assert [2, 1, 0, 0] == [(await buckets.take([bucket]))[0].left for _ in range(4)]


async def test_an_empty_bucket_keeps_the_others_as_they_are(buckets: Buckets):
    """Whoever is refused for their address has not used up their own."""
    address, user = a_bucket(burst=1), a_bucket(burst=3)
    first = await buckets.take([address, user])
    refused = [await buckets.take([address, user]) for _ in range(3)]
    (alone,) = await buckets.take([user])

    assert [(True, 0), (True, 2)] == [(each.had_one, each.left) for each in first]
    for address_now, user_now in refused:
        assert (False, True, 2) == (address_now.had_one, user_now.had_one, user_now.left)
    assert (True, 1) == (alone.had_one, alone.left)


async def test_many_at_once_from_several_processes_get_no_more_than_there_is(opened: Opened, valkey_server: Valkey):
    bucket = a_bucket(burst=40)
    both = [Buckets(opened(valkey_server.address)) for _ in range(2)]
    taken = await asyncio.gather(*(both[number % 2].take([bucket]) for number in range(120)))

    assert 40 == sum(each.had_one for (each,) in taken)
    assert list(range(40)) == sorted(each.left for (each,) in taken if each.had_one)


async def test_a_key_lives_until_its_bucket_is_full_and_a_refusal_prolongs_nothing(buckets: Buckets, redis: Redis):
    """So there are never more keys than tokens that were taken within the time that a bucket takes to fill."""
    bucket = a_bucket(burst=2)
    await buckets.take([bucket])
    one = await redis.pttl(bucket.key)
    await buckets.take([bucket])
    two = await redis.pttl(bucket.key)
    for _ in range(20):
        await buckets.take([bucket])
    refused, moment = await redis.pttl(bucket.key), await redis.get(bucket.key)
    await buckets.take([bucket])

    assert 0 < one <= 1_000_000 < two <= 2_000_000
    assert refused <= two
    assert moment == await redis.get(bucket.key)


async def test_keys_are_gone_when_nobody_drains_them(buckets: Buckets, redis: Redis):
    many = [a_bucket(burst=1, per_second=100) for _ in range(200)]
    for bucket in many:
        await buckets.take([bucket])
    keys = [bucket.key for bucket in many]

    async with asyncio.timeout(10):
        while await redis.exists(*keys):
            await asyncio.sleep(0.01)
    (again,) = await buckets.take([many[0]])
    assert again.had_one


async def test_what_was_refused_leaves_no_key(buckets: Buckets, redis: Redis):
    """A flood of names that nobody has heard of, at an address that is exhausted, takes no memory."""
    address, strangers = a_bucket(burst=1), [a_bucket() for _ in range(20)]
    await buckets.take([address])
    for stranger in strangers:
        await buckets.take([address, stranger])

    assert 0 == await redis.exists(*(stranger.key for stranger in strangers))


async def test_a_clock_that_was_set_back_empties_a_bucket_at_worst(buckets: Buckets, redis: Redis):
    """A Redis on another machine took over, and its clock is a year behind."""
    bucket = a_bucket(burst=3)
    await buckets.take([bucket])
    await pass_by(redis, bucket, microseconds=-A_YEAR_MICROSECONDS)
    (refused,) = await buckets.take([bucket])

    assert (False, TOKEN_MICROSECONDS) == (refused.had_one, refused.wait_microseconds)


async def test_a_redis_that_lost_everything_begins_anew(buckets: Buckets, redis: Redis):
    """The script too: it is not there after a restart."""
    bucket = a_bucket(burst=1)
    await buckets.take([bucket])
    await redis.script_flush()
    await redis.delete(bucket.key)
    (taken,) = await buckets.take([bucket])

    assert taken.had_one


async def test_a_redis_that_is_away_is_told_as_that(no_redis: Buckets):
    with pytest.raises(Unavailable):
        await no_redis.take([a_bucket()])
