"""The test contract, compiled once per run, and a servicer that says what it was asked."""

from __future__ import annotations

import asyncio
import importlib
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import grpc_tools
from google.api import httpbody_pb2
from grpc_tools import protoc

from mesh import contract
from mesh.contract import Contract
from mesh.refusals import InternalError, Refusal, Unavailable

ROOT = Path(__file__).resolve().parents[2]
SERVICE = "titan_edge.v1.EverythingService"


@cache
def _module() -> Any:
    folder = Path(tempfile.mkdtemp(prefix="titan-protos-"))
    well_known = Path(grpc_tools.__file__).parent / "_proto"
    roots = (ROOT / "tests/edge_http/protos", ROOT / "protos", ROOT / "third_party", well_known)
    name = "titan_edge/v1/everything_service.proto"
    assert protoc.main(["protoc", *(f"-I{each}" for each in roots), f"--python_out={folder}", name]) == 0
    sys.path.append(str(folder))
    importlib.invalidate_caches()
    return importlib.import_module("titan_edge.v1.everything_service_pb2")


pb = _module()


@cache
def everything_contract() -> Contract:
    """Return the contract of the test service."""
    return contract.of_files([pb.DESCRIPTOR])


class ThingLocked(Refusal):
    """A refusal of the test's own."""


class Everything:
    """Answers with the request; a thing's name says what else to do."""

    def __init__(self) -> None:
        self.metadata: list[dict[str, str]] = []
        self.started = asyncio.Event()
        self.ended = asyncio.Event()
        self.release = asyncio.Event()

    async def Read(self, request: Any, context: Any) -> Any:
        self.metadata.append(dict(context.invocation_metadata()))
        await self._obey(request.thing.name)
        return pb.ReadResponse(seen=request)

    async def Change(self, request: Any, context: Any) -> Any:
        await self._obey(request.name)
        return pb.ChangeResponse(thing=pb.Thing(name=request.name, etag="v7"), seen=pb.Seen(request=request))

    Land = Change

    async def Convert(self, request: Any, context: Any) -> Any:
        await self._obey(request.name)
        return httpbody_pb2.HttpBody(content_type=request.file.content_type, data=request.file.data[::-1])

    async def Names(self, request: Any, context: Any) -> Any:
        return pb.NamesResponse(names=["a", "b"])

    async def Watch(self, request: Any, context: Any) -> Any:
        name = request.thing.name
        try:
            if name == "locked":
                raise ThingLocked("the thing is locked")
            if name == "silent":
                self.started.set()
                await asyncio.sleep(30)
            for version in (1, 2, 3):
                yield pb.ChangeResponse(thing=pb.Thing(name=f"{name} {version}", etag=f"v{version}"))
            self.started.set()
            if name == "stays":
                await asyncio.sleep(30)
            if name == "fails":
                raise ThingLocked("the thing was locked meanwhile", since="today")
        finally:
            self.ended.set()

    async def _obey(self, name: str) -> None:
        if name == "crash":
            raise ValueError("the password is swordfish")
        if name == "locked":
            raise ThingLocked("the thing is locked", name=name)
        if name == "away":
            raise Unavailable("unix:/secret/path.sock: no such file", retry_after_seconds=2.2)
        if name == "inside":
            raise InternalError("table secret_things does not exist")
        if name.startswith("held"):
            self.started.set()
            await self.release.wait()
        if name == "slow":
            self.started.set()
            try:
                await asyncio.sleep(30)
            finally:
                self.ended.set()
