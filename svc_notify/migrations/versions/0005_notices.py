"""Messages about the account of their user, which belong to no order and no link."""

from alembic import op

revision = "0005"
down_revision = "0004"

STATEMENTS = (
    "ALTER TABLE notifications DROP CONSTRAINT notifications_about_one_thing",
    """
    ALTER TABLE notifications ADD CONSTRAINT notifications_about_one_thing_at_most
        CHECK (num_nonnulls(order_id, link_id) <= 1)
    """,
)


def upgrade() -> None:
    """Change the table."""
    for statement in STATEMENTS:
        op.execute(statement)
