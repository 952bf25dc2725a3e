"""Who sold and who bears what of a refund: compared when it is asked for again, and borne by what is held later."""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add both, minor units by seller. Refunds of before have neither."""
    op.execute("ALTER TABLE refunds ADD COLUMN sold jsonb, ADD COLUMN borne jsonb")
