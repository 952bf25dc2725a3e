"""FileService on the wire: decodes, calls the store, encodes."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import asyncpg
from google.api import httpbody_pb2

from mesh import audit
from mesh.database import Database
from mesh.seams import Ids
from svc_bulk.file import store
from svc_bulk.file.store import File
from svc_bulk.file.wire import CONTENT_TYPES, format_of, to_wire
from titan.bulk.v1 import file_service_pb2 as pb
from titan.bulk.v1 import file_service_pb2_grpc


class FileServicer(file_service_pb2_grpc.FileServiceServicer):
    """Serves FileService from one database."""

    def __init__(self, db: Database, ids: Ids) -> None:
        self._db = db
        self._ids = ids

    async def CreateFile(self, request: pb.CreateFileRequest, context: Any) -> pb.CreateFileResponse:
        """Has no refusals of its own: a body is smaller than a file may be."""
        file_id, format = self._ids.new(), format_of(request.format)

        async def make(tx: asyncpg.Connection) -> File:
            made = await store.save_new(tx, file_id, request.name, format, request.part.data)
            await audit.accept(tx, store.resource(file_id))
            return made

        return pb.CreateFileResponse(file=to_wire(await self._db.transact(make)))

    async def AppendFile(self, request: pb.AppendFileRequest, context: Any) -> pb.AppendFileResponse:
        """Refuses with FILE_NOT_FOUND, FILE_OFFSET_MISMATCH, FILE_TOO_LARGE or FILE_SEALED."""
        file_id = UUID(request.file_id)
        longer = await self._db.transact(lambda tx: store.save_appended(tx, file_id, request.offset, request.part.data))
        return pb.AppendFileResponse(file=to_wire(longer))

    async def GetFile(self, request: pb.GetFileRequest, context: Any) -> pb.GetFileResponse:
        """Refuses with FILE_NOT_FOUND."""
        async with self._db.hot_read() as connection:
            return pb.GetFileResponse(file=to_wire(await store.get(connection, UUID(request.file_id))))

    async def ReadFile(self, request: pb.ReadFileRequest, context: Any) -> pb.ReadFileResponse:
        """Refuses with FILE_NOT_FOUND."""
        file_id = UUID(request.file_id)
        async with self._db.hot_read() as connection:
            file = await store.get(connection, file_id)
            content = await store.read(connection, file_id, request.offset)
        return pb.ReadFileResponse(body=httpbody_pb2.HttpBody(content_type=CONTENT_TYPES[file.format], data=content))
