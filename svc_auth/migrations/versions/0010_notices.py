"""When users were told by letter about their account: nobody's mailbox is filled with it."""

from __future__ import annotations

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_STATEMENTS = (
    """
    CREATE TABLE sign_in_notices (
        notice_id uuid PRIMARY KEY,
        user_id   uuid NOT NULL REFERENCES users (user_id),
        told_at   timestamptz NOT NULL DEFAULT now()
    )
    """,
    "CREATE INDEX sign_in_notices_user ON sign_in_notices (user_id, told_at)",
    "CREATE INDEX sign_in_notices_told ON sign_in_notices (told_at)",
)


def upgrade() -> None:
    """Create the table."""
    for statement in _STATEMENTS:
        op.execute(statement)
