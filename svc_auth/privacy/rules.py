"""Pure decisions about erasing users: who may be erased, and when whoever works on it comes back."""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from svc_auth.auth.rules import REVOCATION_SECONDS
from svc_auth.errors import UserHasRoles, WalletNotEmpty
from svc_auth.user.rules import User

SETTLED_SECONDS = REVOCATION_SECONDS
"""After this no token that names the user counts anywhere, so nothing new can come. The packages are emptied again
then: a call that was under way when it was decided may have left something."""

LEASE_SECONDS = 30.0
"""What a crash leaves behind waits as long; a pass over all packages takes less, and what a process takes at a time is
worked on at once."""

FIRST_PAUSE_SECONDS = 1.0
MAX_PAUSE_SECONDS = 300.0

OWN_WISH = "asked for by the user"


class ErasureState(enum.Enum):
    """Where an erasure stands; the twin of `titan.auth.v1.ErasureState`."""

    RUNNING = "RUNNING"
    COMPLETE = "COMPLETE"


@dataclass(frozen=True)
class Erasure:
    """The erasure of a user. `emptied_at` is when all packages had done it once, `finished_at` when they had twice."""

    user_id: UUID
    decided_at: datetime
    emptied_at: datetime | None
    finished_at: datetime | None
    attempts: int
    next_run_at: datetime

    @property
    def state(self) -> ErasureState:
        """Whether there is anything left of the user."""
        return ErasureState.RUNNING if self.emptied_at is None else ErasureState.COMPLETE


@dataclass(frozen=True)
class Money:
    """What a user's wallet holds, in minor units, and whether more is on its way there."""

    balance_minor: int
    pending_minor: int
    arriving: bool


def check_money(money: Money) -> None:
    """Let a wallet pass that holds nothing: whoever is erased could never come for it.

    Raises:
        WalletNotEmpty: It holds something, or soon will.
    """
    if money.balance_minor or money.pending_minor or money.arriving:
        raise WalletNotEmpty(
            "money is in the wallet, or on its way there",
            balance_minor=money.balance_minor,
            pending_minor=money.pending_minor,
        )


def check_user(user: User) -> None:
    """Let somebody pass who does not work here: what the house did stays on record with who did it.

    Raises:
        UserHasRoles: They do.
    """
    if user.roles:
        raise UserHasRoles("the user has a role: take it away first")


def after_pass(erasure: Erasure, *, at: datetime) -> Erasure:
    """Return an erasure after all packages were emptied: it ends with the first pass that nothing can follow."""
    settled_at = erasure.decided_at + timedelta(seconds=SETTLED_SECONDS)
    emptied = replace(erasure, emptied_at=erasure.emptied_at or at, attempts=0)
    return replace(emptied, finished_at=at) if at >= settled_at else replace(emptied, next_run_at=settled_at)


def after_failure(erasure: Erasure, *, at: datetime) -> Erasure:
    """Return an erasure after a package did not do it: it is tried again, at longer intervals, until all have."""
    pause = min(MAX_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** min(erasure.attempts, 30))
    return replace(erasure, attempts=erasure.attempts + 1, next_run_at=at + timedelta(seconds=pause))
