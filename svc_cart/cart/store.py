"""The live carts: all Redis of this service.

One hash per user, one sorted set of carts that Postgres has not seen yet, and one of the commands that changed them,
for the audit log: a command is put there by the script that makes its change, so there is neither without the other.
Every change is a compare-and-set on the
cart's version, so changes made at once, in any process, never lose a line. A key that is missing means nothing but
"look in Postgres"; it never means an empty cart.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

from redis.asyncio import Redis
from redis.exceptions import BusyLoadingError, ConnectionError, OutOfMemoryError, ReadOnlyError, TimeoutError

from mesh.refusals import Unavailable
from svc_cart.cart.archive import encode_lines
from svc_cart.cart.commands import Given
from svc_cart.cart.rules import Cart

KEPT_SECONDS = 7 * 86_400
"""A cart that nobody touches leaves Redis after a week; it was saved long before, and comes back when asked for."""

DIRTY = "cart:dirty"
COMMANDS = "cart:commands"
_FIELDS = ("v", "c", "l", "u")
_AWAY = (ConnectionError, TimeoutError, BusyLoadingError, OutOfMemoryError, ReadOnlyError, OSError)

# cart, dirty, commands | expected version, version, cart id, lines, updated, seconds to keep, user, command
_SWAP = """
if redis.call('HGET', KEYS[1], 'v') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'v', ARGV[2], 'c', ARGV[3], 'l', ARGV[4], 'u', ARGV[5])
redis.call('EXPIRE', KEYS[1], ARGV[6])
redis.call('ZADD', KEYS[2], ARGV[2], ARGV[7])
redis.call('ZADD', KEYS[3], ARGV[2], ARGV[8])
return 1
"""
# cart | version, cart id, lines, updated, seconds to keep
_PUT_IF_MISSING = """
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
redis.call('HSET', KEYS[1], 'v', ARGV[1], 'c', ARGV[2], 'l', ARGV[3], 'u', ARGV[4])
redis.call('EXPIRE', KEYS[1], ARGV[5])
return 1
"""
# cart, dirty | version, cart id, lines, updated, user, whether Postgres took it
# A cart that is older here than in Postgres was loaded before the save: it takes what was saved.
_SAVED = """
local score = redis.call('ZSCORE', KEYS[2], ARGV[5])
if score and tonumber(score) <= tonumber(ARGV[1]) then redis.call('ZREM', KEYS[2], ARGV[5]) end
local version = redis.call('HGET', KEYS[1], 'v')
if ARGV[6] == '1' and version and tonumber(version) < tonumber(ARGV[1]) then
    redis.call('HSET', KEYS[1], 'v', ARGV[1], 'c', ARGV[2], 'l', ARGV[3], 'u', ARGV[4])
    return 1
end
return 0
"""
# cart, dirty | expected version, closed cart id, version, cart id, lines, updated, user, whether Postgres has it
# An empty cart stays behind, not a hole: whoever read the closed cart in Postgres just before cannot put it back.
_CLOSE = """
local cart = redis.call('HMGET', KEYS[1], 'v', 'c')
if cart[1] ~= ARGV[1] or cart[2] ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], 'v', ARGV[3], 'c', ARGV[4], 'l', ARGV[5], 'u', ARGV[6])
if ARGV[8] == '1' then redis.call('ZREM', KEYS[2], ARGV[7]) else redis.call('ZADD', KEYS[2], ARGV[3], ARGV[7]) end
return 1
"""


Closed = tuple[Cart, Cart, bool]
"""A closed cart as it was read, the cart that follows it, and whether Postgres has that one."""


class LiveCarts:
    """The carts in Redis. Every method raises `Unavailable` while Redis is down or full."""

    def __init__(self, redis: Redis, *, timeout_seconds: float) -> None:
        self._redis = redis
        self._timeout = timeout_seconds

    async def find(self, user_ids: Sequence[UUID]) -> dict[UUID, Cart]:
        """Return the carts that Redis holds; the others have to be looked for in Postgres."""
        async with self._asked() as pipe:
            for user_id in user_ids:
                pipe.hmget(_key(user_id), _FIELDS)
            found = await pipe.execute()
        return {
            user_id: _cart(user_id, row) for user_id, row in zip(user_ids, found, strict=True) if row[0] is not None
        }

    async def put_missing(self, carts: Iterable[Cart]) -> None:
        """Put carts where Redis has none; one that is there already stays."""
        async with self._asked() as pipe:
            for cart in carts:
                pipe.eval(_PUT_IF_MISSING, 1, _key(cart.user_id), *_arguments(cart), KEPT_SECONDS)
            await pipe.execute()

    async def swap(self, before: Cart, after: Cart, by: Given) -> bool:
        """Put a changed cart in place of the one that was read, to be saved; False if that was changed since."""
        keys = _key(after.user_id), DIRTY, COMMANDS
        more = KEPT_SECONDS, str(after.user_id), by.to_json()
        async with self._asked() as pipe:
            pipe.eval(_SWAP, len(keys), *keys, before.version, *_arguments(after), *more)
            return bool((await pipe.execute())[0])

    async def note_saved(self, carts: Sequence[Cart], written: set[UUID]) -> list[Cart]:
        """Take carts that Postgres has seen off the list, unless they were changed since.

        Returns those that were put in place of an older one.
        """
        async with self._asked() as pipe:
            for cart in carts:
                taken = int(cart.user_id in written)
                pipe.eval(_SAVED, 2, _key(cart.user_id), DIRTY, *_arguments(cart), str(cart.user_id), taken)
            replaced = await pipe.execute()
        return [cart for cart, each in zip(carts, replaced, strict=True) if each]

    async def close(self, carts: Sequence[Closed]) -> list[bool]:
        """Put the next cart in place of each closed one; False where that was changed since it was read."""
        async with self._asked() as pipe:
            for closed, following, saved in carts:
                key, user = _key(closed.user_id), str(closed.user_id)
                expected = closed.version, str(closed.cart_id)
                pipe.eval(_CLOSE, 2, key, DIRTY, *expected, *_arguments(following), user, int(saved))
            return [bool(each) for each in await pipe.execute()]

    async def list_unsaved(self, *, before_microseconds: int, limit: int) -> list[UUID]:
        """Return users whose carts were changed before a time and not saved, the oldest first."""
        async with self._asked() as pipe:
            pipe.zrangebyscore(DIRTY, "-inf", before_microseconds, 0, limit)
            (members,) = await pipe.execute()
        return [UUID(member.decode()) for member in members]

    async def list_unsaved_commands(self, *, before_microseconds: int, limit: int) -> list[Given]:
        """Return commands that were given before a time and not saved, the oldest first."""
        async with self._asked() as pipe:
            pipe.zrangebyscore(COMMANDS, "-inf", before_microseconds, 0, limit)
            (members,) = await pipe.execute()
        return [Given.from_json(member.decode()) for member in members]

    async def forget_commands(self, given: Iterable[Given]) -> None:
        """Take commands off the list that Postgres has seen."""
        async with self._asked() as pipe:
            pipe.zrem(COMMANDS, *(each.to_json() for each in given))
            await pipe.execute()

    async def forget_unsaved(self, user_ids: Iterable[UUID]) -> None:
        """Take users off the list whose carts Redis does not hold any more."""
        async with self._asked() as pipe:
            pipe.zrem(DIRTY, *(str(user_id) for user_id in user_ids))
            await pipe.execute()

    @asynccontextmanager
    async def _asked(self) -> AsyncIterator[Any]:
        try:
            async with asyncio.timeout(self._timeout), self._redis.pipeline(transaction=False) as pipe:
                yield pipe
        except _AWAY as error:
            raise Unavailable("the live carts do not answer", retry_after_seconds=1) from error


def _key(user_id: UUID) -> str:
    return f"cart:{user_id}"


def _arguments(cart: Cart) -> tuple[int, str, str, int]:
    return cart.version, str(cart.cart_id or ""), encode_lines(cart), cart.updated_microseconds


def _cart(user_id: UUID, row: Sequence[bytes]) -> Cart:
    version, cart_id, lines, updated = row
    return Cart(
        user_id,
        UUID(cart_id.decode()) if cart_id else None,
        int(version),
        {sku: quantity for sku, quantity in json.loads(lines)},
        int(updated),
    )
