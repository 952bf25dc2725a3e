"""Secrets come from files: each in one of its own, which nobody but this account reads.

A file has a secret a line, as a rule one. While a secret is replaced there are two: the one that goes, and below it the
one that comes. Whoever needs a secret reads its file then, and not once at the start, so that a file that is replaced
counts at once. No secret is an argument or stands in the environment: the system shows both to others, and every child
inherits the second.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

SECRET_BYTES = 32
LARGEST_FILE_BYTES = 4096


class SecretUnusable(Exception):
    """A secret file that cannot be used. The message names the file and says nothing of what is in it."""


@dataclass(frozen=True, slots=True)
class SecretFile:
    """A file with a secret; what is in it is not part of this value."""

    path: Path

    def read(self) -> str:
        """Return the secret that is in use now.

        Raises:
            SecretUnusable: There is none, or others may read it.
        """
        return self.read_all()[0]

    def read_all(self) -> tuple[str, ...]:
        """Return the secrets of the file, at least one: what is in use first, what comes after it last.

        Raises:
            SecretUnusable: There is none, or others may read it.
        """
        try:
            with self.path.open("rb") as file:
                status = os.fstat(file.fileno())
                content = file.read(LARGEST_FILE_BYTES + 1)
        except OSError as error:
            raise SecretUnusable(f"the secret file {self.path} cannot be read: {error.strerror}") from None
        if not is_private(status.st_mode, owner=status.st_uid, reader=os.geteuid()):
            mode = stat.S_IMODE(status.st_mode)
            raise SecretUnusable(f"the secret file {self.path} is open to other accounts (mode {mode:04o}): chmod 600")
        if len(content) > LARGEST_FILE_BYTES:
            raise SecretUnusable(f"the secret file {self.path} is larger than {LARGEST_FILE_BYTES} bytes")
        try:
            lines = [line.strip() for line in content.decode().splitlines()]
        except UnicodeDecodeError:
            raise SecretUnusable(f"the secret file {self.path} is not text") from None
        found = tuple(line for line in lines if line)
        if not found:
            raise SecretUnusable(f"the secret file {self.path} is empty")
        return found


def is_private(mode: int, *, owner: int, reader: int) -> bool:
    """Say whether a file is closed to every account that has no business in it: the rule of libpq for its keys.

    Group and others may do nothing with it. Only root may let a group read: so a container gets what is mounted for it.
    """
    return not mode & (0o037 if owner == 0 != reader else 0o077)


def read_or_make(file: Path, make: Callable[[], str] = lambda: secrets.token_urlsafe(SECRET_BYTES)) -> str:
    """Return the secret of a file; where there is no file, make one first, of 256 random bits unless told otherwise.

    Raises:
        OSError: There is none, and the folder takes no new file.
        SecretUnusable: There is a file, and it cannot be used.
    """
    if not file.exists():
        _create(file, make())
    return SecretFile(file).read()


def _create(file: Path, value: str) -> None:
    """Write a secret whole or not at all; whoever comes second, in any process, keeps the first's."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    scratch = scratch_of(file)
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as stream:
            stream.write(value + "\n")
            stream.flush()
            os.fsync(stream.fileno())
        os.link(scratch, file)
        sync_folder(file.parent)  # before anything is sealed with it
    except FileExistsError:
        pass
    finally:
        scratch.unlink()


def scratch_of(file: Path) -> Path:
    """Return where to write what is to become a file: nobody else writes there, in this container or in another."""
    return file.with_name(f".{file.name}.{secrets.token_hex(8)}")


def sync_folder(folder: Path) -> None:
    """Bring the names of a folder's files to the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
