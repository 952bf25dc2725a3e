"""Keys in a secret file, a line each, the newest last: an id, a space, and the key.

A new line is how a key is replaced while all goes on: what is new is made with the newest, and the others serve what
was made with them, until nothing is left of it and their lines may go. A first line without an id is `1`: a file that
was made before keys had ids, or by a first start.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from pathlib import Path

from mesh.secret_files import SecretFile, SecretUnusable
from mesh.telemetry import get_logger

log = get_logger("mesh.keys")

FIRST_ID = "1"
_ID = re.compile(r"[A-Za-z0-9._-]{1,32}")
_SINCE_EVER = float("-inf")


class KeyFile:
    """The keys of a file as this process knows them."""

    def __init__(self, path: Path, form: re.Pattern[str], *, notice_seconds: float = 0.0) -> None:
        """Read the file; `form` is what a key is. A line that is added later is used for what is new when it has been
        there for so long: processes whose files are not one file have it too by then.

        Raises:
            ValueError: It does not hold what such a file holds.
            SecretUnusable: It is empty, or others may read it.
        """
        self._path = path
        self._form = form
        self._notice_seconds = notice_seconds
        self._read_at = self._stamp()
        self._keys = parse(SecretFile(path).read_all(), form)
        self._since = dict.fromkeys(self._keys, _SINCE_EVER)

    @property
    def name(self) -> str:
        """The name of the file."""
        return self._path.name

    @property
    def keys(self) -> dict[str, str]:
        """Every key by its id, in the order of the lines."""
        return self._keys

    @property
    def newest(self) -> str:
        """The id of the key for what is new: the last one that was there long enough."""
        due = time.monotonic() - self._notice_seconds
        return next((name for name in reversed(self._keys) if self._since[name] <= due), next(reversed(self._keys)))

    def refresh(self) -> bool:
        """Read the file again where it has changed, and say whether its keys have. One that is being written, is wrong,
        or has another key under an id that was there before, changes nothing."""
        try:
            stamp = self._stamp()
            if stamp == self._read_at:
                return False
            keys = parse(SecretFile(self._path).read_all(), self._form)
        except (OSError, SecretUnusable, ValueError) as error:
            log.error("a file of keys can't be read again", file=self.name, error=type(error).__name__)
            return False
        if changed := [name for name in keys if self._keys.get(name, keys[name]) != keys[name]]:
            # A file that was lost and made anew, or a slip: what is stored was made with the key that had this id.
            log.error(
                "a key may not change under its id: give the new one an id of its own", file=self.name, id=changed[0]
            )
            return False
        self._read_at, before, self._keys = stamp, self._keys, keys
        now = time.monotonic()
        self._since = {name: self._since.get(name, now) for name in keys}
        return before != keys

    def _stamp(self) -> tuple[int, int, int]:
        stat = self._path.stat()
        return stat.st_ino, stat.st_mtime_ns, stat.st_size


def parse(lines: Sequence[str], form: re.Pattern[str]) -> dict[str, str]:
    """Return the keys by id, the newest last.

    Raises:
        ValueError: A line is not an id and a key, an id comes twice, or there is no line. What stands there is not
            told.
    """
    keys: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        name, blank, key = line.rpartition(" ")
        if not (_ID.fullmatch(name) if blank else not keys) or not form.fullmatch(key):
            raise ValueError(f"line {number} of the keys is not an id and a key")
        name = name or FIRST_ID
        if name in keys:
            raise ValueError(f"line {number} of the keys has the id of a line before")
        keys[name] = key
    if not keys:
        raise ValueError("there is no key")
    return keys
