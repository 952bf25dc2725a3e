"""Users who were erased: their keys are gone, and they are given no other."""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_STATEMENTS = (
    """
    CREATE TABLE erased_users (
        user_id   uuid PRIMARY KEY,
        erased_at timestamptz NOT NULL DEFAULT now()
    )
    """,
    "CREATE INDEX erased_users_lately ON erased_users (erased_at)",
)


def upgrade() -> None:
    """Create the table."""
    for statement in _STATEMENTS:
        op.execute(statement)
