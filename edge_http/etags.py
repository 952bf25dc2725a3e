"""Entity tags (RFC 9110): where a message's etag is found, and whether a client already has what it asks for."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from operator import attrgetter
from typing import Any

from google.protobuf.descriptor import Descriptor

_OPAQUE = re.compile(r"[!#-~]{1,128}")


def version_getter(descriptor: Descriptor, *names: str) -> Callable[[Any], str] | None:
    """Return what reads the first of these fields that a message has: its own, or that of its only resource.

    A response such as `{product: {..., etag}}` has one message with an etag at its top; with two of them neither speaks
    for the whole.
    """
    for name in names:
        if _is_plain(descriptor, name):
            get = attrgetter(name)
            return lambda message: str(get(message) or "")
        holders = [
            field
            for field in descriptor.fields
            if field.message_type is not None and not field.is_repeated and _is_plain(field.message_type, name)
        ]
        if len(holders) == 1:
            inner = attrgetter(f"{holders[0].name}.{name}")
            return lambda message: str(inner(message) or "")
    return None


def _is_plain(descriptor: Descriptor, name: str) -> bool:
    field = descriptor.fields_by_name.get(name)
    return field is not None and not field.is_repeated and field.message_type is None


def quoted(etag: str) -> str:
    """Return an etag as a header carries it; nothing where its characters do not allow that."""
    return f'"{etag}"' if _OPAQUE.fullmatch(etag) else ""


def of_body(body: bytes) -> str:
    """Return the etag of an answer that has no version of its own: of its bytes."""
    return f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'


def matches(if_none_match: str, etag: str) -> bool:
    """Whether a client has this version already: the weak comparison, for Envoy weakens what it compresses."""
    if if_none_match.strip() == "*":
        return True
    return any(candidate.strip().removeprefix("W/") == etag for candidate in if_none_match.split(","))
