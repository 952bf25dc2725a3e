"""The line that every call to a provider crosses: never inside a database transaction."""

from __future__ import annotations

from mesh.database import in_transaction


def refuse_inside_transaction() -> None:
    """Hold the calling task against the rule; a provider may take seconds, and locks would be held as long.

    Raises:
        RuntimeError: The task stands inside a transaction, which is a defect.
    """
    if in_transaction():
        raise RuntimeError("a provider is never called inside a transaction")
