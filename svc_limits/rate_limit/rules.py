"""Which bucket a descriptor means, and when there is a token in it again. Pure: no clock, no network, no Redis."""

from __future__ import annotations

import hmac
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mesh.refusals import InvalidInput
from mesh.topology import Bucket, Limits

Entry = tuple[str, str]
"""A word of a descriptor: its key and its value."""

SPEAKS = "speaks"
"""The key of the entry that says in which protocol a refusal is read; it tells no buckets apart."""

_DIGEST_BYTES = 16
_SECOND_MICROSECONDS = 1_000_000


@dataclass(frozen=True)
class Drained:
    """A bucket of somebody: under which key it lies, and how large it is."""

    key: str
    bucket: Bucket

    @property
    def token_microseconds(self) -> int:
        """How long a token takes to come back."""
        return max(1, round(_SECOND_MICROSECONDS / self.bucket.per_second))


@dataclass(frozen=True)
class Taken:
    """What a bucket gave: how many tokens it has now, and how long the first takes to come where it had none."""

    left: int
    wait_microseconds: int

    @property
    def had_one(self) -> bool:
        """Whether there was a token in it."""
        return self.wait_microseconds == 0


def drained(limits: Mapping[str, Limits], profile: str, entries: Sequence[Entry], *, secret: bytes) -> Drained:
    """Return the bucket that a descriptor means: its first entry names it, the others say whose it is.

    Its key is a keyed digest: of one length whoever it is about, and who sees it finds no address by trying them all.
    Processes with one `secret` mean one bucket.

    Raises:
        InvalidInput: The profile's limits share no bucket of this name.
    """
    (name, _), *_ = entries
    bucket = limits[profile].shared_bucket(name) if profile in limits else None
    if bucket is None:
        raise InvalidInput(f"the edges share no bucket {name!r} in the profile {profile!r}")
    telling = [entry for entry in entries if entry[0] != SPEAKS]
    digest = hmac.digest(secret, json.dumps([profile, *telling]).encode(), "sha256")
    return Drained(f"limits:{digest[:_DIGEST_BYTES].hex()}", bucket)


def seconds_to_wait(taken: Sequence[Taken]) -> int:
    """Return after how many whole seconds every bucket has a token; 0 when each had one."""
    return math.ceil(max(each.wait_microseconds for each in taken) / _SECOND_MICROSECONDS)


def is_read_as_grpc(descriptors: Sequence[Sequence[Entry]]) -> bool:
    """Tell whether a refusal is read over gRPC."""
    return any((SPEAKS, "grpc") in entries for entries in descriptors)
