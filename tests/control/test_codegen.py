"""Generated code is either fresh or refused, and a contract that does not compile costs nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from control.codegen import GenerationFailed, differences, generate, replace

MESSAGE = 'syntax = "proto3"; package titan.tried.v1; message Tried { string name = 1; }'
SERVICE = """syntax = "proto3"; package titan.tried.v1; import "titan/tried/v1/tried.proto";
service TriedService { rpc Try(Tried) returns (Tried); }"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A repository with one message, one service and a vendored google proto."""
    contracts = tmp_path / "protos" / "titan" / "tried" / "v1"
    contracts.mkdir(parents=True)
    (contracts / "tried.proto").write_text(MESSAGE)
    (contracts / "tried_service.proto").write_text(SERVICE)
    vendored = tmp_path / "third_party" / "google" / "tried"
    vendored.mkdir(parents=True)
    (vendored / "tried.proto").write_text('syntax = "proto3"; package google.tried;')
    return tmp_path


def test_modules_stubs_and_grpc_stubs_are_generated_but_nothing_of_google(tree: Path):
    """A contract without a service gets no gRPC module; google's messages are installed."""
    target = tree / "gen"
    replace(target, root=tree)

    assert [
        "titan/tried/v1/tried_pb2.py",
        "titan/tried/v1/tried_pb2.pyi",
        "titan/tried/v1/tried_service_pb2.py",
        "titan/tried/v1/tried_service_pb2.pyi",
        "titan/tried/v1/tried_service_pb2_grpc.py",
    ] == sorted(path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file())
    assert [] == differences(target, root=tree)


def test_comments_are_kept_by_full_name(tree: Path):
    """Of everything in Titan's own contracts that has one; those of others stay where they are."""
    contract = """syntax = "proto3"; package titan.tried.v1;
// Something tried.
//
// Twice.
message Tried {
  // Its "name", an é.
  string name = 1;
  // Inside.
  message Inner { int32 bare = 1; }
  // A choice.
  oneof choice {
    // One of them.
    string one = 2;
  }
}
// A kind.
enum Kind {
  // None.
  KIND_UNSPECIFIED = 0;
}"""
    (tree / "protos" / "titan" / "tried" / "v1" / "tried.proto").write_text(contract)
    vendored = tree / "third_party" / "other" / "tried.proto"
    vendored.parent.mkdir()
    vendored.write_text('syntax = "proto3"; package other;\n// Not ours.\nmessage Other {}')
    target = tree / "gen"
    replace(target, root=tree)

    assert json.loads((target / "titan" / "comments.json").read_text()) == {
        "titan.tried.v1.Kind": "A kind.",
        "titan.tried.v1.Kind.KIND_UNSPECIFIED": "None.",
        "titan.tried.v1.Tried": "Something tried.\n\nTwice.",
        "titan.tried.v1.Tried.Inner": "Inside.",
        "titan.tried.v1.Tried.choice": "A choice.",
        "titan.tried.v1.Tried.name": 'Its "name", an é.',
        "titan.tried.v1.Tried.one": "One of them.",
    }
    assert differences(target, root=tree) == []


def test_what_differs_is_named(tree: Path):
    """A stale file, a missing one and one that nothing generates any more."""
    target = tree / "gen"
    replace(target, root=tree)
    folder = target / "titan" / "tried" / "v1"
    (folder / "tried_pb2.py").write_text("edited by hand")
    (folder / "tried_pb2.pyi").unlink()
    (folder / "gone_pb2.py").touch()

    assert [
        "missing: titan/tried/v1/tried_pb2.pyi",
        "not wanted: titan/tried/v1/gone_pb2.py",
        "stale: titan/tried/v1/tried_pb2.py",
    ] == differences(target, root=tree)


def test_a_contract_that_does_not_compile_leaves_the_tree_as_it_was(tree: Path, capfd: pytest.CaptureFixture[str]):
    """The old code stays usable; the compiler's message is shown."""
    target = tree / "gen"
    replace(target, root=tree)
    before = {path: path.read_bytes() for path in target.rglob("*.py")}
    (tree / "protos" / "titan" / "tried" / "v1" / "tried.proto").write_text("message {")

    with pytest.raises(GenerationFailed):
        replace(target, root=tree)

    assert before == {path: path.read_bytes() for path in target.rglob("*.py")}
    assert "tried.proto" in capfd.readouterr().err


def test_an_empty_tree_generates_nothing(tmp_path: Path):
    """There is nothing to compile before the first contract."""
    assert [] == generate(tmp_path, root=tmp_path)
