"""Messages about a one-time link, which belong to no order."""

from alembic import op

revision = "0003"
down_revision = "0002"

STATEMENTS = (
    "ALTER TABLE notifications ALTER COLUMN order_id DROP NOT NULL",
    "ALTER TABLE notifications ADD COLUMN link_id uuid",
    """
    ALTER TABLE notifications ADD CONSTRAINT notifications_about_one_thing
        CHECK ((order_id IS NULL) <> (link_id IS NULL))
    """,
)


def upgrade() -> None:
    """Change the table."""
    for statement in STATEMENTS:
        op.execute(statement)
