"""Generates `gen/` from the contracts in `protos/` and the vendored ones in `third_party/`.

`python -m control.codegen` replaces the tree; `--check` only says whether the committed one is fresh. The `google.*`
messages come from the installed googleapis-common-protos and are never generated: two copies of one message cannot be
registered in one process.
"""

from __future__ import annotations

import argparse
import filecmp
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
IMPORT_ROOTS = ("protos", "third_party")
INSTALLED = ("google",)
"""Top-level proto folders whose Python modules are installed as packages."""

COMMENTS = Path("titan", "comments.json")
"""Where the contracts' comments go: generated modules do not carry them, and the API's description needs them."""

_SHOWN_DIFFERENCES = 20


class GenerationFailed(Exception):
    """The compiler refused a contract; its own message is already on standard error."""


def generate(into: Path, *, root: Path = ROOT) -> list[Path]:
    """Write the Python modules, type stubs and gRPC stubs of every contract under `into`.

    Returns the generated files, relative to `into`, in path order. A contract without a service gets no `_grpc` module.
    """
    import grpc_tools
    from grpc_tools import protoc

    sources = list(_contracts(root))
    if not sources:
        return []
    well_known = Path(grpc_tools.__file__).parent / "_proto"
    with tempfile.TemporaryDirectory(prefix="titan-gen-") as scratch:
        image = Path(scratch, "image.binpb")
        arguments = [
            "protoc",
            *(f"--proto_path={root / folder}" for folder in IMPORT_ROOTS),
            f"--proto_path={well_known}",
            f"--python_out={into}",
            f"--pyi_out={into}",
            f"--grpc_python_out={into}",
            f"--descriptor_set_out={image}",
            "--include_source_info",
            *sources,
        ]
        if protoc.main(arguments) != 0:
            raise GenerationFailed("protoc refused the contracts")
        comments = _comments(image.read_bytes())
    if comments:
        # Text, one comment a line and sorted, so that two changes of the contracts merge.
        lines = json.dumps(comments, indent=0, sort_keys=True, ensure_ascii=False)
        Path(into, COMMENTS).write_text(lines + "\n", encoding="utf-8")
    for module in into.rglob("*_pb2_grpc.py"):
        if "def add_" not in module.read_text():
            module.unlink()
    return sorted(_files(into))


def replace(target: Path, *, root: Path = ROOT) -> list[Path]:
    """Generate beside `target`, then swap: a contract that does not compile leaves the old tree as it was."""
    with tempfile.TemporaryDirectory(prefix=".gen-", dir=target.parent) as scratch:
        fresh = Path(scratch, "fresh")
        fresh.mkdir()
        files = generate(fresh, root=root)
        if target.exists():
            target.rename(Path(scratch, "stale"))
        fresh.rename(target)
    return files


def differences(target: Path, *, root: Path = ROOT) -> list[str]:
    """Return one line per file of `target` that is missing, stale or no longer wanted; none means fresh."""
    with tempfile.TemporaryDirectory(prefix="titan-gen-") as scratch:
        fresh = Path(scratch)
        wanted = set(generate(fresh, root=root))
        present = set(_files(target)) if target.exists() else set()
        lines = [f"missing: {path}" for path in wanted - present]
        lines += [f"not wanted: {path}" for path in present - wanted]
        lines += [
            f"stale: {path}" for path in wanted & present if not filecmp.cmp(fresh / path, target / path, shallow=False)
        ]
    return sorted(lines)


def _comments(image: bytes) -> dict[str, str]:
    """Return the comment of everything in Titan's own contracts that has one, by full name.

    `image` is a serialized FileDescriptorSet with source information.
    """
    from google.protobuf import descriptor_pb2

    found: dict[str, str] = {}
    for file in descriptor_pb2.FileDescriptorSet.FromString(image).file:
        if not file.package.startswith(f"{COMMENTS.parts[0]}."):
            continue
        for location in file.source_code_info.location:
            name = _name_at(file, location.path) if location.leading_comments else ""
            if name:
                found[name] = "\n".join(line.strip() for line in location.leading_comments.strip().splitlines())
    return found


def _name_at(file: Any, path: Sequence[int]) -> str:
    """Return the full name of what a path of source information points at; nothing where it has no name.

    A path is a list of steps through FileDescriptorProto: the number of a repeated field, then an index into it.
    """
    here = file
    names = [file.package]
    for number, index in zip(path[::2], path[1::2], strict=False):
        field = here.DESCRIPTOR.fields_by_number.get(number)
        if field is None or field.message_type is None or not field.is_repeated:
            return ""
        here = getattr(here, field.name)[index]
        if "name" not in here.DESCRIPTOR.fields_by_name:
            return ""
        names.append(here.name)
    return ".".join(names) if len(path) % 2 == 0 and len(names) > 1 else ""


def _contracts(root: Path) -> Iterator[str]:
    """Yield the proto files to generate, as they are imported, in path order."""
    for folder in IMPORT_ROOTS:
        for path in sorted((root / folder).rglob("*.proto")):
            relative = path.relative_to(root / folder)
            if relative.parts[0] not in INSTALLED:
                yield relative.as_posix()


def _files(tree: Path) -> Iterator[Path]:
    for path in tree.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            yield path.relative_to(tree)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m control.codegen", description="Generate gen/ from the contracts.")
    parser.add_argument("--check", action="store_true", help="change nothing, fail when gen/ is not fresh")
    options = parser.parse_args(arguments)
    target = ROOT / "gen"
    try:
        if options.check:
            stale = differences(target)
            for line in stale[:_SHOWN_DIFFERENCES]:
                print(f"gen/ {line}")
            if stale:
                print(f"gen/ is not fresh ({len(stale)} files): run `make gen` and commit the result.")
            return 1 if stale else 0
        files = replace(target)
    except GenerationFailed as failure:
        print(f"gen/ was left as it is: {failure}", file=sys.stderr)
        return 1
    print(f"gen/ has {len(files)} files.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
