"""The commands that changed a cart, on their way from Redis into the audit log."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import asyncpg

from mesh import audit
from mesh.audit import Command


@dataclass(frozen=True, slots=True)
class Given:
    """A command, and the version of the user's cart that it made."""

    user_id: UUID
    version: int
    by: Command

    @property
    def resource(self) -> str:
        """What the audit log calls it. No two commands make one version, so it is written once, however often saved."""
        return f"carts/{self.user_id}/versions/{self.version}"

    def to_json(self) -> str:
        """Return it in one line; the same whenever it is asked for."""
        return json.dumps([str(self.user_id), self.version, self.by.to_json()], separators=(",", ":"))

    @classmethod
    def from_json(cls, line: str) -> Given:
        """Return what a line holds."""
        user_id, version, by = json.loads(line)
        return cls(UUID(user_id), version, Command.from_json(by))


async def save(tx: asyncpg.Connection, given: Sequence[Given]) -> None:
    """Write commands into the audit log, those that are not there; in one order, since others may save the same."""
    by_resource = sorted(((each.by, each.resource) for each in given), key=lambda pair: pair[1])
    made = audit.accepting(by_resource, once=True)
    if made is not None:
        await tx.execute(made.sql, *made.arguments)
