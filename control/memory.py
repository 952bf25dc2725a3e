"""How much memory processes occupy, with those that they started."""

from __future__ import annotations

from collections.abc import Set

import psutil


def memory_of(pids: Set[int]) -> dict[int, int]:
    """Return the resident bytes of each process and all below it; what those share with others is counted once."""
    table = {
        each.pid: (each.info["ppid"], each.info["memory_info"]) for each in psutil.process_iter(["ppid", "memory_info"])
    }
    total = dict.fromkeys(pids & table.keys(), 0)
    for pid, (parent, memory) in table.items():
        if memory is None:  # it has ended, or is not ours to look at
            continue
        if pid in total:
            total[pid] += memory.rss
            continue
        while parent in table and parent not in total:
            parent = table[parent][0]
        if parent in total:
            total[parent] += memory.rss - memory.shared
    return total
