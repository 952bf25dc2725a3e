"""Keeps the logs of a mesh within a bound: one that grew too large is moved aside, over what was moved aside before.

The process that writes a log never hears of this. Its file is copied and then emptied, which works because everybody
appends; a line that is written between the two is lost. In a container the engine rotates.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path

LARGEST_BYTES = 16 * 1024 * 1024
LOOK_SECONDS = 30.0


async def bound_forever(folder: Path) -> None:
    """Bound the logs of a folder until cancelled."""
    while True:
        await asyncio.to_thread(bound, folder)
        await asyncio.sleep(LOOK_SECONDS)


def bound(folder: Path, *, largest_bytes: int = LARGEST_BYTES) -> None:
    """Move what each too large log holds into a file beside it, `x.log` into `x.log.1`."""
    for log in folder.glob("*.log"):
        if log.stat().st_size > largest_bytes:
            shutil.copyfile(log, log.with_name(f"{log.name}.1"))
            os.truncate(log, 0)
