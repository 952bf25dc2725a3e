"""What the edge lets an address, a user and everybody together do, as parts of its Envoy configuration.

Owns which calls are counted apart, and what all bodies together may weigh; `control.render` uses it. How large the
buckets are is said by the topology.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from control.templates import part
from mesh.topology import MAX_BODY_BYTES, Bucket

# The calls that try a password, a code or a token, cost the hash of a new password or a call to somebody else's server,
# or send a letter: what is posted over HTTP, and gRPC. Both drain one bucket of an address for each name. The first
# that fits counts.
SENSITIVE: tuple[tuple[str, Mapping[str, str], str], ...] = (
    ("sign_in", {"path": "/v1/sessions"}, "/titan.auth.v1.AuthService/CreateSession"),
    ("refresh", {"path": "/v1/sessions:refresh"}, "/titan.auth.v1.AuthService/RefreshSession"),
    ("register", {"path": "/v1/users"}, "/titan.auth.v1.UserService/CreateUser"),
    ("password", {"path": "/v1/users/me:changePassword"}, "/titan.auth.v1.UserService/ChangePassword"),
    ("erase", {"path": "/v1/users/me:erase"}, "/titan.auth.v1.PrivacyService/EraseMe"),
    ("second_factor", {"prefix": "/v1/users/me/secondFactor"}, "/titan.auth.v1.SecondFactorService/"),
    ("links", {"prefix": "/v1/emails"}, "/titan.auth.v1.LinkService/"),
    ("links", {"prefix": "/v1/passwords"}, "/titan.auth.v1.LinkService/"),
    ("federation", {"prefix": "/v1/federation"}, "/titan.auth.v1.FederationService/"),
    ("passkeys", {"prefix": "/v1/passkeys"}, "/titan.auth.v1.PasskeyService/"),
    ("sessions", {"prefix": "/v1/sessions"}, "/titan.auth.v1.AuthService/"),
)
# What all addresses together may have half sent in bodies over HTTP/1.1: 128 MiB, and as much again in eight seconds.
# With the fifteen seconds that a body may take that is 368 of the 512 MiB of its heap.
ALL_BODIES = Bucket(burst=128 * MAX_BODY_BYTES, per_second=16 * MAX_BODY_BYTES)
# A smaller body is not among them: four thousand connections full of such bodies take 64 MiB.
SMALL_BODY_BYTES = 16 * 1024


def limit(name: str, key: str, action: str, bucket: Bucket) -> Any:
    """Return the filter of a bucket for each value of a key, which `action` finds."""
    return part("limit", name=name, key=key, action=part(action), burst=bucket.burst, per_second=bucket.per_second)


def counted(route: Any, what: str) -> Any:
    """Let a route's calls drain the bucket of `what`, and return the route."""
    route["route"]["rate_limits"] = [part("counted", what=what, by_address=part("by_address"))]
    return route


def limit_sensitive(bucket: Bucket) -> Any:
    """Return the filter of what `counted` routes drain: a bucket of an address for each name."""
    names = dict.fromkeys(what for what, _, _ in SENSITIVE)
    descriptors = [part("counted_bucket", what=what, bucket=_bucket(bucket)) for what in names]
    return part("limit_routes", name="sessions", descriptors=descriptors)


def limit_bytes(bucket: Bucket) -> Any:
    """Return the filter that counts bodies in bytes, of each address and of all together, before they are kept."""
    return part(
        "limit_bytes",
        by_address=part("by_address"),
        chunked=part("chunked_body"),
        sized=part("sized_body", kind="sized", from_bytes=1, to_bytes=MAX_BODY_BYTES + 1),
        large=part("sized_body", kind="large", from_bytes=SMALL_BODY_BYTES, to_bytes=MAX_BODY_BYTES + 1),
        longest=MAX_BODY_BYTES,
        bucket=_bucket(bucket),
        bucket_of_all=_bucket(ALL_BODIES),
    )


def _bucket(bucket: Bucket) -> Any:
    return part("bucket", burst=bucket.burst, per_second=bucket.per_second)
