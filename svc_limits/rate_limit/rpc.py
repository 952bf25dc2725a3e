"""RateLimitService on the wire: decode, call, encode."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mesh.refusals import STATUS_KEY, TOO_MANY_CALLS, Overloaded
from mesh.topology import Limits
from svc_limits.rate_limit import rules
from svc_limits.rate_limit.store import Buckets
from titan.limits.v1 import rate_limit_service_pb2 as pb

RETRY_AFTER = "retry-after"


class RateLimitServicer:
    """Serves envoy.service.ratelimit.v3.RateLimitService."""

    def __init__(self, buckets: Buckets, limits: Mapping[str, Limits], secret: bytes) -> None:
        self._buckets = buckets
        self._limits = limits
        self._secret = secret

    async def ShouldRateLimit(self, request: pb.RateLimitRequest, context: Any) -> pb.RateLimitResponse:
        """Refuses with INVALID_INPUT or UNAVAILABLE."""
        descriptors = [[(entry.key, entry.value) for entry in each.entries] for each in request.descriptors]
        wanted = [rules.drained(self._limits, request.domain, each, secret=self._secret) for each in descriptors]
        taken = await self._buckets.take(wanted)
        answer = pb.RateLimitResponse(overall_code=pb.RateLimitResponse.OK)
        for each in taken:
            code = pb.RateLimitResponse.OK if each.had_one else pb.RateLimitResponse.OVER_LIMIT
            answer.statuses.add(code=code, limit_remaining=each.left)
        seconds = rules.seconds_to_wait(taken)
        if seconds:
            answer.overall_code = pb.RateLimitResponse.OVER_LIMIT
            answer.response_headers_to_add.add(key=RETRY_AFTER, value=str(seconds))
            if rules.is_read_as_grpc(descriptors):
                refusal = Overloaded(TOO_MANY_CALLS, retry_after_seconds=seconds)
                answer.response_headers_to_add.add(key=STATUS_KEY, value=refusal.to_header())
        return answer
