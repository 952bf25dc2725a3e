"""What sellers sold of an order, on the effects that move their money: a refund's, and a delivery's."""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_STATEMENTS = (
    # sellers: [[seller, what it sold, what it bears], ...]; NULL where the house sold all.
    "ALTER TABLE order_effects ADD COLUMN sellers jsonb",
    # Wider than before, so what is there need not be looked at, under a lock that nobody could read beside; and as it
    # can't be otherwise, nothing ever needs to be validated.
    """
    ALTER TABLE order_effects
        DROP CONSTRAINT order_effects_kind_check,
        ADD CONSTRAINT order_effects_kind_check CHECK (kind IN ('UNDO', 'REFUND', 'SHIP', 'DELIVER')) NOT VALID
    """,
)


def upgrade() -> None:
    """Widen the effects."""
    for statement in _STATEMENTS:
        op.execute(statement)
