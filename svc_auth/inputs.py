"""What the contract's limits cannot say about a call: what Postgres can hold, and that somebody calls in person."""

from __future__ import annotations

from mesh.identity import Caller
from mesh.refusals import AccessDenied, InvalidInput


def plain(field: str, text: str) -> str:
    """Let a text pass that Postgres can hold.

    Raises:
        InvalidInput: It contains a NUL character.
    """
    if "\x00" in text:
        raise InvalidInput.of(field, "must not contain a NUL character")
    return text


def in_person(caller: Caller) -> Caller:
    """Let pass whoever calls in their own name: how a user signs in is not the business of who acts for them.

    Raises:
        AccessDenied: The caller acts for somebody else.
    """
    if caller.actor_id is not None:
        raise AccessDenied("whoever acts for somebody has no say in how that user signs in")
    return caller
