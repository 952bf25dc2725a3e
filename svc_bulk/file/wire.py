"""Files between Python and protobuf."""

from __future__ import annotations

from typing import Any

from svc_bulk.file.store import File, Format
from titan.bulk.v1 import file_pb2

_FORMATS: dict[Format, Any] = {
    Format.CSV: file_pb2.FILE_FORMAT_CSV,
    Format.NDJSON: file_pb2.FILE_FORMAT_NDJSON,
    Format.PAGE: file_pb2.FILE_FORMAT_UNSPECIFIED,
}
CONTENT_TYPES = {
    Format.CSV: "text/csv; charset=utf-8",
    Format.NDJSON: "application/x-ndjson",
    Format.PAGE: "text/html; charset=utf-8",
}


def format_of(wired: int) -> Format:
    """Return the format of a request."""
    return next(each for each, number in _FORMATS.items() if number == wired)


def to_wire(file: File) -> file_pb2.File:
    """Return a file as the contract writes it."""
    wired = file_pb2.File(
        file_id=str(file.file_id), name=file.name, format=_FORMATS[file.format], size_bytes=file.size_bytes
    )
    wired.create_time.FromDatetime(file.created_at)
    return wired
