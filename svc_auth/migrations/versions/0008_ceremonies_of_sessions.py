"""What a session begins belongs to it, and is found by its user.

The session is no foreign key: a flow outlives its session for minutes, and is refused then. It may be missing, for a
process that still runs the code before this one; what has none links and registers nothing.
"""

from __future__ import annotations

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_STATEMENTS = (
    "ALTER TABLE sign_in_flows ADD COLUMN session_id uuid",
    "ALTER TABLE passkey_challenges ADD COLUMN session_id uuid",
    "CREATE INDEX sign_in_flows_user ON sign_in_flows (user_id) WHERE user_id IS NOT NULL",
    "CREATE INDEX passkey_challenges_user ON passkey_challenges (user_id) WHERE user_id IS NOT NULL",
)


def upgrade() -> None:
    """Add the columns and their indexes."""
    for statement in _STATEMENTS:
        op.execute(statement)
