"""CPU seconds by process, read from the kernel: of what the supervisor runs, and of whoever loads it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from itertools import pairwise

import psutil

CLIENT = "this client"
SUPERVISOR = "supervisor"
READS = 10


class Ended(Exception):
    """A process ended while it was measured."""


def spent(processes: Mapping[str, int]) -> dict[str, float]:
    """Return what each process and its children have spent since they began.

    Raises:
        Ended: One of them is gone.
    """
    try:
        return {name: seconds(pid) for name, pid in processes.items()}
    except psutil.NoSuchProcess as problem:
        raise Ended(f"a process of the mesh ended while it was measured: {problem}") from problem


def _family_seconds(pid: int) -> float:
    process = psutil.Process(pid)
    times = process.cpu_times()
    found: float = times.user + times.system
    if pid == os.getpid() or _is_supervisor(process):
        return found
    found += times.children_user + times.children_system
    for child in process.children(recursive=True):
        spent_by_child = child.cpu_times()
        found += spent_by_child.user + spent_by_child.system
    return found


def _is_supervisor(process: psutil.Process) -> bool:
    words = process.cmdline()
    return any(pair == ("control", "serve") for pair in pairwise(words))


def seconds(pid: int, *, read: Callable[[int], float] = _family_seconds) -> float:
    """Return what a process and its living and reaped children have spent.

    The supervisor's children stand for themselves, and so do those of the process that asks. A child that ends while
    they are read (a backend of Postgres whose client went) is then found among the reaped: they are read again.

    Raises:
        psutil.NoSuchProcess: The process is gone.
    """
    for _ in range(READS):
        try:
            return read(pid)
        except psutil.NoSuchProcess as gone:
            if gone.pid == pid:
                raise
    raise psutil.NoSuchProcess(pid, msg="its children come and go faster than they can be read")


def per_operation(total: Mapping[str, float], operations: int) -> dict[str, float]:
    """Return the CPU seconds of one operation by process, the most expensive first; replicas count as their package.

    What comes out below zero, after what is spent at rest was taken off, is zero.

    Raises:
        ValueError: There was no operation.
    """
    if operations < 1:
        raise ValueError("no operation, no cost of one")
    totals: dict[str, float] = {}
    for name, spent_in_all in total.items():
        package, _, replica = name.rpartition(".")
        group = package if replica.isdecimal() and package else name
        totals[group] = totals.get(group, 0.0) + spent_in_all
    each = {name: max(0.0, found) / operations for name, found in totals.items()}
    return dict(sorted(each.items(), key=lambda item: -item[1]))


def of_the_mesh(each: Mapping[str, float]) -> float:
    """Return the sum over the processes of the mesh: everything but whoever loads it."""
    return sum(cost for name, cost in each.items() if name != CLIENT)
