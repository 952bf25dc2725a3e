"""What a case is, and the one list of them. A case has a number by its place in the list: `--only 37` repeats it."""

from __future__ import annotations

import importlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.attacks.scene import Scene

GROUPS = (
    "idempotency",
    "tokens",
    "refresh",
    "login",
    "second_factor",
    "objects",
    "functions",
    "assignment",
    "money",
    "strings",
    "sizes",
    "webhooks",
    "abuse",
    "certificates",
    "headers",
    "slow",
    "floods",
    "policies",
    "leaks",
)
"""The modules of `tests.attacks.cases`, in the order in which they run; the last reads all that went before."""

LONGEST_SECONDS = 60.0


class Wrong(Exception):
    """Something about a case is not as it must be; the message says what."""


@dataclass(frozen=True)
class Reply:
    """What came back: the status of HTTP or gRPC, or how a connection ended; and the reason of the contract."""

    status: int | str
    reason: str = ""
    body: Any = None
    headers: Any = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.status} {self.reason}".strip()


Attack = Callable[["Scene"], Awaitable[Reply | str]]


@dataclass(frozen=True)
class Case:
    """One attack.

    Attributes:
        due: The answer, such as `409 IDEMPOTENCY_KEY_REUSED`, to the letter.
        changes: The tables whose rows it changes, such as `svc_auth.sessions`; it has to change each of them.
        long: It takes more than a few seconds and has no place in the short run.
        still: It only asks. It prepares nothing and waits for nothing that others change, so that others of its kind
            can be tried beside it.
    """

    number: int
    group: str
    what: str
    due: str
    attack: Attack = field(repr=False)
    changes: frozenset[str] = frozenset()
    long: bool = False
    still: bool = False

    @property
    def name(self) -> str:
        """Group and sentence."""
        return f"{self.group}: {self.what}"


_found: dict[str, list[tuple[str, str, Attack, frozenset[str], bool, bool]]] = {}


def case(what: str, due: str, *, changes: tuple[str, ...] = (), long: bool = False) -> Callable[[Attack], Attack]:
    """Enter an attack into the list of its module's group."""

    def enter(attack: Attack) -> Attack:
        add(attack.__module__.rpartition(".")[2], what, due, attack, changes=changes, long=long)
        return attack

    return enter


def add(
    group: str,
    what: str,
    due: str,
    attack: Attack,
    *,
    changes: tuple[str, ...] = (),
    long: bool = False,
    still: bool = False,
) -> None:
    """Enter an attack that is one of a table of such."""
    assert not (still and changes), f"{what}: what changes something is not still"
    _found.setdefault(group, []).append((what, due, attack, frozenset(changes), long, still))


def every_case() -> list[Case]:
    """Return all cases by number, from 1 on."""
    for group in GROUPS:
        importlib.import_module(f"tests.attacks.cases.{group}")
    entries = [(group, *entry) for group in GROUPS for entry in _found.get(group, [])]
    return [
        Case(number, group, what, due, attack, changes, long, still)
        for number, (group, what, due, attack, changes, long, still) in enumerate(entries, start=1)
    ]
