"""What a copy of a database shows to whoever has one: every row of every table, and how a word looks in it."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator

import asyncpg


def spellings(word: str) -> Iterator[str]:
    """A word as a row shows it that has it as a text, as bytes, or in base64."""
    yield word
    yield word.encode().hex()
    for shift in range(3):
        # The middle of it: what stands beside the word changes no more than the ends.
        yield base64.b64encode(b"\0" * shift + word.encode()).decode()[4:-4]


def shown(words: Iterable[str], copy: str) -> list[str]:
    """Return those of the words that a copy of a database shows."""
    return [word for word in words if any(each in copy for each in spellings(word))]


async def copy_of(connection: asyncpg.Connection) -> str:
    """Return every row of every table, each value as Postgres writes it."""
    tables = await connection.fetch("SELECT relname FROM pg_stat_user_tables WHERE schemaname = 'public'")
    rows = [
        row["row"]
        for table in tables
        for row in await connection.fetch(f'SELECT t::text AS row FROM "{table["relname"]}" t')
    ]
    return "\n".join(rows)
