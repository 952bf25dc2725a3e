"""What clients asked and what they were told: one JSON line per invoke, ok, refused or unknown; and its reader.

An operation is one wish of one client, whatever the number of times it was sent: `invoke` opens an attempt, and `ok`,
`refused` or `unknown` ends it. Only `ok` and `refused` settle the operation. Times are seconds of the machine's
monotonic clock, which processes share; `wall` is the time of day for comparisons with the databases.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FLEETING = frozenset(
    {"CART_ALREADY_ORDERED", "CART_EMPTY", "ORDER_NOT_REFUNDABLE", "PRICE_CHANGED", "REFUND_EXCEEDS_ORDER"}
)
"""Refusals that nothing was stored for: they burn no key, so a twin that is still under way may yet be served."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What one attempt was told, and when it was asked."""

    asked_at: float
    told_at: float
    outcome: str
    result: Mapping[str, Any]
    attempt: int = 0

    @property
    def is_fleeting(self) -> bool:
        """Whether another attempt under the same key may be told something else."""
        return self.outcome == "refused" and self.result.get("reason") in FLEETING


@dataclass(slots=True)
class Operation:
    """One wish: what was asked, and every answer to it, in the order in which they came."""

    number: int
    worker: str
    kind: str
    key: str
    arguments: Mapping[str, Any]
    invoked_at: float
    wall: float
    attempts: int = 0
    answers: list[Answer] = field(default_factory=list)
    at_once: int = 1
    """How many attempts were sent side by side at first; those after them came one by one."""

    @property
    def settled(self) -> Answer | None:
        """The first answer that says what became of it; None when nobody knows.

        Where that is a fleeting one, a twin that had been asked before it was told knows better.
        """
        known = [each for each in self.answers if each.outcome != "unknown"]
        if not known or not known[0].is_fleeting:
            return known[0] if known else None
        twins = (each for each in known if each.asked_at < known[0].told_at and not each.is_fleeting)
        return next(twins, known[0])

    @property
    def outcome(self) -> str:
        """`ok`, `refused`, or `unknown` when no answer settled it."""
        return "unknown" if self.settled is None else self.settled.outcome

    @property
    def result(self) -> Mapping[str, Any]:
        """What the settling answer said; empty when there is none."""
        return {} if self.settled is None else self.settled.result

    @property
    def ended_at(self) -> float:
        """When it was settled; infinite when it never was."""
        return math.inf if self.settled is None else self.settled.told_at


class Journal:
    """Writes the lines. Each goes to the file at once: what the process saw before it died is part of the evidence."""

    def __init__(self, path: Path) -> None:
        """Open a new file."""
        self._file = path.open("x", buffering=1)
        self._operations = 0

    def begin(self, worker: str, kind: str, arguments: Mapping[str, Any], *, key: str = "", at_once: int = 1) -> int:
        """Number a new operation; every attempt names it."""
        self._operations += 1
        line = {"operation": self._operations, "worker": worker, "kind": kind, "key": key, "arguments": arguments}
        self._write("begin", {**line, "at_once": at_once} if at_once > 1 else line)
        return self._operations

    def invoke(self, operation: int, attempt: int) -> None:
        """Note that an attempt is about to leave."""
        self._write("invoke", {"operation": operation, "attempt": attempt})

    def end(self, operation: int, attempt: int, outcome: str, result: Mapping[str, Any]) -> None:
        """Note what an attempt was told."""
        self._write(outcome, {"operation": operation, "attempt": attempt, "result": result})

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _write(self, event: str, more: Mapping[str, Any]) -> None:
        stamp = {"event": event, "at": round(time.monotonic(), 6), "wall": round(time.time(), 6)}
        self._file.write(json.dumps({**stamp, **more}, separators=(",", ":")) + "\n")


def read(path: Path) -> list[Operation]:
    """Return the operations of a journal by their numbers; a torn last line is what its writer did not live to say."""
    with path.open() as lines:
        return fold(json.loads(line) for line in lines if line.endswith("\n"))


def fold(lines: Iterable[Mapping[str, Any]]) -> list[Operation]:
    """Return the operations that lines amount to."""
    operations: dict[int, Operation] = {}
    asked: dict[tuple[int, int], float] = {}
    for line in lines:
        number, at = line["operation"], line["at"]
        if line["event"] == "begin":
            operations[number] = Operation(
                number, line["worker"], line["kind"], line["key"], line["arguments"], at, line["wall"]
            )
            operations[number].at_once = line.get("at_once", 1)
        elif line["event"] == "invoke":
            operations[number].attempts += 1
            asked[number, line["attempt"]] = at
        else:
            attempt = line["attempt"]
            answer = Answer(asked.pop((number, attempt)), at, line["event"], line["result"], attempt)
            operations[number].answers.append(answer)
    return list(operations.values())
