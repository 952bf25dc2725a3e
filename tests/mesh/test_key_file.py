"""A file of keys: what it holds, when a new line counts, and what it says when it is wrong. No server."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from control.atomic_file import replace_text
from mesh.key_file import KeyFile, parse

A, B, C = (letter * 64 for letter in "abc")
FORM = re.compile("[0-9a-f]{64}")


def lines_of(text: str) -> list[str]:
    """As a secret file is read."""
    return [line for line in text.splitlines() if line]


@pytest.mark.parametrize(
    ("text", "newest", "ids"),
    [
        (A, "1", ["1"]),
        (f"{A}\n", "1", ["1"]),
        (f"1 {A}", "1", ["1"]),
        (f"{A}\n2 {B}\n", "2", ["1", "2"]),
        (f"\n2026-11 {A}\n\n2027-01 {B}\n", "2027-01", ["2026-11", "2027-01"]),
        (f"2 {B}\n1 {A}\n", "1", ["2", "1"]),
    ],
)
def test_the_last_line_is_the_newest(text: str, newest: str, ids: list[str]):
    """The first may have no id, as in a file that was made before keys had one."""
    keys = parse(lines_of(text), FORM)
    assert (newest, ids) == (next(reversed(keys)), list(keys))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        A[:-1],
        f"{A}a",
        f"{A} {B}",
        f"{A}\n{B}",
        f"{A}\n1 {B}",
        f"2 {A}\n2 {B}",
        f"two words {A}",
        f"2 {'g' * 64}",
    ],
)
def test_a_wrong_file_is_refused_and_not_repeated(text: str):
    """The message says which line, and nothing of what stands there."""
    with pytest.raises(ValueError) as problem:
        parse(lines_of(text), FORM)
    assert not any(part in str(problem.value) for part in (A[:8], B[:8]))


def test_a_new_line_counts_when_it_has_been_there_for_long_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """It is known at once; lines that were there at the start count from the start."""
    now = [1000.0]
    monkeypatch.setattr("mesh.key_file.time.monotonic", lambda: now[0])
    path = tmp_path / "keys"
    replace_text(path, f"{A}\n2 {B}\n")
    file = KeyFile(path, FORM, notice_seconds=60)
    assert "2" == file.newest and not file.refresh()

    replace_text(path, f"{A}\n2 {B}\n3 {C}\n")
    assert file.refresh()

    assert {"1": A, "2": B, "3": C} == file.keys
    assert "2" == file.newest
    now[0] += 59
    assert "2" == file.newest
    now[0] += 1
    assert "3" == file.newest


def test_a_key_does_not_change_under_its_id(tmp_path: Path):
    """A file that was lost and made anew, or a slip: nothing is made with a key that opens nothing that is stored."""
    path = tmp_path / "keys"
    replace_text(path, f"{A}\n2 {B}\n")
    file = KeyFile(path, FORM)
    for lines in (f"{A}\n2 {C}\n", f"{C}\n", f"2 {C}\n"):
        replace_text(path, lines)
        assert not file.refresh() and {"1": A, "2": B} == file.keys

    replace_text(path, f"2 {B}\n3 {C}\n")
    assert file.refresh() and {"2": B, "3": C} == file.keys
