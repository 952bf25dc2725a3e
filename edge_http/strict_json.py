"""Reads the bytes of a JSON body (RFC 8259), and refuses what parsers disagree about.

Duplicate keys, NaN and Infinity, a byte order mark, NUL characters and lone surrogates are each read one way by one
program and another way by the next, so none of them is let in. Depth is bounded; size is bounded before this module.
"""

from __future__ import annotations

import json
import re
from typing import Any

from mesh.refusals import InvalidInput

MAX_NESTING_LEVELS = 32

_NESTED = re.compile(r'"(?:[^"\\]|\\.)*"|[\[{]|[\]}]')
_SURROGATE = re.compile("[\ud800-\udfff]")


class _Refused(ValueError):
    """Raised inside the parser's hooks; the message is for the caller."""


def parse(body: bytes) -> Any:
    """Return the value of a JSON text.

    Raises:
        InvalidInput: It is not JSON, or not JSON that everybody reads alike.
    """
    if body.startswith(b"\xef\xbb\xbf"):
        raise InvalidInput("the body starts with a byte order mark, which JSON does not allow")
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidInput(f"the body is not UTF-8 (byte {error.start})") from None
    if text.count("{") + text.count("[") > MAX_NESTING_LEVELS:
        _refuse_depth(text)
    try:
        value = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise InvalidInput(f"the body is not JSON: line {error.lineno}, column {error.colno}") from None
    except _Refused as refused:
        raise InvalidInput(str(refused)) from None
    except (ValueError, RecursionError):
        # Python refuses to read numbers of more than 4,300 digits: their cost is quadratic.
        raise InvalidInput("the body is not JSON that can be read: a number is too long") from None
    if "\\u" in text:
        _refuse_odd_characters(value)
    return value


def _refuse_depth(text: str) -> None:
    depth = 0
    for found in _NESTED.finditer(text):
        kind = found.group()
        if kind in "[{":
            depth += 1
            if depth > MAX_NESTING_LEVELS:
                raise InvalidInput(f"the body is nested deeper than {MAX_NESTING_LEVELS} levels")
        elif kind in "]}":
            depth -= 1


def _refuse_odd_characters(value: Any) -> None:
    """Refuse what only an escape can bring in: NUL, which Postgres cannot hold, and halves of characters."""
    waiting = [value]
    while waiting:
        found = waiting.pop()
        if isinstance(found, str):
            if "\x00" in found:
                raise InvalidInput("a text holds the character NUL, which cannot be stored")
            if not found.isascii() and _SURROGATE.search(found):
                raise InvalidInput("a text holds half of a character (a lone surrogate)")
        elif isinstance(found, list):
            waiting.extend(found)
        elif isinstance(found, dict):
            waiting.extend(found)
            waiting.extend(found.values())


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise _Refused(f"the name {json.dumps(name[:64])} stands twice in one object")
            seen.add(name)
    return found


def _constant(word: str) -> Any:
    raise _Refused(f"{word} is not JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant)
