"""What a replay has heard, one line each, so that one that was interrupted goes on where it stopped.

It only saves asking again: whatever it lacks is asked for with the same key, and moves nothing twice. A line that was
cut off when the machine stopped is dropped. It belongs to one mesh, one file and one way of replaying it.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TextIO

from replay.edge import ReplayFailed
from replay.importer import GivenBack, Order

NAME_CHARACTERS = 12


@dataclass
class Journal:
    """The orders, refunds and deliveries of one replay so far; a note outlives its process once its call returns."""

    folder: Path
    orders: dict[str, Order] = field(default_factory=dict)
    refunds: dict[str, GivenBack] = field(default_factory=dict)
    deliveries: set[str] = field(default_factory=set)
    _file: TextIO | None = None

    @classmethod
    def open(cls, home: Path, *subject: object) -> Journal:
        """Return the journal of a subject: what was read of it, ready for more.

        Raises:
            ReplayFailed: Another replay of the same subject is running.
        """
        name = hashlib.sha256(json.dumps([str(each) for each in subject]).encode()).hexdigest()[:NAME_CHARACTERS]
        journal = cls(home / "replay" / name)
        journal.folder.mkdir(parents=True, exist_ok=True)
        file = (journal.folder / "journal.jsonl").open("a+", encoding="utf-8")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            raise ReplayFailed("another replay of this file is running") from None
        file.seek(0)
        whole = 0
        for line in file.read().splitlines(keepends=True):
            if not line.endswith("\n"):
                break
            journal._read(json.loads(line))
            whole += len(line.encode())
        file.truncate(whole)
        journal._file = file
        return journal

    def close(self) -> None:
        """Let another replay have it."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def note_order(self, number: str, order: Order) -> None:
        """Note what became of an invoice."""
        self.orders[number] = order
        self._write({"order": number, **asdict(order)})

    def note_refund(self, key: str, given: GivenBack) -> None:
        """Note what became of a refund."""
        self.refunds[key] = given
        self._write({"refund": key, **asdict(given)})

    def note_delivery(self, on: str) -> None:
        """Note a delivery that is on the shelf."""
        self.deliveries.add(on)
        self._write({"delivery": on})

    def _read(self, entry: dict[str, Any]) -> None:
        if number := entry.pop("order", ""):
            self.orders[number] = Order(**entry)
        elif key := entry.pop("refund", ""):
            self.refunds[key] = GivenBack(**entry)
        else:
            self.deliveries.add(entry["delivery"])

    def _write(self, entry: dict[str, Any]) -> None:
        assert self._file is not None, "a journal is written while it is open"
        self._file.write(json.dumps(entry) + "\n")
        self._file.flush()


def digest(path: Path) -> str:
    """Return what tells two files apart."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
