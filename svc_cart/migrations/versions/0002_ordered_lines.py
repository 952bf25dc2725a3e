"""What was ordered of a closed cart, so that whoever closes it again keeps the rest; and closed carts by age."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the ordered lines to closed carts."""
    # ordered: [[sku, quantity], ...]; NULL where everything was ordered.
    op.execute("ALTER TABLE closed_carts ADD COLUMN ordered jsonb")
    op.execute("CREATE INDEX closed_carts_closed_at ON closed_carts (closed_at)")
