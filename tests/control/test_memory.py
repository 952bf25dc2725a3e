"""What processes occupy is counted with all that they started, and what these share with others once."""

from __future__ import annotations

import os
import subprocess
import sys

from control.memory import memory_of

MEGABYTES = 20
CHILD = f"import sys; held = bytes(range(250)) * 4000 * {MEGABYTES}; print(flush=True); sys.stdin.read()"
PARENT = f"""
import subprocess, sys
with subprocess.Popen([sys.executable, "-c", {CHILD!r}], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
    child.stdout.readline()
    print(flush=True)
    sys.stdin.read()
"""


def test_a_process_counts_with_its_children() -> None:
    """And one that nobody asked for, or that has ended, not at all."""
    program = [sys.executable, "-c", PARENT]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        measured = memory_of({process.pid, 2**22 + 1})
        assert list(measured) == [process.pid]
        assert MEGABYTES * 1e6 < measured[process.pid] < (MEGABYTES + 60) * 1e6
        mine = memory_of({os.getpid()})
        assert mine[os.getpid()] > measured[process.pid]
        process.communicate()
