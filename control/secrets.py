"""The secrets of a mesh: random, made when somebody first needs them, one file each, readable by this account alone."""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from control.atomic_file import replace_text
from mesh.secret_files import SECRET_BYTES, SecretFile, read_or_make


class SecretFiles:
    """The folder of secret files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def file(self, name: str) -> SecretFile:
        """Return the file of a secret, made now if it is new; its characters need no quoting in a URL."""
        path = self._folder / name
        read_or_make(path)
        return SecretFile(path)

    def path(self, name: str) -> Path:
        """Return where the file of a secret is, made now if it is new."""
        return self.file(name).path

    def read(self, name: str) -> str:
        """Return the secret that is in use, made now if it is new."""
        return self.file(name).read()

    def read_all(self, name: str) -> tuple[str, ...]:
        """Return the secret that is in use, and behind it the one that is to replace it, if somebody is about it."""
        return self.file(name).read_all()

    @contextmanager
    def held(self, *, wait: bool = False) -> Iterator[None]:
        """Keep the secrets from being replaced by anybody else, in this container or in another one.

        Raises:
            BlockingIOError: Somebody else holds them, and this one does not wait.
        """
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self._folder, os.O_RDONLY)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise BlockingIOError("somebody else is about the secrets") from None
            yield
        finally:
            os.close(descriptor)

    def add_successor(self, name: str) -> None:
        """Put the secret that comes below the one that goes; one that stands there already stays."""
        current, *coming = self.read_all(name)
        self._write(name, current, *coming[-1:] or [secrets.token_urlsafe(SECRET_BYTES)])

    def drop_predecessor(self, name: str) -> None:
        """Keep the secret that came, alone."""
        self._write(name, self.read_all(name)[-1])

    def _write(self, name: str, *lines: str) -> None:
        replace_text(self._folder / name, "".join(f"{line}\n" for line in lines), durable=True)
