"""Sessions by user, for the list that their user reads, and what the client called itself."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_STATEMENTS = (
    "ALTER TABLE sessions ADD COLUMN client_name text NOT NULL DEFAULT '' CHECK (length(client_name) <= 80)",
    "CREATE INDEX sessions_user ON sessions (user_id, session_id) WHERE revoked_at IS NULL",
)


def upgrade() -> None:
    """Add the column and the index."""
    for statement in _STATEMENTS:
        op.execute(statement)
