"""A secret file is read when it is needed, and refused when others can read it."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from control.atomic_file import replace_text
from mesh.secret_files import LARGEST_FILE_BYTES, SecretFile, SecretUnusable, is_private, read_or_make


def test_what_replaces_a_file_counts_at_once(tmp_path: Path):
    """The first line is in use, the last one comes; blank lines and spaces around are nothing."""
    file = SecretFile(tmp_path / "password")
    replace_text(file.path, "old\n")
    assert "old" == file.read()
    replace_text(file.path, "\n old \n\nnew\n")
    assert ("old", ("old", "new")) == (file.read(), file.read_all())
    replace_text(file.path, "new")
    assert ("new",) == file.read_all()
    assert "new" not in repr(file)


@pytest.mark.parametrize(
    ("content", "mode", "why"),
    [
        (b"swordfish", 0o644, r"is open to other accounts \(mode 0644\): chmod 600"),
        (b"swordfish", 0o660, r"is open to other accounts \(mode 0660\): chmod 600"),
        (b"swordfish", 0o602, r"is open to other accounts \(mode 0602\): chmod 600"),
        (b"", 0o600, "is empty"),
        (b" \n\n", 0o600, "is empty"),
        (b"\xff\xfeswordfish", 0o600, "is not text"),
        (b"swordfish" * LARGEST_FILE_BYTES, 0o600, f"is larger than {LARGEST_FILE_BYTES} bytes"),
        (None, 0o600, "cannot be read: No such file or directory"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, content: bytes | None, mode: int, why: str):
    """With what to change, and without a word of what is in it."""
    file = tmp_path / "database_svc_sample"
    if content is not None:
        file.write_bytes(content)
        file.chmod(mode)

    with pytest.raises(SecretUnusable, match=f"^the secret file {file} {why}$") as refused:
        SecretFile(file).read()
    assert "swordfish" not in str(refused.value)


@pytest.mark.parametrize(
    ("mode", "owner", "reader", "private"),
    [
        (0o600, 1000, 1000, True),
        (0o400, 1000, 1000, True),
        (0o640, 1000, 1000, False),
        (0o604, 1000, 1000, False),
        (0o440, 0, 1000, True),
        (0o640, 0, 1000, True),
        (0o660, 0, 1000, False),
        (0o444, 0, 1000, False),
        (0o640, 0, 0, False),
        (0o600, 0, 0, True),
    ],
)
def test_root_alone_may_let_a_group_read(mode: int, owner: int, reader: int, private: bool):
    """So an orchestrator mounts secrets; an account's own files are for nobody else."""
    assert private == is_private(stat.S_IFREG | mode, owner=owner, reader=reader)


def test_a_missing_secret_is_made_once_and_for_this_account_alone(tmp_path: Path):
    """Whoever comes second, in any process, keeps the first's; nothing is left beside it."""
    file = tmp_path / "folder" / "key"
    with ThreadPoolExecutor(1) as another:
        made = [read_or_make(file), another.submit(read_or_make, file).result(), read_or_make(file, lambda: "mine")]

    assert 1 == len(set(made)) and len(made[0]) >= 43
    assert 0o600 == stat.S_IMODE(file.stat().st_mode) and 0o700 == stat.S_IMODE(file.parent.stat().st_mode)
    assert [file] == list(file.parent.iterdir())


def test_a_secret_that_others_can_read_is_not_made_again(tmp_path: Path):
    """It is refused: whoever read it knows it, and what is sealed with it would not open with another one."""
    file = tmp_path / "key"
    file.write_text("known to all")
    file.chmod(0o644)

    with pytest.raises(SecretUnusable, match="open to other accounts"):
        read_or_make(file)
    assert "known to all" == file.read_text()
