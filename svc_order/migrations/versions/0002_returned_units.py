"""The units of orders that came back, and what a refund still has to put on the shelf again."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the returned units to orders and to effects."""
    # returned: {line number: units}; NULL while nothing came back.
    op.execute("ALTER TABLE orders ADD COLUMN returned jsonb")
    # restock: [[line number, sku, units], ...]; NULL where nothing goes on the shelf.
    op.execute("ALTER TABLE order_effects ADD COLUMN restock jsonb")
