"""Writing a file so that a reader sees the old text or the new one, never half of it."""

from __future__ import annotations

import os
from pathlib import Path

from mesh.secret_files import scratch_of, sync_folder


def replace_text(path: Path, text: str, *, mode: int = 0o600, durable: bool = False) -> None:
    """Write a text beside the file and rename it into place; Envoy notices nothing but the rename.

    One that is `durable` is on the disk when this returns: a secret that a server learns then, and keeps.
    """
    scratch = scratch_of(path)
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(scratch, path)
    except BaseException:
        scratch.unlink(missing_ok=True)
        raise
    if durable:
        sync_folder(path.parent)
