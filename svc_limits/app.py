"""What svc_limits is made of: the only place that constructs."""

from __future__ import annotations

from mesh.runtime import Hosted, Runtime
from mesh.secret_files import read_or_make
from svc_limits.rate_limit.rpc import RateLimitServicer
from svc_limits.rate_limit.store import Buckets

KEY_FILE = "limits_key"
"""What keeps the keys in Redis from telling whose they are; the replicas have it in common."""


async def build(runtime: Runtime) -> Hosted:
    """Return the service of this package, over Redis and the limits of the topology."""
    assert runtime.redis is not None, "svc_limits needs Redis"
    secret = read_or_make(runtime.settings.secrets_dir / KEY_FILE).encode()
    servicer = RateLimitServicer(Buckets(runtime.redis), runtime.topology.limits, secret)
    return Hosted(servicers={"envoy.service.ratelimit.v3.RateLimitService": servicer})
