"""What the edge lets an address, a user and everybody together do, as parts of its Envoy configuration.

Owns which calls are counted apart, which of them all edges count together, and what all bodies together may weigh;
`control.render` uses it. How large the buckets are is said by the topology.

Every bucket is in the memory of each Envoy: it costs nothing to look at, and whoever brings two Envoys has it twice.
The rare and tempting routes are counted exactly as well, by svc_limits for all edges at once, behind the edge's own
buckets, so that a flood never gets as far as a question. A question costs a call through the mesh, some 2 ms of CPU in
all: little beside the hash of a password or a call to a card provider, a quarter of what an order costs, and several
times a page.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from control.templates import part
from mesh.topology import MAX_BODY_BYTES, Bucket, Limits


class Counted(NamedTuple):
    """A route whose calls are counted apart, each `what` in a bucket of its own of the size that `bucket` names."""

    bucket: str
    what: str
    http: Mapping[str, str]
    grpc: str


# The calls that try a password, a code or a token, cost the hash of a new password or a call to somebody else's server,
# or send a letter; and those that try a card: what is posted over HTTP, and gRPC. Both drain one bucket of an address
# for each name. The first that fits counts. An order is not among them: see above.
COUNTED: tuple[Counted, ...] = (
    Counted("sessions", "sign_in", {"path": "/v1/sessions"}, "/titan.auth.v1.AuthService/CreateSession"),
    Counted("sessions", "refresh", {"path": "/v1/sessions:refresh"}, "/titan.auth.v1.AuthService/RefreshSession"),
    Counted("sessions", "register", {"path": "/v1/users"}, "/titan.auth.v1.UserService/CreateUser"),
    Counted(
        "sessions", "password", {"path": "/v1/users/me:changePassword"}, "/titan.auth.v1.UserService/ChangePassword"
    ),
    Counted("sessions", "erase", {"path": "/v1/users/me:erase"}, "/titan.auth.v1.PrivacyService/EraseMe"),
    Counted(
        "sessions", "second_factor", {"prefix": "/v1/users/me/secondFactor"}, "/titan.auth.v1.SecondFactorService/"
    ),
    Counted("sessions", "links", {"prefix": "/v1/emails"}, "/titan.auth.v1.LinkService/"),
    Counted("sessions", "links", {"prefix": "/v1/passwords"}, "/titan.auth.v1.LinkService/"),
    Counted("sessions", "federation", {"prefix": "/v1/federation"}, "/titan.auth.v1.FederationService/"),
    Counted("sessions", "passkeys", {"prefix": "/v1/passkeys"}, "/titan.auth.v1.PasskeyService/"),
    Counted("sessions", "sessions", {"prefix": "/v1/sessions"}, "/titan.auth.v1.AuthService/"),
    Counted("payments", "top_up", {"path": "/v1/wallet:topUp"}, "/titan.payment.v1.WalletService/TopUpWallet"),
)
# How long the edge waits for svc_limits. It answers in a few milliseconds; of one that is busy or gone a shopper who
# signs in notices no more than this.
SHARED_SECONDS = 0.05
# What all addresses together may have half sent in bodies over HTTP/1.1: 128 MiB, and as much again in eight seconds.
# With the fifteen seconds that a body may take that is 368 of the 512 MiB of its heap.
ALL_BODIES = Bucket(burst=128 * MAX_BODY_BYTES, per_second=16 * MAX_BODY_BYTES)
# A smaller body is not among them: four thousand connections full of such bodies take 64 MiB.
SMALL_BODY_BYTES = 16 * 1024


def limit(name: str, key: str, action: str, bucket: Bucket) -> Any:
    """Return the filter of a bucket for each value of a key, which `action` finds."""
    return part("limit", name=name, key=key, action=part(action), burst=bucket.burst, per_second=bucket.per_second)


def counted(route: Any, found: Counted, limits: Limits, *, speaks: str) -> Any:
    """Let a route's calls drain the buckets of what they are counted as, and return the route.

    `speaks` is what the refusal of svc_limits will be read in: `http` or `grpc`.
    """
    by_address, by_user = part("by_address"), part("by_user")
    drained = [part("counted", what=found.what, by_address=by_address)]
    if found.bucket in limits.shared:
        drained += [
            part("counted_together", bucket=found.bucket, what=found.what, whose=whose, speaks=speaks)
            for whose in (by_address, by_user)
        ]
    route["route"]["rate_limits"] = drained
    return route


def limit_counted(limits: Limits) -> Any:
    """Return the filter of the edge's own buckets that `counted` routes drain: one of an address for each name.

    Whole tokens come back each second, so that its fixed `retry-after` is true; slower is for a bucket that is shared.
    """
    sizes = {each.what: getattr(limits, each.bucket) for each in COUNTED}
    descriptors = [
        part("counted_bucket", what=what, bucket=_bucket(Bucket(size.burst, max(1, size.per_second))))
        for what, size in sizes.items()
    ]
    return part("limit_routes", name="routes", descriptors=descriptors)


def limit_together(profile: str, cluster: str, *, seconds: float) -> Any:
    """Return the filter that asks svc_limits, for routes that say so; after `seconds` it lets a call pass."""
    return part("limit_together", profile=profile, cluster=cluster, timeout=f"{seconds:g}s")


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
