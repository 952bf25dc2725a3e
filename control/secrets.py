"""The secrets of a local mesh: random, made once, one file each, readable by this account alone."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

_SECRET_BYTES = 24


class SecretFiles:
    """The folder of secret files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, name: str) -> Path:
        """Return the file of a secret, made now if it is new."""
        self.read(name)
        return self._folder / name

    def read(self, name: str) -> str:
        """Return a secret, made now if it is new: 32 characters that need no quoting in a URL."""
        file = self._folder / name
        try:
            return file.read_text().strip()
        except FileNotFoundError:
            self._write(file, secrets.token_urlsafe(_SECRET_BYTES))
            return file.read_text().strip()

    def _write(self, file: Path, value: str) -> None:
        """Create the file whole, or leave the one that somebody else created first."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        scratch = file.with_name(f".{file.name}.{os.getpid()}")
        descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as stream:
            stream.write(value + "\n")
        try:
            os.link(scratch, file)
        except FileExistsError:
            pass
        finally:
            scratch.unlink()
