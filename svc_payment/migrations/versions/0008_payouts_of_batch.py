"""The payouts of a batch are found without reading all of them."""

from __future__ import annotations

from alembic import op

from mesh import schema

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Build the index."""
    schema.build_index(op, "payouts_of_batch", "payouts (batch_id, payout_id) WHERE batch_id IS NOT NULL")
