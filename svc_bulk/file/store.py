"""All SQL of files. A file is a row and its parts; `start_byte` of a part is where it begins in the file."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

import asyncpg

from mesh import audit
from mesh.database import Database
from svc_bulk.errors import FileNotFound, FileOffsetMismatch, FileSealed, FileTooLarge

MAX_FILE_BYTES = 64 * 1024 * 1024
PART_BYTES = 512 * 1024
"""The largest part that is stored: what a process holds of a file while it copies one."""
READ_BYTES = 2 * 1024 * 1024
"""What one call reads: half of what a message may have."""
FILES_KEPT_DAYS = 7


class Format(StrEnum):
    """How the rows of a file are written; the twin of `titan.bulk.v1.FileFormat`, where a page is unspecified."""

    CSV = "CSV"
    NDJSON = "NDJSON"
    PAGE = "PAGE"


@dataclass(frozen=True, slots=True)
class File:
    """A file without its content."""

    file_id: UUID
    name: str
    format: Format
    size_bytes: int
    created_at: datetime


def resource(file_id: UUID) -> str:
    """Return how the audit log names a file."""
    return f"files/{file_id}"


_COLUMNS = "file_id, name, format, size_bytes, created_at"


async def save_new(tx: asyncpg.Connection, file_id: UUID, name: str, format: Format, content: bytes) -> File:
    """Make a file with its first content.

    Raises:
        FileTooLarge: It has more than `MAX_FILE_BYTES`.
    """
    await tx.execute("INSERT INTO files (file_id, name, format) VALUES ($1, $2, $3)", file_id, name, format.value)
    return await _append(tx, file_id, 0, content)


async def save_appended(tx: asyncpg.Connection, file_id: UUID, offset: int, content: bytes) -> File:
    """Append to a file; what was appended there before, byte for byte, changes nothing.

    Raises:
        FileNotFound: There is none.
        FileSealed: An operation has it.
        FileOffsetMismatch: The file does not end at `offset`.
        FileTooLarge: It would have more than `MAX_FILE_BYTES`.
    """
    row = await tx.fetchrow(f"SELECT {_COLUMNS}, sealed FROM files WHERE file_id = $1 FOR UPDATE", file_id)
    if row is None:
        raise _no_file(file_id)
    size: int = row["size_bytes"]
    if offset + len(content) == size and content:
        if await read(tx, file_id, offset, len(content)) == content:
            return _file(row)
    if row["sealed"]:
        raise FileSealed("an operation has begun with this file", file_id=file_id)
    if offset != size:
        raise FileOffsetMismatch(f"the file ends at byte {size}", file_id=file_id, size_bytes=size)
    await audit.accept(tx, resource(file_id))
    return await _append(tx, file_id, size, content)


async def append_result(
    tx: asyncpg.Connection, operation_id: UUID, new_id: UUID, name: str, format: Format, content: bytes
) -> None:
    """Append to the file of that name which an operation writes, made where there is none.

    Raises:
        FileTooLarge: It would have more than `MAX_FILE_BYTES`.
    """
    row = await tx.fetchrow(
        "INSERT INTO files (file_id, name, format, sealed, operation_id) VALUES ($1, $2, $3, true, $4)"
        " ON CONFLICT (operation_id, name) DO UPDATE SET sealed = true RETURNING file_id, size_bytes",
        new_id,
        name,
        format.value,
        operation_id,
    )
    await _append(tx, row["file_id"], row["size_bytes"], content)


async def seal(tx: asyncpg.Connection, file_id: UUID) -> None:
    """Let a file change no more.

    Raises:
        FileNotFound: There is none, or it is a page.
    """
    sealed = await tx.execute("UPDATE files SET sealed = true WHERE file_id = $1 AND format <> 'PAGE'", file_id)
    if sealed.endswith(" 0"):
        raise _no_file(file_id)


async def get(connection: asyncpg.Connection, file_id: UUID) -> File:
    """Return a file without its content.

    Raises:
        FileNotFound: There is none.
    """
    row = await connection.fetchrow(f"SELECT {_COLUMNS} FROM files WHERE file_id = $1", file_id)
    if row is None:
        raise _no_file(file_id)
    return _file(row)


async def list_results(connection: asyncpg.Connection, operation_id: UUID) -> list[File]:
    """Return the files that an operation has written, by their names."""
    rows = await connection.fetch(f"SELECT {_COLUMNS} FROM files WHERE operation_id = $1 ORDER BY name", operation_id)
    return [_file(row) for row in rows]


async def read(connection: asyncpg.Connection, file_id: UUID, offset: int, limit: int = READ_BYTES) -> bytes:
    """Return at most `limit` bytes of a file from a place on; nothing where it ends."""
    rows = await connection.fetch(
        "SELECT start_byte, content FROM file_parts WHERE file_id = $1 AND start_byte < $3"
        " AND start_byte + octet_length(content) > $2 ORDER BY start_byte",
        file_id,
        offset,
        offset + limit,
    )
    if not rows:
        return b""
    skipped = offset - rows[0]["start_byte"]
    return b"".join(row["content"] for row in rows)[skipped : skipped + limit]


async def parts(db: Database, file_id: UUID) -> AsyncIterator[bytes]:
    """Yield the content of a file, a part at a time; no connection is held in between.

    Raises:
        FileNotFound: There is none.
    """
    async with db.hot_read() as connection:
        size = (await get(connection, file_id)).size_bytes
    start = 0
    while start < size:
        async with db.hot_read() as connection:
            content: bytes | None = await connection.fetchval(
                "SELECT content FROM file_parts WHERE file_id = $1 AND start_byte = $2", file_id, start
            )
        if content is None:
            raise _no_file(file_id)
        yield content
        start += len(content)


async def prune(tx: asyncpg.Connection, *, limit: int) -> int:
    """Forget at most so many old files that no operation waits for, and say how many."""
    deleted: str = await tx.execute(
        "DELETE FROM files WHERE file_id IN ("
        " SELECT file_id FROM files f WHERE created_at < now() - make_interval(days => $1) AND NOT EXISTS ("
        "  SELECT FROM operations o WHERE o.ended_at IS NULL AND o.source_file_id = f.file_id"
        " ) ORDER BY created_at LIMIT $2)",
        FILES_KEPT_DAYS,
        limit,
    )
    return int(deleted.split()[-1])


async def _append(tx: asyncpg.Connection, file_id: UUID, start: int, content: bytes) -> File:
    if start + len(content) > MAX_FILE_BYTES:
        raise FileTooLarge(f"a file has at most {MAX_FILE_BYTES // 1024**2} MiB", file_id=file_id)
    pieces: Sequence[bytes] = list(_pieces(content))
    if pieces:
        places = [start + number * PART_BYTES for number in range(len(pieces))]
        await tx.execute(
            "INSERT INTO file_parts (file_id, start_byte, content) SELECT $1, * FROM unnest($2::bigint[], $3::bytea[])",
            file_id,
            places,
            pieces,
        )
    row = await tx.fetchrow(
        f"UPDATE files SET size_bytes = $2 WHERE file_id = $1 RETURNING {_COLUMNS}", file_id, start + len(content)
    )
    return _file(row)


def _pieces(content: bytes) -> Iterator[bytes]:
    for start in range(0, len(content), PART_BYTES):
        yield content[start : start + PART_BYTES]


def _file(row: asyncpg.Record) -> File:
    return File(row["file_id"], row["name"], Format(row["format"]), row["size_bytes"], row["created_at"])


def _no_file(file_id: UUID) -> FileNotFound:
    return FileNotFound(f"no file {file_id}", file_id=file_id)
