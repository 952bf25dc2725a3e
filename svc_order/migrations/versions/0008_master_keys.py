"""Which master key wraps a user's key, so that master keys can be replaced.

A process that still runs the code before this one knows one master key alone, which is the first.
"""

from __future__ import annotations

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; the tables are those of `mesh.schema.create_vault` then."""
    op.execute("ALTER TABLE user_keys ADD COLUMN wrapped_by text NOT NULL DEFAULT '1'")
    op.execute("COMMENT ON TABLE user_keys IS 'titan vault, version 1'")
