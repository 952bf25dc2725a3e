"""A file is replaced whole; a secret is on the disk before anybody learns it, so that no power cut takes it away."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from control.atomic_file import replace_text
from control.rotation import Rotation
from control.secrets import SecretFiles

SYNCED, NAMED = "on the disk", "in its place"


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, str]]]:
    """What was brought to the disk and what was renamed, in its order; a file by the text that it has then."""
    seen: list[tuple[str, str]] = []
    fsync, replace = os.fsync, os.replace

    def told(path: Path) -> str:
        return path.name if path.is_dir() else path.read_text()

    def noting_fsync(descriptor: int) -> None:
        seen.append((SYNCED, told(Path(os.readlink(f"/proc/self/fd/{descriptor}")))))
        fsync(descriptor)

    def noting_replace(source: Path, target: Path) -> None:
        seen.append((NAMED, told(source)))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", noting_fsync)
    monkeypatch.setattr(os, "replace", noting_replace)
    yield seen


def test_what_is_durable_is_on_the_disk_with_its_name(tmp_path: Path, steps: list[tuple[str, str]]):
    """The text before the name that leads to it; what is written often does not wait for a disk."""
    replace_text(tmp_path / "endpoints", "many")
    replace_text(tmp_path / "password", "secret", durable=True)

    assert [(NAMED, "many"), (SYNCED, "secret"), (NAMED, "secret"), (SYNCED, tmp_path.name)] == steps


def test_nothing_is_left_of_a_file_that_could_not_be_written(tmp_path: Path):
    """Nor is anything lost of the one before."""
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError):
        replace_text(tmp_path / "folder", "text")

    assert ["folder"] == os.listdir(tmp_path)


async def test_a_server_learns_what_is_on_the_disk(tmp_path: Path, steps: list[tuple[str, str]]):
    """Else it would take a password, after a power cut, that nobody has any more."""
    folder = tmp_path / "secrets"
    secrets = SecretFiles(folder)
    old = secrets.read("postgres_superuser")
    steps.clear()
    learned: list[str] = []

    async def learn() -> None:
        learned.append((folder / "postgres_superuser").read_text())
        steps.append(("learned", learned[-1]))

    await Rotation(secrets, {"postgres_superuser": learn}).replace("postgres_superuser")

    new = secrets.read("postgres_superuser")
    assert [f"{old}\n{new}\n", f"{new}\n"] == learned
    assert [
        step for text in learned for step in [(SYNCED, text), (NAMED, text), (SYNCED, "secrets"), ("learned", text)]
    ] == steps
