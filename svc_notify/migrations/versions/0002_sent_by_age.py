"""Sent messages by age, receipts apart from the rest, so that those past their time are found at once."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Create the index."""
    op.execute(
        "CREATE INDEX notifications_sent ON notifications ((template = 'order_confirmed'), sent_at)"
        " WHERE status = 'SENT'"
    )
