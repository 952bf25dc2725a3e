"""How much memory the mesh has taken, by process.

Cached files and Postgres's shared buffers are left out: they have a size of their own, and fill up to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import psutil

MOST_GROWTH_BYTES = 50_000_000


def of(pids: Mapping[str, int]) -> dict[str, int]:
    """Return the bytes of each process and its children by its name."""
    return {name: sum(_bytes(each) for each in _tree(pid)) for name, pid in pids.items()}


def growth(before: Mapping[str, int], after: Mapping[str, int]) -> int:
    """Return by how many bytes the mesh has grown in all; what shrank makes up for what grew."""
    return sum(after.values()) - sum(before.values())


def told(before: Mapping[str, int], after: Mapping[str, int]) -> str:
    """Return the processes that grew most."""
    grown = sorted(((after[name] - before.get(name, 0), name) for name in after), reverse=True)
    return ", ".join(f"{name} {count / 1e6:+.1f} MB" for count, name in grown[:3])


def _tree(pid: int) -> Iterable[int]:
    try:
        process = psutil.Process(pid)
        return [pid, *(child.pid for child in process.children(recursive=True))]
    except psutil.NoSuchProcess:
        return []


def _bytes(pid: int) -> int:
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss_Anon:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0
