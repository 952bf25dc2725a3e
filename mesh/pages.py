"""Pages (AIP-158): how much fits one, and tokens that say where the next begins, bound to the method and its filters.

A token is opaque but no secret: it is not signed, so whoever decodes one treats its values as input.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Sequence
from typing import TypeVar
from uuid import UUID

from google.protobuf.message import Message

from mesh.refusals import PageTokenInvalid

DEFAULT_ITEMS = 20
MAX_ITEMS = 100
MAX_BYTES = 2 * 1024 * 1024
"""A page ends early rather than grow beyond this: half of what a message may have."""

_MAX_TOKEN_CHARACTERS = 2048
_NOT_OURS = "the page token is not one that this method gave for these filters"

Position = Sequence[str | int | None]
M = TypeVar("M", bound=Message)


def page_size(asked: int) -> int:
    """Return how many items a page has: 0 means the default, and more than the maximum means the maximum."""
    return min(asked, MAX_ITEMS) if asked > 0 else DEFAULT_ITEMS


def fitting(messages: Sequence[M], limit_bytes: int = MAX_BYTES) -> Sequence[M]:
    """Return as many of the first messages as fit a page, at least one where there is one."""
    size = 0
    for number, message in enumerate(messages):
        size += message.ByteSize()
        if number and size > limit_bytes:
            return messages[:number]
    return messages


def encode(method: str, position: Position, *filters: object) -> str:
    """Return the token for the page that begins after a position: the sort key of the last item shown."""
    body = json.dumps([_binding(method, filters), *position], separators=(",", ":"), ensure_ascii=False)
    return base64.urlsafe_b64encode(body.encode()).decode().rstrip("=")


def decode(token: str, method: str, *filters: object) -> list[str | int | None] | None:
    """Return the position inside a token of this method and these filters, or None for the first page.

    Raises:
        PageTokenInvalid: It is no token, or one of another method or of other filters.
    """
    if not token:
        return None
    try:
        if len(token) > _MAX_TOKEN_CHARACTERS:
            raise ValueError
        body = json.loads(base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True))
        if not isinstance(body, list) or not body or body[0] != _binding(method, filters):
            raise ValueError
        if not all(map(_storable, body)):
            raise ValueError
    except (ValueError, binascii.Error, RecursionError):
        raise PageTokenInvalid(_NOT_OURS) from None
    return body[1:]


def decode_id(token: str, method: str, *filters: object) -> UUID | None:
    """Return the id inside a token whose position is one id, or None for the first page.

    Raises:
        PageTokenInvalid: As `decode`, or the position is another.
    """
    position = decode(token, method, *filters)
    if position is None:
        return None
    try:
        [text] = position
        return UUID(str(text))
    except ValueError:
        raise PageTokenInvalid(_NOT_OURS) from None


def decode_number(token: str, method: str, *filters: object) -> int | None:
    """Return the number inside a token whose position is one number above zero, or None for the first page.

    Raises:
        PageTokenInvalid: As `decode`, or the position is another.
    """
    position = decode(token, method, *filters)
    if position is None:
        return None
    if len(position) != 1 or type(position[0]) is not int or position[0] <= 0:
        raise PageTokenInvalid(_NOT_OURS)
    return position[0]


def _storable(value: object) -> bool:
    """Return whether a forged value can at least be compared in the database: Postgres knows no NUL and 64 bits."""
    if type(value) is int:
        return -(2**63) <= value < 2**63
    return value is None or (type(value) is str and "\0" not in value)


def _binding(method: str, filters: tuple[object, ...]) -> str:
    return hashlib.sha256(json.dumps([method, *map(str, filters)]).encode()).hexdigest()[:12]
