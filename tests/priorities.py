"""How patient processes are, thread by thread: the kernel keeps a niceness for each of them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_NICENESS = 16
"""Its place behind the name, in /proc/<pid>/stat (proc(5), field 19)."""


def niceness_of(pid: int) -> list[int]:
    """Return the niceness of every thread of a process."""
    stats = [each.read_text() for each in Path(f"/proc/{pid}/task").glob("*/stat")]
    return [int(stat.rpartition(")")[2].split()[_NICENESS]) for stat in stats]


def own_niceness(*, below: int) -> int:
    """Return that of the running test, which what it starts inherits; skip the test where it is too patient already."""
    mine = os.getpriority(os.PRIO_PROCESS, 0)
    if mine >= below:
        pytest.skip(f"the tests run with niceness {mine}: nobody steps aside behind them unless it is below {below}")
    return mine
