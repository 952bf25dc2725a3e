"""The sample contract of the runtime's tests: compiled once per run, served by a servicer that does what it is told."""

from __future__ import annotations

import asyncio
import atexit
import importlib
import shutil
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from grpc_tools import protoc

from mesh import calls, contract
from mesh.contract import Contract
from mesh.identity import caller_of
from mesh.refusals import Refusal

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = "titan_test.v1.SampleService"
QUIET = "titan_test.v1.QuietService"


@cache
def modules() -> tuple[Any, Any, Any]:
    """Return sample_service_pb2, sample_service_pb2_grpc and broken_service_pb2."""
    import grpc_tools

    folder = Path(tempfile.mkdtemp(prefix="titan-protos-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    well_known = Path(grpc_tools.__file__).parent / "_proto"
    arguments = ["protoc", *(f"-I{p}" for p in (ROOT / "tests/mesh/protos", ROOT / "protos", ROOT / "third_party"))]
    names = [f"titan_test/v1/{name}_service.proto" for name in ("sample", "broken")]
    arguments += [f"-I{well_known}", f"--python_out={folder}", f"--grpc_python_out={folder}", *names]
    assert protoc.main(arguments) == 0
    sys.path.append(str(folder))
    importlib.invalidate_caches()
    return tuple(
        importlib.import_module(f"titan_test.v1.{name}")
        for name in ("sample_service_pb2", "sample_service_pb2_grpc", "broken_service_pb2")
    )  # type: ignore[return-value]


pb, rpc, broken_pb = modules()


@cache
def sample_contract() -> Contract:
    """Return the contract of the sample services."""
    return contract.of_files([pb.DESCRIPTOR])


class TextTooShort(Refusal):
    """A refusal of the sample's own."""


class Sample:
    """Answers with the text of the request, after doing what the text says."""

    def __init__(self) -> None:
        self.callers: list[Any] = []
        self.remaining: list[float | None] = []
        self.ended = asyncio.Event()
        self.calls = 0
        self.fail_first = 0

    async def Echo(self, request: Any, context: Any) -> Any:
        self.calls += 1
        self.callers.append(caller_of(context))
        self.remaining.append(calls.remaining_seconds())
        if request.text == "crash":
            raise ValueError("the password is swordfish")
        if request.text == "refuse":
            raise TextTooShort("say more", least=3)
        if request.text == "fail-first" and self.calls <= self.fail_first:
            from mesh.refusals import Unavailable

            raise Unavailable("not yet")
        if request.text == "fail-then-hang":
            from mesh.refusals import Unavailable

            if self.calls == 1:
                raise Unavailable("it is away")
            await asyncio.sleep(30)
        if request.text.startswith("sleep:"):
            await asyncio.sleep(float(request.text.removeprefix("sleep:")))
        return pb.EchoResponse(text=request.text)

    Change = Administer = Internal = Hurry = Note = Echo

    async def Watch(self, request: Any, context: Any) -> Any:
        self.callers.append(caller_of(context))
        try:
            for number in range(3):
                yield pb.EchoResponse(text=str(number))
            if request.text == "crash":
                raise ValueError("the password is swordfish")
            if request.text == "refuse":
                raise TextTooShort("say more", least=3)
            if request.text == "stay":
                await asyncio.sleep(30)
        finally:
            self.ended.set()

    WatchBriefly = Watch
