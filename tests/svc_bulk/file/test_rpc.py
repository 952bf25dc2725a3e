"""FileService behind the real chain, on a real Postgres."""

from __future__ import annotations

import os
from uuid import uuid4

import grpc
import pytest
from google.api import httpbody_pb2

from svc_bulk.file import store
from tests.harness import reason_of
from tests.svc_bulk.conftest import CSV, NDJSON, Bulk
from titan.bulk.v1 import file_pb2
from titan.bulk.v1 import file_service_pb2 as pb


async def append(bulk: Bulk, file_id: str, offset: int, data: bytes) -> file_pb2.File:
    request = pb.AppendFileRequest(file_id=file_id, offset=offset, part=httpbody_pb2.HttpBody(data=data))
    return (await bulk.files.AppendFile(request, metadata=bulk.admin)).file


async def refused(bulk: Bulk, file_id: str, offset: int, data: bytes) -> str:
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await append(bulk, file_id, offset, data)
    return reason_of(refusal.value)


async def test_a_file_grows_part_by_part_and_is_read_from_anywhere(bulk: Bulk):
    """Whatever the parts were, the content is one."""
    parts = [os.urandom(1_000_000) for _ in range(4)]
    file_id = await bulk.file(parts[0])
    for number, part in enumerate(parts[1:], start=1):
        grown = await append(bulk, file_id, number * 1_000_000, part)
    whole = b"".join(parts)
    assert len(whole) == grown.size_bytes

    found, offset = b"", 0
    while offset < grown.size_bytes:
        request = pb.ReadFileRequest(file_id=file_id, offset=offset)
        content = (await bulk.files.ReadFile(request, metadata=bulk.admin)).body.data
        assert 0 < len(content) <= store.READ_BYTES
        found, offset = found + content, offset + len(content)
    assert whole == found
    for offset in (0, 1, 524_287, 524_288, 1_000_001, 3_999_999, 4_000_000, 9_000_000):
        request = pb.ReadFileRequest(file_id=file_id, offset=offset)
        body = (await bulk.files.ReadFile(request, metadata=bulk.admin)).body.data
        assert whole[offset : offset + store.READ_BYTES] == body


async def test_a_file_says_what_it_is(bulk: Bulk):
    """And so does the content that is read."""
    file_id = await bulk.file('{"sku": "a"}\n', NDJSON, "prices.ndjson")

    file = (await bulk.files.GetFile(pb.GetFileRequest(file_id=file_id), metadata=bulk.admin)).file
    body = (await bulk.files.ReadFile(pb.ReadFileRequest(file_id=file_id), metadata=bulk.admin)).body
    assert ("prices.ndjson", NDJSON, 13) == (file.name, file.format, file.size_bytes)
    assert "application/x-ndjson" == body.content_type


async def test_a_part_that_comes_twice_counts_once(bulk: Bulk):
    """Whoever did not hear the answer sends it again."""
    file_id = await bulk.file("one,")
    assert 8 == (await append(bulk, file_id, 4, b"two,")).size_bytes
    assert 8 == (await append(bulk, file_id, 4, b"two,")).size_bytes

    assert "FILE_OFFSET_MISMATCH" == await refused(bulk, file_id, 4, b"TWO,")
    assert "FILE_OFFSET_MISMATCH" == await refused(bulk, file_id, 9, b"three")


async def test_a_file_that_an_operation_has_changes_no_more(bulk: Bulk):
    """What was checked in a dry run is what is carried out."""
    file_id = await bulk.file("sku,delta\n")
    await bulk.start(stock_update={"file_id": file_id, "dry_run": True})

    assert "FILE_SEALED" == await refused(bulk, file_id, 10, b"A,1\n")


async def test_a_file_is_no_larger_than_a_file_may_be(bulk: Bulk):
    """To the byte."""
    file_id = await bulk.file("a")
    async with bulk.db.hot() as tx:
        await tx.execute("UPDATE files SET size_bytes = $1", store.MAX_FILE_BYTES - 3)

    assert "FILE_TOO_LARGE" == await refused(bulk, file_id, store.MAX_FILE_BYTES - 3, b"four")
    assert store.MAX_FILE_BYTES == (await append(bulk, file_id, store.MAX_FILE_BYTES - 3, b"333")).size_bytes


async def test_an_unknown_file_is_not_found(bulk: Bulk):
    """Whatever is asked of it."""
    nobody = str(uuid4())
    for call, request in (
        (bulk.files.GetFile, pb.GetFileRequest(file_id=nobody)),
        (bulk.files.ReadFile, pb.ReadFileRequest(file_id=nobody)),
        (bulk.files.AppendFile, pb.AppendFileRequest(file_id=nobody)),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await call(request, metadata=bulk.admin)
        assert "FILE_NOT_FOUND" == reason_of(refusal.value)


async def test_old_files_are_forgotten_unless_an_operation_waits_for_them(bulk: Bulk):
    """With all their parts."""
    old, wanted, fresh = [await bulk.file("sku,delta\n", CSV) for _ in range(3)]
    await bulk.start(stock_update={"file_id": wanted})
    async with bulk.db.hot() as tx:
        long_ago = "UPDATE files SET created_at = now() - make_interval(days => $1) WHERE file_id::text <> $2"
        await tx.execute(long_ago, store.FILES_KEPT_DAYS + 1, fresh)

    assert 1 == await bulk.db.transact(lambda tx: store.prune(tx, limit=10))
    async with bulk.db.hot_read() as connection:
        left = {str(row["file_id"]) for row in await connection.fetch("SELECT DISTINCT file_id FROM file_parts")}
    assert {wanted, fresh} == left and old not in left
