"""What a replacement of the index's key has come to: one process looks through everything once, and notes what is left.

Without it each process read whole tables every ten minutes for as long as one row could not be hashed anew.
"""

from __future__ import annotations

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_STATEMENTS = (
    """
    CREATE TABLE index_renewals (
        newest        bytea PRIMARY KEY,
        claimed_by    uuid NOT NULL,
        claimed_until timestamptz NOT NULL,
        scanned       boolean NOT NULL DEFAULT false
    )
    """,
    "CREATE TABLE index_left (row_id uuid NOT NULL, name text NOT NULL, PRIMARY KEY (row_id, name))",
)


def upgrade() -> None:
    """Create the tables."""
    for statement in _STATEMENTS:
        op.execute(statement)
