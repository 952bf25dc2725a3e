"""Starting a child until it is ready: what is told when it is not, and that nothing of it stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from control import spawn
from control.spawn import Program, StartFailed


def test_a_program_that_ends_at_once_is_told_with_its_last_words(tmp_path: Path) -> None:
    """The status and the log say more than that it was not ready."""
    program = Program("brief", ["sh", "-c", "echo farewell; exit 3"], tmp_path / "log", ready=lambda: False)

    with pytest.raises(StartFailed, match=r"(?s)brief ended with status 3\. .*:\nfarewell"):
        spawn.start_ready(program, seconds=5)


def test_a_program_that_is_not_ready_in_time_is_stopped(tmp_path: Path) -> None:
    """The message says how long it had."""
    program = sleeper(tmp_path, ready=lambda: False)

    with pytest.raises(StartFailed, match="sleeper was not ready within 1 s"):
        spawn.start_ready(program, seconds=0.6)

    assert not Path("/proc", pid_in(tmp_path)).exists()


def test_a_start_that_is_interrupted_leaves_no_process(tmp_path: Path) -> None:
    """Whoever interrupts it has no process to stop."""

    def ready() -> bool:
        if pid_in(tmp_path):
            raise KeyboardInterrupt
        return False

    with pytest.raises(KeyboardInterrupt):
        spawn.start_ready(sleeper(tmp_path, ready=ready), seconds=5)

    assert not Path("/proc", pid_in(tmp_path)).exists()


def sleeper(folder: Path, *, ready) -> Program:
    return Program("sleeper", ["sh", "-c", f"echo $$ > {folder}/pid; exec sleep 60"], folder / "log", ready)


def pid_in(folder: Path) -> str:
    file = folder / "pid"
    return file.read_text().strip() if file.exists() else ""
