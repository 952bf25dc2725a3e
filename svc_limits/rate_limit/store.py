"""The buckets: all Redis of this service.

A bucket is one number: the moment at which it is full again if nobody drains it (the generic cell rate algorithm of
ATM, ITU-T I.371). What has no key is full, so keys expire by themselves at that moment, and there are never more of
them than tokens were taken within the time that an empty bucket takes to fill. A refusal writes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from redis.asyncio import Redis
from redis.exceptions import BusyLoadingError, ConnectionError, OutOfMemoryError, ReadOnlyError, TimeoutError

from mesh.refusals import Unavailable
from svc_limits.rate_limit.rules import Drained, Taken

_AWAY = (ConnectionError, TimeoutError, BusyLoadingError, OutOfMemoryError, ReadOnlyError, OSError)

# Each bucket | for each: microseconds that a token takes, and how many there are
# Redis tells the time, so that it is one for all; where its clock was set back, a bucket is empty at worst.
_TAKE = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local ahead, answer, every = {}, {}, true
for i, key in ipairs(KEYS) do
    local token, burst = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])
    local full = tonumber(redis.call('GET', key) or now)
    local missing = math.min(math.max(full - now, 0), token * burst)
    local there = token * burst - missing
    every = every and there >= token
    ahead[i] = missing + token
    answer[i] = {math.floor(there / token), math.max(token - there, 0)}
end
if every then
    for i, key in ipairs(KEYS) do
        redis.call('SET', key, now + ahead[i], 'PX', math.ceil(ahead[i] / 1000))
        answer[i][1] = answer[i][1] - 1
    end
end
return answer
"""


class Buckets:
    """The buckets in Redis."""

    def __init__(self, redis: Redis) -> None:
        self._take = redis.register_script(_TAKE)

    async def take(self, wanted: Sequence[Drained]) -> list[Taken]:
        """Take a token out of each bucket, or out of none where one of them is empty; in the order asked for.

        One round trip, and nobody else's in between.

        Raises:
            Unavailable: Redis is away or full.
        """
        sizes = [number for each in wanted for number in (each.token_microseconds, each.bucket.burst)]
        try:
            answer = await self._take(keys=[each.key for each in wanted], args=sizes)
        except _AWAY as error:
            raise Unavailable("the shared buckets do not answer") from error
        return [Taken(left, wait) for left, wait in answer]
