"""The memory of processes and their children, as Linux tells it."""

from __future__ import annotations

import psutil


def occupied(pid: int, *, alone: bool) -> int:
    """Return the bytes that a process and its children take, shared pages by their share (PSS)."""
    children = [] if alone else psutil.Process(pid).children(recursive=True)
    return sum(_proportional(each) for each in (pid, *(child.pid for child in children)))


def _proportional(pid: int) -> int:
    try:
        lines = open(f"/proc/{pid}/smaps_rollup").read().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
