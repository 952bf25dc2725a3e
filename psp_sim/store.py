"""The log file, and the payments rebuilt from it. Nothing else is remembered.

Entries are folded into memory and written at once, in one step of the event loop, so no lock is needed;
a reply waits with ``durable`` until the file is synced that far. Replies that wait together share a sync.
"""

import asyncio
import fcntl
import json
import os
import sys
import uuid
from collections.abc import Callable, Iterable
from dataclasses import fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from psp_sim.rules import EVENT_TYPES, MOVES_MONEY, Entry, Kind, OnCapture, Payment, apply

ALWAYS_WRITTEN = ("time", "kind", "payment_id", "amount_minor", "currency", "provider_reference", "effect")


class BadLog(Exception):
    """The log cannot be trusted, or is in use; the message says where."""


def to_line(entry: Entry) -> bytes:
    """Return the entry as one JSON line."""
    values: dict[str, Any] = {}
    for each in fields(entry):
        value = getattr(entry, each.name)
        if value is None and each.name not in ALWAYS_WRITTEN:
            continue
        values[each.name] = value.isoformat() if isinstance(value, datetime) else value
    return json.dumps(values, separators=(",", ":")).encode() + b"\n"


def from_line(line: bytes) -> Entry:
    """Read one JSON line.

    Raises:
        ValueError, KeyError, TypeError: It is not a line that ``to_line`` wrote.
    """
    values = json.loads(line)
    values["kind"] = Kind(values["kind"])
    for name in ("time", "due_at"):
        if values.get(name) is not None:
            values[name] = datetime.fromisoformat(values[name])
    if values.get("on_capture") is not None:
        values["on_capture"] = OnCapture(values["on_capture"])
    return Entry(**values)


class Store:
    """All payments of the simulator. One process at a time may open a log."""

    def __init__(self, path: Path, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        """Open or create the log and rebuild the payments.

        Raises:
            BadLog: Another process has the log, or a line in it cannot be read.
        """
        self.now = now
        self.undecided: set[str] = set()
        self._movements: list[Entry] = []
        self.undelivered: dict[str, tuple[Entry, int]] = {}
        self.listeners: list[Callable[[Entry, Payment], None]] = []
        self._payments: dict[str, Payment] = {}
        self._written = self._wanted = self._synced = 0
        self._sync: asyncio.Task[None] | None = None
        path.parent.mkdir(parents=True, exist_ok=True)
        self._fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._rebuild(path)
        except BlockingIOError as problem:
            os.close(self._fd)
            raise BadLog(f"{path} is in use by another process") from problem
        except BadLog:
            os.close(self._fd)
            raise
        _sync_folder(path.parent)

    def find_payment(self, payment_id: str) -> Payment | None:
        """Return the payment of this id, which may not be on disk yet, or None."""
        return self._payments.get(payment_id)

    def count_payments(self) -> int:
        """Return how many payments there are."""
        return len(self._payments)

    def list_movements(self, wanted: Callable[[Entry], bool], after: int, limit: int) -> tuple[list[Entry], int | None]:
        """Return at most ``limit`` wanted captures and refunds behind a place, and the place to go on from."""
        found: list[Entry] = []
        for place in range(after, len(self._movements)):
            if len(found) == limit:
                return found, place
            if wanted(self._movements[place]):
                found.append(self._movements[place])
        return found, None

    def record(self, entry: Entry) -> Payment:
        """Fold and write one entry; the caller awaits ``durable`` before it tells anybody.

        An entry without an effect is written as a trace of the repeated call and changes nothing.
        """
        if entry.effect and entry.kind in EVENT_TYPES:
            entry = replace(entry, event_id=f"evt_{uuid.uuid4().hex}")
        self._write(to_line(entry))
        if not entry.effect:
            return self._payments[entry.payment_id]
        self._wanted = self._written
        payment = self._fold(entry)
        for listener in self.listeners:
            listener(entry, payment)
        return payment

    def record_delivery(self, entry: Entry, outcome: str) -> None:
        """Note that an event needs no more deliveries; losing this note only repeats a delivery."""
        if self._fd < 0 or entry.event_id is None:
            return
        self.undelivered.pop(entry.event_id, None)
        self._write(
            to_line(
                Entry(
                    time=self.now(),
                    kind=Kind.WEBHOOK,
                    payment_id=entry.payment_id,
                    amount_minor=0,
                    currency=entry.currency,
                    provider_reference=entry.provider_reference,
                    effect=False,
                    event_id=entry.event_id,
                    delivery=outcome,
                )
            )
        )

    async def durable(self) -> None:
        """Wait until every effect recorded so far is on the disk."""
        wanted = self._wanted
        while self._synced < wanted:
            if self._sync is None:
                self._sync = asyncio.create_task(self._run_sync())
            await asyncio.shield(self._sync)

    async def close(self) -> None:
        """Sync what is left and give the log free."""
        await self.durable()
        fd, self._fd = self._fd, -1
        os.close(fd)

    async def _run_sync(self) -> None:
        end = self._written
        try:
            await asyncio.to_thread(os.fdatasync, self._fd)
        except OSError as problem:
            _give_up(problem)
        self._synced = end
        self._sync = None

    def _write(self, line: bytes) -> None:
        try:
            written = os.write(self._fd, line)
        except OSError as problem:
            _give_up(problem)
        if written != len(line):
            _give_up(OSError("a line was written in part"))
        self._written += written

    def _fold(self, entry: Entry) -> Payment:
        payment = apply(self._payments.get(entry.payment_id), entry)
        self._payments[entry.payment_id] = payment
        if entry.kind in MOVES_MONEY:
            self._movements.append(entry)
        if payment.is_undecided:
            self.undecided.add(entry.payment_id)
        else:
            self.undecided.discard(entry.payment_id)
        if entry.event_id is not None:
            self.undelivered[entry.event_id] = (entry, payment.events)
        return payment

    def _rebuild(self, path: Path) -> None:
        with open(self._fd, "rb", closefd=False) as log:
            whole = 0
            for number, line in enumerate(log, start=1):
                if not line.endswith(b"\n"):
                    break
                try:
                    self._replay(from_line(line))
                except (ValueError, KeyError, TypeError) as problem:
                    raise BadLog(f"{path}, line {number}: {problem}") from problem
                whole += len(line)
        # Half a line at the end was never synced, so nobody was told of it.
        if whole < os.fstat(self._fd).st_size:
            os.ftruncate(self._fd, whole)
        os.fsync(self._fd)
        self._written = self._wanted = self._synced = whole

    def _replay(self, entry: Entry) -> None:
        if entry.kind is Kind.WEBHOOK:
            self.undelivered.pop(entry.event_id or "", None)
        elif entry.effect:
            self._fold(entry)

    def list_undelivered(self) -> Iterable[tuple[Entry, int]]:
        """List the events whose delivery has no end yet, each with its sequence number, oldest first."""
        return list(self.undelivered.values())


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _give_up(problem: OSError) -> None:
    """End the process: memory is ahead of the log, and after a failed sync the kernel may forget the pages."""
    sys.stderr.write(f"psp_sim: the log cannot be written, the process ends: {problem}\n")
    sys.stderr.flush()
    os._exit(74)
