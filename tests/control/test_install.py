"""The interpreter of the environment: the first one, unless another is clearly quicker and can make an environment."""

import os
import sys
from pathlib import Path

from control import install


def stand_in(folder: Path, name: str, says: str) -> str:
    program = folder / name
    program.write_text(f"#!/bin/sh\necho {says}\n")
    program.chmod(0o755)
    return str(program)


def test_the_quickest_interpreter_makes_the_environment(tmp_path: Path) -> None:
    slow = stand_in(tmp_path, "slow", "True 0.0100 /slow/python")
    quick = stand_in(tmp_path, "quick", "True 0.0070 /quick/python")
    assert install.quickest([slow, quick]) == "/quick/python"


def test_a_small_difference_is_noise(tmp_path: Path) -> None:
    first = stand_in(tmp_path, "first", "True 0.0100 /first/python")
    other = stand_in(tmp_path, "other", "True 0.0095 /other/python")
    assert install.quickest([first, other]) == "/first/python"


def test_what_is_of_another_version_or_does_not_start_is_passed_over(tmp_path: Path) -> None:
    mine = stand_in(tmp_path, "mine", "True 0.0100 /mine/python")
    newer = stand_in(tmp_path, "newer", "False 0.0010 /newer/python")
    broken = stand_in(tmp_path, "broken", "no module named ensurepip")
    assert install.quickest([str(tmp_path / "absent"), broken, newer, mine]) == "/mine/python"
    assert install.quickest([broken]) == sys.executable


def test_the_trial_runs_on_this_very_interpreter() -> None:
    found = install._try(sys.executable)
    assert found is not None and 0 < found[0] < 10 and os.path.samefile(found[1], sys.executable)


def test_an_environment_is_current_while_its_own_lock_says_what_it_said(tmp_path: Path) -> None:
    """Two environments stand beside each other, each of its lock."""
    lock, folder = tmp_path / "requirements-scan.lock", tmp_path / ".venv-scan"
    lock.write_text("bandit==1.0\n")
    environment = install.Environment(lock, folder)
    assert not environment.is_current()

    environment.python.parent.mkdir(parents=True)
    environment.python.touch()
    environment.stamp.write_text(environment.fingerprint())
    assert environment.is_current()

    lock.write_text("bandit==2.0\n")
    assert not environment.is_current()
