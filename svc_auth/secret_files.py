"""Secret files of this package: read, or made on the first start. Each is readable by this account alone."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

SECRET_BYTES = 32


def read_or_make(file: Path) -> str:
    """Return a secret; where there is none, make one of 256 random bits first.

    Raises:
        OSError: There is none, and the folder takes no new file.
    """
    try:
        return file.read_text().strip()
    except FileNotFoundError:
        _create(file, secrets.token_urlsafe(SECRET_BYTES))
        return file.read_text().strip()


def _create(file: Path, value: str) -> None:
    """Write a secret whole or not at all; whoever comes second, in any process, keeps the first's."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    scratch = file.with_name(f".{file.name}.{os.getpid()}")
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "w") as stream:
            stream.write(value + "\n")
        os.link(scratch, file)
    except FileExistsError:
        pass
    finally:
        scratch.unlink()
