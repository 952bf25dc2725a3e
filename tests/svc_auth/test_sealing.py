"""What is sealed opens for the same purpose, under the same name and the same master key, and for nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from control.atomic_file import replace_text
from svc_auth.sealing import LINKS, MASTER_KEY_FILE, SECOND_FACTORS, SIGNING_KEYS, MasterKeyUnusable, Seal, key_file

MASTER, OTHER, THIRD = "m" * 32, "o" * 32, "t" * 32


def keys(folder: Path, *lines: str) -> Path:
    """Return a folder with these master keys."""
    folder.mkdir(exist_ok=True)
    replace_text(folder / MASTER_KEY_FILE, "".join(f"{line}\n" for line in lines))
    return folder


def test_what_is_sealed_comes_out_as_it_went_in(tmp_path: Path):
    """Sealing twice gives two texts: equal secrets are not seen to be equal."""
    seal = Seal.of_folder(keys(tmp_path, MASTER), SECOND_FACTORS)

    first, second = seal.close("ada", b"secret"), seal.close("ada", b"secret")

    assert first != second and b"secret" not in first
    assert b"secret" == seal.open("ada", first) == Seal.of_folder(tmp_path, SECOND_FACTORS).open("ada", second)


@pytest.mark.parametrize(
    ("master", "purpose", "name"),
    [
        (OTHER, SECOND_FACTORS, "ada"),
        (MASTER, LINKS, "ada"),
        (MASTER, SIGNING_KEYS, "ada"),
        (MASTER, SECOND_FACTORS, "b"),
    ],
)
def test_anything_else_does_not_open_it(tmp_path: Path, master: str, purpose: bytes, name: str):
    """A row moved to another user, a key of another purpose, or a master key that was lost."""
    sealed = Seal.of_folder(keys(tmp_path / "one", MASTER), SECOND_FACTORS).close("ada", b"secret")
    other = Seal.of_folder(keys(tmp_path / "other", master), purpose)

    for opened in (other.open, other.renewed):
        with pytest.raises(MasterKeyUnusable):
            opened(name, sealed)


@pytest.mark.parametrize("changed", [lambda it: it[:-1] + bytes([it[-1] ^ 1]), lambda it: b"", lambda it: it[:9]])
def test_what_was_changed_does_not_open(tmp_path: Path, changed):
    """Nothing comes out that did not go in."""
    seal = Seal.of_folder(keys(tmp_path, MASTER), LINKS)

    with pytest.raises(MasterKeyUnusable):
        seal.open("l", changed(seal.close("l", b"token")))


def test_a_new_line_seals_and_the_old_one_opens(tmp_path: Path):
    """Until what it sealed is sealed anew; then its line may go."""
    before = Seal.of_folder(keys(tmp_path, MASTER), LINKS)
    old = before.close("l", b"token")
    after = Seal.of_folder(keys(tmp_path, MASTER, f"2 {OTHER}"), LINKS)
    new = after.close("l", b"token")

    assert b"token" == after.open("l", old) == after.open("l", new)
    assert b"token" == before.open("l", new), "a process that has not looked yet looks when something does not open"
    assert after.renewed("l", new) is None
    renewed = after.renewed("l", old)
    assert renewed is not None
    alone = Seal.of_folder(keys(tmp_path, f"2 {OTHER}"), LINKS)
    assert b"token" == alone.open("l", renewed) == alone.open("l", new)
    with pytest.raises(MasterKeyUnusable, match="restore auth_master_key"):
        alone.open("l", old)


def test_nothing_is_sealed_with_a_line_that_others_may_not_have_yet(tmp_path: Path):
    """It opens what others seal with it, from the first moment."""
    file = key_file(keys(tmp_path, MASTER), MASTER_KEY_FILE, notice_seconds=60)
    seal = Seal(file, LINKS)
    late = Seal.of_folder(tmp_path, LINKS)
    early = Seal.of_folder(keys(tmp_path, MASTER, f"2 {OTHER}"), LINKS)

    assert file.refresh() and "1" == file.newest
    assert b"token" == late.open("l", seal.close("l", b"token"))
    assert b"token" == seal.open("l", early.close("l", b"token"))
