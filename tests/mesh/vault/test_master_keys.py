"""The file of master keys: what wraps, what unwraps, and what goes on when the file is wrong. No server."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from uuid import uuid4

import pytest

from mesh.secret_files import SecretUnusable
from mesh.vault.master_keys import MasterKeyFile, WrappedKey

A, B, C = (letter * 64 for letter in "abc")
KEY = bytes(range(32))


def file_of(folder: Path, text: str) -> Path:
    path = folder / "master_key"
    path.touch(mode=0o600)
    path.write_text(text)
    return path


def test_a_file_is_made_once_for_this_account_alone(tmp_path: Path):
    """Whoever comes second keeps the first's; nothing else is left in the folder."""
    folder = tmp_path / "secrets"
    MasterKeyFile.of_folder(folder, "master_key")
    made = (folder / "master_key").read_bytes()
    MasterKeyFile.of_folder(folder, "master_key")

    assert made == (folder / "master_key").read_bytes()
    assert 0o600 == stat.S_IMODE((folder / "master_key").stat().st_mode)
    assert ["master_key"] == os.listdir(folder)


async def test_what_is_wrapped_opens_for_its_user_alone(tmp_path: Path):
    """With the key that wrapped it; of several each one for itself, so that a bad one harms no other."""
    keys = MasterKeyFile(file_of(tmp_path, A))
    ada, eve = uuid4(), uuid4()
    (wrapped,) = await keys.wrap([(ada, KEY)])
    wrong = [
        WrappedKey(eve, wrapped.wrapped_by, wrapped.content),
        WrappedKey(ada, "2", wrapped.content),
        WrappedKey(ada, "1", wrapped.content[:-1] + bytes([wrapped.content[-1] ^ 1])),
        WrappedKey(ada, "1", b"nonsense"),
        WrappedKey(ada, "1", b""),
    ]

    assert KEY not in wrapped.content and "content" not in repr(wrapped)
    assert [KEY, *[None] * len(wrong)] == await keys.unwrap([wrapped, *wrong])


async def test_a_new_line_wraps_and_the_old_one_still_opens(tmp_path: Path):
    """Without a restart; a process that has not looked yet looks when it meets the new id."""
    path, user_id = file_of(tmp_path, A), uuid4()
    first, late = MasterKeyFile(path), MasterKeyFile(path)
    (before,) = await first.wrap([(user_id, KEY)])
    path.write_text(f"{A}\n2 {B}\n")
    first.refresh()
    (after,) = await first.wrap([(user_id, KEY)])

    assert ("1", "2", "2") == (before.wrapped_by, after.wrapped_by, first.newest)
    assert [KEY, KEY] == await late.unwrap([before, after])
    path.write_text(f"2 {B}\n")
    late.refresh()
    assert [None, KEY] == await late.unwrap([before, after])


@pytest.mark.parametrize("text", ["", "half a li", None])
async def test_a_file_that_is_wrong_later_changes_nothing(tmp_path: Path, text: str | None):
    """Nor does one that is away: what is in memory goes on."""
    path = file_of(tmp_path, A)
    keys = MasterKeyFile(path)
    (wrapped,) = await keys.wrap([(uuid4(), KEY)])
    path.unlink()
    if text is not None:
        file_of(tmp_path, text)
    keys.refresh()

    assert [KEY] == await keys.unwrap([wrapped])
    with pytest.raises((OSError, SecretUnusable, ValueError)):
        MasterKeyFile(path)
