"""Writes that don't read one another, sent to the database as one statement.

A round trip costs more than what most of these statements do, so the last writes of a transaction, its journal entry,
its projection and its events, travel together as the parts of one WITH. All parts see the database as it was before the
statement, constraints are checked when all are done, and no two parts may write the same row; a part may read what an
earlier one returns, by its name. This module knows no table.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import asyncpg

MAX_WRITES = 16
"""Of one statement. Far below what the server takes; more would be a loop that should have been a set."""

_PARAMETER = re.compile(r"\$(\d+)")


@dataclass(frozen=True, slots=True)
class Write:
    """One INSERT, UPDATE or DELETE with its arguments, numbered from $1. Its name is what later parts call it."""

    sql: str
    arguments: tuple[Any, ...]
    name: str = ""


async def write(tx: asyncpg.Connection, *writes: Write | None, returning: str = "") -> list[asyncpg.Record]:
    """Run writes as one statement in the caller's transaction; those that are None are left out.

    `returning` is a query over the named parts; its rows are returned, none without it.

    Raises:
        ValueError: There are more than `MAX_WRITES`.
    """
    made = [each for each in writes if each is not None]
    if not made:
        return []
    if len(made) > MAX_WRITES:
        raise ValueError(f"{len(made)} writes in one statement, at most {MAX_WRITES}")
    arguments = [argument for each in made for argument in each.arguments]
    text = _compose(tuple((each.name, each.sql, len(each.arguments)) for each in made), returning)
    if returning:
        return list(await tx.fetch(text, *arguments))
    await tx.execute(text, *arguments)
    return []


@lru_cache(maxsize=256)
def _compose(parts: Sequence[tuple[str, str, int]], returning: str) -> str:
    if len(parts) == 1 and not returning:
        return parts[0][1]
    texts, first = [], 0
    for place, (name, sql, count) in enumerate(parts):
        texts.append(f"{name or f'write_{place}'} AS ({_renumbered(sql, first)})")
        first += count
    return f"WITH {', '.join(texts)} {returning or 'SELECT'}"


def _renumbered(sql: str, first: int) -> str:
    return _PARAMETER.sub(lambda match: f"${int(match[1]) + first}", sql)
