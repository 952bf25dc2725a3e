"""What svc_limits is made of: the only place that constructs."""

from __future__ import annotations

from mesh.runtime import Hosted, Runtime
from svc_limits.rate_limit.rpc import RateLimitServicer
from svc_limits.rate_limit.store import Buckets


async def build(runtime: Runtime) -> Hosted:
    """Return the service of this package, over Redis and the limits of the topology."""
    assert runtime.redis is not None, "svc_limits needs Redis"
    servicer = RateLimitServicer(Buckets(runtime.redis), runtime.topology.limits)
    return Hosted(servicers={"envoy.service.ratelimit.v3.RateLimitService": servicer})
